/* Rounds of retention: old runs first, then what nothing refers to any more. */
#include "engine/store/retention.h"

#include <stdio.h>

#include "engine/store/runs.h"

#define DAY_US (86400 * INT64_C(1000000))
#define RETENTION_LOCK "4011972012"

struct round {
    struct conn *c;
    const struct retention *r;
    struct retention_result *out;
    struct arena arena; /* of one batch */
    uint32_t batch;
};

static int64_t or_day(int64_t us)
{
    return us > 0 ? us : DAY_US;
}

/* A query of (age, limit), as often as it finds a full batch. each is called for its rows, which are gone already. */
static bool drain(struct round *o, enum query_id q, int64_t age_us,
                  bool (*each)(struct round *o, const PGresult *res, int row, struct err *err), int64_t *count,
                  struct err *err)
{
    for (;;) {
        struct params p;
        arena_reset(&o->arena);
        params_init(&p, &o->arena);
        if (age_us >= 0) params_int(&p, age_us);
        params_int(&p, o->batch);
        RESULT_AUTO res = NULL;
        if (!conn_query(o->c, q, &p, &res, err)) return false;
        int64_t n = PQntuples(res);
        for (int i = 0; each && i < n; i++)
            if (!each(o, res, i, err)) return false;
        if (!each) str_int(str_of(PQcmdTuples(res)), &n);
        if (count) *count += n;
        if (n < o->batch) return true;
    }
}

static bool drop_run(struct round *o, const PGresult *res, int row, struct err *err)
{
    int64_t id = row_int(res, row, 0);
    if (!runs_delete(o->c, 0, id, err))
        return err->code == ERR_CONFLICT || err->code == ERR_NOT_FOUND; /* retried, or gone, meanwhile */
    return !o->r->delete_run || o->r->delete_run(o->r->ctx, id, err);
}

static bool drop_upload(struct round *o, const PGresult *res, int row, struct err *err)
{
    return !o->r->delete_upload || o->r->delete_upload(o->r->ctx, row_str(res, row, 0), err);
}

static bool sweep_blob(struct round *o, int64_t project_id, struct str digest, int64_t age_us, struct err *err)
{
    struct params p, known;
    params_init(&p, &o->arena);
    params_int(&p, project_id);
    params_str(&p, digest);
    params_int(&p, age_us);
    params_init(&known, &o->arena);
    params_str(&known, digest);
    RESULT_AUTO gone = NULL;
    RESULT_AUTO others = NULL;
    if (!conn_query(o->c, Q_RETENTION_BLOB_SWEEP, &p, &gone, err)) return false;
    if (PQntuples(gone) == 0) return true;
    o->out->blobs++;
    if (!conn_query(o->c, Q_RETENTION_BLOB_KNOWN, &known, &others, err)) return false;
    if (PQntuples(others) > 0) return true; /* another project has it, or it was put again this moment */
    o->out->blob_bytes += row_int(gone, 0, 0);
    return !o->r->delete_blob || o->r->delete_blob(o->r->ctx, digest, err);
}

static bool sweep_blobs(struct round *o, struct err *err)
{
    int64_t age_us = or_day(o->r->blobs_us), project = 0;
    char last[128] = "";
    for (;;) {
        struct params p;
        arena_reset(&o->arena);
        params_init(&p, &o->arena);
        params_int(&p, project);
        params_str(&p, str_of(last));
        params_int(&p, age_us);
        params_int(&p, o->batch);
        RESULT_AUTO res = NULL;
        if (!conn_query(o->c, Q_RETENTION_BLOBS_MARK, &p, &res, err)) return false;
        int n = PQntuples(res);
        for (int i = 0; i < n; i++) {
            struct str digest = row_str(res, i, 1);
            project = row_int(res, i, 0);
            snprintf(last, sizeof last, "%.*s", STR_ARG(digest));
            if (!sweep_blob(o, project, digest, age_us, err)) return false;
        }
        if (n < (int)o->batch) return true;
    }
}

static bool work(struct round *o, struct err *err)
{
    const struct retention *r = o->r;
    int64_t idle_us = or_day(r->blobs_us);
    return (r->runs_us <= 0 || drain(o, Q_RETENTION_RUNS, r->runs_us, drop_run, &o->out->runs, err)) &&
           drain(o, Q_RETENTION_ANSWERS, or_day(r->answers_us), NULL, &o->out->answers, err) &&
           drain(o, Q_RETENTION_CACHE, -1, NULL, NULL, err) &&
           drain(o, Q_RETENTION_UPLOADS, or_day(r->uploads_us), drop_upload, &o->out->uploads, err) &&
           drain(o, Q_RETENTION_BUNDLES, idle_us, NULL, NULL, err) &&
           drain(o, Q_RETENTION_PLANS, idle_us, NULL, NULL, err) && sweep_blobs(o, err);
}

bool retention_round(struct db *db, const struct retention *r, struct retention_result *out, struct err *err)
{
    CONN_AUTO c = NULL;
    *out = (struct retention_result){0};
    if (!db_lease(db, &c, err)) return false;
    RESULT_AUTO lock = NULL;
    if (!conn_sql(c, "SELECT pg_try_advisory_lock(" RETENTION_LOCK ")", NULL, &lock, err)) return false;
    if (!row_bool(lock, 0, 0)) return true;
    struct round o = {.c = c, .r = r, .out = out, .batch = r->batch ? r->batch : 200};
    struct err why = {0}; /* callbacks look into it: never NULL */
    arena_init(&o.arena, 0);
    bool ok = conn_do(c, "SET statement_timeout = 0", &why) && work(&o, &why);
    arena_free(&o.arena);
    if (!ok && err) *err = why;
    retention_release(c);
    return ok;
}

bool retention_hold(struct conn *c, struct err *err)
{
    return conn_do(c, "SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock(" RETENTION_LOCK ")",
                   err);
}

void retention_release(struct conn *c)
{
    struct err ignored;
    if (!conn_do(c, "SELECT pg_advisory_unlock(" RETENTION_LOCK "); RESET statement_timeout; RESET lock_timeout",
                 &ignored))
        conn_drop(c);
}

bool retention_unknown(struct conn *c, const struct str *digests, size_t n, struct arena *a, struct str **out,
                       size_t *n_out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_strs(&p, digests, n);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_RETENTION_BLOBS_UNKNOWN, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct str *unknown = arena_array(a, struct str, count + 1);
    for (size_t i = 0; i < count; i++)
        unknown[i] = row_copy(res, (int)i, 0, a);
    *out = unknown;
    *n_out = count;
    return true;
}

bool retention_unknown_runs(struct conn *c, const int64_t *ids, size_t n, struct arena *a, int64_t **out, size_t *n_out,
                            struct err *err)
{
    BUF_AUTO text;
    struct params p;
    buf_init(&text, 0);
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s%lld", i > 0 ? "," : "{", (long long)ids[i]);
    buf_c(&text, n > 0 ? "}" : "{}");
    params_init(&p, a);
    params_str(&p, buf_view(&text));
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_RETENTION_RUNS_UNKNOWN, &p, &res, err)) return false;
    *n_out = (size_t)PQntuples(res);
    *out = arena_array(a, int64_t, *n_out + 1);
    for (size_t i = 0; i < *n_out; i++)
        (*out)[i] = row_int(res, (int)i, 0);
    return true;
}
