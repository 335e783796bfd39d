-- Projects, pipelines, runs and all that a run leaves behind. Comments here are the reference for what a column means.
-- Numbers for states and kinds are those of engine/flow/states.def; they never change their meaning.

CREATE TABLE settings (            -- of the installation: its identity, the key of step tokens
    key   text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE projects (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL
);
INSERT INTO projects (name, created_by) VALUES ('default', 'millrace');

CREATE TABLE tokens (              -- of people and machines; only the hash of a token is kept
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash       bytea NOT NULL UNIQUE,          -- SHA-256
    name       text NOT NULL,
    role       text NOT NULL CHECK (role IN ('viewer', 'operator', 'editor', 'admin')),
    project_id bigint REFERENCES projects,     -- NULL = all projects
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz
);

-- ---- content: bundles, blobs, plans ----

CREATE TABLE blobs (               -- a digest is visible only in the project that uploaded or produced it
    project_id bigint NOT NULL REFERENCES projects,
    digest     text NOT NULL,                  -- sha256:<hex>
    size       bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    PRIMARY KEY (project_id, digest)
);

CREATE INDEX blobs_by_digest ON blobs (digest);

CREATE TABLE bundles (             -- packed pipeline folders; the bytes are the blob of the same digest
    project_id bigint NOT NULL REFERENCES projects,
    digest     text NOT NULL,
    size       bigint NOT NULL,
    entries    int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    PRIMARY KEY (project_id, digest)
);

CREATE TABLE plans (               -- immutable; the same source compiles to the same digest
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES projects,
    digest     text NOT NULL,                  -- of source and plan
    source     text COMPRESSION lz4 NOT NULL,
    plan       text COMPRESSION lz4 NOT NULL,  -- JSON, see engine/flow/plan.h
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    UNIQUE (project_id, digest)
);

CREATE TABLE pipelines (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES projects,
    name           text NOT NULL,
    latest_version int NOT NULL,
    description    text NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by     text NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, name)
);

CREATE TABLE pipeline_versions (   -- source + plan + code + pinned sub-pipelines (inside the plan): immutable
    pipeline_id   bigint NOT NULL REFERENCES pipelines ON DELETE CASCADE,
    version       int NOT NULL,
    project_id    bigint NOT NULL REFERENCES projects,
    plan_id       bigint NOT NULL REFERENCES plans,
    bundle_digest text,                        -- NULL = no code
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    text NOT NULL,
    PRIMARY KEY (pipeline_id, version)
);
CREATE INDEX pipeline_versions_by_plan ON pipeline_versions (plan_id);

-- ---- runs ----

CREATE TABLE runs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id       bigint NOT NULL REFERENCES projects,
    pipeline         text NOT NULL,            -- its name, also when it was never applied
    pipeline_version int,                      -- NULL = submitted as source
    name             text NOT NULL,
    plan_id          bigint NOT NULL REFERENCES plans,
    bundle_digest    text,
    params           jsonb NOT NULL DEFAULT '{}',
    labels           jsonb NOT NULL DEFAULT '{}',
    options          jsonb NOT NULL DEFAULT '{}', -- ignoreResources, …
    cloned_from      bigint,
    state            smallint NOT NULL DEFAULT 0, -- 0 = active: see active_runs; else the final state, written once
    message          text,
    outputs          jsonb,
    tasks_total      int,                      -- counts at the end
    tasks_failed     int,
    archived         boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    created_by       text NOT NULL,
    started_at       timestamptz,
    ended_at         timestamptz
) WITH (fillfactor = 90);
CREATE INDEX runs_by_project  ON runs (project_id, id DESC);
CREATE INDEX runs_by_state    ON runs (project_id, state, id DESC);
CREATE INDEX runs_by_pipeline ON runs (project_id, pipeline, id DESC);
CREATE INDEX runs_by_pipeline_state ON runs (project_id, pipeline, state, id DESC);
CREATE INDEX runs_by_archived ON runs (project_id, id DESC) WHERE archived;
CREATE INDEX runs_by_created  ON runs (project_id, created_at DESC, id DESC);
CREATE INDEX runs_by_ended    ON runs (project_id, ended_at DESC, id DESC) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_by_plan     ON runs (plan_id);

CREATE TABLE run_labels (          -- runs.labels again, one row each: a search by label walks this key backwards, newest run first
    project_id bigint NOT NULL,
    key        text NOT NULL,
    value      text NOT NULL,
    run_id     bigint NOT NULL,
    created_by text NOT NULL,
    PRIMARY KEY (project_id, key, value, run_id)
);

CREATE TABLE active_runs (         -- narrow, and only as long as the run is active
    run_id     bigint PRIMARY KEY,
    project_id bigint NOT NULL,
    created_by text NOT NULL,
    shard      smallint NOT NULL,
    state      smallint NOT NULL,              -- of the run, see states.def
    stop       smallint NOT NULL DEFAULT 0,    -- a final state it is being brought to: cancel, deadline
    generation int NOT NULL DEFAULT 0,         -- grows with every retry of a finished run
    started_at timestamptz,
    waiting    jsonb                           -- counts and examples of why tasks wait, at most once a second
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX active_runs_by_shard ON active_runs (shard);

-- A task is a node of the plan (or an item of a loop) within one run. It has a row only once it left "pending": what waits costs nothing.
CREATE TABLE tasks (
    run_id        bigint NOT NULL,
    task          int NOT NULL,                -- frame's first + index
    project_id    bigint NOT NULL,
    created_by    text NOT NULL,
    frame         int NOT NULL,
    path          text NOT NULL,               -- e.g. train[2], sub.step
    state         smallint NOT NULL,
    attempt       int NOT NULL,                -- current, from 1; 0 = never started
    failures      int NOT NULL DEFAULT 0,      -- counted against the user's limit
    free_failures int NOT NULL DEFAULT 0,      -- infrastructure
    reason        smallint NOT NULL DEFAULT 0, -- see states.def
    message       text,
    exit_code     int,
    due_at        timestamptz,                 -- back-off, wait, approval: when time moves it
    executor      text,                        -- instance that runs the attempt, e.g. process:<launcher id>
    outputs       jsonb,
    started_at    timestamptz,                 -- of the current attempt
    ended_at      timestamptz,
    log_bytes     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, task)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE frames (              -- instances of graphs and of loops: a task of kind pipeline or foreach opens one
    run_id      bigint NOT NULL,
    frame       int NOT NULL,                  -- 0 = the pipeline itself, not stored
    project_id  bigint NOT NULL,
    created_by  text NOT NULL,
    parent_task int NOT NULL,
    kind        smallint NOT NULL,             -- 1 = graph, 2 = items of a loop
    graph       int NOT NULL,
    first_task  int NOT NULL,
    n           int NOT NULL,
    items       jsonb,                         -- of a loop, in order
    inputs      jsonb,                         -- bound params of a graph
    opened_at   timestamptz NOT NULL,
    PRIMARY KEY (run_id, frame)
);

CREATE TABLE attempts (            -- superseded attempts; the current one is in tasks
    run_id        bigint NOT NULL,
    task          int NOT NULL,
    attempt       int NOT NULL,
    project_id    bigint NOT NULL,
    created_by    text NOT NULL,
    state         smallint NOT NULL,
    reason        smallint NOT NULL,
    message       text,
    exit_code     int,
    executor      text,
    bundle_digest text,                        -- code this attempt ran
    started_at    timestamptz,
    ended_at      timestamptz,
    log_bytes     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, task, attempt)
);

CREATE TABLE events (              -- history; the key fences off a second writer
    run_id     bigint NOT NULL,
    seq        int NOT NULL,
    project_id bigint NOT NULL,
    created_by text NOT NULL,
    at         timestamptz NOT NULL,
    kind       smallint NOT NULL,              -- see states.def
    task       int,                            -- NULL = the run
    attempt    int,
    detail     jsonb,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.5);

-- ---- the scheduler ----

CREATE TABLE shards (              -- the owner also holds the session advisory lock; the epoch fences its writes
    shard smallint PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    owner text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

CREATE TABLE inbox (               -- what the API asks of the owner of a run: start, cancel, approve, …
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL,
    created_by text NOT NULL,
    shard      smallint NOT NULL,
    run_id     bigint NOT NULL,
    kind       smallint NOT NULL,              -- see states.def
    payload    jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

-- ---- what runs leave ----

CREATE TABLE log_chunks (          -- index of what a step wrote; the bytes are in blob storage
    run_id     bigint NOT NULL,
    task       int NOT NULL,
    attempt    int NOT NULL,
    seq        int NOT NULL,
    project_id bigint NOT NULL,
    created_by text NOT NULL,
    start      bigint NOT NULL,                -- offset of its first byte
    length     int NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (run_id, task, attempt, seq)
);

CREATE TABLE artifacts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL,
    created_by text NOT NULL,
    run_id     bigint,                         -- produced by; NULL = uploaded
    task       int,
    attempt    int,
    name       text NOT NULL,                  -- of the output
    type       text NOT NULL,
    digest     text NOT NULL,
    size       bigint NOT NULL,
    uri        text,                           -- of an imported one whose bytes are elsewhere
    metadata   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX artifacts_by_project ON artifacts (project_id, id DESC);
CREATE INDEX artifacts_by_run     ON artifacts (run_id, task);
CREATE INDEX artifacts_by_digest  ON artifacts (project_id, digest);

CREATE TABLE artifact_uses (       -- lineage: which task read which artifact
    run_id     bigint NOT NULL,
    task       int NOT NULL,
    attempt    int NOT NULL,
    input      text NOT NULL,
    project_id bigint NOT NULL,
    created_by text NOT NULL,
    digest     text NOT NULL,
    PRIMARY KEY (run_id, task, attempt, input)
);
CREATE INDEX artifact_uses_by_digest ON artifact_uses (project_id, digest);

CREATE TABLE uploads (             -- unfinished, resumable
    id         text PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES projects,
    created_by text NOT NULL,
    digest     text NOT NULL,
    size       bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    touched_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE cache (               -- results of steps by the digest of all that went in
    project_id bigint NOT NULL,
    key        text NOT NULL,
    created_by text NOT NULL,
    run_id     bigint NOT NULL,
    task       int NOT NULL,
    attempt    int NOT NULL,
    outputs    jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (project_id, key)
);
CREATE INDEX cache_by_run ON cache (run_id);

CREATE TABLE idempotency_keys (    -- answers to creates, for a day
    project_id   bigint NOT NULL,
    key          text NOT NULL,
    created_by   text NOT NULL,
    request_hash text NOT NULL,                -- same key with another request is refused
    status       int NOT NULL,
    location     text,
    body         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, key)
);
