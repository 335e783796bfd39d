/* Runs: made, read, archived, deleted. Lists are in runs_list.c. */
#include "engine/store/runs.h"

#include "engine/store/names.h"
#include "engine/store/runs_read.h"

static struct str object_or_empty(struct str json)
{
    return json.n > 0 ? json : STR("{}");
}

/* -1 = by the run's own number. */
static int64_t shard_of_all(const struct scope *scope, const struct run_new *run)
{
    if (!run->together) return -1;
    return (int64_t)((str_hash(run->pipeline) + (uint64_t)scope->project_id) % RUN_SHARDS);
}

bool runs_create(struct conn *c, const struct scope *scope, const struct run_new *run, int64_t *id, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, scope->project_id);
    params_str(&p, run->pipeline);
    params_id(&p, run->version);
    params_str_or_null(&p, run->name);
    params_int(&p, run->plan_id);
    params_str_or_null(&p, run->bundle_digest);
    params_str(&p, object_or_empty(run->params));
    params_str(&p, object_or_empty(run->labels));
    params_str(&p, object_or_empty(run->options));
    params_id(&p, run->cloned_from);
    params_str(&p, scope->actor);
    params_int(&p, shard_of_all(scope, run));
    params_int(&p, RUN_QUEUED);
    params_int(&p, COMMAND_START);
    params_int(&p, RUN_SHARDS);
    struct str *names;
    size_t n_names = names_all(run->params, &a, &names);
    params_strs(&p, names, n_names);
    RESULT_AUTO res = NULL;
    bool ok = conn_query(c, Q_RUN_CREATE, &p, &res, err);
    if (ok) *id = row_int(res, 0, 0);
    arena_free(&a);
    return ok;
}

/* An active run in a final state waits for its owner to hear of its retry: it has not ended. */
static enum run_state shown_state(int64_t state, bool active)
{
    return active && run_state_terminal((enum run_state)state) ? RUN_QUEUED : (enum run_state)state;
}

void runs_read(const PGresult *res, int row, struct arena *a, struct run_rec *out)
{
    *out = (struct run_rec){
        .id = row_int(res, row, 0),
        .project_id = row_int(res, row, 1),
        .plan_id = row_int(res, row, 2),
        .cloned_from = row_int(res, row, 3),
        .created_us = row_time(res, row, 4),
        .started_us = row_time(res, row, 5),
        .ended_us = row_time(res, row, 6),
        .version = (int32_t)row_int(res, row, 7),
        .pipeline = row_copy(res, row, 8, a),
        .name = row_copy(res, row, 9, a),
        .bundle_digest = row_copy(res, row, 10, a),
        .created_by = row_copy(res, row, 11, a),
        .params = row_copy(res, row, 12, a),
        .labels = row_copy(res, row, 13, a),
        .options = row_copy(res, row, 14, a),
        .state = shown_state(row_int(res, row, 15), !row_null(res, row, 22)),
        .stop = (enum run_state)row_int(res, row, 16),
        .message = row_copy(res, row, 17, a),
        .outputs = row_copy(res, row, 18, a),
        .waiting = row_copy(res, row, 19, a),
        .tasks_total = (int32_t)row_int_or(res, row, 20, -1),
        .tasks_failed = (int32_t)row_int_or(res, row, 21, -1),
        .generation = (int32_t)row_int(res, row, 22),
        .archived = row_bool(res, row, 23),
    };
}

static bool no_run(int64_t id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no run %lld", (long long)id);
}

static bool ask(struct conn *c, enum query_id q, int64_t id, int64_t project_id, struct arena *a, PGresult **res,
                struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, id);
    params_int(&p, project_id);
    return conn_query(c, q, &p, res, err);
}

bool runs_get(struct conn *c, int64_t project_id, int64_t id, struct arena *a, struct run_rec *out, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!ask(c, Q_RUN_GET, id, project_id, a, &res, err)) return false;
    if (PQntuples(res) == 0) return no_run(id, err);
    runs_read(res, 0, a, out);
    return true;
}

bool runs_stamp(struct conn *c, int64_t project_id, int64_t id, enum run_state *state, int64_t *last_event,
                struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    RESULT_AUTO res = NULL;
    bool ok = ask(c, Q_RUN_STAMP, id, project_id, &a, &res, err);
    if (ok && PQntuples(res) == 0) ok = no_run(id, err);
    if (ok) {
        *state = shown_state(row_int(res, 0, 0), row_bool(res, 0, 2));
        *last_event = row_int(res, 0, 1);
    }
    arena_free(&a);
    return ok;
}

bool runs_archive(struct conn *c, int64_t project_id, int64_t id, bool archived, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, id);
    params_int(&p, project_id);
    params_bool(&p, archived);
    int64_t n = 0;
    RESULT_AUTO res = NULL;
    bool ok = conn_exec(c, Q_RUN_ARCHIVE, &p, &n, err);
    if (ok && n == 0) {
        ok = ask(c, Q_RUN_GET, id, project_id, &a, &res, err);
        if (ok && PQntuples(res) == 0) ok = no_run(id, err);
        if (ok) {
            ok = err_set(err, ERR_CONFLICT, "run %lld is active: only a finished run can be archived", (long long)id);
            err_hint(err, "wait for its end, or cancel it");
        }
    }
    arena_free(&a);
    return ok;
}

/* Why a run that is there was not deleted. */
static bool not_deletable(struct conn *c, int64_t project_id, int64_t id, struct arena *a, struct err *err)
{
    RESULT_AUTO needed = NULL;
    if (!ask(c, Q_RUN_NEEDED, id, project_id, a, &needed, err)) return false;
    if (PQntuples(needed) == 0) {
        err_set(err, ERR_CONFLICT, "run %lld is still active", (long long)id);
        return err_hint(err, "cancel it first");
    }
    err_set(err, ERR_CONFLICT, "artifact %lld of run %lld is named by run %lld, which is active",
            (long long)row_int(needed, 0, 1), (long long)id, (long long)row_int(needed, 0, 0));
    return err_hint(err, "let that run end, or cancel it");
}

bool runs_delete(struct conn *c, int64_t project_id, int64_t id, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    RESULT_AUTO gone = NULL;
    RESULT_AUTO res = NULL;
    bool ok = ask(c, Q_RUN_DELETE, id, project_id, &a, &gone, err);
    if (ok && PQntuples(gone) == 0) {
        ok = ask(c, Q_RUN_GET, id, project_id, &a, &res, err);
        ok = ok && (PQntuples(res) == 0 ? no_run(id, err) : not_deletable(c, project_id, id, &a, err));
    }
    arena_free(&a);
    return ok;
}
