-- name: task_list
SELECT run_id, task, frame, path, state, attempt, failures, free_failures, reason, message, exit_code, due_at, executor, outputs,
       started_at, ended_at, log_bytes, coalesce(memory_bytes, 0)
  FROM tasks
 WHERE run_id = $1 AND task > $2 AND ($3::int = 0 OR ((1 << state) & $3) <> 0)
 ORDER BY task LIMIT $4

-- name: task_get
SELECT run_id, task, frame, path, state, attempt, failures, free_failures, reason, message, exit_code, due_at, executor, outputs,
       started_at, ended_at, log_bytes, coalesce(memory_bytes, 0)
  FROM tasks WHERE run_id = $1 AND task = $2

-- name: task_find
SELECT run_id, task, frame, path, state, attempt, failures, free_failures, reason, message, exit_code, due_at, executor, outputs,
       started_at, ended_at, log_bytes, coalesce(memory_bytes, 0)
  FROM tasks WHERE run_id = $1 AND path = $2 ORDER BY task DESC LIMIT 1

-- name: task_attempts
-- A row that was reset and has not begun again still has the number of its last attempt.
SELECT task, attempt, state, reason, message, exit_code, executor, coalesce(bundle_digest, ''), started_at, ended_at, log_bytes,
       coalesce(memory_bytes, 0)
  FROM attempts WHERE run_id = $1 AND task = $2
UNION ALL
SELECT t.task, t.attempt, t.state, t.reason, t.message, t.exit_code, t.executor, coalesce(t.bundle_digest, r.bundle_digest, ''),
       t.started_at, t.ended_at, t.log_bytes, coalesce(t.memory_bytes, 0)
  FROM tasks t LEFT JOIN runs r ON r.id = t.run_id
 WHERE t.run_id = $1 AND t.task = $2 AND t.attempt > 0
   AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.run_id = t.run_id AND a.task = t.task AND a.attempt = t.attempt)
 ORDER BY 2

-- name: task_frames
SELECT frame, parent_task, kind, graph, first_task, n, items, inputs, opened_at
  FROM frames WHERE run_id = $1 AND frame > $2 ORDER BY frame LIMIT $3

-- name: event_list
SELECT e.seq, e.kind, e.task, e.attempt, e.at, t.path, e.detail
  FROM events e LEFT JOIN tasks t ON t.run_id = e.run_id AND t.task = e.task
 WHERE e.run_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3
