/* What people are shown of the queue for GPUs. See queues.h. */
#include "engine/store/queues.h"

bool queues_usage(struct conn *c, struct arena *a, struct queue_use **out, size_t *n, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_QUEUE_USAGE, NULL, &res, err)) return false;
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, struct queue_use, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        int row = (int)i;
        (*out)[i] = (struct queue_use){.queue = row_copy(res, row, 0, a),
                                       .flavor = row_copy(res, row, 1, a),
                                       .waiting = row_int(res, row, 2),
                                       .running = row_int(res, row, 3),
                                       .gpu = row_int(res, row, 4),
                                       .cpu = row_int(res, row, 5),
                                       .memory = row_int(res, row, 6),
                                       .handed = row_int(res, row, 7)};
    }
    return true;
}

static struct queue_work work_of(const PGresult *res, int row, struct arena *a)
{
    return (struct queue_work){.run_id = row_int(res, row, 0),
                               .task = (int32_t)row_int(res, row, 1),
                               .attempt = (int32_t)row_int(res, row, 2),
                               .path = row_copy(res, row, 3, a),
                               .queue = row_copy(res, row, 4, a),
                               .flavor = row_copy(res, row, 5, a),
                               .gpu = (int32_t)row_int(res, row, 6),
                               .pods = (int32_t)row_int(res, row, 7),
                               .cpu = row_int(res, row, 8),
                               .memory = row_int(res, row, 9),
                               .priority = (int32_t)row_int(res, row, 10),
                               .submitted_us = row_time(res, row, 11),
                               .state = (int32_t)row_int(res, row, 12),
                               .reason = row_copy(res, row, 13, a),
                               .why = row_copy(res, row, 14, a),
                               .waiting = row_copy(res, row, 15, a),
                               .got = row_copy(res, row, 16, a),
                               .nodes = row_copy(res, row, 17, a),
                               .admitted_us = row_time(res, row, 18),
                               .position = row_int(res, row, 19),
                               .of = row_int(res, row, 20),
                               .project = row_copy(res, row, 21, a),
                               .domain = row_copy(res, row, 22, a),
                               .project_id = row_int(res, row, 23),
                               .handed = row_bool(res, row, 24)};
}

static void works_of(const PGresult *res, struct arena *a, struct queue_work **out, size_t *n)
{
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, struct queue_work, *n + 1);
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = work_of(res, (int)i, a);
}

bool queues_works(struct conn *c, struct str queue, int64_t project, uint32_t limit, struct arena *a,
                  struct queue_work **out, size_t *n, struct err *err)
{
    struct params p;
    RESULT_AUTO res = NULL;
    params_init(&p, a);
    params_str(&p, queue);
    params_int(&p, project);
    params_int(&p, limit);
    if (!conn_query(c, Q_QUEUE_WORKS, &p, &res, err)) return false;
    works_of(res, a, out, n);
    return true;
}

bool queues_holders(struct conn *c, struct arena *a, struct queue_work **out, size_t *n, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_QUEUE_HOLDERS, NULL, &res, err)) return false;
    works_of(res, a, out, n);
    return true;
}

bool queues_outside(struct conn *c, struct arena *a, struct queue_work *works, size_t n, struct err *err)
{
    struct params p;
    RESULT_AUTO res = NULL;
    int64_t *runs = arena_array(a, int64_t, n + 1), *tasks = arena_array(a, int64_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        runs[i] = works[i].run_id;
        tasks[i] = works[i].task;
    }
    params_init(&p, a);
    params_ints(&p, runs, n);
    params_ints(&p, tasks, n);
    if (n > 0 && !conn_query(c, Q_QUEUE_OUTSIDE, &p, &res, err)) return false;
    for (int i = 0; n > 0 && i < PQntuples(res); i++) {
        struct queue_work *w = &works[row_int(res, i, 0) - 1];
        w->path = row_copy(res, i, 1, a);
        w->project = row_copy(res, i, 2, a);
        w->project_id = row_int(res, i, 3);
    }
    return true;
}

bool queues_waiting_of_run(struct conn *c, int64_t run_id, uint32_t limit, struct arena *a, struct queue_wait **out,
                           size_t *n, struct err *err)
{
    struct params p;
    RESULT_AUTO res = NULL;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, limit);
    if (!conn_query(c, Q_QUEUE_WAITING_OF_RUN, &p, &res, err)) return false;
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, struct queue_wait, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        int row = (int)i;
        struct str text = row_str(res, row, 1), queue = row_str(res, row, 4);
        if (text.n == 0) text = arena_printf(a, "waits in queue %.*s", STR_ARG(queue));
        (*out)[i] =
            (struct queue_wait){.task = (int32_t)row_int(res, row, 0),
                                .text = arena_printf(a, "%.*s; position %lld of %lld", STR_ARG(text),
                                                     (long long)row_int(res, row, 2), (long long)row_int(res, row, 3))};
    }
    return true;
}

bool queues_placers(struct conn *c, struct arena *a, struct placer_seen **out, size_t *n, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PLACER_NODES, NULL, &res, err)) return false;
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, struct placer_seen, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        int row = (int)i;
        (*out)[i] = (struct placer_seen){.domain = row_copy(res, row, 0, a),
                                         .trouble = row_copy(res, row, 1, a),
                                         .nodes = row_copy(res, row, 2, a),
                                         .nodes_us = row_time(res, row, 3),
                                         .owner = row_copy(res, row, 4, a)};
    }
    return true;
}
