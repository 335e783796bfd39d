-- name: plan_put
-- With what it names; young again, so that no sweep that is under way takes that.
WITH made AS (
    INSERT INTO plans (project_id, digest, source, plan, created_by) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (project_id, digest) DO NOTHING RETURNING id),
names AS (
    INSERT INTO plan_names (plan_id, project_id, name) SELECT DISTINCT made.id, $1::bigint, n FROM made, unnest($6::text[]) AS n),
kept AS (
    UPDATE blobs b SET created_at = now()
      FROM (SELECT digest FROM blobs WHERE project_id = $1 AND digest = ANY($6::text[]) ORDER BY digest FOR UPDATE) AS o
     WHERE b.project_id = $1 AND b.digest = o.digest)
SELECT id FROM made UNION ALL SELECT id FROM plans WHERE project_id = $1 AND digest = $2 LIMIT 1

-- name: plan_find
SELECT id FROM plans WHERE project_id = $1 AND digest = $2 FOR KEY SHARE

-- name: plan_get
SELECT digest, source, plan FROM plans WHERE id = $1

-- name: pipeline_lock
-- Makes the pipeline with version 0 when it is new; the row stays locked to the end of the transaction.
INSERT INTO pipelines (project_id, name, latest_version, description, created_by) VALUES ($1, $2, 0, $3, $4)
    ON CONFLICT (project_id, name) DO UPDATE SET name = pipelines.name
RETURNING id, latest_version

-- name: pipeline_newest
SELECT v.pipeline_id, v.version, p.name, v.plan_id, pl.digest, coalesce(v.bundle_digest, ''), v.created_at, v.created_by
  FROM pipelines p
  JOIN pipeline_versions v ON v.pipeline_id = p.id AND v.version = p.latest_version
  JOIN plans pl ON pl.id = v.plan_id
 WHERE p.id = $1

-- name: pipeline_version_add
WITH moved AS (
    UPDATE pipelines SET latest_version = latest_version + 1, description = $2, updated_at = now()
     WHERE id = $1 RETURNING id, project_id, latest_version, name)
INSERT INTO pipeline_versions (pipeline_id, version, project_id, plan_id, bundle_digest, created_by)
SELECT id, latest_version, project_id, $3::bigint, $4::text, $5::text FROM moved
RETURNING version, created_at

-- name: pipeline_get
SELECT id, name, description, latest_version, created_at, updated_at, created_by
  FROM pipelines WHERE project_id = $1 AND name = $2

-- name: pipeline_names
SELECT name FROM pipelines WHERE project_id = $1 ORDER BY updated_at DESC LIMIT 500

-- name: pipeline_version_get
SELECT v.pipeline_id, v.version, p.name, v.plan_id, pl.digest, coalesce(v.bundle_digest, ''), v.created_at, v.created_by, pl.source,
       pl.plan
  FROM pipelines p
  JOIN pipeline_versions v ON v.pipeline_id = p.id AND v.version = coalesce($3::int, p.latest_version)
  JOIN plans pl ON pl.id = v.plan_id
 WHERE p.project_id = $1 AND p.name = $2

-- name: pipeline_versions
SELECT v.pipeline_id, v.version, p.name, v.plan_id, pl.digest, coalesce(v.bundle_digest, ''), v.created_at, v.created_by
  FROM pipelines p
  JOIN pipeline_versions v ON v.pipeline_id = p.id
  JOIN plans pl ON pl.id = v.plan_id
 WHERE p.project_id = $1 AND p.name = $2 AND ($3::int IS NULL OR v.version < $3)
 ORDER BY v.version DESC LIMIT $4

-- name: pipeline_delete
DELETE FROM pipelines WHERE project_id = $1 AND name = $2 AND latest_version = coalesce($3::int, latest_version)
