/* A small world for the tests of the GPU queue: flavors, queues and nodes in a line each, time in seconds. */
#ifndef MILLRACE_TESTS_PLACE_RIG_H
#define MILLRACE_TESTS_PLACE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/place/place.h"

enum { A100, T4, PART, FLAVORS }; /* PART may be shared */

struct rig {
    struct place *p;
    struct arena a;
    struct place_out out;
    int64_t now;
};

__attribute__((unused)) static void rig_open(struct rig *r)
{
    const struct place_flavor flavors[FLAVORS] = {{.name = STR_INIT("a100"), .weight = 8},
                                                  {.name = STR_INIT("t4"), .weight = 1},
                                                  {.name = STR_INIT("part"), .shared = true}};
    *r = (struct rig){.p = place_new(flavors, FLAVORS)};
    arena_init(&r->a, (size_t)1 << 30);
}

__attribute__((unused)) static void rig_close(struct rig *r)
{
    place_free(r->p);
    arena_free(&r->a);
}

/* Quota in whole GPUs; -1 = unlimited. */
struct rig_quota {
    int nominal, borrow, lend;
};

static inline int64_t rig_gpus(int n)
{
    return n < 0 ? PLACE_UNLIMITED : (int64_t)n * PLACE_GPU;
}

/* A queue with the same quota of each flavor; cohort NULL = by itself. */
__attribute__((unused)) static uint32_t rig_queue(struct rig *r, const char *name, const char *cohort,
                                                  struct rig_quota quota, double weight, enum place_preempt within,
                                                  enum place_preempt reclaim)
{
    struct place_flavor_quota flavors[FLAVORS];
    struct place_queue q = {.name = str_of(name),
                            .cohort = cohort ? place_cohort(r->p, str_of(cohort)) : PLACE_NONE,
                            .weight = weight,
                            .within = within,
                            .reclaim = reclaim,
                            .cpu = {.nominal = PLACE_UNLIMITED},
                            .memory = {.nominal = PLACE_UNLIMITED},
                            .flavors = flavors,
                            .n_flavors = FLAVORS};
    for (uint32_t f = 0; f < FLAVORS; f++)
        flavors[f] =
            (struct place_flavor_quota){f, {rig_gpus(quota.nominal), rig_gpus(quota.borrow), rig_gpus(quota.lend)}};
    struct err err = {0};
    uint32_t number = PLACE_NONE;
    if (!place_queue(r->p, &q, &number, &err)) fail_msg("queue %s: %s", name, err.message);
    return number;
}

/* A node is in zone a when its name ends in an even letter, else in b. */
__attribute__((unused)) static uint32_t rig_node_of(struct rig *r, const char *name, int64_t cpu,
                                                    const struct place_offer *offers, size_t n)
{
    static const struct place_pair zones[] = {{STR_INIT("zone"), STR_INIT("a")}, {STR_INIT("zone"), STR_INIT("b")}};
    const struct place_node node = {.name = str_of(name),
                                    .labels = &zones[name[strlen(name) - 1] % 2],
                                    .n_labels = 1,
                                    .cpu = cpu,
                                    .memory = (int64_t)256 << 30,
                                    .schedulable = true,
                                    .offers = offers,
                                    .n_offers = n};
    struct err err = {0};
    uint32_t number = PLACE_NONE;
    if (!place_node(r->p, &node, &number, &err)) fail_msg("node %s: %s", name, err.message);
    return number;
}

__attribute__((unused)) static uint32_t rig_node(struct rig *r, const char *name, uint32_t flavor, uint32_t gpus)
{
    const struct place_offer offer = {.flavor = flavor, .gpus = gpus};
    return rig_node_of(r, name, 64000, &offer, gpus > 0);
}

/* What is asked: of one flavor, thousandths of GPUs a pod. */
struct rig_ask {
    uint64_t id;
    uint32_t queue;
    int priority;
    uint32_t pods, gpu, flavor;
    int submit_s, expect_s;
};

__attribute__((unused)) static struct place_ask rig_of(const struct rig_ask *a)
{
    static const uint32_t flavors[FLAVORS] = {A100, T4, PART};
    return (struct place_ask){.id = a->id,
                              .queue = a->queue,
                              .priority = a->priority,
                              .pods = a->pods,
                              .cpu = 1000,
                              .memory = (int64_t)1 << 30,
                              .gpu = a->gpu,
                              .flavors = &flavors[a->flavor],
                              .n_flavors = a->gpu > 0,
                              .submit_us = (int64_t)a->submit_s * 1000000,
                              .expect_us = (int64_t)a->expect_s * 1000000};
}

/* Only in zone a, b, or c, which no node is in. */
enum zone { ANYWHERE, IN_A, IN_B, IN_C };
__attribute__((unused)) static struct place_ask rig_of_in(const struct rig_ask *a, enum zone zone)
{
    static const struct place_pair zones[] = {[IN_A] = {STR_INIT("zone"), STR_INIT("a")},
                                              [IN_B] = {STR_INIT("zone"), STR_INIT("b")},
                                              [IN_C] = {STR_INIT("zone"), STR_INIT("c")}};
    struct place_ask ask = rig_of(a);
    ask.selector = &zones[zone];
    ask.n_selector = zone != ANYWHERE;
    return ask;
}

__attribute__((unused)) static void rig_add_in(struct rig *r, struct rig_ask a, enum zone zone)
{
    struct place_ask ask = rig_of_in(&a, zone);
    struct err err = {0};
    if (!place_add(r->p, &ask, &err)) fail_msg("workload %d: %s", (int)a.id, err.message);
}

__attribute__((unused)) static void rig_add(struct rig *r, struct rig_ask a)
{
    rig_add_in(r, a, ANYWHERE);
}

/* A cycle at that second; what came of it is in r->out. */
__attribute__((unused)) static void rig_cycle(struct rig *r, int at_s)
{
    struct err err = {0};
    arena_reset(&r->a);
    place_out_init(&r->out, &r->a);
    r->now = (int64_t)at_s * 1000000;
    place_cycle(r->p, r->now, 0, &r->out);
    if (!place_verify(r->p, &err)) fail_msg("after second %d: %s", at_s, err.message);
}

__attribute__((unused)) static bool rig_runs(const struct rig *r, uint64_t id)
{
    return place_state(r->p, id) == PLACE_RUNNING;
}

__attribute__((unused)) static void rig_expect(const struct rig *r, uint64_t id, enum place_state state)
{
    if (place_state(r->p, id) != state)
        fail_msg("workload %d is in state %d, not %d", (int)id, place_state(r->p, id), state);
}

/* It waits, and says that. */
__attribute__((unused)) static void rig_why(const struct rig *r, uint64_t id, const char *text)
{
    struct place_why why;
    BUF_AUTO said;
    buf_init(&said, 0);
    assert_true(place_reason(r->p, id, &why));
    place_why_text(r->p, &why, NULL, NULL, &said);
    buf_char(&said, '\0');
    assert_string_equal(said.p, text);
}

#endif
