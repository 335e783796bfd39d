-- What an attempt asked for: after one that had not enough, the next one may ask for more. NULL = it did not say.
ALTER TABLE tasks ADD COLUMN memory_bytes bigint;
ALTER TABLE attempts ADD COLUMN memory_bytes bigint;
