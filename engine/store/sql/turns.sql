-- name: turn_take
SELECT pg_advisory_lock(1298754670, hashtext($1::text))
