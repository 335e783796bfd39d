-- The queue for GPUs: declarations, the placer's and the owners' side of queue_work. States: 1 waits, 2 admitted, 3 is to stop, 4 over.

-- name: flavor_list
SELECT name, spec::text, created_at, created_by, updated_at FROM flavors ORDER BY name

-- name: queue_list
SELECT name, spec::text, created_at, created_by, updated_at FROM queues ORDER BY name

-- name: queue_lock
-- Changes of declarations one after the other: what they refer to stays there.
SELECT pg_advisory_xact_lock(hashtext('millrace queues'))

-- name: flavor_put
-- A row when something changed; its first column is true when it is new.
INSERT INTO flavors (name, spec, created_by) VALUES ($1, $2::jsonb, $3)
    ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, updated_at = now() WHERE flavors.spec <> excluded.spec
RETURNING (xmax = 0)

-- name: queue_put
INSERT INTO queues (name, spec, created_by) VALUES ($1, $2::jsonb, $3)
    ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, updated_at = now() WHERE queues.spec <> excluded.spec
RETURNING (xmax = 0)

-- name: queue_changed
WITH bumped AS (UPDATE queue_changes SET n = n + 1 RETURNING n) SELECT n, pg_notify('millrace_queue', '') FROM bumped

-- name: queue_generation
SELECT n FROM queue_changes

-- name: flavor_delete
DELETE FROM flavors WHERE name = $1

-- name: flavor_user
SELECT name FROM queues WHERE spec->'quota' ? $1 ORDER BY name LIMIT 1

-- name: flavor_work
-- Who runs on it, or waits for it by name.
SELECT count(*) FROM queue_work WHERE (state IN (2, 3) AND got = $1) OR (state = 1 AND flavor = $1)

-- name: queue_delete
DELETE FROM queues WHERE name = $1

-- name: queue_work_count
SELECT count(*) FROM queue_work WHERE queue = $1 AND state < 4

-- name: queue_usage
-- Who waits and what is used, by queue and flavor.
SELECT queue, coalesce(got, ''), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state IN (2, 3) AND NOT handed),
       coalesce(sum(pods::bigint * coalesce((pin->>'counted')::int, gpu)) FILTER (WHERE state IN (2, 3)), 0)::bigint,
       coalesce(sum(pods * cpu) FILTER (WHERE state IN (2, 3)), 0)::bigint,
       coalesce(sum(pods * memory) FILTER (WHERE state IN (2, 3)), 0)::bigint, count(*) FILTER (WHERE handed)
  FROM (SELECT *, state = 2 AND coalesce(pin ? 'kueue', false) AS handed FROM queue_work) w WHERE state < 4 GROUP BY 1, 2 ORDER BY 1, 2

-- name: queue_works
-- Of a queue, or of all (''), in the order in which they wait. Those of other projects than $2 (0 = all) count, and are not told.
WITH ranked AS (
    SELECT w.*, row_number() OVER o AS place, count(*) OVER (PARTITION BY domain, queue, state) AS n
      FROM queue_work w WHERE state < 4 AND ($1 = '' OR queue = $1)
    WINDOW o AS (PARTITION BY domain, queue, state ORDER BY priority DESC, submitted_at, id))
SELECT w.run_id, w.task, w.attempt, w.path, w.queue, w.flavor, w.gpu, w.pods, w.cpu, w.memory, w.priority, w.submitted_at, w.state,
       coalesce(w.reason, ''), w.why::text, coalesce(w.waiting, ''), coalesce(w.got, ''), coalesce(w.nodes, '{}')::text, w.admitted_at,
       CASE WHEN w.state = 1 THEN w.place ELSE 0 END, CASE WHEN w.state = 1 THEN w.n ELSE 0 END, p.name, w.domain, w.project_id,
       w.state = 2 AND coalesce(w.pin ? 'kueue', false)
  FROM ranked w JOIN projects p ON p.id = w.project_id
 WHERE $2::bigint = 0 OR w.project_id = $2
 ORDER BY w.queue, w.state DESC, w.priority DESC, w.submitted_at, w.id LIMIT $3

-- name: queue_holders
-- Who has something, with the columns of queue_works.
SELECT w.run_id, w.task, w.attempt, w.path, w.queue, w.flavor, coalesce((w.pin->>'counted')::int, w.gpu), w.pods, w.cpu, w.memory, w.priority, w.submitted_at, w.state,
       coalesce(w.reason, ''), w.why::text, coalesce(w.waiting, ''), coalesce(w.got, ''), coalesce(w.nodes, '{}')::text, w.admitted_at,
       0, 0, p.name, w.domain, w.project_id, w.state = 2 AND coalesce(w.pin ? 'kueue', false)
  FROM queue_work w JOIN projects p ON p.id = w.project_id
 WHERE w.state IN (2, 3)
 ORDER BY w.queue, w.state DESC, w.priority DESC, w.submitted_at, w.id

-- name: queue_outside
-- Tasks that have something and went through no queue.
SELECT u.i, t.path, p.name, t.project_id
  FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY AS u(run_id, task, i)
  JOIN tasks t ON t.run_id = u.run_id AND t.task = u.task JOIN projects p ON p.id = t.project_id

-- name: queue_waiting_of_run
-- Why tasks of a run wait, with their places in their queues: each is counted once, in order, as far as the run's last one.
WITH last AS MATERIALIZED (
    SELECT d.*, (SELECT count(*) FROM queue_work w WHERE w.domain = d.domain AND w.queue = d.queue AND w.state = 1) AS n
      FROM (SELECT DISTINCT ON (domain, queue) domain, queue, -(priority::bigint) AS p, submitted_at AS s, id
              FROM queue_work WHERE run_id = $1 AND state = 1 ORDER BY domain, queue, priority, submitted_at DESC, id DESC) AS d)
SELECT r.task, coalesce(r.waiting, ''), r.place, l.n, l.queue
  FROM last l CROSS JOIN LATERAL (
       SELECT run_id, task, waiting, row_number() OVER (ORDER BY -(priority::bigint), submitted_at, id) AS place
         FROM queue_work w
        WHERE w.domain = l.domain AND w.queue = l.queue AND w.state = 1
          AND (-(w.priority::bigint), w.submitted_at, w.id) <= (l.p, l.s, l.id)) AS r
 WHERE r.run_id = $1 ORDER BY r.task LIMIT $2

-- name: placer_nodes
SELECT domain, coalesce(trouble, ''), coalesce(nodes, '[]')::text, nodes_at, owner FROM placers ORDER BY domain

-- ---- the placer ----
-- It never waits for an owner, who may wait for it: a row that an owner holds is being changed, and its news will come.

-- name: placer_lock
SELECT pg_try_advisory_lock(1298754670, hashtext($1))

-- name: placer_stuck
-- Ends the session of a placer that has asked nothing for so long: each asks every second while it lives.
SELECT pg_terminate_backend(a.pid)
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.classid = 1298754670::oid AND l.objid = (hashtext($1)::bigint & 4294967295)::oid AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND a.pid <> pg_backend_pid() AND a.usename = current_user AND a.state IN ('idle', 'idle in transaction')
   AND a.state_change < clock_timestamp() - $2::bigint * interval '1 microsecond'

-- name: placer_own
INSERT INTO placers (domain, epoch, owner) VALUES ($1, 1, $2)
    ON CONFLICT (domain) DO UPDATE SET epoch = placers.epoch + 1, owner = excluded.owner
RETURNING epoch

-- name: placer_fence
-- 22012: somebody else decides now.
SELECT 1 / count(*)::int FROM placers WHERE domain = $1 AND epoch = $2

-- name: placer_all
SELECT id, run_id, task, attempt, path, queue, flavor, gpu, pods, cpu, memory, priority, submitted_at, state, coalesce(got, ''),
       coalesce(nodes, '{}')::text, admitted_at, coalesce(by_id, 0), on_nodes, timeout_ms, coalesce(pin::text, '')
  FROM queue_work WHERE domain = $1 AND state < 4 ORDER BY id

-- name: placer_news
SELECT id, run_id, task, attempt, path, queue, flavor, gpu, pods, cpu, memory, priority, submitted_at, state, coalesce(got, ''),
       coalesce(nodes, '{}')::text, admitted_at, coalesce(by_id, 0), on_nodes, timeout_ms, coalesce(pin::text, '')
  FROM queue_work WHERE domain = $1 AND news ORDER BY id LIMIT 5000

-- name: placer_ids
-- Of all its rows: what moved to another domain is not among them any more.
SELECT id FROM queue_work WHERE domain = $1

-- name: placer_look
SELECT id, run_id, task, attempt, path, queue, flavor, gpu, pods, cpu, memory, priority, submitted_at, state, coalesce(got, ''),
       coalesce(nodes, '{}')::text, admitted_at, coalesce(by_id, 0), on_nodes, timeout_ms, coalesce(pin::text, '')
  FROM queue_work WHERE domain = $1 AND id = ANY($2::bigint[])

-- name: placer_heard
WITH mine AS (SELECT id FROM queue_work WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED)
UPDATE queue_work w SET news = false
  FROM unnest($1::bigint[], $2::int[], $3::smallint[]) AS u(id, attempt, state) JOIN mine ON mine.id = u.id
 WHERE w.id = u.id AND w.attempt = u.attempt AND w.state = u.state AND w.news AND w.domain = $4

-- name: placer_over
WITH mine AS (SELECT id FROM queue_work WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED)
DELETE FROM queue_work w USING unnest($1::bigint[], $2::int[]) AS u(id, attempt) JOIN mine ON mine.id = u.id
 WHERE w.id = u.id AND w.attempt = u.attempt AND w.state = 4 AND w.domain = $3

-- name: placer_admit
-- The owner hears it by the inbox. What has been withdrawn meanwhile is left alone: its news will come. Returns which of them were
-- won, counted from 1: what an owner held may be as it was once it lets go.
WITH mine AS (SELECT id FROM queue_work WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED),
won AS (
    UPDATE queue_work w SET state = 2, got = u.got, pin = u.pin::jsonb, nodes = u.nodes::text[], admitted_at = clock_timestamp(),
           reason = NULL, why = NULL, waiting = NULL, by = NULL, by_id = NULL
      FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS u(id, attempt, got, pin, nodes, at)
      JOIN mine ON mine.id = u.id
     WHERE w.id = u.id AND w.attempt = u.attempt AND w.state = 1 AND w.domain = $6
    RETURNING w.*, u.at),
told AS (
    INSERT INTO inbox (project_id, created_by, shard, run_id, kind, payload)
    SELECT project_id, 'placer', shard, run_id, 7,
           jsonb_build_object('domain', domain, 'tasks', jsonb_agg(jsonb_build_object('task', task, 'attempt', attempt, 'pin', pin)))
      FROM won GROUP BY project_id, shard, run_id, domain
    RETURNING 1)
SELECT at, (SELECT pg_notify('millrace_inbox', '')) FROM won

-- name: placer_preempt
-- What is to give way to itself goes on: its owner takes it back, unless it has begun.
WITH mine AS (SELECT id FROM queue_work WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED),
won AS (
    UPDATE queue_work w SET state = CASE WHEN u.by_id = u.id THEN 2 ELSE 3 END, by = u.by, by_id = u.by_id
      FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::text[]) WITH ORDINALITY AS u(id, attempt, by_id, by, at)
      JOIN mine ON mine.id = u.id
     WHERE w.id = u.id AND w.attempt = u.attempt AND w.state = 2 AND w.domain = $5
    RETURNING w.*, u.at),
told AS (
    INSERT INTO inbox (project_id, created_by, shard, run_id, kind, payload)
    SELECT project_id, 'placer', shard, run_id, 8,
           jsonb_build_object('domain', domain, 'tasks',
                              jsonb_agg(jsonb_build_object('task', task, 'attempt', attempt, 'by', by, 'unbegun', by_id = id)))
      FROM won GROUP BY project_id, shard, run_id, domain
    RETURNING 1)
SELECT at, (SELECT pg_notify('millrace_inbox', '')) FROM won

-- name: placer_moved
-- Where their pods have come to be.
WITH mine AS (SELECT id FROM queue_work WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED)
UPDATE queue_work w SET nodes = u.nodes::text[]
  FROM unnest($1::bigint[], $2::int[], $3::text[]) WITH ORDINALITY AS u(id, attempt, nodes, at) JOIN mine ON mine.id = u.id
 WHERE w.id = u.id AND w.attempt = u.attempt AND w.state IN (2, 3) AND w.domain = $4
RETURNING u.at

-- name: placer_why
WITH mine AS (SELECT id FROM queue_work WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED)
UPDATE queue_work w SET reason = u.reason, why = u.why::jsonb, waiting = u.waiting
  FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS u(id, attempt, reason, why, waiting, at)
  JOIN mine ON mine.id = u.id
 WHERE w.id = u.id AND w.attempt = u.attempt AND w.state = 1 AND w.domain = $6
RETURNING u.at

-- name: placer_show
UPDATE placers SET nodes = coalesce($2::jsonb, nodes), nodes_at = CASE WHEN $2 IS NULL THEN nodes_at ELSE clock_timestamp() END,
       trouble = $3
 WHERE domain = $1

-- name: placer_sweep
-- What nobody will say the end of: its run is no more.
WITH mine AS (
    SELECT id FROM queue_work w
     WHERE w.domain = $1 AND w.state < 4 AND NOT EXISTS (SELECT 1 FROM active_runs a WHERE a.run_id = w.run_id)
       FOR UPDATE SKIP LOCKED)
UPDATE queue_work w SET state = 4, news = true FROM mine WHERE w.id = mine.id

-- ---- owners of runs ----

-- name: hot_queue_ask
-- An ask that is there is left as old as it was, unless it was over; what it wants may be more after an oom.
WITH asked AS (
    INSERT INTO queue_work (run_id, task, attempt, project_id, created_by, shard, domain, path, queue, flavor, gpu, pods, cpu, memory,
                            priority, submitted_at, on_nodes, timeout_ms, state)
    SELECT u.*, 1
      FROM unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[], $5::text[], $6::smallint[], $7::text[], $8::text[], $9::text[],
                  $10::text[], $11::int[], $12::int[], $13::bigint[], $14::bigint[], $15::int[], $16::timestamptz[],
                  $17::text[], $18::bigint[]) AS u
        ON CONFLICT (run_id, task) DO UPDATE
       SET attempt = excluded.attempt, shard = excluded.shard, domain = excluded.domain, path = excluded.path,
           queue = excluded.queue, flavor = excluded.flavor, gpu = excluded.gpu, pods = excluded.pods, cpu = excluded.cpu,
           memory = excluded.memory, priority = excluded.priority, on_nodes = excluded.on_nodes, timeout_ms = excluded.timeout_ms,
           submitted_at = CASE WHEN queue_work.state = 4 THEN excluded.submitted_at ELSE queue_work.submitted_at END, state = 1, news = true, reason = NULL,
           why = NULL, waiting = NULL, got = NULL, pin = NULL, nodes = NULL, admitted_at = NULL
     WHERE queue_work.attempt <= excluded.attempt
    RETURNING 1)
SELECT pg_notify('millrace_queue', '') FROM asked LIMIT 1

-- name: hot_queue_over
WITH over AS (
    UPDATE queue_work w SET state = 4, news = true
      FROM unnest($1::bigint[], $2::int[], $3::int[]) AS u(run_id, task, attempt)
     WHERE w.run_id = u.run_id AND w.task = u.task AND w.attempt = u.attempt
    RETURNING 1)
SELECT pg_notify('millrace_queue', '') FROM over LIMIT 1

-- name: hot_queue_load
SELECT run_id, task, attempt, state, domain, coalesce(pin::text, ''), coalesce(by, ''), coalesce(by_id = id, false)
  FROM queue_work WHERE run_id = ANY($1::bigint[]) AND state < 4 ORDER BY run_id, task
