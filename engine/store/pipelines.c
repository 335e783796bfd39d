/* Pipelines, their versions, and the plans behind them. */
#include "engine/store/pipelines.h"

#include "engine/store/names.h"

/* ---- plans ---- */

bool plans_put(struct conn *c, const struct scope *scope, const struct plan_text *text, int64_t *id, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p, find;
    params_init(&p, &a);
    params_int(&p, scope->project_id);
    params_str(&p, text->digest);
    params_init(&find, &a);
    params_int(&find, scope->project_id);
    params_str(&find, text->digest);
    params_str(&p, text->source);
    params_str(&p, text->plan);
    params_str(&p, scope->actor);
    struct str *names;
    size_t n_names = names_all(text->plan, &a, &names);
    params_strs(&p, names, n_names);
    RESULT_AUTO found = NULL;
    RESULT_AUTO made = NULL;
    /* Looked up first: a plan that is there needs no sending of its text. */
    bool ok = conn_query(c, Q_PLAN_FIND, &find, &found, err);
    if (ok && PQntuples(found) > 0) {
        *id = row_int(found, 0, 0);
    } else if (ok) {
        ok = conn_query(c, Q_PLAN_PUT, &p, &made, err);
        if (ok && PQntuples(made) == 0) { /* made by somebody else at this very moment */
            result_cleanup(&found);
            ok = conn_query(c, Q_PLAN_FIND, &find, &found, err);
            if (ok && PQntuples(found) > 0)
                *id = row_int(found, 0, 0);
            else if (ok)
                ok = err_set(err, ERR_UNAVAILABLE, "the plan went away while it was stored; try again");
        } else if (ok) {
            *id = row_int(made, 0, 0);
        }
    }
    arena_free(&a);
    return ok;
}

bool plans_get(struct conn *c, int64_t id, struct arena *a, struct plan_text *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, id);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PLAN_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return err_set(err, ERR_NOT_FOUND, "there is no plan %lld", (long long)id);
    *out = (struct plan_text){row_copy(res, 0, 0, a), row_copy(res, 0, 1, a), row_copy(res, 0, 2, a)};
    return true;
}

/* ---- versions ---- */

static void read_version(const PGresult *res, int row, struct arena *a, struct version_rec *out)
{
    *out = (struct version_rec){.pipeline_id = row_int(res, row, 0),
                                .version = (int32_t)row_int(res, row, 1),
                                .name = row_copy(res, row, 2, a),
                                .plan_id = row_int(res, row, 3),
                                .digest = row_copy(res, row, 4, a),
                                .bundle_digest = row_copy(res, row, 5, a),
                                .created_us = row_time(res, row, 6),
                                .created_by = row_copy(res, row, 7, a)};
    if (PQnfields(res) <= 8) return;
    out->source = row_copy(res, row, 8, a);
    out->plan = row_copy(res, row, 9, a);
}

struct apply {
    const struct scope *scope;
    struct str name, description, bundle_digest;
    const struct plan_text *text;
    struct arena *a;
    struct version_rec *out;
    bool changed;
};

static bool add_version(struct conn *c, struct apply *ap, int64_t pipeline_id, struct err *err)
{
    int64_t plan_id = 0;
    if (!plans_put(c, ap->scope, ap->text, &plan_id, err)) return false;
    struct params p;
    params_init(&p, ap->a);
    params_int(&p, pipeline_id);
    params_str(&p, ap->description);
    params_int(&p, plan_id);
    params_str_or_null(&p, ap->bundle_digest);
    params_str(&p, ap->scope->actor);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PIPELINE_VERSION_ADD, &p, &res, err)) return false;
    *ap->out = (struct version_rec){.pipeline_id = pipeline_id,
                                    .plan_id = plan_id,
                                    .version = (int32_t)row_int(res, 0, 0),
                                    .created_us = row_time(res, 0, 1),
                                    .name = arena_str(ap->a, ap->name),
                                    .digest = arena_str(ap->a, ap->text->digest),
                                    .bundle_digest = arena_str(ap->a, ap->bundle_digest),
                                    .created_by = arena_str(ap->a, ap->scope->actor)};
    ap->changed = true;
    return true;
}

static bool apply_tx(struct conn *c, void *ctx, struct err *err)
{
    struct apply *ap = ctx;
    ap->changed = false;
    struct params p, id;
    params_init(&p, ap->a);
    params_int(&p, ap->scope->project_id);
    params_str(&p, ap->name);
    params_str(&p, ap->description);
    params_str(&p, ap->scope->actor);
    RESULT_AUTO locked = NULL;
    RESULT_AUTO newest = NULL;
    if (!conn_query(c, Q_PIPELINE_LOCK, &p, &locked, err)) return false;
    int64_t pipeline_id = row_int(locked, 0, 0);
    if (row_int(locked, 0, 1) == 0) return add_version(c, ap, pipeline_id, err);
    params_init(&id, ap->a);
    params_int(&id, pipeline_id);
    if (!conn_query(c, Q_PIPELINE_NEWEST, &id, &newest, err)) return false;
    struct version_rec last;
    read_version(newest, 0, ap->a, &last);
    if (!str_eq(last.digest, ap->text->digest) || !str_eq(last.bundle_digest, ap->bundle_digest))
        return add_version(c, ap, pipeline_id, err);
    *ap->out = last;
    return true;
}

bool pipelines_apply(struct conn *c, const struct scope *scope, struct str name, struct str description,
                     const struct plan_text *text, struct str bundle_digest, struct arena *a, struct version_rec *out,
                     bool *changed, struct err *err)
{
    struct version_rec version;
    struct apply ap = {scope, name, description, bundle_digest, text, a, &version, false};
    if (!conn_tx(c, apply_tx, &ap, err)) return false;
    *out = version;
    *changed = ap.changed;
    return true;
}

/* ---- look-ups ---- */

static bool not_found(struct conn *c, int64_t project_id, struct str name, struct arena *a, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "there is no pipeline '%.*s'", STR_ARG(name));
    struct params p;
    params_init(&p, a);
    params_int(&p, project_id);
    RESULT_AUTO res = NULL;
    struct err ignored;
    if (!conn_query(c, Q_PIPELINE_NAMES, &p, &res, &ignored)) return false;
    size_t n = (size_t)PQntuples(res);
    struct str *names = arena_array(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        names[i] = row_str(res, (int)i, 0);
    struct str near = suggest(name, names, n);
    return near.n ? err_hint(err, "did you mean '%.*s'?", STR_ARG(near)) : false;
}

void pipelines_read(const PGresult *res, int row, struct arena *a, struct pipeline_rec *out)
{
    *out = (struct pipeline_rec){.id = row_int(res, row, 0),
                                 .name = row_copy(res, row, 1, a),
                                 .description = row_copy(res, row, 2, a),
                                 .latest_version = (int32_t)row_int(res, row, 3),
                                 .created_us = row_time(res, row, 4),
                                 .updated_us = row_time(res, row, 5),
                                 .created_by = row_copy(res, row, 6, a)};
}

bool pipelines_get(struct conn *c, int64_t project_id, struct str name, struct arena *a, struct pipeline_rec *out,
                   struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, project_id);
    params_str(&p, name);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PIPELINE_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return not_found(c, project_id, name, a, err);
    pipelines_read(res, 0, a, out);
    return true;
}

bool pipelines_version(struct conn *c, int64_t project_id, struct str name, int32_t version, struct arena *a,
                       struct version_rec *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, project_id);
    params_str(&p, name);
    params_id(&p, version);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PIPELINE_VERSION_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0) {
        struct pipeline_rec it = {0};
        if (!pipelines_get(c, project_id, name, a, &it, err)) return false;
        err_set(err, ERR_NOT_FOUND, "pipeline '%.*s' has no version %d", STR_ARG(name), version);
        return err_hint(err, "its latest is %d", it.latest_version);
    }
    read_version(res, 0, a, out);
    return true;
}

bool pipelines_versions(struct conn *c, int64_t project_id, struct str name, int32_t before, uint32_t limit,
                        struct arena *a, struct version_rec **out, size_t *n, struct err *err)
{
    struct pipeline_rec it;
    if (!pipelines_get(c, project_id, name, a, &it, err)) return false;
    struct params p;
    params_init(&p, a);
    params_int(&p, project_id);
    params_str(&p, name);
    params_id(&p, before);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PIPELINE_VERSIONS, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct version_rec *rows = arena_array(a, struct version_rec, count + 1);
    for (size_t i = 0; i < count; i++)
        read_version(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}

bool pipelines_delete(struct conn *c, int64_t project_id, struct str name, int32_t version, struct err *err)
{
    struct arena a;
    struct pipeline_rec now = {0};
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, project_id);
    params_str(&p, name);
    if (version > 0)
        params_int(&p, version);
    else
        params_null(&p);
    int64_t n = 0;
    bool ok = conn_exec(c, Q_PIPELINE_DELETE, &p, &n, err);
    if (ok && n == 0)
        ok = pipelines_get(c, project_id, name, &a, &now, err) &&
             err_set(err, ERR_PRECONDITION, "the pipeline's newest version is %d", now.latest_version);
    arena_free(&a);
    return ok;
}
