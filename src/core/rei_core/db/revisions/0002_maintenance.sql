-- Maintenance: what was run when, who is banned by what, and the indexes that let old rows be found
-- without reading the others. Everything here is new: the version that is still running neither
-- sees nor needs it.
--
-- The indexes on older tables are not built CONCURRENTLY: that cannot be done in a transaction, and
-- a build that fails there leaves an invalid index behind for somebody to find. Writes to the table
-- wait for the build instead; docs/adr/0007 says for how long, and what to do where that is too long.

-- A run: its row is the intent, written before anything is done. The unique key is what keeps a
-- moment from having two runs, whoever asks for them.
CREATE TABLE maintenance_runs (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL,
    namespace     text NOT NULL,
    name          text NOT NULL,
    scheduled_for timestamptz NOT NULL,           -- the moment it was due
    status        text NOT NULL DEFAULT 'running'
        CHECK (status IN ('running', 'succeeded', 'failed')),
    attempt       integer NOT NULL DEFAULT 1,     -- fencing token, as with jobs
    owner         text NOT NULL,                  -- the process, for whoever looks
    lease_until   timestamptz,
    result        jsonb NOT NULL DEFAULT '{}',    -- counts and sums, written with each step
    detail        jsonb NOT NULL DEFAULT '{}',    -- what only this kind has to tell, bounded
    error         text,
    started_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CONSTRAINT maintenance_runs_once UNIQUE (kind, namespace, name, scheduled_for),
    CONSTRAINT maintenance_runs_lease_while_running
        CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CONSTRAINT maintenance_runs_finished_at_end
        CHECK ((status <> 'running') = (finished_at IS NOT NULL)),
    CONSTRAINT maintenance_runs_error_when_failed
        CHECK ((status = 'failed') = (error IS NOT NULL))
);
CREATE INDEX maintenance_runs_by_age
    ON maintenance_runs (finished_at, id) WHERE finished_at IS NOT NULL;

-- Every reason why a user is banned, by who gave it: an admin, or a custom resource. What orders
-- are checked against stays in users.banned_at and banned_until: the sum of these rows, written
-- whenever one of them changes.
CREATE TABLE user_bans (
    source     text PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id),
    reason     text NOT NULL,
    expires_at timestamptz,                       -- NULL: for as long as the row is there
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX user_bans_of_user ON user_bans (user_id);

-- Who was banned before this table was there was banned by an admin.
INSERT INTO user_bans (source, user_id, reason, expires_at, created_at)
SELECT 'admin/' || id, id, coalesce(ban_reason, ''), banned_until, banned_at
FROM users
WHERE banned_at IS NOT NULL;

-- Finished jobs by the age of their end, for each way to end.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS jobs_finished ON jobs (status, finished_at, id) WHERE finished_at IS NOT NULL;

-- Pictures whose bytes are still here: few, because they go once Telegram has them.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS job_outputs_with_bytes ON job_outputs (stored_at, job_id) WHERE data IS NOT NULL;

-- Refunds that somebody has to finish: next to none.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS payment_refunds_pending ON payment_refunds (created_at, id) WHERE status = 'pending';
