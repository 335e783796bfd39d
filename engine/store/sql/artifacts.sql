-- name: artifact_create
INSERT INTO artifacts (project_id, created_by, run_id, task, attempt, name, type, digest, size, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id

-- name: artifact_get
SELECT id, project_id, run_id, task, attempt, name, type, digest, size, metadata, created_at, created_by
  FROM artifacts WHERE id = $1 AND (project_id = $2 OR $2 = 0)

-- name: artifact_folder
-- Bytes do not tell that they are a packed folder; an artifact made of them does.
SELECT EXISTS (SELECT 1 FROM artifacts WHERE project_id = $1 AND digest = $2 AND metadata @> '{"folder": true}')

-- name: artifact_of_run
SELECT id, project_id, run_id, task, attempt, name, type, digest, size, metadata, created_at, created_by
  FROM artifacts WHERE run_id = $1 AND ($2::int < 0 OR task = $2) AND id > $3 ORDER BY id LIMIT $4

-- name: artifact_used_by
SELECT u.run_id, u.task, u.attempt, u.input, u.digest, coalesce(r.name, ''), coalesce(t.path, '')
  FROM artifact_uses u
  LEFT JOIN runs r ON r.id = u.run_id
  LEFT JOIN tasks t ON t.run_id = u.run_id AND t.task = u.task
 WHERE u.project_id = $1 AND u.digest = $2 ORDER BY u.run_id DESC, u.task, u.attempt LIMIT $3

-- name: blob_put
-- Putting it again makes it young again, so that no sweep that is under way takes it.
INSERT INTO blobs (project_id, digest, size, created_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (project_id, digest) DO UPDATE SET created_at = now()

-- name: blob_keep
-- Young again, as if it were put: whoever found it has time to refer to it before a sweep may take it.
UPDATE blobs SET created_at = now() WHERE project_id = $1 AND digest = $2

-- name: blob_get
SELECT size FROM blobs WHERE project_id = $1 AND digest = $2

-- name: blobs_newest
SELECT digest FROM blobs ORDER BY created_at DESC LIMIT $1

-- name: bundle_put
INSERT INTO bundles (project_id, digest, size, entries, created_by, code_digest) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (project_id, digest) DO UPDATE SET created_at = now(), code_digest = excluded.code_digest

-- name: bundle_get
SELECT digest, size, entries, created_at, created_by FROM bundles WHERE project_id = $1 AND digest = $2

-- name: upload_take_up
UPDATE uploads SET touched_at = now()
 WHERE id = (SELECT id FROM uploads WHERE project_id = $1 AND digest = $2 AND size = $3 AND created_by = $4 ORDER BY created_at LIMIT 1)
RETURNING id, project_id, digest, size, created_at, touched_at, created_by

-- name: upload_create
INSERT INTO uploads (id, project_id, digest, size, created_by) VALUES ($1, $2, $3, $4, $5)
RETURNING id, project_id, digest, size, created_at, touched_at, created_by

-- name: upload_get
SELECT id, project_id, digest, size, created_at, touched_at, created_by FROM uploads WHERE id = $1 AND (project_id = $2 OR $2 = 0)

-- name: upload_touch
UPDATE uploads SET touched_at = now() WHERE id = $1

-- name: upload_delete
DELETE FROM uploads WHERE id = $1 AND (project_id = $2 OR $2 = 0)
