-- How long a step runs at most, by its own word, for who looks whether it may pass another: its timeout; 0 = nobody knows.
ALTER TABLE queue_work ADD COLUMN timeout_ms bigint NOT NULL DEFAULT 0;
