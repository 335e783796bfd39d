/* Tokens by their hash. */
#include "engine/store/tokens.h"

static void read_token(const PGresult *res, int row, struct arena *a, struct token_rec *out)
{
    *out = (struct token_rec){.id = row_int(res, row, 0),
                              .project_id = row_int(res, row, 1),
                              .created_us = row_time(res, row, 2),
                              .expires_us = row_time(res, row, 3),
                              .name = row_copy(res, row, 4, a),
                              .role = row_copy(res, row, 5, a),
                              .project = row_copy(res, row, 6, a),
                              .created_by = row_copy(res, row, 7, a)};
}

bool tokens_find(struct conn *c, const unsigned char hash[DIGEST_BYTES], struct arena *a, struct token_rec *out,
                 struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_bytes(&p, hash, DIGEST_BYTES);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TOKEN_FIND, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return err_set(err, ERR_UNAUTHENTICATED, "the token is unknown or has expired");
    read_token(res, 0, a, out);
    return true;
}

bool tokens_create(struct conn *c, const unsigned char hash[DIGEST_BYTES], const struct token_rec *token, int64_t *id,
                   struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_bytes(&p, hash, DIGEST_BYTES);
    params_str(&p, token->name);
    params_str(&p, token->role);
    params_id(&p, token->project_id);
    params_str(&p, token->created_by);
    params_time(&p, token->expires_us);
    RESULT_AUTO res = NULL;
    bool ok = conn_query(c, Q_TOKEN_CREATE, &p, &res, err);
    if (ok) *id = row_int(res, 0, 0);
    arena_free(&a);
    return ok;
}

bool tokens_list(struct conn *c, int64_t after, uint32_t limit, struct arena *a, struct token_rec **out, size_t *n,
                 struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, after);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TOKEN_LIST, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct token_rec *rows = arena_array(a, struct token_rec, count + 1);
    for (size_t i = 0; i < count; i++)
        read_token(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}

bool tokens_delete(struct conn *c, int64_t id, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, id);
    int64_t n = 0, there = 0;
    bool ok = conn_exec(c, Q_TOKEN_DELETE, &p, &n, err);
    RESULT_AUTO res = NULL;
    if (ok && n == 0 && (ok = conn_query(c, Q_TOKEN_EXISTS, &p, &res, err))) there = row_int(res, 0, 0);
    arena_free(&a);
    if (!ok || n > 0) return ok;
    if (there == 0) return err_set(err, ERR_NOT_FOUND, "there is no token %lld", (long long)id);
    err_set(err, ERR_CONFLICT, "token %lld is the last administrator's token of all projects", (long long)id);
    return err_hint(err, "make another first: POST /api/v1/tokens with the role admin and no project");
}

bool tokens_admins(struct conn *c, int64_t *n, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TOKEN_ADMINS, NULL, &res, err)) return false;
    *n = row_int(res, 0, 0);
    return true;
}
