-- name: project_get
SELECT id, name, created_at, created_by FROM projects WHERE name = $1
