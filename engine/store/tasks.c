/* Tasks, attempts and frames of a run, read. */
#include "engine/store/tasks.h"

static void read_task(const PGresult *res, int row, struct arena *a, struct task_rec *out)
{
    *out = (struct task_rec){
        .run_id = row_int(res, row, 0),
        .task = (int32_t)row_int(res, row, 1),
        .frame = (int32_t)row_int(res, row, 2),
        .path = row_copy(res, row, 3, a),
        .state = (enum task_state)row_int(res, row, 4),
        .attempt = (int32_t)row_int(res, row, 5),
        .failures = (int32_t)row_int(res, row, 6),
        .free_failures = (int32_t)row_int(res, row, 7),
        .reason = (enum reason)row_int(res, row, 8),
        .message = row_copy(res, row, 9, a),
        .exit_code = (int32_t)row_int_or(res, row, 10, -1),
        .due_us = row_time(res, row, 11),
        .executor = row_copy(res, row, 12, a),
        .outputs = row_copy(res, row, 13, a),
        .started_us = row_time(res, row, 14),
        .ended_us = row_time(res, row, 15),
        .log_bytes = row_int(res, row, 16),
        .memory_bytes = row_int(res, row, 17),
    };
}

bool tasks_list(struct conn *c, int64_t run_id, int32_t after, uint32_t states, uint32_t limit, struct arena *a,
                struct task_rec **out, size_t *n, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, after);
    params_int(&p, states);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TASK_LIST, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct task_rec *rows = arena_array(a, struct task_rec, count + 1);
    for (size_t i = 0; i < count; i++)
        read_task(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}

bool tasks_get(struct conn *c, int64_t run_id, int32_t task, struct arena *a, struct task_rec *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, task);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TASK_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0)
        return err_set(err, ERR_NOT_FOUND, "run %lld has no task %d that has begun", (long long)run_id, task);
    read_task(res, 0, a, out);
    return true;
}

bool tasks_find(struct conn *c, int64_t run_id, struct str path, struct arena *a, struct task_rec *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_str(&p, path);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TASK_FIND, &p, &res, err)) return false;
    if (PQntuples(res) == 0)
        return err_set(err, ERR_NOT_FOUND, "run %lld has no task '%.*s' that has begun", (long long)run_id,
                       STR_ARG(path));
    read_task(res, 0, a, out);
    return true;
}

bool tasks_attempts(struct conn *c, int64_t run_id, int32_t task, struct arena *a, struct attempt_rec **out, size_t *n,
                    struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, task);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TASK_ATTEMPTS, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct attempt_rec *rows = arena_array(a, struct attempt_rec, count + 1);
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        rows[i] = (struct attempt_rec){
            .task = (int32_t)row_int(res, row, 0),
            .attempt = (int32_t)row_int(res, row, 1),
            .state = (enum task_state)row_int(res, row, 2),
            .reason = (enum reason)row_int(res, row, 3),
            .message = row_copy(res, row, 4, a),
            .exit_code = (int32_t)row_int_or(res, row, 5, -1),
            .executor = row_copy(res, row, 6, a),
            .bundle_digest = row_copy(res, row, 7, a),
            .started_us = row_time(res, row, 8),
            .ended_us = row_time(res, row, 9),
            .log_bytes = row_int(res, row, 10),
            .memory_bytes = row_int(res, row, 11),
        };
    }
    *out = rows;
    *n = count;
    return true;
}

bool tasks_frames(struct conn *c, int64_t run_id, int32_t after, uint32_t limit, struct arena *a,
                  struct frame_rec **out, size_t *n, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, after);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_TASK_FRAMES, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct frame_rec *rows = arena_array(a, struct frame_rec, count + 1);
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        rows[i] = (struct frame_rec){
            .frame = (int32_t)row_int(res, row, 0),
            .parent_task = (int32_t)row_int(res, row, 1),
            .kind = (int32_t)row_int(res, row, 2),
            .graph = (int32_t)row_int(res, row, 3),
            .first_task = (int32_t)row_int(res, row, 4),
            .n = (int32_t)row_int(res, row, 5),
            .items = row_copy(res, row, 6, a),
            .inputs = row_copy(res, row, 7, a),
            .opened_us = row_time(res, row, 8),
        };
    }
    *out = rows;
    *n = count;
    return true;
}
