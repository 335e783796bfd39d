-- Who waits, in the order in which they do: a run finds the places of its steps without looking at all the others twice.
CREATE INDEX queue_work_waits ON queue_work (domain, queue, (-(priority::bigint)), submitted_at, id) WHERE state = 1;

-- News are read by the number of their row, few at a time.
DROP INDEX queue_work_news;
CREATE INDEX queue_work_news ON queue_work (domain, id) WHERE news;
