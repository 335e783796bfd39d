/* The history of a run, read. */
#include "engine/store/events.h"

bool events_list(struct conn *c, int64_t run_id, int32_t after, uint32_t limit, struct arena *a, struct event_rec **out,
                 size_t *n, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, run_id);
    params_int(&p, after);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_EVENT_LIST, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct event_rec *rows = arena_array(a, struct event_rec, count + 1);
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        rows[i] = (struct event_rec){
            .seq = (int32_t)row_int(res, row, 0),
            .kind = (int32_t)row_int(res, row, 1),
            .task = (int32_t)row_int_or(res, row, 2, -1),
            .attempt = (int32_t)row_int(res, row, 3),
            .at_us = row_time(res, row, 4),
            .path = row_copy(res, row, 5, a),
            .detail = row_copy(res, row, 6, a),
        };
    }
    *out = rows;
    *n = count;
    return true;
}
