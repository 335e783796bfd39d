/* Code bundles of projects. */
#include "engine/store/bundles.h"

bool bundles_put(struct conn *c, const struct scope *scope, const struct bundle_made *made, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, scope->project_id);
    params_str(&p, made->digest);
    params_int(&p, made->size);
    params_int(&p, made->entries);
    params_str(&p, scope->actor);
    params_str(&p, made->code);
    bool ok = conn_exec(c, Q_BUNDLE_PUT, &p, NULL, err);
    arena_free(&a);
    return ok;
}

bool bundles_get(struct conn *c, int64_t project_id, struct str digest, struct arena *a, struct bundle_rec *out,
                 struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, project_id);
    params_str(&p, digest);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_BUNDLE_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0) {
        err_set(err, ERR_NOT_FOUND, "the project has no bundle %.*s", STR_ARG(digest));
        return err_hint(err, "upload it first");
    }
    *out = (struct bundle_rec){.digest = row_copy(res, 0, 0, a),
                               .size = row_int(res, 0, 1),
                               .entries = (int32_t)row_int(res, 0, 2),
                               .created_us = row_time(res, 0, 3),
                               .created_by = row_copy(res, 0, 4, a)};
    return true;
}
