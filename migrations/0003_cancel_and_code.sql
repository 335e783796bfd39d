-- What a crash must not forget of a cancel, and which code kept tasks ran when a retry brings other code.
ALTER TABLE active_runs ADD COLUMN stop_exits smallint NOT NULL DEFAULT 0; -- 1 = cancelled twice: onExit steps are stopped, too
ALTER TABLE active_runs ADD COLUMN grace_ms bigint NOT NULL DEFAULT 0;     -- of the last cancel; 0 = the server's own
ALTER TABLE tasks ADD COLUMN bundle_digest text;                           -- of the current attempt; NULL = the run's
CREATE INDEX tasks_by_bundle ON tasks (bundle_digest) WHERE bundle_digest IS NOT NULL; -- retention asks; such rows are few
