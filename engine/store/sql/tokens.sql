-- name: token_find
SELECT t.id, coalesce(t.project_id, 0), t.created_at, t.expires_at, t.name, t.role, coalesce(p.name, ''), t.created_by
  FROM tokens t LEFT JOIN projects p ON p.id = t.project_id
 WHERE t.hash = $1 AND (t.expires_at IS NULL OR t.expires_at > now())

-- name: token_create
INSERT INTO tokens (hash, name, role, project_id, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id

-- name: token_list
SELECT t.id, coalesce(t.project_id, 0), t.created_at, t.expires_at, t.name, t.role, coalesce(p.name, ''), t.created_by
  FROM tokens t LEFT JOIN projects p ON p.id = t.project_id
 WHERE t.id > $1 ORDER BY t.id LIMIT $2

-- name: token_delete
-- Never the last one that manages tokens; two at a time take turns.
WITH admins AS (SELECT id FROM tokens
                 WHERE role = 'admin' AND project_id IS NULL AND (expires_at IS NULL OR expires_at > now())
                 ORDER BY id FOR UPDATE)
DELETE FROM tokens
 WHERE id = $1 AND (NOT EXISTS (SELECT 1 FROM admins WHERE id = $1) OR (SELECT count(*) FROM admins) > 1)

-- name: token_exists
SELECT count(*) FROM tokens WHERE id = $1

-- name: token_admins
SELECT count(*) FROM tokens
 WHERE role = 'admin' AND project_id IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: idempotency_lock
-- Two requests with one key take turns.
SELECT pg_advisory_xact_lock(1297239379, hashtext($1::bigint || ' ' || $2::text))

-- name: idempotency_get
SELECT request_hash, status, location, body FROM idempotency_keys WHERE project_id = $1 AND key = $2

-- name: idempotency_put
INSERT INTO idempotency_keys (project_id, key, created_by, request_hash, status, location, body) VALUES ($1, $2, $3, $4, $5, $6, $7)
