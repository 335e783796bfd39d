-- The scheduler's own statements. All writes of a turn go out as one implicit transaction (a pipeline up to one Sync), each as arrays.
-- A write that finds less than it expects divides by zero on purpose: inside a pipeline that is how a statement aborts the transaction,
-- and SQLSTATE 22012 reads as "stale: somebody else owns this now".

-- name: hot_shards_make
INSERT INTO shards (shard) SELECT generate_series(0, $1::int - 1)::smallint ON CONFLICT DO NOTHING

-- name: hot_shards_lock
-- Locks what is free, of the shards not held yet; the lock belongs to this session and dies with it.
SELECT s.shard FROM (
    SELECT shard FROM shards WHERE shard < $2::int AND NOT (shard = ANY($3::smallint[])) ORDER BY shard LIMIT $4::int OFFSET 0
) s WHERE pg_try_advisory_lock($1::int, s.shard)

-- name: hot_shards_own
UPDATE shards SET epoch = epoch + 1, owner = $2::text WHERE shard = ANY($1::smallint[]) RETURNING shard, epoch

-- name: hot_shard_unlock
SELECT pg_advisory_unlock($1::int, $2::int)

-- name: hot_schedulers
-- How many schedulers share the work: sessions that hold their presence lock.
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::int::oid AND mode = 'ShareLock' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: hot_present
SELECT pg_advisory_lock_shared($1::int, 0)

-- name: hot_active_runs
SELECT a.run_id FROM active_runs a WHERE a.shard = ANY($1::smallint[]) ORDER BY a.run_id

-- name: hot_runs
SELECT a.run_id, a.project_id, p.name, r.name, r.pipeline, r.created_by, coalesce(r.bundle_digest, ''), r.params::text,
       r.created_at, a.started_at, a.state, a.stop, a.stop_exits, a.grace_ms,
       a.generation, r.plan_id, a.shard, coalesce((SELECT max(e.seq) FROM events e WHERE e.run_id = a.run_id), 0),
       (coalesce(r.options->'ignoreResources' ? 'cpu', false))::int, (coalesce(r.options->'ignoreResources' ? 'memory', false))::int,
       (coalesce(r.options->'ignoreResources' ? 'gpu', false))::int
  FROM unnest($1::bigint[]) AS u(id)
  JOIN active_runs a ON a.run_id = u.id
  JOIN runs r ON r.id = a.run_id
  JOIN projects p ON p.id = a.project_id
 ORDER BY a.run_id

-- name: hot_plan
SELECT plan FROM plans WHERE id = $1::bigint

-- name: hot_frames
SELECT run_id, frame, parent_task, kind, graph, first_task, n, coalesce(items::text, ''), coalesce(inputs::text, ''),
       opened_at
  FROM frames WHERE run_id = ANY($1::bigint[]) ORDER BY run_id, frame

-- name: hot_tasks
SELECT run_id, task, frame, state, reason, attempt, failures, free_failures, coalesce(message, ''), coalesce(executor, ''),
       coalesce(outputs::text, ''), coalesce(exit_code, -1),
       due_at, started_at,
       ended_at, log_bytes, bundle_digest, coalesce(memory_bytes, 0)
  FROM tasks WHERE run_id = ANY($1::bigint[]) ORDER BY run_id, task

-- name: hot_inbox
SELECT id, run_id, kind, coalesce(payload::text, ''), created_by
  FROM inbox WHERE shard = ANY($1::smallint[]) ORDER BY id LIMIT 5000

-- name: hot_fence
SELECT 1 / (count(*) = cardinality($1::smallint[]))::int
  FROM unnest($1::smallint[], $2::bigint[]) AS u(shard, epoch) JOIN shards s ON s.shard = u.shard AND s.epoch = u.epoch

-- name: hot_inbox_done
DELETE FROM inbox WHERE id = ANY($1::bigint[])

-- name: hot_frame_insert
INSERT INTO frames (run_id, frame, project_id, created_by, parent_task, kind, graph, first_task, n, items, inputs, opened_at)
SELECT u.run_id, u.frame, u.project_id, u.created_by, u.parent_task, u.kind, u.graph, u.first_task, u.n, u.items::jsonb,
       u.inputs::jsonb, u.opened_at
  FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::text[], $5::int[], $6::smallint[], $7::int[], $8::int[], $9::int[],
              $10::text[], $11::text[], $12::timestamptz[])
    AS u(run_id, frame, project_id, created_by, parent_task, kind, graph, first_task, n, items, inputs, opened_at)

-- name: hot_task_insert
INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt, failures, free_failures, reason, message,
                   exit_code, due_at, executor, outputs, started_at, ended_at, log_bytes, memory_bytes)
SELECT u.run_id, u.task, u.project_id, u.created_by, u.frame, u.path, u.state, u.attempt, u.failures, u.free_failures, u.reason,
       u.message, u.exit_code, u.due_at, u.executor, u.outputs::jsonb, u.started_at, u.ended_at, u.log_bytes,
       u.memory_bytes
  FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::text[], $5::int[], $6::text[], $7::smallint[], $8::int[], $9::int[],
              $10::int[], $11::smallint[], $12::text[], $13::int[], $14::timestamptz[], $15::text[], $16::text[],
              $17::timestamptz[], $18::timestamptz[], $19::bigint[], $20::bigint[])
    AS u(run_id, task, project_id, created_by, frame, path, state, attempt, failures, free_failures, reason, message, exit_code,
         due_at, executor, outputs, started_at, ended_at, log_bytes, memory_bytes)

-- name: hot_task_update
-- Fenced by what the row held when this scheduler last wrote or read it. A new attempt runs the run's code.
WITH done AS (
    UPDATE tasks t
       SET state = u.state, attempt = u.attempt, failures = u.failures, free_failures = u.free_failures, reason = u.reason,
           message = u.message, exit_code = u.exit_code, due_at = u.due_at, executor = u.executor, outputs = u.outputs::jsonb,
           started_at = u.started_at, ended_at = u.ended_at, log_bytes = u.log_bytes, memory_bytes = u.memory_bytes,
           bundle_digest = CASE WHEN t.attempt = u.attempt THEN t.bundle_digest END
      FROM unnest($1::bigint[], $2::int[], $3::int[], $4::smallint[], $5::smallint[], $6::int[], $7::int[], $8::int[],
                  $9::smallint[], $10::text[], $11::int[], $12::timestamptz[], $13::text[], $14::text[], $15::timestamptz[],
                  $16::timestamptz[], $17::bigint[], $18::bigint[])
        AS u(run_id, task, old_attempt, old_state, state, attempt, failures, free_failures, reason, message, exit_code, due_at,
             executor, outputs, started_at, ended_at, log_bytes, memory_bytes)
     WHERE t.run_id = u.run_id AND t.task = u.task AND t.attempt = u.old_attempt AND t.state = u.old_state
    RETURNING 1)
SELECT 1 / (count(*) = cardinality($1::bigint[]))::int FROM done

-- name: hot_attempt_insert
INSERT INTO attempts (run_id, task, attempt, project_id, created_by, state, reason, message, exit_code, bundle_digest, started_at,
                      ended_at, log_bytes, memory_bytes)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[], $5::text[], $6::smallint[], $7::smallint[], $8::text[],
                     $9::int[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::bigint[],
                     $14::bigint[])

-- name: hot_event_insert
INSERT INTO events (run_id, seq, project_id, created_by, at, kind, task, attempt, detail)
SELECT u.run_id, u.seq, u.project_id, u.created_by, u.at, u.kind, u.task, u.attempt, u.detail::jsonb
  FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::text[], $5::timestamptz[], $6::smallint[], $7::int[], $8::int[], $9::text[])
    AS u(run_id, seq, project_id, created_by, at, kind, task, attempt, detail)

-- name: hot_artifact_insert
INSERT INTO artifacts (project_id, created_by, run_id, task, attempt, name, type, digest, size, metadata)
SELECT u.project_id, u.created_by, u.run_id, u.task, u.attempt, u.name, u.type, u.digest, u.size, coalesce(u.metadata, '{}')::jsonb
  FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::int[], $5::int[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[])
    AS u(project_id, created_by, run_id, task, attempt, name, type, digest, size, metadata)

-- name: hot_blob_insert
-- One that is there is young again: a sweep that is under way sees that, and leaves it. In order: two schedulers may have the same.
INSERT INTO blobs (project_id, digest, size, created_by)
SELECT DISTINCT ON (u.project_id, u.digest) u.project_id, u.digest, u.size, u.created_by
  FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[]) AS u(project_id, digest, size, created_by)
 ORDER BY u.project_id, u.digest
    ON CONFLICT (project_id, digest) DO UPDATE SET created_at = now()

-- name: hot_name_insert
INSERT INTO run_names (run_id, project_id, name)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING

-- name: hot_bundle_code
-- Whether the bundle is known to hold nothing that steps read: $3 is the digest of nothing.
SELECT 1 FROM bundles WHERE project_id = $1 AND digest = $2 AND code_digest = $3

-- name: hot_blobs_missing
-- The place in the array of the first digest that the project does not have.
SELECT u.n - 1 FROM unnest($2::text[]) WITH ORDINALITY AS u(digest, n)
 WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.project_id = $1::bigint AND b.digest = u.digest) ORDER BY u.n LIMIT 1

-- name: hot_blobs_untrue
-- The places in the arrays of blobs that the project does not have, or has with another size.
SELECT u.n - 1 FROM unnest($1::bigint[], $2::text[], $3::bigint[]) WITH ORDINALITY AS u(project_id, digest, size, n)
 WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.project_id = u.project_id AND b.digest = u.digest AND b.size = u.size)
 ORDER BY u.n

-- name: hot_use_insert
INSERT INTO artifact_uses (run_id, task, attempt, input, project_id, created_by, digest)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $5::bigint[], $6::text[], $7::text[]) ON CONFLICT DO NOTHING

-- name: hot_cache_put
INSERT INTO cache (project_id, key, created_by, run_id, task, attempt, outputs, created_at, expires_at)
SELECT u.project_id, u.key, u.created_by, u.run_id, u.task, u.attempt, u.outputs::jsonb, u.created_at, u.expires_at
  FROM (SELECT DISTINCT ON (v.project_id, v.key) *
          FROM (SELECT w.project_id, cache_key(w.project_id, w.key), w.created_by, w.run_id, w.task, w.attempt, w.outputs,
                       w.created_at, w.expires_at
                  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::int[], $6::int[], $7::text[],
                              $8::timestamptz[], $9::timestamptz[])
                    AS w(project_id, key, created_by, run_id, task, attempt, outputs, created_at, expires_at))
            AS v(project_id, key, created_by, run_id, task, attempt, outputs, created_at, expires_at)) u
    ON CONFLICT (project_id, key) DO UPDATE
   SET run_id = excluded.run_id, task = excluded.task, attempt = excluded.attempt, outputs = excluded.outputs,
       created_at = excluded.created_at, expires_at = excluded.expires_at, created_by = excluded.created_by

-- name: hot_cache_get
SELECT c.outputs::text, c.run_id, c.task
  FROM cache c WHERE c.project_id = $1::bigint AND c.key = cache_key($1::bigint, $2::text) AND (c.expires_at IS NULL OR c.expires_at > now())

-- name: hot_run_state
WITH done AS (
    UPDATE active_runs a SET state = u.state, stop = u.stop, stop_exits = u.stop_exits, grace_ms = u.grace_ms,
           generation = u.generation, started_at = u.started_at
      FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::smallint[], $5::bigint[], $6::int[], $7::timestamptz[])
        AS u(run_id, state, stop, stop_exits, grace_ms, generation, started_at)
     WHERE a.run_id = u.run_id
    RETURNING 1)
SELECT 1 / (count(*) = cardinality($1::bigint[]))::int FROM done

-- name: hot_run_finish
-- The final state is written once: only while the run is active.
WITH ended AS (
    DELETE FROM active_runs a USING unnest($1::bigint[]) AS u(run_id) WHERE a.run_id = u.run_id RETURNING a.run_id),
done AS (
    UPDATE runs r SET state = u.state, message = u.message, outputs = u.outputs::jsonb, tasks_total = u.total, tasks_failed = u.failed,
           started_at = u.started_at, ended_at = u.ended_at
      FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], $5::int[], $6::int[], $7::timestamptz[], $8::timestamptz[])
        AS u(run_id, state, message, outputs, total, failed, started_at, ended_at)
      JOIN ended ON ended.run_id = u.run_id
     WHERE r.id = u.run_id AND r.state = 0
    RETURNING 1)
SELECT 1 / (count(*) = cardinality($1::bigint[]))::int FROM done

-- name: hot_run_bundle
-- A retry with mended code. What was attempted until now ran the code of before, and keeps saying so; hence this comes before the
-- tasks' own updates, which begin new attempts.
WITH new AS (
    SELECT r.id, coalesce(r.bundle_digest, '') AS before, u.digest
      FROM unnest($1::bigint[], $2::text[]) AS u(run_id, digest) JOIN runs r ON r.id = u.run_id),
kept AS (
    UPDATE tasks t SET bundle_digest = new.before FROM new WHERE t.run_id = new.id AND t.attempt > 0 AND t.bundle_digest IS NULL)
UPDATE runs r SET bundle_digest = new.digest FROM new WHERE r.id = new.id

-- name: hot_waiting
UPDATE active_runs a SET waiting = u.waiting::jsonb FROM unnest($1::bigint[], $2::text[]) AS u(run_id, waiting) WHERE a.run_id = u.run_id
