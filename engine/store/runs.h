/* Runs as the API sees them: created, looked up, searched, deleted. What moves a run is the scheduler's (hot.h); the
 * API only asks for it (commands.h). */
#ifndef MILLRACE_STORE_RUNS_H
#define MILLRACE_STORE_RUNS_H

#include "engine/flow/run.h"
#include "engine/store/pipelines.h"

/* The shard of a run: which scheduler owns it. */
static inline int32_t runs_shard(int64_t run_id, uint32_t shards)
{
    return (int32_t)(run_id % (int64_t)shards);
}

/* Runs are divided among schedulers by shards. Every server must know of the same number. */
#define RUN_SHARDS 64

struct run_new {
    struct str pipeline; /* its name */
    int32_t version;     /* 0 = submitted as source */
    struct str name;     /* empty = "<pipeline>-<id>" */
    int64_t plan_id;     /* of plans_put or a version */
    struct str bundle_digest;
    struct str params, labels, options; /* JSON objects; empty = {} */
    int64_t cloned_from;                /* 0 = none */
    bool together;                      /* in one shard with all such runs of the pipeline: one owner counts them */
};

struct run_rec {
    int64_t id, project_id, plan_id, cloned_from, created_us, started_us, ended_us;
    int32_t version; /* 0 = submitted as source */
    struct str pipeline, name, bundle_digest, created_by;
    struct str params, labels, options; /* JSON */
    enum run_state state;
    enum run_state stop;               /* what it is being brought to; RUN_REFUSED = nothing */
    struct str message, outputs;       /* outputs: JSON, empty until it ended */
    struct str waiting;                /* JSON of why tasks wait, of an active run; empty = none */
    int32_t tasks_total, tasks_failed; /* -1 until it ended */
    int32_t generation;
    bool archived;
};

/* The run, its active row and the start command for its owner, in one transaction (the caller's, when it has one). */
MUST_CHECK bool runs_create(struct conn *c, const struct scope *scope, const struct run_new *run, int64_t *id,
                            struct err *err);
/* project_id 0 = any (for tokens of all projects). */
MUST_CHECK bool runs_get(struct conn *c, int64_t project_id, int64_t id, struct arena *a, struct run_rec *out,
                         struct err *err);
/* For progress: changes whenever the run does (its last event's number and its state): an ETag. */
MUST_CHECK bool runs_stamp(struct conn *c, int64_t project_id, int64_t id, enum run_state *state, int64_t *last_event,
                           struct err *err);
/* ERR_CONFLICT when an active run is to be archived: lists would hide it. */
MUST_CHECK bool runs_archive(struct conn *c, int64_t project_id, int64_t id, bool archived, struct err *err);
/* Of a finished run, with all it left but blobs (those go by retention). ERR_CONFLICT while it is active, or an
 * active run names an artifact of it. */
MUST_CHECK bool runs_delete(struct conn *c, int64_t project_id, int64_t id, struct err *err);

/* A page of a list.
 *
 * filter: terms joined by `and`:   state = failed and pipeline = digits and created > 2024-05-01 and labels.team =
 * "vision" fields: state, pipeline, name, created_by, created, ended, started, version, archived, id, labels.KEY;
 * operators = != < <= > >= ~ (contains), in (a, b) archived runs are left out unless the filter names `archived`.
 * order_by: "created desc" (default), "created asc", "ended desc", "ended asc", "name asc", …
 * Fast at any size: ordered by created (or id), all or filtered by a state, a pipeline, both, a label, or a label and a
 * state, with or without a range of created; ordered by ended, all or a range of it; each of runs that are not archived
 * or, with `archived = true`, of those that are. Anything else has 2 s, then ERR_LIMIT says what would make it fast.
 * Ordered by another field, runs without it are left out.
 */
struct runs_search {
    int64_t project_id;
    struct str filter, order_by, page_token;
    uint32_t page_size; /* 1 … 1000; 0 = 50 */
};
/* *next is empty on the last page. Errors of the filter have path "filter" and a position in it. */
MUST_CHECK bool runs_list(struct conn *c, const struct runs_search *q, struct arena *a, struct run_rec **out, size_t *n,
                          struct str *next, struct err *err);

#endif
