-- Lists leave archived runs out: every index a list walks has them apart, so that however many there are, none is passed on the way.
DROP INDEX runs_by_project, runs_by_state, runs_by_pipeline, runs_by_pipeline_state, runs_by_archived, runs_by_ended;
CREATE INDEX runs_by_project  ON runs (project_id, archived, id DESC);
CREATE INDEX runs_by_state    ON runs (project_id, archived, state, id DESC);
CREATE INDEX runs_by_pipeline ON runs (project_id, pipeline, archived, id DESC);
CREATE INDEX runs_by_pipeline_state ON runs (project_id, pipeline, archived, state, id DESC);
CREATE INDEX runs_by_ended    ON runs (project_id, archived, ended_at DESC, id DESC) WHERE ended_at IS NOT NULL;

-- A label is searched for among the runs that are not archived, and together with a state: run_labels has both from runs.
ALTER TABLE run_labels DROP CONSTRAINT run_labels_pkey;
ALTER TABLE run_labels ADD COLUMN archived boolean NOT NULL DEFAULT false;
ALTER TABLE run_labels ADD COLUMN state smallint NOT NULL DEFAULT 0;
UPDATE run_labels l SET archived = r.archived, state = r.state FROM runs r WHERE r.id = l.run_id AND (r.archived OR r.state <> 0);
ALTER TABLE run_labels ADD PRIMARY KEY (run_id, key);
CREATE INDEX run_labels_by_value ON run_labels (project_id, key, value, archived, run_id);
CREATE INDEX run_labels_by_state ON run_labels (project_id, key, value, archived, state, run_id);

-- Whoever ends, archives or reopens a run, be it a server of before: the labels follow. A run without labels pays for the look alone.
CREATE FUNCTION run_labels_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE run_labels SET archived = NEW.archived, state = NEW.state WHERE run_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER run_labels_follow AFTER UPDATE OF archived, state ON runs FOR EACH ROW
    WHEN (NEW.labels <> '{}' AND (NEW.archived, NEW.state) IS DISTINCT FROM (OLD.archived, OLD.state))
    EXECUTE FUNCTION run_labels_follow();
