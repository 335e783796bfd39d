/* Stored answers to creates. */
#include "engine/store/idempotency.h"

bool idempotency_begin(struct conn *c, const struct scope *scope, struct str key, struct str request_hash,
                       struct arena *a, bool *found, struct stored_answer *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, scope->project_id);
    params_str(&p, key);
    RESULT_AUTO res = NULL;
    if (!conn_exec(c, Q_IDEMPOTENCY_LOCK, &p, NULL, err) || !conn_query(c, Q_IDEMPOTENCY_GET, &p, &res, err))
        return false;
    if (PQntuples(res) == 0) {
        *found = false;
        return true;
    }
    if (!str_eq(row_str(res, 0, 0), request_hash)) {
        err_set(err, ERR_CONFLICT, "the Idempotency-Key was used for another request");
        return err_hint(err, "choose a new key for a new request");
    }
    *found = true;
    *out = (struct stored_answer){
        .status = (int32_t)row_int(res, 0, 1), .location = row_copy(res, 0, 2, a), .body = row_copy(res, 0, 3, a)};
    return true;
}

bool idempotency_store(struct conn *c, const struct scope *scope, struct str key, struct str request_hash,
                       const struct stored_answer *answer, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, scope->project_id);
    params_str(&p, key);
    params_str(&p, scope->actor);
    params_str(&p, request_hash);
    params_int(&p, answer->status);
    params_str_or_null(&p, answer->location);
    params_str(&p, answer->body);
    bool ok = conn_exec(c, Q_IDEMPOTENCY_PUT, &p, NULL, err);
    arena_free(&a);
    return ok;
}
