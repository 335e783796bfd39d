-- name: project_get
SELECT id, name, created_at, created_by FROM projects WHERE name = $1

-- name: project_get_id
SELECT id, name, created_at, created_by FROM projects WHERE id = $1

-- name: project_create
INSERT INTO projects (name, created_by) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id, name, created_at, created_by

-- name: project_list
SELECT id, name, created_at, created_by FROM projects WHERE name > $1 ORDER BY name LIMIT $2

-- name: setting_get
SELECT value FROM settings WHERE key = $1

-- name: setting_put
INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: setting_take
DELETE FROM settings WHERE key = $1 RETURNING value

-- name: setting_get_or_make
-- The empty update makes the row visible that somebody else inserted at the same time.
INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = settings.value RETURNING value
