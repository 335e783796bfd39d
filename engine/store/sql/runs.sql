-- name: run_create
-- The run, its labels, what it names, its active row and the owner's start command are there together or not at all. The time is that of the statement, not of
-- the transaction, so that ids and times rise together: searches by time rely on it to within a minute.
WITH next AS (SELECT nextval(pg_get_serial_sequence('runs', 'id')) AS id),
new AS (SELECT id, CASE WHEN $12::int >= 0 THEN $12::int ELSE id % $15::int END::smallint AS shard FROM next),
run AS (
    INSERT INTO runs (id, project_id, pipeline, pipeline_version, name, plan_id, bundle_digest, params, labels, options, cloned_from,
                      created_by, created_at, shard)
    OVERRIDING SYSTEM VALUE
    SELECT id, $1::bigint, $2::text, $3::int, coalesce($4::text, $2::text || '-' || id), $5::bigint, $6::text, $7::jsonb, $8::jsonb,
           $9::jsonb, $10::bigint, $11::text, clock_timestamp(), shard FROM new),
labels AS (
    INSERT INTO run_labels (project_id, key, value, run_id, created_by)
    SELECT $1::bigint, l.key, l.value, new.id, $11::text FROM new, jsonb_each_text($8::jsonb) AS l WHERE l.value IS NOT NULL),
names AS (
    INSERT INTO run_names (run_id, project_id, name)
    SELECT new.id, $1::bigint, n.name
      FROM new, (SELECT unnest($16::text[]) AS name UNION SELECT p.name FROM plan_names p WHERE p.plan_id = $5) AS n),
kept AS (
    UPDATE blobs b SET created_at = now()
      FROM (SELECT digest FROM blobs WHERE project_id = $1 AND digest = ANY($16::text[]) ORDER BY digest FOR UPDATE) AS o
     WHERE b.project_id = $1 AND b.digest = o.digest),
active AS (
    INSERT INTO active_runs (run_id, project_id, created_by, shard, state)
    SELECT id, $1::bigint, $11::text, shard, $13::smallint FROM new),
start AS (
    INSERT INTO inbox (project_id, created_by, shard, run_id, kind)
    SELECT $1::bigint, $11::text, shard, id, $14::smallint FROM new)
SELECT id FROM new

-- name: run_get
SELECT r.id, r.project_id, r.plan_id, coalesce(r.cloned_from, 0), r.created_at, coalesce(r.started_at, a.started_at), r.ended_at,
       coalesce(r.pipeline_version, 0), r.pipeline, r.name, r.bundle_digest, r.created_by, r.params, r.labels, r.options,
       coalesce(a.state, r.state), coalesce(a.stop, 0::smallint), r.message, r.outputs, a.waiting, r.tasks_total, r.tasks_failed,
       a.generation, r.archived
  FROM runs r LEFT JOIN active_runs a ON a.run_id = r.id
 WHERE r.id = $1 AND (r.project_id = $2 OR $2 = 0)

-- name: run_stamp
SELECT coalesce(a.state, r.state), coalesce((SELECT max(e.seq) FROM events e WHERE e.run_id = r.id), 0), a.run_id IS NOT NULL
  FROM runs r LEFT JOIN active_runs a ON a.run_id = r.id
 WHERE r.id = $1 AND (r.project_id = $2 OR $2 = 0)

-- name: run_archive
UPDATE runs SET archived = $3 WHERE id = $1 AND (project_id = $2 OR $2 = 0) AND (state <> 0 OR NOT $3)

-- name: run_needed
-- An active run that names an artifact of this one.
SELECT n.run_id, x.id FROM artifacts x JOIN run_names n ON n.project_id = x.project_id AND n.name = 'artifact:' || x.id
  JOIN active_runs a ON a.run_id = n.run_id WHERE x.run_id = $1 AND (x.project_id = $2 OR $2 = 0) LIMIT 1

-- name: run_delete
WITH gone AS (
    DELETE FROM runs r WHERE r.id = $1 AND (r.project_id = $2 OR $2 = 0) AND r.state <> 0
       AND NOT EXISTS (SELECT 1 FROM artifacts x JOIN run_names n ON n.project_id = x.project_id AND n.name = 'artifact:' || x.id
                         JOIN active_runs a ON a.run_id = n.run_id WHERE x.run_id = r.id)
    RETURNING r.id),
l AS (DELETE FROM run_labels x USING gone WHERE x.run_id = gone.id),
t AS (DELETE FROM tasks x USING gone WHERE x.run_id = gone.id),
f AS (DELETE FROM frames x USING gone WHERE x.run_id = gone.id),
a AS (DELETE FROM attempts x USING gone WHERE x.run_id = gone.id),
e AS (DELETE FROM events x USING gone WHERE x.run_id = gone.id),
p AS (DELETE FROM artifacts x USING gone WHERE x.run_id = gone.id),
n AS (DELETE FROM run_names x USING gone WHERE x.run_id = gone.id),
u AS (DELETE FROM artifact_uses x USING gone WHERE x.run_id = gone.id),
h AS (DELETE FROM cache x USING gone WHERE x.run_id = gone.id)
SELECT id FROM gone

-- name: command_send
INSERT INTO inbox (project_id, created_by, shard, run_id, kind, payload)
SELECT $1, $2, a.shard, a.run_id, $4, $5 FROM active_runs a WHERE a.run_id = $3

-- name: approval_lock
-- Two answers to one question take turns.
SELECT pg_advisory_xact_lock(1297239380, hashtext($1::bigint || ' ' || $2::int))

-- name: approval_waiting
-- The first one is what its owner will go by.
SELECT (payload->>'approved')::boolean, created_by FROM inbox
 WHERE run_id = $1 AND kind = $2 AND payload->'task' = to_jsonb($3::int) ORDER BY id LIMIT 1

-- name: command_reopen
-- A finished run becomes active again, in its final state; its owner decides what that means.
WITH opened AS (
    UPDATE runs SET state = 0, archived = false, message = NULL, outputs = NULL, tasks_total = NULL, tasks_failed = NULL, ended_at = NULL
      FROM (SELECT id AS was_id, state AS was FROM runs WHERE id = $1 AND state <> 0 FOR UPDATE) AS old
     WHERE id = was_id RETURNING id, project_id, shard, was, started_at)
INSERT INTO active_runs (run_id, project_id, created_by, shard, state, generation, started_at)
SELECT id, project_id, $2, coalesce(shard, (id % $4::int)::smallint), was,
       (SELECT count(*) FROM events e WHERE e.run_id = id AND e.kind = $3::smallint)::int, started_at FROM opened
