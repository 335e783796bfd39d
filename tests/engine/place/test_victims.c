/* Who gives way, of several that could, and what becomes of the room. */
#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER
#define LOWER PLACE_PREEMPT_LOWER
#define ANY PLACE_PREEMPT_ANY

enum { MINE, A, B, QUEUES };

struct amounts {
    int gpus, cores; /* -1 = unlimited */
};

static int64_t thousandths(int n)
{
    return n < 0 ? PLACE_UNLIMITED : (int64_t)n * 1000;
}

/* One of a cohort, that borrows and lends all of it. */
static uint32_t queue_of(struct rig *r, const char *name, struct amounts own, enum place_preempt within)
{
    const struct place_flavor_quota of = {A100, {thousandths(own.gpus), PLACE_UNLIMITED, PLACE_UNLIMITED}};
    const struct place_queue q = {.name = str_of(name),
                                  .cohort = place_cohort(r->p, STR("all")),
                                  .weight = 1,
                                  .within = within,
                                  .reclaim = ANY,
                                  .cpu = {thousandths(own.cores), PLACE_UNLIMITED, PLACE_UNLIMITED},
                                  .memory = {.nominal = PLACE_UNLIMITED},
                                  .flavors = &of,
                                  .n_flavors = 1};
    struct err err = {0};
    uint32_t number;
    assert_true(place_queue(r->p, &q, &number, &err));
    return number;
}

struct one {
    int queue, priority;
    struct amounts has;
};

static void add_one(struct rig *r, uint64_t id, const uint32_t *queues, const struct one *x)
{
    const struct rig_ask asked = {id, queues[x->queue], x->priority, 1, (uint32_t)x->has.gpus * PLACE_GPU, A100, 0, 0};
    struct place_ask ask = rig_of(&asked);
    struct err err = {0};
    ask.cpu = thousandths(x->has.cores);
    assert_true(place_add(r->p, &ask, &err));
}

/* Of a cohort's, on one node, those that are taken for who comes to `mine`. */
static void test_who_gives_way(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum place_preempt within; /* of `mine` */
        struct amounts own[QUEUES], node;
        struct one runs[3]; /* one after another; without cores: there is none */
        struct one comes;
        bool taken[3];
    } rows[] = {
        {"not its own GPUs of who borrows cores",
         NEVER,
         {{4, 10}, {4, 2}, {0, 2}},
         {64, 64},
         {{A, 0, {4, 3}}, {B, 5, {4, 1}}},
         {MINE, 0, {4, 1}},
         {false, true}},
        {"not on nodes, either",
         NEVER,
         {{4, 10}, {4, 2}, {0, 2}},
         {4, 64},
         {{A, 0, {4, 3}}},
         {MINE, 0, {4, 1}},
         {false}},
        {"not its own cores on nodes of who borrows GPUs",
         NEVER,
         {{8, 60}, {0, 60}, {0, 0}},
         {64, 64},
         {{A, 0, {4, 40}}},
         {MINE, 0, {1, 40}},
         {false}},
        {"no cores that nobody has a quota of, of who borrows nothing",
         NEVER,
         {{4, -1}, {4, -1}, {0, -1}},
         {64, 64},
         {{A, 0, {4, 40}}},
         {MINE, 0, {1, 40}},
         {false}},
        {"cores that nobody has a quota of, of who borrows GPUs",
         NEVER,
         {{4, -1}, {2, -1}, {0, -1}},
         {64, 64},
         {{A, 0, {4, 40}}},
         {MINE, 0, {2, 40}},
         {true}},
        {"of each what it borrows",
         NEVER,
         {{4, 10}, {4, 2}, {0, 2}},
         {64, 64},
         {{B, 0, {4, 1}}, {A, 0, {4, 1}}, {A, 0, {0, 8}}},
         {MINE, 0, {4, 9}},
         {true, false, true}},
        {"who borrows, before the less important of its own",
         LOWER,
         {{4, -1}, {0, -1}, {0, -1}},
         {64, 64},
         {{A, 3, {2, 1}}, {MINE, 0, {2, 1}}},
         {MINE, 5, {2, 1}},
         {true, false}},
        {"nobody of its own queue, if it may not",
         NEVER,
         {{4, -1}, {0, -1}, {0, -1}},
         {64, 64},
         {{MINE, 0, {4, 1}}},
         {MINE, 5, {4, 1}},
         {false}},
        {"the less important, though older",
         NEVER,
         {{4, -1}, {0, -1}, {0, -1}},
         {64, 64},
         {{A, 0, {2, 1}}, {A, 1, {2, 1}}},
         {MINE, 5, {2, 1}},
         {true, false}},
        {"of what lacks only then",
         NEVER,
         {{4, 10}, {0, 2}, {0, 2}},
         {64, 64},
         {{B, 0, {4, 1}}, {A, 1, {0, 8}}},
         {MINE, 0, {4, 9}},
         {true, true}},
        {"of what lacks only then, the less important",
         NEVER,
         {{8, 10}, {0, 2}, {0, 2}},
         {64, 64},
         {{B, 0, {4, 1}}, {B, 1, {4, 1}}, {A, 2, {0, 8}}},
         {MINE, 0, {4, 9}},
         {true, false, true}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t queues[QUEUES];
        for (int q = 0; q < QUEUES; q++)
            queues[q] =
                queue_of(&r, (const char *[]){"mine", "a", "b"}[q], rows[i].own[q], q == MINE ? rows[i].within : NEVER);
        const struct place_offer offer = {.flavor = A100, .gpus = (uint32_t)rows[i].node.gpus};
        rig_node_of(&r, "n0", thousandths(rows[i].node.cores), &offer, 1);
        for (uint64_t k = 0; k < 3 && rows[i].runs[k].has.cores > 0; k++) {
            add_one(&r, 10 + k, queues, &rows[i].runs[k]);
            rig_cycle(&r, (int)k);
            rig_expect(&r, 10 + k, PLACE_RUNNING);
        }
        add_one(&r, 1, queues, &rows[i].comes);
        rig_cycle(&r, 9);
        assert_false(rig_runs(&r, 1));
        for (uint64_t k = 0; k < 3; k++)
            if ((place_state(r.p, 10 + k) == PLACE_STOPPING) != rows[i].taken[k])
                fail_msg("%s: %d", rows[i].name, (int)k);
        rig_close(&r);
    }
}

/* What it needs is free, each on a node of its own: there is one victim, of either. */
static void test_each_is_elsewhere(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = queue_of(&r, "q", (struct amounts){-1, -1}, LOWER);
    const struct place_offer offer = {.flavor = A100, .gpus = 4};
    rig_node_of(&r, "n0", 10000, &offer, 1);
    add_one(&r, 10, &q, &(struct one){0, 0, {4, 1}});
    rig_cycle(&r, 0);
    rig_node_of(&r, "n1", 10000, &offer, 1);
    add_one(&r, 11, &q, &(struct one){0, 0, {0, 10}});
    rig_cycle(&r, 1);
    rig_expect(&r, 11, PLACE_RUNNING);
    add_one(&r, 1, &q, &(struct one){0, 1, {1, 5}});
    rig_cycle(&r, 2);
    assert_int_equal(r.out.n_victims, 1);
    rig_expect(&r, 1, PLACE_PROMISED);
    rig_close(&r);
}

/* One of two victims has stopped: its node is not taken before the other's is. */
static void test_a_gang_is_promised_whole(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = queue_of(&r, "q", (struct amounts){-1, -1}, LOWER);
    rig_node(&r, "n0", A100, 4);
    rig_node(&r, "n1", A100, 4);
    for (uint64_t id = 10; id < 12; id++)
        add_one(&r, id, &q, &(struct one){0, 0, {4, 1}});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, q, 1, 2, 4000, A100, 1, 0});
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_victims, 2);
    for (uint64_t id = 10; id < 12; id++) {
        rig_expect(&r, 1, PLACE_PROMISED);
        place_ended(r.p, id);
        rig_cycle(&r, (int)id); /* verifies what is booked */
    }
    rig_expect(&r, 1, PLACE_RUNNING);
    rig_close(&r);
}

/* Its victim has gone, and others are in its place: it waits again. */
static void test_others_are_in_the_place(void **state)
{
    (void)state;
    const int64_t cores = 64000, memory = (int64_t)64 << 30;
    const struct {
        const char *name;
        uint32_t gpus;
        int64_t cpu, memory;
    } rows[] = {{"a GPU", 1, 0, 0}, {"the cores", 0, cores, 0}, {"the memory", 0, 0, memory}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct err err = {0};
        uint32_t number;
        rig_open(&r);
        uint32_t q = queue_of(&r, "q", (struct amounts){-1, -1}, LOWER);
        struct place_offer offer = {.flavor = A100, .gpus = 4};
        struct place_node n = {
            .name = STR("n0"), .cpu = cores, .memory = memory, .schedulable = true, .offers = &offer, .n_offers = 1};
        assert_true(place_node(r.p, &n, &number, &err));
        add_one(&r, 10, &q, &(struct one){0, 0, {4, 1}});
        rig_cycle(&r, 0);
        add_one(&r, 1, &q, &(struct one){0, 1, {4, 1}});
        rig_cycle(&r, 1);
        rig_expect(&r, 1, PLACE_PROMISED);
        place_ended(r.p, 10);
        offer.taken = rows[i].gpus;
        n.other_cpu = rows[i].cpu;
        n.other_memory = rows[i].memory;
        assert_true(place_node(r.p, &n, &number, &err));
        rig_cycle(&r, 2);
        if (place_state(r.p, 1) != PLACE_WAITING) fail_msg("%s", rows[i].name);
        offer.taken = 0;
        n.other_cpu = n.other_memory = 0;
        assert_true(place_node(r.p, &n, &number, &err));
        rig_cycle(&r, 3);
        rig_expect(&r, 1, PLACE_RUNNING);
        rig_close(&r);
    }
}

/* Cores are given back by who has GPUs of another flavor, too. */
static void test_whatever_its_flavor(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    rig_open(&r);
    uint32_t queues[2];
    for (uint32_t k = 0; k < 2; k++) {
        const struct place_flavor_quota of[] = {{A100, {rig_gpus(8), PLACE_UNLIMITED, PLACE_UNLIMITED}},
                                                {T4, {rig_gpus(8), PLACE_UNLIMITED, PLACE_UNLIMITED}}};
        const struct place_queue q = {.name = k == 0 ? STR("mine") : STR("other"),
                                      .cohort = place_cohort(r.p, STR("all")),
                                      .weight = 1,
                                      .reclaim = ANY,
                                      .cpu = {thousandths(4), PLACE_UNLIMITED, PLACE_UNLIMITED},
                                      .memory = {.nominal = PLACE_UNLIMITED},
                                      .flavors = of,
                                      .n_flavors = 2};
        assert_true(place_queue(r.p, &q, &queues[k], &err));
    }
    rig_node(&r, "n0", A100, 8);
    rig_node(&r, "n1", T4, 8);
    for (uint64_t id = 1; id <= 2; id++) {
        const struct rig_ask asked = {id, queues[2 - id], 0, 1, 1000, id == 1 ? A100 : T4, 0, 0};
        struct place_ask ask = rig_of(&asked);
        ask.cpu = thousandths(id == 1 ? 8 : 2);
        assert_true(place_add(r.p, &ask, &err));
        rig_cycle(&r, (int)id);
    }
    rig_expect(&r, 1, PLACE_STOPPING);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_its_flavor),     cmocka_unit_test(test_who_gives_way),
        cmocka_unit_test(test_each_is_elsewhere),       cmocka_unit_test(test_a_gang_is_promised_whole),
        cmocka_unit_test(test_others_are_in_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
