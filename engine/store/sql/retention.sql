-- name: retention_runs
-- One with an artifact that an active run names waits for that.
SELECT r.id FROM runs r
 WHERE r.state <> 0 AND r.ended_at < now() - $1::bigint * interval '1 microsecond'
   AND NOT EXISTS (SELECT 1 FROM artifacts x JOIN run_names n ON n.project_id = x.project_id AND n.name = 'artifact:' || x.id
                     JOIN active_runs a ON a.run_id = n.run_id WHERE x.run_id = r.id)
 ORDER BY r.ended_at LIMIT $2

-- name: retention_answers
DELETE FROM idempotency_keys WHERE (project_id, key) IN
    (SELECT project_id, key FROM idempotency_keys WHERE created_at < now() - $1::bigint * interval '1 microsecond' LIMIT $2)

-- name: retention_cache
DELETE FROM cache WHERE (project_id, key) IN (SELECT project_id, key FROM cache WHERE expires_at < now() LIMIT $1)

-- name: retention_uploads
DELETE FROM uploads WHERE id IN
    (SELECT id FROM uploads WHERE touched_at < now() - $1::bigint * interval '1 microsecond' LIMIT $2) RETURNING id

-- name: retention_bundles
-- Bundles that no version, run or attempt names, be it an old attempt or the last one before other code came.
DELETE FROM bundles b WHERE (b.project_id, b.digest) IN (
    SELECT c.project_id, c.digest FROM bundles c
     WHERE c.created_at < now() - $1::bigint * interval '1 microsecond'
       AND c.digest NOT IN (SELECT v.bundle_digest FROM pipeline_versions v WHERE v.bundle_digest IS NOT NULL
                            UNION SELECT r.bundle_digest FROM runs r WHERE r.bundle_digest IS NOT NULL
                            UNION SELECT a.bundle_digest FROM attempts a WHERE a.bundle_digest IS NOT NULL
                            UNION SELECT t.bundle_digest FROM tasks t WHERE t.bundle_digest IS NOT NULL)
     LIMIT $2)

-- name: retention_plans
DELETE FROM plans p WHERE p.id IN (
    SELECT q.id FROM plans q
     WHERE q.created_at < now() - $1::bigint * interval '1 microsecond'
       AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.plan_id = q.id)
       AND NOT EXISTS (SELECT 1 FROM pipeline_versions v WHERE v.plan_id = q.id)
     LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: retention_blobs_mark
-- Old blobs that nothing of their project names, after a given one. Artifacts go with their run; those that were uploaded have none,
-- and stay.
SELECT b.project_id, b.digest FROM blobs b
 WHERE (b.project_id, b.digest) > ($1::bigint, $2::text) AND b.created_at < now() - $3::bigint * interval '1 microsecond'
   AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.project_id = b.project_id AND a.digest = b.digest)
   AND NOT EXISTS (SELECT 1 FROM artifact_uses u WHERE u.project_id = b.project_id AND u.digest = b.digest)
   AND NOT EXISTS (SELECT 1 FROM run_names n WHERE n.project_id = b.project_id AND n.name = b.digest)
   AND NOT EXISTS (SELECT 1 FROM plan_names n WHERE n.project_id = b.project_id AND n.name = b.digest)
   AND NOT EXISTS (SELECT 1 FROM bundles c WHERE c.project_id = b.project_id AND c.digest = b.digest)
   AND NOT EXISTS (SELECT 1 FROM uploads o WHERE o.project_id = b.project_id AND o.digest = b.digest)
 ORDER BY b.project_id, b.digest LIMIT $4

-- name: retention_blob_sweep
-- Looks again with the row locked: whoever put it anew since the mark keeps it.
DELETE FROM blobs b
 WHERE b.project_id = $1 AND b.digest = $2 AND b.created_at < now() - $3::bigint * interval '1 microsecond'
   AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.project_id = b.project_id AND a.digest = b.digest)
   AND NOT EXISTS (SELECT 1 FROM artifact_uses u WHERE u.project_id = b.project_id AND u.digest = b.digest)
   AND NOT EXISTS (SELECT 1 FROM run_names n WHERE n.project_id = b.project_id AND n.name = b.digest)
   AND NOT EXISTS (SELECT 1 FROM plan_names n WHERE n.project_id = b.project_id AND n.name = b.digest)
   AND NOT EXISTS (SELECT 1 FROM bundles c WHERE c.project_id = b.project_id AND c.digest = b.digest)
   AND NOT EXISTS (SELECT 1 FROM uploads o WHERE o.project_id = b.project_id AND o.digest = b.digest)
RETURNING b.size

-- name: retention_blob_known
SELECT 1 FROM blobs WHERE digest = $1 LIMIT 1

-- name: retention_blobs_unknown
SELECT u.digest FROM unnest($1::text[]) AS u(digest)
 WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = u.digest)

-- name: retention_runs_unknown
SELECT u.id FROM unnest($1::bigint[]) AS u(id) WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = u.id)

-- name: backup_blobs
SELECT digest, max(size) FROM blobs WHERE digest > $1 GROUP BY digest ORDER BY digest LIMIT $2

-- name: backup_logs
-- Attempts that may have written something, after a given one: current ones are in tasks, earlier ones in attempts.
SELECT run_id, task, attempt, state FROM (
    (SELECT run_id, task, attempt, state FROM tasks
      WHERE (run_id, task) >= ($1::bigint, $2::int) AND (run_id, task, attempt) > ($1, $2, $3::int)
        AND attempt > 0 ORDER BY run_id, task LIMIT $4)
    UNION ALL
    (SELECT run_id, task, attempt, state FROM attempts
      WHERE (run_id, task, attempt) > ($1, $2, $3) ORDER BY run_id, task, attempt LIMIT $4)) AS both_kinds
 ORDER BY run_id, task, attempt LIMIT $4
