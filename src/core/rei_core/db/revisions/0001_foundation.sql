-- The foundation: users, the ledger, jobs, payments, and what must not be lost on the way to
-- Telegram. Amounts are integer kopecks, times are timestamptz, the clock is the database's.

CREATE TABLE users (
    id              bigint PRIMARY KEY,           -- Telegram's user id
    username        text,
    first_name      text NOT NULL DEFAULT '',
    language        text NOT NULL DEFAULT 'ru' CHECK (language IN ('ru', 'en')),
    language_chosen boolean NOT NULL DEFAULT false, -- false: follow Telegram's language
    model           text,                         -- preferred model; NULL: the catalogue's first
    awaiting        text CHECK (awaiting IN ('topup_amount')), -- what the next text answers
    banned_at       timestamptz,
    banned_until    timestamptz,                  -- NULL with banned_at set: for good
    ban_reason      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    seen_at         timestamptz NOT NULL DEFAULT now()
);

-- One row a user, and the only row that money ever locks. active_jobs counts the unfinished
-- jobs: the limit on them has to be exact under concurrency, and a count(*) of another table
-- inside one statement would use that statement's old snapshot.
CREATE TABLE balances (
    user_id         bigint PRIMARY KEY REFERENCES users (id),
    balance_kopecks bigint NOT NULL DEFAULT 0,
    active_jobs     integer NOT NULL DEFAULT 0,
    CONSTRAINT balance_not_negative CHECK (balance_kopecks >= 0),
    CONSTRAINT active_jobs_not_negative CHECK (active_jobs >= 0)
) WITH (fillfactor = 70);

CREATE TABLE transfers (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                  text NOT NULL,
    ref_type              text NOT NULL,
    ref_id                text NOT NULL,
    user_id               bigint NOT NULL REFERENCES users (id),
    debit_account         text NOT NULL,          -- where the money comes from
    credit_account        text NOT NULL,          -- where it goes
    amount_kopecks        bigint NOT NULL CHECK (amount_kopecks > 0),
    balance_after_kopecks bigint NOT NULL CHECK (balance_after_kopecks >= 0),
    note                  text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT transfers_cause_once UNIQUE (kind, ref_type, ref_id),
    CONSTRAINT transfers_known_way CHECK (
        (kind, debit_account, credit_account) IN (
            ('topup', 'payments', 'user'),
            ('hold', 'user', 'held'),
            ('capture', 'held', 'revenue'),
            ('release', 'held', 'user'),
            ('payment_refund', 'user', 'refunds'),
            ('payment_refund_reversal', 'refunds', 'user'),
            ('adjustment', 'adjustments', 'user'),
            ('adjustment', 'user', 'adjustments')
        )
    )
);
-- A job's held money goes exactly one way: captured or released, never both.
CREATE UNIQUE INDEX transfers_job_ends_once
    ON transfers (ref_id) WHERE kind IN ('capture', 'release');
CREATE INDEX transfers_of_user ON transfers (user_id, id DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transfers is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER transfers_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE jobs (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id             bigint NOT NULL REFERENCES users (id),
    idempotency_key     text NOT NULL,
    status              text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    model               text NOT NULL,
    prompt              text NOT NULL,
    aspect_ratio        text NOT NULL,
    image_size          text NOT NULL,
    inputs              jsonb NOT NULL DEFAULT '[]',  -- [{"file_id", "mime_type", "size_bytes"}]
    price_kopecks       bigint NOT NULL CHECK (price_kopecks > 0),
    attempt             integer NOT NULL DEFAULT 0,   -- the fencing token
    attempts_max        integer NOT NULL CHECK (attempts_max > 0),
    run_after           timestamptz NOT NULL DEFAULT now(),
    deadline_at         timestamptz NOT NULL,         -- still queued then: failed and refunded
    lease_until         timestamptz,
    worker              text,
    error_code          text,
    error_detail        text,
    chat_id             bigint NOT NULL,
    progress_message_id bigint,
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    CONSTRAINT jobs_key_once UNIQUE (user_id, idempotency_key),
    CONSTRAINT jobs_lease_while_processing
        CHECK ((status = 'processing') = (lease_until IS NOT NULL)),
    CONSTRAINT jobs_finished_at_end
        CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX jobs_queued ON jobs (id) WHERE status = 'queued';
-- The second condition follows from the first. It keeps the claim, which orders by id and does
-- not say it, from reading and sorting the whole queue by this index.
CREATE INDEX jobs_overdue ON jobs (deadline_at) WHERE status = 'queued' AND finished_at IS NULL;
-- By id and not by lease_until: a renewed lease then touches no index at all (a HOT update), and
-- the sweep reads no more rows than are being worked on.
CREATE INDEX jobs_processing ON jobs (id) WHERE status = 'processing';
CREATE INDEX jobs_of_user ON jobs (user_id, id DESC);

-- The result, stored before anything is delivered. The bytes go once Telegram has them.
CREATE TABLE job_outputs (
    job_id       bigint PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    mime_type    text NOT NULL,
    width        integer NOT NULL,
    height       integer NOT NULL,
    size_bytes   bigint NOT NULL,
    sha256       bytea NOT NULL,
    data         bytea,
    photo_file_id    text,
    document_file_id text,
    stored_at    timestamptz NOT NULL DEFAULT now()
);
-- Pictures are compressed already: do not spend time on it, and allow reading a part.
ALTER TABLE job_outputs ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE payments (
    id                  uuid PRIMARY KEY,          -- also the idempotence key of its creation
    user_id             bigint NOT NULL REFERENCES users (id),
    amount_kopecks      bigint NOT NULL CHECK (amount_kopecks > 0),
    currency            text NOT NULL DEFAULT 'RUB',
    status              text NOT NULL DEFAULT 'created'
        CHECK (status IN ('created', 'pending', 'succeeded', 'canceled')),
    request_key         text NOT NULL,             -- what the customer did, so a repeat finds the row
    provider_payment_id text UNIQUE,
    confirmation_url    text,
    cancellation_reason text,
    chat_id             bigint NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    settled_at          timestamptz,
    CONSTRAINT payments_request_once UNIQUE (user_id, request_key),
    CONSTRAINT payments_settled_when_succeeded
        CHECK ((status = 'succeeded') = (settled_at IS NOT NULL)),
    CONSTRAINT payments_known_when_succeeded
        CHECK (status <> 'succeeded' OR provider_payment_id IS NOT NULL)
);
CREATE INDEX payments_open ON payments (created_at) WHERE status IN ('created', 'pending');
CREATE INDEX payments_of_user ON payments (user_id, created_at DESC);

CREATE TABLE payment_refunds (
    id                 uuid PRIMARY KEY,           -- also the idempotence key
    payment_id         uuid NOT NULL REFERENCES payments (id),
    operation_id       text NOT NULL UNIQUE,       -- who asked, so that a repeat finds the row
    amount_kopecks     bigint NOT NULL CHECK (amount_kopecks > 0),
    status             text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'succeeded', 'failed')),
    provider_refund_id text UNIQUE,
    error_detail       text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    finished_at        timestamptz
);
CREATE INDEX payment_refunds_of_payment ON payment_refunds (payment_id);

-- Messages that must reach the customer: the picture, its original, the reason of a failure,
-- the news of a credit. Each cause once; sent at least once, remembered by message id.
CREATE TABLE deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL
        CHECK (kind IN ('result', 'original', 'job_failed', 'payment_credited', 'payment_canceled')),
    ref_id      text NOT NULL,                     -- the job's or the payment's id
    user_id     bigint NOT NULL REFERENCES users (id),
    chat_id     bigint NOT NULL,
    status      text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'delivered', 'undeliverable')),
    attempt     integer NOT NULL DEFAULT 0,        -- fencing token, as with jobs
    failures    integer NOT NULL DEFAULT 0,        -- attempts held against it; a crash is one too
    due_at      timestamptz NOT NULL DEFAULT now(), -- while it is being sent: the end of the lease
    message_id  bigint,
    error_detail text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT deliveries_cause_once UNIQUE (kind, ref_id),
    CONSTRAINT deliveries_finished_at_end CHECK ((status <> 'pending') = (finished_at IS NOT NULL))
);
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE status = 'pending';

-- Orders being composed. In the database and not in Redis: losing Redis loses no order.
CREATE TABLE drafts (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id           bigint NOT NULL REFERENCES users (id),
    chat_id           bigint NOT NULL,
    source_key        text NOT NULL,               -- the message or album it came from
    card_message_id   bigint,                      -- the message with the buttons
    prompt            text NOT NULL DEFAULT '',
    inputs            jsonb NOT NULL DEFAULT '[]',
    model             text NOT NULL,
    aspect_ratio      text NOT NULL,
    image_size        text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT drafts_source_once UNIQUE (user_id, source_key)
);
CREATE INDEX drafts_by_age ON drafts (created_at);

-- Every update is handled once. lease_until: somebody is at it; handled_at: done.
CREATE TABLE telegram_updates (
    update_id   bigint PRIMARY KEY,
    attempt     integer NOT NULL DEFAULT 1,
    lease_until timestamptz,
    handled_at  timestamptz,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX telegram_updates_by_age ON telegram_updates (received_at);

-- Circuit breakers, shared by all pods: 'provider' or 'model:<id>'. An open one stops orders
-- before they are charged and leaves queued jobs where they are.
CREATE TABLE circuits (
    name         text PRIMARY KEY,
    failures     integer NOT NULL DEFAULT 0,       -- in a row, of the retry-later class
    opened_at    timestamptz,                      -- NULL: closed
    on_trial     boolean NOT NULL DEFAULT false,   -- half-open: one job at a time until one is done
    probe_at     timestamptz,
    reason       text,
    detail       text
);
