/* The placer's statements. See placing.h. */
#include "engine/store/placing.h"

#include "engine/store/queues.h"

/* One column of an array of records. */
#define COLUMN(p, items, n, field)                                                                                     \
    do {                                                                                                               \
        int64_t *column = arena_array((p)->arena, int64_t, (n) + 1);                                                   \
        for (size_t row_ = 0; row_ < (n); row_++)                                                                      \
            column[row_] = (items)[row_].field;                                                                        \
        params_ints(p, column, n);                                                                                     \
    } while (0)
#define TEXTS(p, items, n, field)                                                                                      \
    do {                                                                                                               \
        struct str *column = arena_array((p)->arena, struct str, (n) + 1);                                             \
        for (size_t row_ = 0; row_ < (n); row_++)                                                                      \
            column[row_] = (items)[row_].field;                                                                        \
        params_strs(p, column, n);                                                                                     \
    } while (0)

/* The first column of the answer counts them from 1. */
#define WON(res, items, n)                                                                                             \
    do {                                                                                                               \
        for (size_t row_ = 0; row_ < (n); row_++)                                                                      \
            (items)[row_].won = false;                                                                                 \
        for (int row_ = 0; row_ < PQntuples(res); row_++)                                                              \
            (items)[row_int(res, row_, 0) - 1].won = true;                                                             \
    } while (0)

/* ---- the lease ---- */

static bool try_lock(struct conn *c, const struct params *p, bool *got, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PLACER_LOCK, p, &res, err)) return false;
    *got = row_bool(res, 0, 0);
    return true;
}

bool placing_lease(struct conn *c, struct placing_lease *lease, struct str owner, int64_t stuck_us, struct err *err)
{
    struct arena a;
    struct params p, stuck, own;
    bool got = false;
    arena_init(&a, 0);
    params_init(&p, &a);
    params_str(&p, lease->domain);
    params_init(&stuck, &a);
    params_str(&stuck, lease->domain);
    params_int(&stuck, stuck_us);
    params_init(&own, &a);
    params_str(&own, lease->domain);
    params_str(&own, owner);
    RESULT_AUTO ended = NULL;
    RESULT_AUTO res = NULL;
    bool ok = try_lock(c, &p, &got, err);
    if (ok && !got) ok = conn_query(c, Q_PLACER_STUCK, &stuck, &ended, err); /* its lock is free by the next try */
    if (ok && got) ok = conn_query(c, Q_PLACER_OWN, &own, &res, err);
    if (ok && got) lease->epoch = row_int(res, 0, 0);
    arena_free(&a);
    return ok;
}

/* ---- reading ---- */

static struct placing_row row_of(const PGresult *res, int i, struct arena *a)
{
    return (struct placing_row){.id = row_int(res, i, 0),
                                .run_id = row_int(res, i, 1),
                                .task = (int32_t)row_int(res, i, 2),
                                .attempt = (int32_t)row_int(res, i, 3),
                                .path = row_copy(res, i, 4, a),
                                .queue = row_copy(res, i, 5, a),
                                .flavor = row_copy(res, i, 6, a),
                                .gpu = (int32_t)row_int(res, i, 7),
                                .pods = (int32_t)row_int(res, i, 8),
                                .cpu = row_int(res, i, 9),
                                .memory = row_int(res, i, 10),
                                .priority = (int32_t)row_int(res, i, 11),
                                .submitted_us = row_time(res, i, 12),
                                .state = (int32_t)row_int(res, i, 13),
                                .got = row_copy(res, i, 14, a),
                                .nodes = row_copy(res, i, 15, a),
                                .admitted_us = row_time(res, i, 16),
                                .by = row_int(res, i, 17),
                                .on_nodes = row_copy(res, i, 18, a),
                                .timeout_ms = row_int(res, i, 19),
                                .pin = row_copy(res, i, 20, a)};
}

static void rows_of(const PGresult *res, struct arena *a, struct placing_row **out, size_t *n)
{
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, struct placing_row, *n + 1);
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = row_of(res, (int)i, a);
}

bool placing_read(struct conn *c, const struct placing_lease *lease, bool all, struct arena *a,
                  struct placing_row **out, size_t *n, struct err *err)
{
    struct params p;
    RESULT_AUTO res = NULL;
    params_init(&p, a);
    params_str(&p, lease->domain);
    if (!conn_query(c, all ? Q_PLACER_ALL : Q_PLACER_NEWS, &p, &res, err)) return false;
    rows_of(res, a, out, n);
    return true;
}

bool placing_look(struct conn *c, const struct placing_lease *lease, const int64_t *ids, size_t n_ids, struct arena *a,
                  struct placing_row **out, size_t *n, struct err *err)
{
    struct params p;
    RESULT_AUTO res = NULL;
    params_init(&p, a);
    params_str(&p, lease->domain);
    params_ints(&p, ids, n_ids);
    if (!conn_query(c, Q_PLACER_LOOK, &p, &res, err)) return false;
    rows_of(res, a, out, n);
    return true;
}

bool placing_ids(struct conn *c, const struct placing_lease *lease, struct arena *a, int64_t **out, size_t *n,
                 struct err *err)
{
    struct params p;
    RESULT_AUTO res = NULL;
    params_init(&p, a);
    params_str(&p, lease->domain);
    if (!conn_query(c, Q_PLACER_IDS, &p, &res, err)) return false;
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, int64_t, *n + 1);
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = row_int(res, (int)i, 0);
    return true;
}

/* ---- writing ---- */

struct writing {
    const struct placing_lease *lease;
    const struct placing_answers *answers;
    struct arena *arena;
};

static bool fence(struct conn *c, const struct placing_lease *lease, struct arena *a, struct err *err)
{
    struct params p;
    RESULT_AUTO res = NULL;
    params_init(&p, a);
    params_str(&p, lease->domain);
    params_int(&p, lease->epoch);
    if (conn_query(c, Q_PLACER_FENCE, &p, &res, err)) return true;
    return err->code != ERR_UNAVAILABLE ? err_set(err, ERR_STALE, "another placer decides now") : false;
}

static bool write_heard(struct conn *c, const struct writing *w, struct err *err)
{
    const struct placing_answers *x = w->answers;
    struct params p, over;
    if (x->n_heard == 0) return true;
    params_init(&p, w->arena);
    params_init(&over, w->arena);
    COLUMN(&p, x->heard, x->n_heard, id);
    COLUMN(&p, x->heard, x->n_heard, attempt);
    COLUMN(&p, x->heard, x->n_heard, state);
    params_str(&p, w->lease->domain);
    struct placing_heard *gone = arena_array(w->arena, struct placing_heard, x->n_heard);
    size_t n = 0;
    for (size_t i = 0; i < x->n_heard; i++)
        if (x->heard[i].state == QUEUE_OVER) gone[n++] = x->heard[i];
    COLUMN(&over, gone, n, id);
    COLUMN(&over, gone, n, attempt);
    params_str(&over, w->lease->domain);
    return conn_exec(c, Q_PLACER_HEARD, &p, NULL, err) && (n == 0 || conn_exec(c, Q_PLACER_OVER, &over, NULL, err));
}

static bool write_admits(struct conn *c, const struct writing *w, struct err *err)
{
    const struct placing_answers *x = w->answers;
    struct params p;
    RESULT_AUTO res = NULL;
    if (x->n_admits == 0) return true;
    params_init(&p, w->arena);
    COLUMN(&p, x->admits, x->n_admits, id);
    COLUMN(&p, x->admits, x->n_admits, attempt);
    TEXTS(&p, x->admits, x->n_admits, flavor);
    TEXTS(&p, x->admits, x->n_admits, pin);
    TEXTS(&p, x->admits, x->n_admits, nodes);
    params_str(&p, w->lease->domain);
    if (!conn_query(c, Q_PLACER_ADMIT, &p, &res, err)) return false;
    WON(res, x->admits, x->n_admits);
    return true;
}

static bool write_victims(struct conn *c, const struct writing *w, struct err *err)
{
    const struct placing_answers *x = w->answers;
    struct params p;
    RESULT_AUTO res = NULL;
    if (x->n_victims == 0) return true;
    params_init(&p, w->arena);
    COLUMN(&p, x->victims, x->n_victims, id);
    COLUMN(&p, x->victims, x->n_victims, attempt);
    COLUMN(&p, x->victims, x->n_victims, by);
    TEXTS(&p, x->victims, x->n_victims, by_text);
    params_str(&p, w->lease->domain);
    if (!conn_query(c, Q_PLACER_PREEMPT, &p, &res, err)) return false;
    WON(res, x->victims, x->n_victims);
    return true;
}

static bool write_whys(struct conn *c, const struct writing *w, struct err *err)
{
    const struct placing_answers *x = w->answers;
    struct params p;
    RESULT_AUTO res = NULL;
    if (x->n_whys == 0) return true;
    params_init(&p, w->arena);
    COLUMN(&p, x->whys, x->n_whys, id);
    COLUMN(&p, x->whys, x->n_whys, attempt);
    TEXTS(&p, x->whys, x->n_whys, reason);
    TEXTS(&p, x->whys, x->n_whys, why);
    TEXTS(&p, x->whys, x->n_whys, text);
    params_str(&p, w->lease->domain);
    if (!conn_query(c, Q_PLACER_WHY, &p, &res, err)) return false;
    WON(res, x->whys, x->n_whys);
    return true;
}

static bool write_moved(struct conn *c, const struct writing *w, struct err *err)
{
    const struct placing_answers *x = w->answers;
    struct params p;
    RESULT_AUTO res = NULL;
    if (x->n_moved == 0) return true;
    params_init(&p, w->arena);
    COLUMN(&p, x->moved, x->n_moved, id);
    COLUMN(&p, x->moved, x->n_moved, attempt);
    TEXTS(&p, x->moved, x->n_moved, nodes);
    params_str(&p, w->lease->domain);
    if (!conn_query(c, Q_PLACER_MOVED, &p, &res, err)) return false;
    WON(res, x->moved, x->n_moved);
    return true;
}

static bool write_tx(struct conn *c, void *ctx, struct err *err)
{
    const struct writing *w = ctx;
    return fence(c, w->lease, w->arena, err) && write_heard(c, w, err) && write_admits(c, w, err) &&
           write_victims(c, w, err) && write_whys(c, w, err) && write_moved(c, w, err);
}

bool placing_write(struct conn *c, const struct placing_lease *lease, const struct placing_answers *answers,
                   struct arena *a, struct err *err)
{
    struct writing w = {lease, answers, a};
    return conn_tx(c, write_tx, &w, err);
}

/* ---- for people, and for order ---- */

struct showing {
    const struct placing_lease *lease;
    struct str nodes, trouble;
    bool sweep;
    struct arena *arena;
};

static bool show_tx(struct conn *c, void *ctx, struct err *err)
{
    const struct showing *s = ctx;
    struct params p;
    params_init(&p, s->arena);
    params_str(&p, s->lease->domain);
    if (!fence(c, s->lease, s->arena, err)) return false;
    if (s->sweep) return conn_exec(c, Q_PLACER_SWEEP, &p, NULL, err);
    params_str_or_null(&p, s->nodes);
    params_str_or_null(&p, s->trouble);
    return conn_exec(c, Q_PLACER_SHOW, &p, NULL, err);
}

bool placing_show(struct conn *c, const struct placing_lease *lease, struct str nodes, struct str trouble,
                  struct arena *a, struct err *err)
{
    struct showing s = {.lease = lease, .nodes = nodes, .trouble = trouble, .arena = a};
    return conn_tx(c, show_tx, &s, err);
}

bool placing_sweep(struct conn *c, const struct placing_lease *lease, struct arena *a, struct err *err)
{
    struct showing s = {.lease = lease, .sweep = true, .arena = a};
    return conn_tx(c, show_tx, &s, err);
}
