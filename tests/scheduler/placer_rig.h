/* The placer on a real PostgreSQL, with nodes that the test invents. Rows of queue_work are written as owners of runs
 * write them. */
#ifndef MILLRACE_TESTS_SCHEDULER_PLACER_RIG_H
#define MILLRACE_TESTS_SCHEDULER_PLACER_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "scheduler/placer.h"
#include "tests/support/db.h"

#define PATIENCE_MS 20000
#define DOMAIN "test"

struct world {
    struct support_db db;
    _Atomic uint64_t generation, asked; /* asked: how often its nodes were */
    _Atomic uint32_t gpus[3], taken[3]; /* of its nodes */
    _Atomic uint32_t broken;            /* GPUs */
    _Atomic bool other_pool;            /* they are in b, not in a */
    pthread_mutex_t lock;               /* of what follows */
    struct placer_pod pods[2];
    size_t n_pods, on[2]; /* their nodes */
    struct placer *placer;
    int timeout_ms; /* of what is asked for */
};
static struct world world = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- nodes ---- */

static inline void nothing(void *self)
{
    (void)self;
}

static inline int no_fd(void *self)
{
    (void)self;
    return -1;
}

static inline bool known(void *self)
{
    const struct world *w = self;
    return w->generation > 0;
}

static inline uint64_t generation(void *self)
{
    const struct world *w = self;
    return w->generation;
}

static inline struct str no_trouble(void *self)
{
    (void)self;
    return STR("");
}

static inline size_t nodes(void *self, placer_counts_fn *counts, const void *ctx, struct arena *a,
                           struct queue_node **out)
{
    struct world *w = self;
    static const char *const names[] = {"n0", "n1", "n2"};
    struct place_pair *labels = arena_array(a, struct place_pair, 6);
    size_t n = 0;
    w->asked++;
    uint32_t others[3] = {w->taken[0], w->taken[1], w->taken[2]};
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->n_pods; i++)
        if (!counts(ctx, &w->pods[i].id, w->pods[i].node)) others[w->on[i]]++;
    pthread_mutex_unlock(&w->lock);
    *out = arena_array(a, struct queue_node, 3);
    for (size_t i = 0; i < 3; i++) {
        if (w->gpus[i] == 0) continue;
        labels[2 * i] = (struct place_pair){STR("host"), str_of(names[i])};
        labels[2 * i + 1] = (struct place_pair){STR("pool"), w->other_pool ? STR("b") : STR("a")};
        struct place_devices *d = arena_new(a, struct place_devices);
        *d = (struct place_devices){.name = STR("nvidia.com/gpu"), .n = w->gpus[i], .taken = others[i]};
        (*out)[n++] = (struct queue_node){.name = str_of(names[i]),
                                          .schedulable = true,
                                          .cpu = 64000,
                                          .memory = (int64_t)256 << 30,
                                          .labels = &labels[2 * i],
                                          .n_labels = 2,
                                          .devices = d,
                                          .n_devices = 1};
    }
    return n;
}

static inline uint32_t broken(void *self, const struct queue_setup *s, uint32_t flavor)
{
    const struct world *w = self;
    return str_is(s->flavors[flavor].name, "gpu") ? w->broken : 0;
}

static inline size_t pods(void *self, struct arena *a, struct placer_pod **out)
{
    struct world *w = self;
    *out = arena_array(a, struct placer_pod, 2);
    pthread_mutex_lock(&w->lock);
    size_t n = w->n_pods;
    memcpy(*out, w->pods, sizeof w->pods);
    pthread_mutex_unlock(&w->lock);
    return n;
}

static inline struct placer *placer_new(const char *owner)
{
    struct placer *p = NULL;
    struct err err = {0};
    const struct placer_config cfg = {.dsn = world.db.dsn,
                                      .owner = owner,
                                      .poll_ms = 50,
                                      .sweep_ms = 200,
                                      .source = {.self = &world,
                                                 .domain = DOMAIN,
                                                 .wanted = nothing,
                                                 .fd = no_fd,
                                                 .turn = nothing,
                                                 .known = known,
                                                 .generation = generation,
                                                 .version = generation,
                                                 .trouble = no_trouble,
                                                 .nodes = nodes,
                                                 .pods = pods,
                                                 .broken = broken,
                                                 .close = nothing}};
    if (!placer_start(&cfg, &p, &err)) fail_msg("%s", err.message);
    return p;
}

/* ---- the owner's side ---- */

static inline void sql(const char *fmt, ...)
{
    char text[2000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert_true(support_sql(&world.db, text));
}

/* Many steps of one run, told of by one word. */
static inline void ask_many(int run, int n, int gpus)
{
    sql("INSERT INTO active_runs (run_id, project_id, created_by, shard, state) VALUES (%d, 1, 'me', 3, 2);"
        "INSERT INTO queue_work (run_id, task, attempt, project_id, created_by, shard, domain, path, queue, flavor, "
        "gpu,"
        " pods, cpu, memory, priority, submitted_at, state)"
        " SELECT %d, i, 1, 1, 'me', 3, '" DOMAIN "', 'train', 'default', '', %d, 1, 1000, 1000, 0, now(), 1"
        " FROM generate_series(1, %d) AS i;"
        "NOTIFY millrace_queue",
        run, run, gpus * 1000, n);
}

static inline void ask(int run, int attempt, int pods, int gpus, int priority, const char *queue)
{
    sql("INSERT INTO active_runs (run_id, project_id, created_by, shard, state) VALUES (%d, 1, 'me', 3, 2) "
        "ON CONFLICT DO NOTHING;"
        "INSERT INTO queue_work (run_id, task, attempt, project_id, created_by, shard, domain, path, queue, flavor, "
        "gpu,"
        " pods, cpu, memory, priority, submitted_at, timeout_ms, state)"
        " VALUES (%d, 0, %d, 1, 'me', 3, '" DOMAIN "', 'train', '%s', '', %d, %d, 1000, 1000, %d, now(), %d, 1)"
        " ON CONFLICT (run_id, task) DO UPDATE SET attempt = excluded.attempt, state = 1, news = true;"
        "NOTIFY millrace_queue",
        run, run, attempt, queue, gpus * 1000, pods, priority, world.timeout_ms);
}

static inline void over(int run)
{
    sql("UPDATE queue_work SET state = 4, news = true WHERE run_id = %d; NOTIFY millrace_queue", run);
}

/* Until the first number of the query is that. */
static inline void until(const char *query, int64_t wanted)
{
    int64_t got = -1;
    for (int ms = 0; ms < PATIENCE_MS; ms += 20) {
        got = support_number(&world.db, query);
        if (got == wanted) return;
        usleep(20000);
    }
    fail_msg("%s: %lld, not %lld", query, (long long)got, (long long)wanted);
}

static inline int setup(void **state)
{
    (void)state;
    if (support_db_open(&world.db) != 0) return -1;
    world.generation = 1;
    for (int i = 0; i < 3; i++)
        world.gpus[i] = world.taken[i] = 0;
    world.n_pods = 0;
    world.other_pool = false;
    world.broken = 0;
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    placer_stop(world.placer);
    world.placer = NULL;
    return support_db_close(&world.db);
}

#define ADMITTED "SELECT count(*) FROM queue_work WHERE state = 2"
#define TOLD "SELECT coalesce(sum(jsonb_array_length(payload->'tasks')), 0)::bigint FROM inbox WHERE kind = 7"
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

#endif
