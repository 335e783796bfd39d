/* Artifacts, blobs and lineage. Lists with filters are in artifacts_list.c. */
#include "engine/store/artifacts.h"

#include "engine/store/artifacts_read.h"

bool artifacts_create(struct conn *c, const struct scope *scope, const struct artifact_new *artifact, int64_t *id,
                      struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, scope->project_id);
    params_str(&p, scope->actor);
    params_id(&p, artifact->run_id);
    if (artifact->run_id) {
        params_int(&p, artifact->task);
        params_int(&p, artifact->attempt);
    } else {
        params_null(&p);
        params_null(&p);
    }
    params_str(&p, artifact->name);
    params_str(&p, artifact->type);
    params_str(&p, artifact->digest);
    params_int(&p, artifact->size);
    params_str(&p, artifact->metadata.n ? artifact->metadata : STR("{}"));
    RESULT_AUTO res = NULL;
    bool ok = conn_query(c, Q_ARTIFACT_CREATE, &p, &res, err);
    if (ok) *id = row_int(res, 0, 0);
    arena_free(&a);
    return ok;
}

void artifacts_read(const PGresult *res, int row, struct arena *a, struct artifact_rec *out)
{
    *out = (struct artifact_rec){
        .id = row_int(res, row, 0),
        .project_id = row_int(res, row, 1),
        .run_id = row_int(res, row, 2),
        .task = (int32_t)row_int_or(res, row, 3, -1),
        .attempt = (int32_t)row_int(res, row, 4),
        .name = row_copy(res, row, 5, a),
        .type = row_copy(res, row, 6, a),
        .digest = row_copy(res, row, 7, a),
        .size = row_int(res, row, 8),
        .metadata = row_copy(res, row, 9, a),
        .created_us = row_time(res, row, 10),
        .created_by = row_copy(res, row, 11, a),
    };
}

bool artifacts_get(struct conn *c, int64_t project_id, int64_t id, struct arena *a, struct artifact_rec *out,
                   struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, id);
    params_int(&p, project_id);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_ARTIFACT_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return err_set(err, ERR_NOT_FOUND, "there is no artifact %lld", (long long)id);
    artifacts_read(res, 0, a, out);
    return true;
}

bool artifacts_folder(struct conn *c, int64_t project_id, struct str digest, bool *folder, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, project_id);
    params_str(&p, digest);
    RESULT_AUTO res = NULL;
    bool ok = conn_query(c, Q_ARTIFACT_FOLDER, &p, &res, err);
    if (ok) *folder = row_bool(res, 0, 0);
    arena_free(&a);
    return ok;
}

bool artifacts_of_run(struct conn *c, int64_t run_id, int32_t task, int64_t after_id, uint32_t limit, struct arena *a,
                      struct artifact_rec **out, size_t *n, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, task);
    params_int(&p, after_id);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_ARTIFACT_OF_RUN, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct artifact_rec *rows = arena_array(a, struct artifact_rec, count + 1);
    for (size_t i = 0; i < count; i++)
        artifacts_read(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}

static void read_uses(const PGresult *res, struct arena *a, struct artifact_use **out, size_t *n)
{
    size_t count = (size_t)PQntuples(res);
    struct artifact_use *rows = arena_array(a, struct artifact_use, count + 1);
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        rows[i] = (struct artifact_use){
            .run_id = row_int(res, row, 0),
            .task = (int32_t)row_int(res, row, 1),
            .attempt = (int32_t)row_int(res, row, 2),
            .input = row_copy(res, row, 3, a),
            .digest = row_copy(res, row, 4, a),
            .run_name = row_copy(res, row, 5, a),
            .path = row_copy(res, row, 6, a),
        };
    }
    *out = rows;
    *n = count;
}

bool artifacts_used_by(struct conn *c, int64_t project_id, struct str digest, uint32_t limit, struct arena *a,
                       struct artifact_use **out, size_t *n, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, project_id);
    params_str(&p, digest);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_ARTIFACT_USED_BY, &p, &res, err)) return false;
    read_uses(res, a, out, n);
    return true;
}

bool blobs_put(struct conn *c, const struct scope *scope, struct str digest, int64_t size, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, scope->project_id);
    params_str(&p, digest);
    params_int(&p, size);
    params_str(&p, scope->actor);
    bool ok = conn_exec(c, Q_BLOB_PUT, &p, NULL, err);
    arena_free(&a);
    return ok;
}

static bool no_blob(struct str digest, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "the project has no blob %.*s", STR_ARG(digest));
}

bool blobs_keep(struct conn *c, int64_t project_id, struct str digest, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, project_id);
    params_str(&p, digest);
    int64_t n = 0;
    bool ok = conn_exec(c, Q_BLOB_KEEP, &p, &n, err);
    arena_free(&a);
    return ok && (n == 1 || no_blob(digest, err));
}

bool blobs_get(struct conn *c, int64_t project_id, struct str digest, int64_t *size, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, project_id);
    params_str(&p, digest);
    RESULT_AUTO res = NULL;
    bool ok = conn_query(c, Q_BLOB_GET, &p, &res, err);
    arena_free(&a);
    if (!ok) return false;
    if (PQntuples(res) == 0) return no_blob(digest, err);
    if (size) *size = row_int(res, 0, 0);
    return true;
}

bool blobs_newest(struct conn *c, uint32_t limit, struct arena *a, struct str **out, size_t *n, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_BLOBS_NEWEST, &p, &res, err)) return false;
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, struct str, *n);
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = row_copy(res, (int)i, 0, a);
    return true;
}
