/* The queue for GPUs: admissions a second while simulated time passes, in the classes of Kueue's performance gate
 * (https://github.com/kubernetes-sigs/kueue/tree/main/test/performance/scheduler): queues with a quota of 20 units that
 * borrow up to 100 in their cohort, and for each 350 workloads of 1 unit, 100 of 5 and 50 of 20, or a tenth of that. A
 * unit is a pod with a GPU, on 640 nodes of 8. All wait from the start; they run for 0.2, 0.5 and 1 s, more or less,
 * and every millisecond in which one ends is followed by a cycle. Everything counts: asking, cycles, ends. Half of the
 * samples say beforehand how long they run, so that backfill has its work, and half do not.
 *
 * The floor does the same with one line, no quota and no nodes: first come, first served, while GPUs last. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/place/place.h"
#include "tests/bench/bench.h"

#define NODES 640
#define GPUS 8
#define TICKS 4096 /* milliseconds; longer than any run */
#define NONE UINT32_MAX

static const struct {
    uint32_t pods, runs_ms, of_500; /* of_500: how many of 500 workloads */
} classes[] = {{1, 200, 350}, {5, 500, 100}, {20, 1000, 50}};

struct load {
    uint32_t queues, cohorts, n; /* n workloads, by id from 1 */
    bool timed;
    uint32_t *queue, *pods, *ms; /* of each */
    uint32_t *next, ends[TICKS]; /* who ends in a millisecond: chains */
    uint32_t running;
};

static uint32_t scatter(uint32_t i)
{
    i = (i ^ 61) ^ (i >> 16);
    i *= 0x27d4eb2dU;
    return i ^ (i >> 15);
}

static void load_make(struct load *l, uint32_t queues, uint32_t cohorts, uint32_t a_queue, bool timed)
{
    uint32_t n = queues * a_queue;
    *l = (struct load){.queues = queues, .cohorts = cohorts, .n = n, .timed = timed};
    uint32_t *all = calloc((size_t)n * 4 + 4, sizeof *all);
    if (all == NULL) bench_die("no memory");
    l->queue = all;
    l->pods = all + n + 1;
    l->ms = all + 2 * (n + 1);
    l->next = all + 3 * (n + 1);
    for (uint32_t id = 1; id <= n; id++) {
        uint32_t turn = (id - 1) / queues, at = turn * 191 % a_queue * (500 / a_queue), k = 0;
        for (uint32_t upto = classes[0].of_500; at >= upto; upto += classes[k].of_500)
            k++;
        l->queue[id] = (id - 1) % queues;
        l->pods[id] = classes[k].pods;
        l->ms[id] = classes[k].runs_ms * (80 + scatter(id) % 41) / 100;
    }
    for (uint32_t i = 0; i < TICKS; i++)
        l->ends[i] = NONE;
}

static void starts(struct load *l, uint32_t id, uint32_t tick)
{
    uint32_t *chain = &l->ends[(tick + l->ms[id]) % TICKS];
    l->next[id] = *chain;
    *chain = id;
    l->running++;
}

/* ---- with the rules ---- */

static struct place *world(const struct load *l, uint32_t *queues)
{
    struct err err = {0};
    const struct place_flavor flavor = {.name = STR("a100"), .resource = STR("nvidia.com/gpu"), .weight = 1};
    struct place *p = place_new(&flavor, 1);
    char name[32];
    for (uint32_t i = 0; i < l->queues; i++) {
        snprintf(name, sizeof name, "cohort-%u", i % l->cohorts);
        uint32_t cohort = place_cohort(p, str_of(name));
        snprintf(name, sizeof name, "queue-%u", i);
        const struct place_flavor_quota gpus = {0, {20 * PLACE_GPU, 100 * PLACE_GPU, PLACE_UNLIMITED}};
        const struct place_queue q = {.name = str_of(name),
                                      .cohort = cohort,
                                      .within = PLACE_PREEMPT_LOWER,
                                      .reclaim = PLACE_PREEMPT_NEVER,
                                      .cpu = {PLACE_UNLIMITED, 0, 0},
                                      .memory = {PLACE_UNLIMITED, 0, 0},
                                      .flavors = &gpus,
                                      .n_flavors = 1};
        bench_must(place_queue(p, &q, &queues[i], &err), &err, "queue");
    }
    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(name, sizeof name, "node-%u", i);
        const struct place_offer offer = {.flavor = 0, .gpus = GPUS};
        const struct place_node n = {.name = str_of(name),
                                     .cpu = 64000,
                                     .memory = (int64_t)512 << 30,
                                     .schedulable = true,
                                     .offers = &offer,
                                     .n_offers = 1};
        uint32_t number;
        bench_must(place_node(p, &n, &number, &err), &err, "node");
    }
    return p;
}

static const uint32_t first_flavor;

static struct place_ask ask_of(const struct load *l, uint32_t id, const uint32_t *queues)
{
    static const int expect_ms[] = {[1] = 240, [5] = 600, [20] = 1200}; /* what a careful estimate would be */
    return (struct place_ask){.id = id,
                              .queue = queues[l->queue[id]],
                              .pods = l->pods[id],
                              .cpu = 1000,
                              .memory = (int64_t)1 << 30,
                              .gpu = PLACE_GPU,
                              .flavors = &first_flavor,
                              .n_flavors = 1,
                              .submit_us = id,
                              .expect_us = l->timed ? expect_ms[l->pods[id]] * 1000 : 0};
}

/* Those who end in this millisecond, if any do. */
static bool end_all(struct load *l, struct place *p, uint32_t tick)
{
    uint32_t id = l->ends[tick % TICKS];
    l->ends[tick % TICKS] = NONE;
    bool any = id != NONE;
    for (; id != NONE; id = l->next[id], l->running--)
        place_ended(p, id);
    return any;
}

/* Seconds until all have started. */
static double with_rules(struct load *l)
{
    struct err err = {0};
    struct arena a;
    struct place_out out;
    uint32_t *queues = calloc(l->queues, sizeof *queues), started = 0, tick = 1, cycles = 0;
    if (queues == NULL) bench_die("no memory");
    struct place *p = world(l, queues);
    arena_init(&a, 0);
    double begun = bench_now();
    for (uint32_t id = 1; id <= l->n; id++) {
        const struct place_ask ask = ask_of(l, id, queues);
        bench_must(place_add(p, &ask, &err), &err, "workload");
    }
    for (; started < l->n; tick++) {
        if (!end_all(l, p, tick) && tick > 1) continue;
        arena_reset(&a);
        place_out_init(&out, &a);
        place_cycle(p, (int64_t)tick * 1000, 0, &out);
        cycles++;
        for (size_t i = 0; i < out.n_admitted; i++, started++)
            starts(l, (uint32_t)out.admitted[i].id, tick);
        if (l->running == 0 && started < l->n) bench_die("nothing runs, and %u wait", l->n - started);
    }
    double took = bench_now() - begun;
    if (!place_verify(p, &err)) bench_die("%s", err.message);
    printf("    %u cycles over %.1f simulated seconds, expected durations %s: %.0f/s, %.1f MB\n", cycles,
           (double)tick / 1e3, l->timed ? "known" : "unknown", l->n / took, (double)place_bytes(p) / 1e6);
    place_free(p);
    arena_free(&a);
    free(queues);
    return took;
}

/* ---- without ---- */

static double without_rules(struct load *l)
{
    uint32_t free_gpus = NODES * GPUS, id = 1;
    double begun = bench_now();
    for (uint32_t tick = 1; id <= l->n; tick++) {
        uint32_t done = l->ends[tick % TICKS];
        l->ends[tick % TICKS] = NONE;
        for (; done != NONE; done = l->next[done])
            free_gpus += l->pods[done];
        for (; id <= l->n && l->pods[id] <= free_gpus; id++) {
            free_gpus -= l->pods[id];
            starts(l, id, tick);
        }
    }
    return bench_now() - begun;
}

static void row_placement(struct bench *b, const char *name, uint32_t queues, uint32_t cohorts, uint32_t a_queue)
{
    if (!bench_wanted(b, name)) return;
    struct bench_row row = {.name = name,
                            .unit = "admissions/s",
                            .higher_is_better = true,
                            .goal = 1000,
                            .floor_name = "first come, first served, without rules"};
    struct load *l = calloc(1, sizeof *l);
    if (l == NULL) bench_die("no memory");
    for (int i = 0; i < 4; i++) {
        load_make(l, queues, cohorts, a_queue, i % 2 == 1);
        bench_sample(&row, l->n / with_rules(l));
        free(l->queue);
    }
    load_make(l, queues, cohorts, a_queue, false);
    row.floor = l->n / without_rules(l);
    free(l->queue);
    free(l);
    bench_report(b, &row);
}

/* ---- what can never be ---- */

/* The floor: one look at each node, in memory as plain as can be. */
static double look_at_nodes(void)
{
    static volatile uint32_t gpus[NODES];
    uint32_t enough = 0;
    double begun = bench_now();
    for (uint32_t i = 0; i < NODES; i++)
        enough += gpus[i] > GPUS;
    double took = bench_now() - begun;
    return enough > 0 ? NAN : took * 1e3;
}

static void row_infeasible(struct bench *b)
{
    if (!bench_wanted(b, "infeasible_ms")) return;
    struct bench_row row = {
        .name = "infeasible_ms", .unit = "ms", .goal = 10, .worst = true, .floor_name = "one look at each node"};
    struct load *l = calloc(1, sizeof *l);
    uint32_t queues[1000];
    if (l == NULL) bench_die("no memory");
    load_make(l, 1000, 10, 50, false);
    struct place *p = world(l, queues);
    for (uint32_t i = 0; i < 300; i++) {
        struct err err = {0};
        struct place_why why;
        struct place_ask ask = ask_of(l, 1 + i, queues);
        ask.gpu = i % 2 == 0 ? (GPUS + 1) * PLACE_GPU : PLACE_GPU; /* more than a node has, or than a quota */
        ask.pods = i % 2 == 0 ? 1 : 121;
        double begun = bench_now();
        if (place_feasible(p, &ask, &why, &err)) bench_die("what cannot be is said to be feasible");
        bench_sample(&row, (bench_now() - begun) * 1e3);
    }
    row.floor = look_at_nodes();
    bench_report(b, &row);
    place_free(p);
    free(l->queue);
    free(l);
}

void bench_place(struct bench *b)
{
    row_placement(b, "placement_30q_per_s", 30, 5, 500);
    row_placement(b, "placement_1000q_per_s", 1000, 10, 50);
    row_infeasible(b);
}
