/* What is told of who waits, or never can run: the thing that is lacking, of the flavor that comes nearest. */
#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER
#define GIB ((int64_t)1 << 30)

static struct place_ask asks(uint64_t id, uint32_t q, uint32_t gpu, int64_t cpu, int64_t memory)
{
    const struct rig_ask one = {id, q, 0, 1, gpu, A100, (int)id, 0};
    struct place_ask ask = rig_of(&one);
    ask.cpu = cpu;
    ask.memory = memory;
    return ask;
}

static void add(struct rig *r, struct place_ask ask)
{
    struct err err = {0};
    if (!place_add(r->p, &ask, &err)) fail_msg("%s", err.message);
}

/* Of nodes with 64 cores and 256 GiB, one with 8 GPUs, one with 1. Says what is lacking on both, were they empty, and
 * on what is left when one pod has 60 cores, 250 GiB and 7 GPUs of the first. */
static void test_the_resource(void **state)
{
    (void)state;
    static const struct {
        uint32_t gpu;
        int64_t cpu, memory;
        const char *never, *now; /* NULL = it can, it does */
    } rows[] = {
        {1000, 65000, GIB,
         "it can never run: each pod needs 65 CPUs beside 1 × a100; empty nodes would have room for 0 of 1, the "
         "largest has 64",
         NULL},
        {1000, 1000, 300 * GIB,
         "it can never run: each pod needs 300 GiB of memory beside 1 × a100; empty nodes would have room for 0 of 1, "
         "the largest has 256 GiB",
         NULL},
        {9000, 65000, GIB,
         "it can never run: each pod needs 9 × a100; empty nodes would have room for 0 of 1, the largest has 8", NULL},
        {0, 65000, GIB,
         "it can never run: each pod needs 65 CPUs; empty nodes would have room for 0 of 1, the largest has 64", NULL},
        {0, 500, 300 * GIB,
         "it can never run: each pod needs 300 GiB of memory; empty nodes would have room for 0 of 1, the largest has "
         "256 GiB",
         NULL},
        {2000, 1000, GIB, NULL, "each pod needs 2 × a100, the most that a node has free is 1"},
        {1000, 1000, GIB, NULL, NULL},
        {1000, 64000, GIB, NULL, NULL}, /* on the other one */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct err err = {0};
        struct place_why why;
        rig_open(&r);
        uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
        rig_node(&r, "n0", A100, 8);
        rig_node(&r, "n1", A100, 1);
        add(&r, asks(1, q, 7000, 60000, 250 * GIB));
        rig_cycle(&r, 1);
        struct place_ask ask = asks(2, q, rows[i].gpu, rows[i].cpu, rows[i].memory);
        assert_int_equal(place_feasible(r.p, &ask, &why, &err), rows[i].never == NULL);
        if (rows[i].never != NULL) assert_string_equal(err.message, rows[i].never);
        add(&r, ask);
        rig_cycle(&r, 2);
        if (rows[i].now != NULL) rig_why(&r, 2, rows[i].now);
        if (rows[i].never == NULL) assert_int_equal(r.out.n_admitted, rows[i].now == NULL);
        rig_close(&r);
    }
}

/* The GPUs are there, and what is beside them is not. */
static void test_beside_the_gpu(void **state)
{
    (void)state;
    static const struct {
        int64_t cpu, memory;
        const char *text;
    } rows[] = {
        {8000, GIB, "each pod needs 8 CPUs beside 1 × a100, the most that a node has free is 4"},
        {1000, 8 * GIB, "each pod needs 8 GiB of memory beside 1 × a100, the most that a node has free is 6 GiB"},
        {1000, 6 * GIB + (100 << 20),
         "each pod needs 6244 MiB of memory beside 1 × a100, the most that a node has free is 6 GiB"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
        rig_node(&r, "n0", A100, 8);
        add(&r, asks(1, q, 1000, 60000, 250 * GIB));
        rig_cycle(&r, 1);
        add(&r, asks(2, q, 1000, rows[i].cpu, rows[i].memory));
        rig_cycle(&r, 2);
        rig_why(&r, 2, rows[i].text);
        rig_close(&r);
    }
}

static void test_the_nearest_flavor(void **state)
{
    (void)state;
    static const struct {
        uint32_t a100, t4;
        const char *named;
    } rows[] = {{3, 1, "4 × a100; empty nodes would have room for 0 of 1, the largest has 3"},
                {1, 3, "4 × t4; empty nodes would have room for 0 of 1, the largest has 3"},
                {0, 1, "4 × t4; empty nodes would have room for 0 of 1, the largest has 1"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct err err = {0};
        struct place_why why;
        static const uint32_t either[] = {T4, A100};
        rig_open(&r);
        uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
        if (rows[i].a100 > 0) rig_node(&r, "n0", A100, rows[i].a100);
        rig_node(&r, "n1", T4, rows[i].t4);
        struct place_ask ask = asks(1, q, 4000, 1000, GIB);
        ask.flavors = either;
        ask.n_flavors = 2;
        assert_false(place_feasible(r.p, &ask, &why, &err));
        if (strstr(err.message, rows[i].named) == NULL) fail_msg("%s", err.message);
        rig_close(&r);
    }
}

/* Of flavors that lack different things that one is told which has what is looked at before. */
static void test_who_comes_further(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    struct place_why why;
    static const uint32_t either[] = {T4, A100};
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_node(&r, "n1", T4, 2);
    struct place_ask ask = asks(1, q, 4000, 65000, GIB);
    ask.flavors = either;
    ask.n_flavors = 2;
    assert_false(place_feasible(r.p, &ask, &why, &err));
    assert_string_equal(err.message, "it can never run: each pod needs 65 CPUs beside 4 × a100; empty nodes would have "
                                     "room for 0 of 1, the largest has 64");
    rig_close(&r);
}

/* Nodes that it may not be on are not among those that only have no room. */
static void test_cordoned_where_it_may_be(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    uint32_t number;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
    const struct place_pair zone = {STR("zone"), STR("a")};
    const struct place_offer offer = {.flavor = A100, .gpus = 4};
    const struct place_node closed = {.name = STR("closed"),
                                      .cpu = 64000,
                                      .memory = 256 * GIB,
                                      .labels = &zone,
                                      .n_labels = 1,
                                      .offers = &offer,
                                      .n_offers = 1};
    assert_true(place_node(r.p, &closed, &number, &err));
    rig_node(&r, "n1", A100, 8); /* in zone b */
    rig_add_in(&r, (struct rig_ask){1, q, 0, 1, 1000, A100, 1, 0}, IN_A);
    rig_cycle(&r, 1);
    rig_why(&r, 1, "each pod needs 1 × a100 on a node with zone=a, and no node that has that is schedulable");
    rig_add(&r, (struct rig_ask){2, q, 0, 3, 4000, A100, 2, 0});
    rig_cycle(&r, 2);
    rig_why(&r, 2,
            "each pod needs 4 × a100; there is room for 2 of its 3 pods, which start together; "
            "1 such node is not schedulable");
    rig_close(&r);
}

static void test_what_is_lent(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t mine = rig_queue(&r, "mine", "all", (struct rig_quota){2, -1, -1}, 1, NEVER, NEVER);
    uint32_t other = rig_queue(&r, "other", "all", (struct rig_quota){2, -1, -1}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 8);
    add(&r, asks(1, other, 4000, 1000, GIB));
    rig_cycle(&r, 1);
    add(&r, asks(2, mine, 1000, 1000, GIB));
    add(&r, asks(3, mine, 3000, 1000, GIB));
    rig_cycle(&r, 2);
    rig_why(&r, 2, "needs 1 × a100, 0 free in queue mine: others of its cohort have borrowed them");
    assert_true(place_ended(r.p, 2));
    rig_cycle(&r, 3);
    rig_why(&r, 3, "needs 3 × a100, 0 free in queue mine"); /* its own were not enough */
    rig_close(&r);
    rig_open(&r);
    mine = rig_queue(&r, "mine", NULL, (struct rig_quota){2, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 8);
    add(&r, asks(1, mine, 2000, 1000, GIB));
    rig_cycle(&r, 1);
    add(&r, asks(2, mine, 1000, 1000, GIB));
    rig_cycle(&r, 2);
    rig_why(&r, 2, "needs 1 × a100, 0 free in queue mine"); /* it has them itself */
    rig_close(&r);
}

/* What nobody else has is not said to be left to others. */
static void test_all_is_its_own(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t mine = rig_queue(&r, "mine", "all", (struct rig_quota){4, -1, -1}, 1, NEVER, PLACE_PREEMPT_ANY);
    rig_queue(&r, "lender", "all", (struct rig_quota){4, -1, -1}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 64);
    add(&r, asks(1, mine, 6000, 1000, GIB));
    rig_cycle(&r, 1);
    add(&r, asks(2, mine, 4000, 1000, GIB));
    rig_cycle(&r, 2);
    rig_why(&r, 2, "needs 4 × a100, 2 free in queue mine");
    rig_close(&r);
}

/* A queue takes back what is its own, and not what it would borrow; who is behind its first waits for that one. */
static void test_behind_one_that_borrows(void **state)
{
    (void)state;
    static const struct {
        enum place_preempt reclaim;
        uint32_t gpu; /* of the first */
        const char *first, *second;
    } rows[] = {
        {PLACE_PREEMPT_ANY, 6000,
         "needs 6 × a100, 0 free in queue mine: for more than the queue's own quota nothing is taken back from others",
         "needs 1 × a100, 0 free in queue mine, kept for workload 1, which wants more than the queue's own quota"},
        {NEVER, 6000, "needs 6 × a100, 0 free in queue mine",
         "needs 1 × a100, 0 free in queue mine: others of its cohort have borrowed them"},
        {PLACE_PREEMPT_LOWER, 4000, "needs 4 × a100, 0 free in queue mine: others of its cohort have borrowed them",
         "needs 1 × a100, 0 free in queue mine: others of its cohort have borrowed them"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t mine = rig_queue(&r, "mine", "all", (struct rig_quota){4, -1, -1}, 1, NEVER, rows[i].reclaim);
        uint32_t lender = rig_queue(&r, "lender", "all", (struct rig_quota){4, -1, -1}, 1, NEVER, NEVER);
        uint32_t other = rig_queue(&r, "other", "all", (struct rig_quota){0, -1, -1}, 1, NEVER, NEVER);
        rig_node(&r, "n0", A100, 8);
        add(&r, asks(10, lender, 4000, 1000, GIB));
        add(&r, asks(11, other, 4000, 1000, GIB));
        rig_cycle(&r, 1);
        add(&r, asks(1, mine, rows[i].gpu, 1000, GIB));
        add(&r, asks(2, mine, 1000, 1000, GIB));
        rig_cycle(&r, 2);
        assert_int_equal(r.out.n_victims, 0);
        rig_why(&r, 1, rows[i].first);
        rig_why(&r, 2, rows[i].second);
        if (rows[i].reclaim == PLACE_PREEMPT_ANY) { /* without the first they are taken back */
            assert_true(place_ended(r.p, 1));
            rig_cycle(&r, 3);
            assert_int_equal(r.out.n_victims, 1);
        }
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_resource),
        cmocka_unit_test(test_beside_the_gpu),
        cmocka_unit_test(test_the_nearest_flavor),
        cmocka_unit_test(test_who_comes_further),
        cmocka_unit_test(test_cordoned_where_it_may_be),
        cmocka_unit_test(test_what_is_lent),
        cmocka_unit_test(test_all_is_its_own),
        cmocka_unit_test(test_behind_one_that_borrows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
