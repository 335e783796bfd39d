-- What plans and runs name in full, sha256:… or artifact:NUMBER: an import may ask for it at any time, so it is held as if it were used.
CREATE TABLE plan_names (          -- literals of a plan
    plan_id    bigint NOT NULL REFERENCES plans ON DELETE CASCADE,
    project_id bigint NOT NULL,
    name       text NOT NULL,
    PRIMARY KEY (plan_id, name)
);
CREATE INDEX plan_names_by_name ON plan_names (project_id, name);

CREATE TABLE run_names (           -- of its plan, its params and what its steps gave
    run_id     bigint NOT NULL,
    project_id bigint NOT NULL,
    name       text NOT NULL,
    PRIMARY KEY (run_id, name)
);
CREATE INDEX run_names_by_name ON run_names (project_id, name);

INSERT INTO plan_names (plan_id, project_id, name)
SELECT DISTINCT p.id, p.project_id, m[1] FROM plans p, regexp_matches(p.plan, '(sha256:[0-9a-f]{64}|artifact:[0-9]{1,18})', 'g') AS m;
INSERT INTO run_names (run_id, project_id, name)
SELECT r.id, r.project_id, n.name FROM runs r JOIN plan_names n ON n.plan_id = r.plan_id
UNION
SELECT r.id, r.project_id, m[1] FROM runs r, regexp_matches(r.params::text, '(sha256:[0-9a-f]{64}|artifact:[0-9]{1,18})', 'g') AS m
UNION
SELECT a.run_id, a.project_id, m[1] FROM active_runs a JOIN tasks t ON t.run_id = a.run_id,
       regexp_matches(t.outputs::text, '(sha256:[0-9a-f]{64}|artifact:[0-9]{1,18})', 'g') AS m;
