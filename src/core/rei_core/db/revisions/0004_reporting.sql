-- Reporting: what a dashboard may see. Views in a schema of their own, so that a role that may read
-- this schema, and nothing else, sees sums and pseudonyms: no prompt, no name, no id of Telegram.
-- Everything here is new: the version that is still running neither sees nor needs it.

-- The key of the pseudonyms. Telegram's ids are small numbers: without a key anybody could try them
-- all. It is in no schema that a dashboard may read, and goes with the database into its backups, so
-- that a customer's pseudonym stays the same.
CREATE TABLE pseudonym_key (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    key      bytea NOT NULL
);
INSERT INTO pseudonym_key (key)
SELECT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));

CREATE SCHEMA reporting;

-- The key is read in the views, with their owner's right, and not by a function: that would be the
-- asker's to call, with any id.
CREATE VIEW reporting.payments AS
SELECT created_at, settled_at, status, amount_kopecks, cancellation_reason,
       'c-' || left(encode(sha256(
           (SELECT key FROM pseudonym_key) || convert_to(user_id::text, 'UTF8')
       ), 'hex'), 12) AS customer
FROM payments;

CREATE VIEW reporting.refunds AS
SELECT r.created_at, r.finished_at, r.status, r.amount_kopecks,
       'c-' || left(encode(sha256(
           (SELECT key FROM pseudonym_key) || convert_to(p.user_id::text, 'UTF8')
       ), 'hex'), 12) AS customer
FROM payment_refunds AS r
JOIN payments AS p ON p.id = r.payment_id;

CREATE VIEW reporting.jobs AS
SELECT created_at, started_at, finished_at, status, model, image_size, attempt, error_code,
       price_kopecks, jsonb_array_length(inputs) AS input_pictures,
       'c-' || left(encode(sha256(
           (SELECT key FROM pseudonym_key) || convert_to(user_id::text, 'UTF8')
       ), 'hex'), 12) AS customer
FROM jobs;

CREATE VIEW reporting.transfers AS
SELECT created_at, kind, debit_account, credit_account, amount_kopecks,
       'c-' || left(encode(sha256(
           (SELECT key FROM pseudonym_key) || convert_to(user_id::text, 'UTF8')
       ), 'hex'), 12) AS customer
FROM transfers;

CREATE VIEW reporting.customers AS
SELECT u.created_at, u.seen_at, u.language, u.banned_at IS NOT NULL AS banned, b.balance_kopecks,
       'c-' || left(encode(sha256(
           (SELECT key FROM pseudonym_key) || convert_to(u.id::text, 'UTF8')
       ), 'hex'), 12) AS customer
FROM users AS u
JOIN balances AS b ON b.user_id = u.id;

-- A dashboard asks for a span of time. These tables grow by time, so the smallest index does: a line
-- for each 64 pages, and nothing to pay at an insert. docs/adr/0007 says why it is built here.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS transfers_by_time ON transfers
    USING brin (created_at) WITH (pages_per_range = 64, autosummarize = on);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS payments_by_time ON payments
    USING brin (created_at) WITH (pages_per_range = 64, autosummarize = on);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs
    USING brin (created_at) WITH (pages_per_range = 64, autosummarize = on);
