-- The shard a run was given: runs of a pipeline that limits how many of them run at once share one, and a retry keeps it.
ALTER TABLE runs ADD COLUMN shard smallint; -- NULL in older rows: by the run's number
