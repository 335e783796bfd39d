/* How workloads and queues get along: fair shares, backfill, quotas. */
#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER

static const struct rig_quota nothing_own = {0, -1, 0};

/* ---- fair share ---- */

static int64_t used(struct rig *r, uint32_t queue, uint32_t flavor)
{
    struct place_usage u;
    place_usage(r->p, queue, flavor, &u);
    return u.used / PLACE_GPU;
}

/* Two queues borrow all they can, ends come in any order: what runs nears the weights. */
static void test_weights(void **state)
{
    (void)state;
    static const struct {
        double weight;
        int64_t of_40;
    } rows[] = {{1, 20}, {3, 30}, {7, 35}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct rig r;
        rig_open(&r);
        rig_queue(&r, "lender", "all", (struct rig_quota){40, 0, -1}, 1, NEVER, NEVER);
        uint32_t a = rig_queue(&r, "a", "all", nothing_own, rows[k].weight, NEVER, NEVER);
        uint32_t b = rig_queue(&r, "b", "all", nothing_own, 1, NEVER, NEVER);
        for (int i = 0; i < 5; i++)
            rig_node(&r, (const char *[]){"n0", "n1", "n2", "n3", "n4"}[i], A100, 8);
        for (uint64_t id = 1; id <= 200; id++) { /* b was first, and has all of it */
            rig_add(&r, (struct rig_ask){id, b, 0, 1, 1000, A100, 0, 0});
        }
        rig_cycle(&r, 0);
        for (uint64_t id = 1001; id <= 1200; id++)
            rig_add(&r, (struct rig_ask){id, a, 0, 1, 1000, A100, 1, 0});
        for (uint64_t turn = 0; turn < 260; turn++) {
            uint64_t id = turn * 7919 % 200 + 1;
            if (rig_runs(&r, id)) place_ended(r.p, id);
            if (rig_runs(&r, id + 1000) && turn % 4 == 0) place_ended(r.p, id + 1000);
            rig_cycle(&r, (int)turn + 1);
            if (turn > 240) {
                assert_int_equal(used(&r, a, A100), rows[k].of_40);
                assert_int_equal(used(&r, b, A100), 40 - rows[k].of_40);
            }
        }
        rig_close(&r);
    }
}

/* An A100 counts as eight T4s. */
static void test_flavor_weights(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_queue(&r, "lender", "all", (struct rig_quota){16, 0, -1}, 1, NEVER, NEVER);
    uint32_t a = rig_queue(&r, "a", "all", nothing_own, 1, NEVER, NEVER);
    uint32_t b = rig_queue(&r, "b", "all", nothing_own, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 16);
    rig_node(&r, "n1", T4, 16);
    rig_add(&r, (struct rig_ask){1, a, 0, 1, 1000, A100, 0, 0});
    rig_cycle(&r, 0);
    for (uint64_t id = 10; id < 30; id++) {
        rig_add(&r, (struct rig_ask){id, a, 0, 1, 1000, T4, 0, 0});
        rig_add(&r, (struct rig_ask){id + 100, b, 0, 1, 1000, T4, 1, 0});
    }
    rig_cycle(&r, 1);
    assert_int_equal(used(&r, b, T4), 12); /* eight first, then in turns */
    assert_int_equal(used(&r, a, T4), 4);
    rig_close(&r);
}

/* Who has the turn keeps it until something of its starts, though another's next is older. */
static void test_a_turn_ends_with_a_start(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t x = rig_queue(&r, "x", NULL, (struct rig_quota){8, 0, 0}, 1, NEVER, NEVER);
    uint32_t y = rig_queue(&r, "y", NULL, (struct rig_quota){8, 0, 0}, 1, NEVER, NEVER);
    uint32_t z = rig_queue(&r, "z", NULL, (struct rig_quota){8, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 1);
    rig_node(&r, "n1", T4, 2);
    rig_add(&r, (struct rig_ask){1, z, 0, 1, 1000, T4, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){2, x, 0, 1, 2000, T4, 1, 0}); /* has no room */
    rig_add(&r, (struct rig_ask){3, y, 0, 1, 1000, A100, 2, 0});
    rig_add(&r, (struct rig_ask){4, x, 0, 1, 1000, A100, 3, 0});
    rig_cycle(&r, 4);
    rig_expect(&r, 4, PLACE_RUNNING);
    rig_expect(&r, 3, PLACE_WAITING);
    rig_close(&r);
}

/* ---- backfill ---- */

struct fill {
    const char *name;
    uint32_t gpu;  /* thousandths that the small one asks for */
    int expect_s;  /* how long it says it runs; 0 = it does not say */
    int running_s; /* the same of those that run */
    bool passes;
};

static const struct fill fills[] = {
    {"ends in time", 2000, 50, 100, true},
    {"ends just in time", 2000, 90, 100, true},
    {"ends too late", 2000, 91, 100, false},
    {"does not say", 2000, 0, 100, false},
    {"the end of those who run is unknown", 2000, 50, 0, false},
};

/* Eight GPUs, six at work until second 100; the head asks for all eight, a small one comes at second 10. The same by
 * quota (one large node) and by nodes (quota enough). */
static void run_fill(const struct fill *f, bool by_quota)
{
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){by_quota ? 8 : 100, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, by_quota ? 64 : 8);
    rig_add(&r, (struct rig_ask){1, q, 0, 1, 6000, A100, 0, f->running_s});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){2, q, 0, 1, 8000, A100, 1, 0});
    rig_cycle(&r, 1);
    rig_add(&r, (struct rig_ask){3, q, 0, 1, f->gpu, A100, 2, f->expect_s});
    rig_cycle(&r, 10);
    if (rig_runs(&r, 3) != f->passes) fail_msg("%s, by %s", f->name, by_quota ? "quota" : "nodes");
    struct place_why why;
    if (!f->passes) {
        assert_true(place_explain(r.p, 3, &why));
        assert_int_equal(why.other, 2);
    }
    place_ended(r.p, 3);
    place_ended(r.p, 1);
    rig_cycle(&r, 100);
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_close(&r);
}

static void test_backfill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        run_fill(&fills[i], true);
        run_fill(&fills[i], false);
    }
}

/* What the head does not need, others may have, ends unknown or not. */
static void test_backfill_beside(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_node(&r, "n1", A100, 4);
    rig_node(&r, "n2", T4, 4);
    rig_add(&r, (struct rig_ask){1, q, 0, 1, 5000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){2, q, 0, 1, 8000, A100, 1, 0}); /* n0, some day */
    rig_add(&r, (struct rig_ask){3, q, 0, 1, 2000, A100, 2, 0}); /* n1 */
    rig_add(&r, (struct rig_ask){4, q, 0, 1, 2000, T4, 3, 0});
    rig_add(&r, (struct rig_ask){5, q, 0, 1, 3000, A100, 4, 0}); /* only n0 would have room */
    rig_cycle(&r, 5);
    rig_expect(&r, 2, PLACE_WAITING);
    rig_expect(&r, 3, PLACE_RUNNING);
    rig_expect(&r, 4, PLACE_RUNNING);
    rig_expect(&r, 5, PLACE_WAITING);
    place_ended(r.p, 1);
    rig_cycle(&r, 6);
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_close(&r);
}

/* Who lacks quota of its queue alone keeps nothing of its cohort's. */
static void test_its_own_limit(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t a = rig_queue(&r, "a", "all", (struct rig_quota){0, 2, 0}, 1, NEVER, NEVER);
    uint32_t b = rig_queue(&r, "b", "all", nothing_own, 1, NEVER, NEVER);
    rig_queue(&r, "lender", "all", (struct rig_quota){8, 0, -1}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 64);
    rig_add(&r, (struct rig_ask){1, a, 0, 1, 2000, A100, 0, 0});
    rig_add(&r, (struct rig_ask){2, b, 0, 1, 4000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){3, a, 0, 1, 2000, A100, 1, 0}); /* whose turn is first */
    rig_add(&r, (struct rig_ask){4, b, 0, 1, 2000, A100, 2, 0});
    rig_cycle(&r, 3);
    rig_expect(&r, 3, PLACE_WAITING);
    rig_expect(&r, 4, PLACE_RUNNING);
    rig_close(&r);
}

/* At a time that is not known: where there is most room now, pods of it first. The other node is everybody's. */
static void test_where_it_is_held(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t used[2];   /* GPUs of either node */
        int64_t others_cpu; /* cores of the first that are not the queue's, in thousandths */
        uint32_t pods, gpu; /* of the head */
        uint32_t small;     /* GPUs in thousandths that fit only the other node, or either */
        uint32_t on;        /* which it gets; PLACE_NONE = it waits */
    } rows[] = {
        {"the second has more", {6, 4}, 0, 1, 8000, 2000, 0},
        {"not on the second", {6, 4}, 0, 1, 8000, 3000, PLACE_NONE},
        {"the first has more", {4, 6}, 0, 1, 8000, 2000, 1},
        {"not on the first", {4, 6}, 0, 1, 8000, 3000, PLACE_NONE},
        {"alike", {6, 6}, 0, 1, 8000, 2000, 1},
        {"only the second has any, more GPUs or not", {2, 6}, 62500, 2, 2000, 2000, PLACE_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER), nodes[2];
        for (int k = 0; k < 2; k++) {
            const struct place_offer offer = {.flavor = A100, .gpus = 8};
            const struct place_node n = {.name = k == 0 ? STR("n0") : STR("n1"),
                                         .cpu = 64000,
                                         .memory = (int64_t)256 << 30,
                                         .other_cpu = k == 0 ? rows[i].others_cpu : 0,
                                         .schedulable = true,
                                         .offers = &offer,
                                         .n_offers = 1};
            struct err err = {0};
            assert_true(place_node(r.p, &n, &nodes[k], &err));
            const struct rig_ask ask = {10 + (uint64_t)k, q, 0, 1, rows[i].used[k] * 1000, A100, 0, 0};
            const struct place_ask running = rig_of(&ask);
            assert_true(place_add_running(r.p, &running, A100, &nodes[k], 0, &err));
        }
        rig_add(&r, (struct rig_ask){1, q, 0, rows[i].pods, rows[i].gpu, A100, 1, 0});
        rig_add(&r, (struct rig_ask){2, q, 0, 1, rows[i].small, A100, 2, 0});
        rig_cycle(&r, 5);
        rig_expect(&r, 1, PLACE_WAITING);
        uint32_t on = rig_runs(&r, 2) ? r.out.admitted[0].nodes[0] : PLACE_NONE;
        if (on != (rows[i].on == PLACE_NONE ? PLACE_NONE : nodes[rows[i].on]))
            fail_msg("%s: it is on node %d", rows[i].name, (int)on);
        rig_close(&r);
    }
}

/* Who waits for a reservation is told what his queue may have now, by its own limit and by its cohort's. */
static void test_what_is_free_beside(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct rig_quota mine, lender;
        uint32_t used, head; /* GPUs */
        int64_t free;
    } rows[] = {
        {"by itself", {4, 0, 0}, {0, 0, 0}, 2, 4, 2000},
        {"its limit", {2, 2, 0}, {8, 0, -1}, 2, 3, 2000},
        {"its limit, with all of it lent", {2, 2, -1}, {8, 0, -1}, 3, 3, 1000},
        {"the cohort", {2, -1, -1}, {2, 0, -1}, 3, 2, 1000},
        {"the cohort, with nothing of it lent", {2, -1, 0}, {2, 0, -1}, 3, 2, 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct place_why why;
        rig_open(&r);
        uint32_t q = rig_queue(&r, "mine", "all", rows[i].mine, 1, NEVER, NEVER);
        rig_queue(&r, "lender", "all", rows[i].lender, 1, NEVER, NEVER);
        rig_node(&r, "n0", A100, 64);
        rig_add(&r, (struct rig_ask){10, q, 0, 1, rows[i].used * 1000, A100, 0, 0});
        rig_cycle(&r, 0);
        rig_expect(&r, 10, PLACE_RUNNING);
        rig_add(&r, (struct rig_ask){1, q, 0, 1, rows[i].head * 1000, A100, 1, 0});
        rig_add(&r, (struct rig_ask){2, q, 0, 1, 1000, A100, 2, 0});
        rig_cycle(&r, 5);
        assert_true(place_explain(r.p, 2, &why));
        if (why.reason != PLACE_WAITING_FOR_QUOTA || why.other != 1 || why.free != rows[i].free)
            fail_msg("%s: %s, %d free, after %d", rows[i].name, place_reason_name(why.reason), (int)why.free,
                     (int)why.other);
        rig_close(&r);
    }
}

/* Its cohort has less than others have borrowed: that is nothing, and not less, beside what it does not lend. */
static void test_a_cohort_that_lost_quota(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t mine = rig_queue(&r, "mine", "all", (struct rig_quota){4, 0, 0}, 1, NEVER, NEVER);
    rig_queue(&r, "lender", "all", (struct rig_quota){4, 0, -1}, 1, NEVER, NEVER);
    uint32_t other = rig_queue(&r, "other", "all", nothing_own, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 64);
    rig_add(&r, (struct rig_ask){10, mine, 0, 1, 2000, A100, 0, 0});
    rig_add(&r, (struct rig_ask){11, other, 0, 1, 4000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_expect(&r, 11, PLACE_RUNNING);
    rig_queue(&r, "lender", "all", (struct rig_quota){1, 0, -1}, 1, NEVER, NEVER);
    rig_add(&r, (struct rig_ask){1, mine, 0, 1, 4000, A100, 1, 0});
    rig_add(&r, (struct rig_ask){2, mine, 0, 1, 1000, A100, 2, 0});
    rig_cycle(&r, 5);
    rig_why(&r, 1, "needs 4 × a100, 2 free in queue mine");
    rig_why(&r, 2, "needs 1 × a100, 2 free in queue mine, kept for workload 1");
    rig_close(&r);
}

/* Small ones without end, from two queues: a large one gets its turn. */
static void test_no_starving(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_queue(&r, "lender", "all", (struct rig_quota){8, 0, -1}, 1, NEVER, NEVER);
    uint32_t a = rig_queue(&r, "a", "all", nothing_own, 1, NEVER, NEVER);
    uint32_t b = rig_queue(&r, "b", "all", nothing_own, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 8);
    uint64_t next = 100;
    for (; next < 120; next++)
        rig_add(&r, (struct rig_ask){next, a, 0, 1, 1000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, b, 0, 1, 8000, A100, 1, 0});
    int second = 1;
    for (uint64_t oldest = 100; !rig_runs(&r, 1) && second < 100; second++) {
        rig_add(&r, (struct rig_ask){next++, second % 2 ? a : b, 0, 1, 1000, A100, second, 0});
        rig_cycle(&r, second);
        if (rig_runs(&r, oldest)) place_ended(r.p, oldest++);
    }
    rig_cycle(&r, second);
    rig_expect(&r, 1, PLACE_RUNNING);
    rig_close(&r);
}

/* ---- quotas ---- */

/* Of quotas that mean as much as there is, the sums are beyond counting. */
static void test_quotas_beyond_counting(void **state)
{
    (void)state;
    const int64_t most = 7 * INT64_C(1000000000000000000); /* 7E */
    struct rig r;
    struct place_why why;
    struct err err = {0};
    rig_open(&r);
    rig_node(&r, "n", A100, 8);
    const struct place_flavor_quota gpus = {A100, {rig_gpus(2), PLACE_UNLIMITED, PLACE_UNLIMITED}};
    for (int i = 0; i < 4; i++) {
        struct place_queue q = {.name = str_of((const char *[]){"a", "b", "c", "d"}[i]),
                                .cohort = place_cohort(r.p, STR("all")),
                                .cpu = {.nominal = most, .borrow = most, .lend = i < 2 ? 0 : most},
                                .memory = {.nominal = most, .borrow = PLACE_UNLIMITED, .lend = i < 2 ? 0 : most},
                                .flavors = &gpus,
                                .n_flavors = 1};
        uint32_t number;
        assert_true(place_queue(r.p, &q, &number, &err));
        const struct rig_ask ask = {.id = 1 + (uint64_t)i, .queue = number, .pods = 1, .gpu = 3000, .flavor = A100};
        const struct place_ask in = rig_of(&ask);
        assert_int_equal(place_feasible(r.p, &in, &why, &err), i > 0); /* a GPU is lent */
        rig_add(&r, ask);
        rig_cycle(&r, i);
    }
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_expect(&r, 4, PLACE_WAITING);
    assert_true(place_reason(r.p, 4, &why));
    assert_true(why.resource == PLACE_RESOURCE_GPU && why.free >= 0);
    rig_close(&r);
}

/* What would borrow waits for others' own, and keeps nothing of it from them. */
static void test_their_own_comes_first(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    const struct rig_quota four = {4, -1, -1};
    uint32_t a = rig_queue(&r, "a", "all", four, 1, PLACE_PREEMPT_NEVER, PLACE_PREEMPT_NEVER);
    uint32_t b = rig_queue(&r, "b", "all", four, 1, PLACE_PREEMPT_NEVER, PLACE_PREEMPT_NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_add(&r, (struct rig_ask){1, b, 0, 1, 1000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){2, a, 0, 1, 8000, A100, 1, 0});
    for (uint64_t id = 3; id <= 7; id++)
        rig_add(&r, (struct rig_ask){id, b, 0, 1, 1000, A100, 2, 0});
    rig_cycle(&r, 2);
    for (uint64_t id = 3; id <= 5; id++)
        rig_expect(&r, id, PLACE_RUNNING);
    rig_expect(&r, 6, PLACE_WAITING); /* it would borrow, too */
    for (uint64_t id = 1; id <= 7; id++)
        if (id != 2) assert_true(place_ended(r.p, id));
    rig_cycle(&r, 3);
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_close(&r);
}

/* What two queues have of their own is borrowed by a third: it is kept for the first of them that waits. */
static void test_their_own_is_kept_for_the_first(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    const struct rig_quota four = {4, -1, -1};
    uint32_t a = rig_queue(&r, "a", "all", four, 1, NEVER, NEVER), b = rig_queue(&r, "b", "all", four, 1, NEVER, NEVER);
    uint32_t c = rig_queue(&r, "c", "all", nothing_own, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 64);
    rig_add(&r, (struct rig_ask){1, c, 0, 1, 5000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){2, a, 0, 1, 4000, A100, 1, 0});
    rig_add(&r, (struct rig_ask){3, b, 0, 1, 1000, A100, 2, 0});
    rig_cycle(&r, 3);
    rig_expect(&r, 3, PLACE_WAITING);
    place_ended(r.p, 1);
    rig_cycle(&r, 4);
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_expect(&r, 3, PLACE_RUNNING);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_their_own_comes_first),
        cmocka_unit_test(test_their_own_is_kept_for_the_first),
        cmocka_unit_test(test_its_own_limit),
        cmocka_unit_test(test_a_turn_ends_with_a_start),
        cmocka_unit_test(test_quotas_beyond_counting),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_flavor_weights),
        cmocka_unit_test(test_backfill),
        cmocka_unit_test(test_backfill_beside),
        cmocka_unit_test(test_no_starving),
        cmocka_unit_test(test_where_it_is_held),
        cmocka_unit_test(test_what_is_free_beside),
        cmocka_unit_test(test_a_cohort_that_lost_quota),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
