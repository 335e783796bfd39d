/* The index of logs. */
#include "engine/store/logs.h"

bool logs_add(struct conn *c, const struct scope *scope, const struct log_chunk *chunk, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, chunk->run_id);
    params_int(&p, chunk->task);
    params_int(&p, chunk->attempt);
    params_int(&p, chunk->seq);
    params_int(&p, scope->project_id);
    params_str(&p, scope->actor);
    params_int(&p, chunk->start);
    params_int(&p, chunk->length);
    params_time(&p, chunk->at_us);
    bool ok = conn_exec(c, Q_LOG_ADD, &p, NULL, err);
    arena_free(&a);
    return ok;
}

bool logs_size(struct conn *c, int64_t run_id, int32_t task, int32_t attempt, int64_t *bytes, bool *ended,
               struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct params p;
    params_init(&p, &a);
    params_int(&p, run_id);
    params_int(&p, task);
    params_int(&p, attempt);
    RESULT_AUTO res = NULL;
    bool ok = conn_query(c, Q_LOG_SIZE, &p, &res, err);
    arena_free(&a);
    if (!ok) return false;
    *bytes = row_int(res, 0, 0);
    *ended = row_bool(res, 0, 1);
    return true;
}

bool logs_list(struct conn *c, int64_t run_id, int32_t task, int32_t attempt, int64_t from, uint32_t limit,
               struct arena *a, struct log_chunk **out, size_t *n, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, task);
    params_int(&p, attempt);
    params_int(&p, from);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_LOG_LIST, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct log_chunk *rows = arena_array(a, struct log_chunk, count + 1);
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        rows[i] = (struct log_chunk){.run_id = run_id,
                                     .task = task,
                                     .attempt = attempt,
                                     .seq = (int32_t)row_int(res, row, 0),
                                     .start = row_int(res, row, 1),
                                     .length = (int32_t)row_int(res, row, 2),
                                     .at_us = row_time(res, row, 3)};
    }
    *out = rows;
    *n = count;
    return true;
}
