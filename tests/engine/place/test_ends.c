/* Reservations by the known ends of those who run: what they amount to, and what they cost. */
#include <stdio.h>
#include <time.h>

#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER

enum { TIMED = 1, LONG, WIDE, PASSES, LATE };

/* Of the cohort's eight GPUs four are free at 100, one is not; six are reserved for then. One more may be taken for
 * long, and what is taken in one cycle is known in the next. */
static void test_what_is_taken_since(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", "c", (struct rig_quota){0, -1, 0}, 1, NEVER, NEVER);
    rig_queue(&r, "lender", "c", (struct rig_quota){8, -1, -1}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 16);
    rig_add(&r, (struct rig_ask){TIMED, q, 0, 1, 4000, A100, 0, 100});
    rig_add(&r, (struct rig_ask){LONG, q, 0, 1, 1000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){WIDE, q, 0, 1, 6000, A100, 1, 0});
    rig_add(&r, (struct rig_ask){PASSES, q, 0, 1, 1000, A100, 2, 0});
    rig_cycle(&r, 2);
    rig_expect(&r, PASSES, PLACE_RUNNING);
    rig_add(&r, (struct rig_ask){LATE, q, 0, 1, 1000, A100, 4, 0});
    rig_cycle(&r, 4);
    rig_expect(&r, LATE, PLACE_WAITING);
    place_ended(r.p, TIMED);
    rig_cycle(&r, 100);
    rig_expect(&r, WIDE, PLACE_RUNNING);
    rig_close(&r);
}

enum { QUEUES = 300, NODES = 640 };

/* Processor time of a cycle in a full cohort, in which each queue has somebody who waits for a whole node. */
static double cost(bool timed)
{
    struct rig r;
    char name[16];
    uint32_t q[QUEUES];
    uint64_t id = 1;
    double least = 1e9;
    rig_open(&r);
    for (int i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof name, "q%d", i);
        q[i] = rig_queue(&r, name, "c", (struct rig_quota){40, -1, -1}, 1, NEVER, NEVER);
    }
    for (int i = 0; i < NODES; i++) {
        snprintf(name, sizeof name, "n%d", i);
        rig_node(&r, name, A100, 8);
    }
    for (int i = 0; i < 8 * NODES; i++)
        rig_add(&r, (struct rig_ask){id++, q[i % QUEUES], 0, 1, 1000, A100, 0, timed ? 1000 + i * 7919 % 5000 : 0});
    rig_cycle(&r, 0);
    for (int i = 0; i < 2 * QUEUES; i++)
        rig_add(&r, (struct rig_ask){id++, q[i / 2], 0, 1, i % 2 ? 2000 : 8000, A100, 1, timed ? 600 : 0});
    for (int k = 0; k < 5; k++) {
        place_ended(r.p, (uint64_t)k * 3 + 1);
        arena_reset(&r.a);
        place_out_init(&r.out, &r.a);
        clock_t from = clock();
        place_cycle(r.p, (int64_t)(2 + k) * 1000000, 0, &r.out);
        double took = (double)(clock() - from) / CLOCKS_PER_SEC;
        if (took < least) least = took;
    }
    rig_close(&r);
    return least;
}

static void test_cost(void **state)
{
    (void)state;
    double timed = cost(true), without = cost(false);
    if (timed > 20 * without) fail_msg("%.1f ms with known ends, %.1f ms without", timed * 1e3, without * 1e3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken_since),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
