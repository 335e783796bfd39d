/* Unfinished uploads. */
#include "engine/store/uploads.h"

#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/store/artifacts.h"

static void read_upload(const PGresult *res, struct arena *a, struct upload_rec *out)
{
    *out = (struct upload_rec){.id = row_copy(res, 0, 0, a),
                               .project_id = row_int(res, 0, 1),
                               .digest = row_copy(res, 0, 2, a),
                               .size = row_int(res, 0, 3),
                               .created_us = row_time(res, 0, 4),
                               .touched_us = row_time(res, 0, 5),
                               .created_by = row_copy(res, 0, 6, a)};
}

bool uploads_create(struct conn *c, const struct scope *scope, struct str digest, int64_t size, struct arena *a,
                    struct upload_rec *out, struct err *err)
{
    unsigned char random[16];
    char id[2 * sizeof random + 1];
    os_random(random, sizeof random);
    digest_hex(random, sizeof random, id);
    struct params p, fresh;
    params_init(&p, a);
    params_int(&p, scope->project_id);
    params_str(&p, digest);
    params_int(&p, size);
    params_str(&p, scope->actor);
    params_init(&fresh, a);
    params_str(&fresh, str_of(id));
    params_int(&fresh, scope->project_id);
    params_str(&fresh, digest);
    params_int(&fresh, size);
    params_str(&fresh, scope->actor);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_UPLOAD_TAKE_UP, &p, &res, err)) return false;
    if (PQntuples(res) == 0) {
        result_cleanup(&res);
        if (!conn_query(c, Q_UPLOAD_CREATE, &fresh, &res, err)) return false;
    }
    read_upload(res, a, out);
    return true;
}

static bool unknown(struct str id, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "there is no upload '%.*s'", STR_ARG(id));
    return err_hint(err, "begin a new one; unfinished ones are kept for a day");
}

bool uploads_get(struct conn *c, int64_t project_id, struct str id, struct arena *a, struct upload_rec *out,
                 struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_str(&p, id);
    params_int(&p, project_id);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_UPLOAD_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return unknown(id, err);
    read_upload(res, a, out);
    return true;
}

bool uploads_touch(struct conn *c, struct str id, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_str(&p, id);
    bool ok = conn_exec(c, Q_UPLOAD_TOUCH, &p, NULL, err);
    arena_free(&a);
    return ok;
}

bool uploads_delete(struct conn *c, int64_t project_id, struct str id, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_str(&p, id);
    params_int(&p, project_id);
    int64_t n = 0;
    bool ok = conn_exec(c, Q_UPLOAD_DELETE, &p, &n, err);
    if (ok && n == 0) ok = unknown(id, err);
    arena_free(&a);
    return ok;
}

bool uploads_finish(struct conn *c, const struct scope *scope, struct str id, struct str digest, int64_t size,
                    struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_str(&p, id);
    int64_t n = 0;
    bool ok = conn_begin(c, err);
    bool begun = ok;
    ok = ok && blobs_put(c, scope, digest, size, err) && conn_exec(c, Q_UPLOAD_TOUCH, &p, &n, err);
    if (ok && n == 0) ok = unknown(id, err);
    if (begun && ok)
        ok = conn_commit(c, err);
    else if (begun)
        conn_rollback(c);
    arena_free(&a);
    return ok;
}
