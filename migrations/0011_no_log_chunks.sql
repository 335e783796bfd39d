-- Logs are read as files of the store: nothing has ever read what this said of them.
DROP TABLE log_chunks;
