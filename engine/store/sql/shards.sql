-- Whose shards are whose: attempts are under way on executors, and only the server that an executor belongs to hears how they end.
-- Under way: states 5 (running) and 6 (stopping).

-- name: hot_shards_mine
-- Locks what is free of the shards not held yet in which attempts are under way on this executor.
SELECT s.shard FROM (
    SELECT DISTINCT a.shard FROM active_runs a JOIN tasks t ON t.run_id = a.run_id
     WHERE NOT (a.shard = ANY($2::smallint[])) AND t.state IN (5, 6) AND t.executor = $3::text OFFSET 0
) s WHERE pg_try_advisory_lock($1::int, s.shard)

-- name: hot_shards_foreign
-- Of the given shards those in which attempts are under way on another executor.
SELECT s.shard, s.epoch FROM shards s
 WHERE s.shard = ANY($1::smallint[])
   AND EXISTS (SELECT 1 FROM active_runs a JOIN tasks t ON t.run_id = a.run_id
                WHERE a.shard = s.shard AND t.state IN (5, 6) AND t.executor <> $2::text)

-- name: hot_stuck
-- Ends the sessions of schedulers that have asked nothing for so long: each asks every second while it lives. Their locks go with them.
SELECT pg_terminate_backend(a.pid)
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.classid = $1::int::oid AND l.mode = 'ShareLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND a.pid <> pg_backend_pid() AND a.usename = current_user AND a.state = 'idle'
   AND a.state_change < clock_timestamp() - $2::bigint * interval '1 microsecond'

-- name: hot_strays
-- Of the attempts that an executor knows, by their place in the arrays: those which no record has as its own and under way.
-- With the run's project, empty when the run is gone. A run that was made at another time has their run's number only.
SELECT u.n, coalesce(p.name, '')
  FROM unnest($1::bigint[], $2::int[], $3::int[], $5::bigint[]) WITH ORDINALITY AS u(run_id, task, attempt, made_us, n)
  LEFT JOIN runs r ON r.id = u.run_id LEFT JOIN projects p ON p.id = r.project_id
 WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.run_id = u.run_id AND t.task = u.task AND t.attempt = u.attempt
                                           AND t.state IN (5, 6) AND t.executor = $4::text)
    OR u.made_us <> (extract(epoch FROM r.created_at) * 1000000)::bigint
