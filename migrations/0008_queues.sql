-- The queue for GPUs: what is declared, what waits for room, and who decides.

CREATE TABLE flavors (             -- kinds of GPU, see engine/flow/queue_doc.h; of the whole installation
    name       text PRIMARY KEY,
    spec       jsonb NOT NULL,                 -- the document
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE queues (
    name       text PRIMARY KEY,
    spec       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE queue_changes (       -- one row: counts the changes of the two, within their transactions, so that who sees the number
    n bigint NOT NULL              -- sees what it counts. A placer looks at it, and then at them
);
INSERT INTO queue_changes VALUES (1);

CREATE TABLE placers (             -- one decides for a domain at a time; it also holds the session advisory lock
    domain   text PRIMARY KEY,                 -- instance of an executor: a namespace of a cluster, a machine
    epoch    bigint NOT NULL DEFAULT 0,        -- fences writes of an earlier one
    owner    text NOT NULL DEFAULT '',
    trouble  text,                             -- why it cannot decide, for people
    nodes    jsonb,                            -- what it saw last: see scheduler/placer_nodes.c
    nodes_at timestamptz
);

-- A task that the placer is to admit, from when it may start to the end of its attempt. Owners of runs ask and say that it is over
-- (within their turn), the placer answers (and tells the owner by the inbox).
CREATE TABLE queue_work (
    id           bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    run_id       bigint NOT NULL,
    task         int NOT NULL,
    attempt      int NOT NULL,                 -- to be started
    project_id   bigint NOT NULL,
    created_by   text NOT NULL,
    shard        smallint NOT NULL,
    domain       text NOT NULL,
    path         text NOT NULL,
    queue        text NOT NULL,
    flavor       text NOT NULL,                -- wished for; '' = any of the queue's
    gpu          int NOT NULL,                 -- of each pod, in thousandths
    pods         int NOT NULL,
    cpu          bigint NOT NULL,
    memory       bigint NOT NULL,
    priority     int NOT NULL,
    submitted_at timestamptz NOT NULL,         -- its age: kept when it is preempted
    state        smallint NOT NULL,            -- 1 waits, 2 admitted, 3 is to stop, 4 over
    news         boolean NOT NULL DEFAULT true, -- the placer has not seen what its owner wrote last
    reason       text,                         -- why it waits: engine/place/why.h
    why          jsonb,                        -- with numbers
    waiting      text,                         -- in words
    got          text,                         -- the flavor it was admitted on
    pin          jsonb,                        -- what follows for its Job: see scheduler/kube_pin.h
    nodes        text[],                       -- where there was room
    admitted_at  timestamptz,
    by           text,                         -- for whom it is to stop
    by_id        bigint,
    PRIMARY KEY (run_id, task)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_work_news  ON queue_work (domain) WHERE news;
CREATE INDEX queue_work_queue ON queue_work (domain, queue);
