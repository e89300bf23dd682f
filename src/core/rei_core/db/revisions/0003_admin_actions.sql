-- What people do by hand: who did what, and what the bot's admins were asked to confirm. Everything
-- here is new: the version that is still running neither sees nor needs it.

-- One row for each thing done, written in the transaction that does it. Its operation id is the one
-- that the transfer or the refund has, so that the same operation is neither done nor told twice.
CREATE TABLE admin_actions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation_id   text NOT NULL CHECK (char_length(operation_id) BETWEEN 1 AND 300),
    word           text NOT NULL
        CHECK (word IN ('credit', 'debit', 'ban', 'unban', 'refund', 'refund_close')),
    actor          text NOT NULL CHECK (char_length(actor) BETWEEN 1 AND 300),
    via            text NOT NULL CHECK (char_length(via) BETWEEN 1 AND 400),
    user_id        bigint NOT NULL REFERENCES users (id), -- to whom it was done
    subject        text NOT NULL DEFAULT '',      -- the payment or the refund that it is about
    amount_kopecks bigint CHECK (amount_kopecks <> 0),    -- what it changed about the balance
    reason         text NOT NULL CHECK (char_length(reason) <= 500),
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT admin_actions_once UNIQUE (operation_id),
    CONSTRAINT admin_actions_amount_of_money
        CHECK ((word IN ('credit', 'debit', 'refund')) = (amount_kopecks IS NOT NULL)),
    CONSTRAINT admin_actions_way
        CHECK (word NOT IN ('credit', 'debit', 'refund') OR (word = 'credit') = (amount_kopecks > 0))
);
CREATE INDEX admin_actions_of_user ON admin_actions (user_id, id DESC);

CREATE FUNCTION refuse_to_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER admin_actions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON admin_actions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite();

-- What an admin has asked the bot for and not confirmed yet. It is kept here and not in the button,
-- which holds 64 bytes: what is confirmed is what was asked, to the letter.
CREATE TABLE admin_requests (
    operation_id   text PRIMARY KEY,
    admin_id       bigint NOT NULL,               -- Telegram's id of who asked
    word           text NOT NULL CHECK (word IN ('credit', 'debit', 'ban', 'unban', 'refund')),
    user_id        bigint NOT NULL,
    subject        text NOT NULL DEFAULT '',
    amount_kopecks bigint,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX admin_requests_by_age ON admin_requests (created_at);
