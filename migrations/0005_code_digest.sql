-- What of a bundle its steps read: the digest of all but its Millrace documents. Null for bundles of before.
ALTER TABLE bundles ADD COLUMN code_digest text;

-- 'DIGEST/BUNDLE', as a scheduler knows the key of a result, by what of the bundle counts.
CREATE FUNCTION cache_key(project bigint, key text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT split_part(key, '/', 1) || '/' || coalesce(
        (SELECT b.code_digest FROM bundles b WHERE b.project_id = project AND b.digest = split_part(key, '/', 2)),
        split_part(key, '/', 2))
$$;
