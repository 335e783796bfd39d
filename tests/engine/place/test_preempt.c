/* Who gives way to whom, and what was promised to whom it is done for. */
#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER
#define LOWER PLACE_PREEMPT_LOWER
#define ANY PLACE_PREEMPT_ANY

static const struct rig_quota nothing_own = {0, -1, 0};

struct fight {
    const char *name;
    enum place_preempt within, reclaim;
    struct rig_quota mine, other;
    int lender;                       /* nominal quota of a third queue, which does not use it */
    int own_priority, other_priority; /* of those that run: two of 2 GPUs each in either queue; 99 = none */
    int priority;                     /* of who comes, with 4 GPUs */
    size_t own_victims, other_victims;
};

static const struct fight fights[] = {
    {"may not", NEVER, NEVER, {8, 0, 0}, {0, 0, 0}, 0, 0, 99, 5, 0, 0},
    {"lower ones of its queue", LOWER, NEVER, {4, 0, 0}, {0, 0, 0}, 0, 0, 99, 5, 2, 0},
    {"not its equals", LOWER, NEVER, {4, 0, 0}, {0, 0, 0}, 0, 5, 99, 5, 0, 0},
    {"as few as may be", LOWER, NEVER, {6, 0, 0}, {0, 0, 0}, 0, 0, 99, 5, 1, 0},
    {"who borrows", NEVER, ANY, {4, 0, -1}, {0, -1, 0}, 0, 99, 9, 0, 0, 2},
    {"who borrows, if lower", NEVER, LOWER, {4, 0, -1}, {0, -1, 0}, 0, 99, 9, 5, 0, 0},
    {"who borrows and is lower", NEVER, LOWER, {4, 0, -1}, {0, -1, 0}, 0, 99, 1, 5, 0, 2},
    {"only what is borrowed", NEVER, ANY, {4, 0, -1}, {2, -1, -1}, 0, 99, 9, 0, 0, 1},
    {"nobody, to borrow itself", NEVER, ANY, {2, -1, -1}, {0, -1, 0}, 2, 99, 9, 0, 0, 0},
};

static void run_fight(const struct fight *f)
{
    struct rig r;
    rig_open(&r);
    uint32_t mine = rig_queue(&r, "mine", "all", f->mine, 1, f->within, f->reclaim);
    uint32_t other = rig_queue(&r, "other", "all", f->other, 1, NEVER, NEVER);
    rig_queue(&r, "lender", "all", (struct rig_quota){f->lender, 0, -1}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, f->within == NEVER && f->reclaim == NEVER ? 4 : 64);
    for (uint64_t i = 0; i < 2; i++) {
        if (f->own_priority < 99) rig_add(&r, (struct rig_ask){10 + i, mine, f->own_priority, 1, 2000, A100, 0, 0});
        if (f->other_priority < 99)
            rig_add(&r, (struct rig_ask){20 + i, other, f->other_priority, 1, 2000, A100, 0, 0});
    }
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, mine, f->priority, 1, 4000, A100, 1, 0});
    rig_cycle(&r, 1);
    size_t own = 0, others = 0;
    for (size_t i = 0; i < r.out.n_victims; i++) {
        assert_int_equal(r.out.victims[i].by, 1);
        rig_expect(&r, r.out.victims[i].id, PLACE_STOPPING);
        own += r.out.victims[i].id < 20;
        others += r.out.victims[i].id >= 20;
    }
    if (own != f->own_victims || others != f->other_victims)
        fail_msg("%s: %d and %d victims", f->name, (int)own, (int)others);
    rig_expect(&r, 1, own + others > 0 ? PLACE_PROMISED : PLACE_WAITING);
    struct place_why why;
    assert_true(place_explain(r.p, 1, &why));
    if (own + others > 0) assert_int_equal(why.reason, PLACE_WAITING_FOR_VICTIMS);
    for (int second = 2; second < 5; second++) { /* victims stop one a second, and ask again at once */
        for (uint64_t id = 10; id < 22; id++) {
            if (place_state(r.p, id) != PLACE_STOPPING) continue;
            assert_true(place_explain(r.p, id, &why));
            assert_int_equal(why.reason, PLACE_PREEMPTED);
            assert_int_equal(why.other, 1);
            assert_true(place_stopped(r.p, id));
            break;
        }
        rig_cycle(&r, second);
        assert_int_equal(r.out.n_victims, 0);
    }
    if (own + others > 0) rig_expect(&r, 1, PLACE_RUNNING);
    rig_close(&r);
}

static void test_preemption(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fights / sizeof *fights; i++)
        run_fight(&fights[i]);
}

/* The least important is asked first, and let off when another one alone is enough. */
static void test_let_off(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){6, 0, 0}, 1, LOWER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_add(&r, (struct rig_ask){10, q, 0, 1, 2000, A100, 0, 0});
    rig_add(&r, (struct rig_ask){11, q, 1, 1, 4000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, q, 2, 1, 4000, A100, 5, 0});
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_victims, 1);
    assert_int_equal(r.out.victims[0].id, 11);
    rig_expect(&r, 10, PLACE_RUNNING);
    rig_close(&r);
}

/* Among equals: for who wants GPUs those that have some, then who has done the least, then who came last. */
static void test_whose_loss_is_least(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t gpu[2]; /* of 10 and 11 */
        int first;       /* of them to start */
        int later_s;     /* by which the other starts later */
        uint32_t wanted;
        uint64_t victim;
    } rows[] = {
        {"GPUs for GPUs", {1000, 0}, 10, 5, 1000, 10},
        {"a GPU of the older", {0, 1000}, 11, 5, 1000, 11},
        {"cores of the younger", {1000, 0}, 10, 5, 0, 11},
        {"cores of the younger, GPUs or not", {1000, 0}, 11, 5, 0, 10},
        {"the younger", {1000, 1000}, 10, 5, 1000, 11},
        {"the younger, though it came first", {1000, 1000}, 11, 5, 1000, 10},
        {"who came last", {1000, 1000}, 10, 0, 1000, 11},
        {"who came last, not who was told of last", {1000, 1000}, 11, 0, 1000, 11},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct err err = {0};
        uint32_t number;
        rig_open(&r);
        uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, LOWER, NEVER);
        const struct place_offer offer = {.flavor = A100, .gpus = 8};
        const struct place_node n = {.name = STR("n0"),
                                     .cpu = 2000, /* of two pods */
                                     .memory = (int64_t)64 << 30,
                                     .schedulable = true,
                                     .offers = &offer,
                                     .n_offers = 1};
        assert_true(place_node(r.p, &n, &number, &err));
        for (int k = 0; k < 2; k++) {
            uint64_t id = (k == 0) == (rows[i].first == 10) ? 10 : 11;
            rig_add(&r, (struct rig_ask){id, q, 0, 1, rows[i].gpu[id - 10], A100, 0, 0});
            rig_cycle(&r, k * rows[i].later_s);
            rig_expect(&r, id, PLACE_RUNNING);
        }
        rig_add(&r, (struct rig_ask){1, q, 1, 1, rows[i].wanted, A100, 9, 0});
        rig_cycle(&r, 10);
        if (r.out.n_victims != 1 || r.out.victims[0].id != rows[i].victim)
            fail_msg("%s: %d victims, the first is %d", rows[i].name, (int)r.out.n_victims,
                     r.out.n_victims > 0 ? (int)r.out.victims[0].id : 0);
        rig_close(&r);
    }
}

/* Once a queue has given back what it borrowed it is another's turn, who may be more important. */
static void test_nobody_gives_of_its_own(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t mine = rig_queue(&r, "mine", "all", (struct rig_quota){4, 0, -1}, 1, NEVER, ANY);
    uint32_t other = rig_queue(&r, "other", "all", (struct rig_quota){2, -1, -1}, 1, NEVER, NEVER);
    uint32_t third = rig_queue(&r, "third", "all", nothing_own, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 64);
    rig_add(&r, (struct rig_ask){10, other, 0, 1, 2000, A100, 0, 0});
    rig_add(&r, (struct rig_ask){11, other, 0, 1, 2000, A100, 0, 0});
    rig_add(&r, (struct rig_ask){20, third, 5, 1, 2000, A100, 0, 0});
    rig_cycle(&r, 0);
    for (uint64_t id = 10; id <= 20; id += id == 11 ? 9 : 1)
        rig_expect(&r, id, PLACE_RUNNING);
    rig_add(&r, (struct rig_ask){1, mine, 0, 1, 4000, A100, 1, 0});
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_victims, 2);
    rig_expect(&r, 20, PLACE_STOPPING);
    assert_int_equal((place_state(r.p, 10) == PLACE_RUNNING) + (place_state(r.p, 11) == PLACE_RUNNING), 1);
    rig_close(&r);
}

/* A gang of low ones holds every node; the important one needs a node, not quota. */
static void test_preempt_for_nodes(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, LOWER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_node(&r, "n1", A100, 8);
    for (uint64_t i = 0; i < 4; i++)
        rig_add(&r, (struct rig_ask){10 + i, q, 0, 1, 4000, A100, (int)i, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, q, 1, 1, 8000, A100, 5, 0});
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_victims, 2); /* those of one node, not one of each */
    place_stopped(r.p, r.out.victims[0].id);
    rig_cycle(&r, 2);
    rig_expect(&r, 1, PLACE_PROMISED);
    uint64_t second = 0;
    for (uint64_t i = 0; i < 4; i++)
        if (place_state(r.p, 10 + i) == PLACE_STOPPING) second = 10 + i;
    place_ended(r.p, second);
    rig_cycle(&r, 3);
    rig_expect(&r, 1, PLACE_RUNNING);
    rig_close(&r);
}

/* Where its first choice would be, too few may give way. */
static void test_preempt_for_the_second_flavor(void **state)
{
    (void)state;
    static const uint32_t choice[] = {T4, A100};
    struct rig r;
    struct err err = {0};
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, LOWER, NEVER);
    rig_node(&r, "n0", T4, 4);
    rig_node(&r, "n1", A100, 4);
    rig_add(&r, (struct rig_ask){10, q, 0, 1, 2000, T4, 0, 0});
    rig_add(&r, (struct rig_ask){11, q, 5, 1, 2000, T4, 0, 0});
    rig_add(&r, (struct rig_ask){12, q, 0, 1, 4000, A100, 0, 0});
    rig_cycle(&r, 0);
    struct place_ask ask = rig_of(&(struct rig_ask){1, q, 5, 1, 4000, T4, 1, 0});
    ask.flavors = choice;
    ask.n_flavors = 2;
    assert_true(place_add(r.p, &ask, &err));
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_victims, 1);
    rig_expect(&r, 12, PLACE_STOPPING);
    assert_true(place_stopped(r.p, 12));
    rig_cycle(&r, 2);
    rig_expect(&r, 1, PLACE_RUNNING);
    rig_close(&r);
}

/* Who was stopping when it was told of is a victim as any other: once it runs again nothing stops it before something
 * has come from outside. */
static void test_not_twice_in_a_row(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t mine = rig_queue(&r, "mine", "all", (struct rig_quota){8, 0, -1}, 1, NEVER, ANY);
    uint32_t other = rig_queue(&r, "other", "all", nothing_own, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_add(&r, (struct rig_ask){2, mine, 0, 1, 4000, A100, 0, 0});
    rig_add(&r, (struct rig_ask){10, other, 0, 1, 4000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_expect(&r, 10, PLACE_RUNNING);
    rig_add(&r, (struct rig_ask){1, mine, 0, 1, 4000, A100, 1, 0});
    assert_true(place_stopping(r.p, 10, 99));
    assert_true(place_stopped(r.p, 10));
    rig_cycle(&r, 1); /* it is the turn of who has less */
    assert_int_equal(r.out.n_victims, 0);
    rig_expect(&r, 10, PLACE_RUNNING);
    rig_node(&r, "n1", T4, 1);
    rig_cycle(&r, 2);
    rig_expect(&r, 10, PLACE_STOPPING);
    rig_expect(&r, 1, PLACE_PROMISED);
    rig_close(&r);
}

/* What was promised on a node that is cordoned meanwhile does not start there. */
static void test_a_promise_on_a_cordoned_node(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    uint32_t number;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, LOWER, NEVER);
    struct place_offer offer = {.flavor = A100, .gpus = 4};
    struct place_node n = {.name = STR("n0"), .cpu = 64000, .memory = (int64_t)64 << 30, .schedulable = true};
    n.offers = &offer;
    n.n_offers = 1;
    assert_true(place_node(r.p, &n, &number, &err));
    rig_add(&r, (struct rig_ask){10, q, 0, 1, 4000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, q, 1, 1, 4000, A100, 5, 0});
    rig_cycle(&r, 1);
    rig_expect(&r, 1, PLACE_PROMISED);
    n.schedulable = false;
    assert_true(place_node(r.p, &n, &number, &err));
    place_ended(r.p, 10);
    rig_cycle(&r, 2);
    rig_expect(&r, 1, PLACE_WAITING);
    struct place_why why;
    BUF_AUTO text;
    buf_init(&text, 0);
    assert_true(place_explain(r.p, 1, &why));
    place_why_text(r.p, &why, NULL, NULL, &text);
    assert_string_equal(text.p, "each pod needs 4 × a100, and no node that has that is schedulable; position 1 of 1");
    n.schedulable = true;
    assert_true(place_node(r.p, &n, &number, &err));
    rig_cycle(&r, 3);
    rig_expect(&r, 1, PLACE_RUNNING);
    rig_close(&r);
}

/* Nobody gives way where nodes are reserved for who is more important, even if there will be room beside that. Of eight
 * GPUs seven are used, five of them until 100; four are reserved for then. */
static void test_not_where_it_is_reserved(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t lab = rig_queue(&r, "lab", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, LOWER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_add(&r, (struct rig_ask){10, q, 0, 1, 2000, A100, 0, 0});
    rig_add(&r, (struct rig_ask){11, q, 9, 1, 5000, A100, 0, 100});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, lab, 9, 1, 4000, A100, 1, 0});
    rig_add(&r, (struct rig_ask){2, q, 5, 1, 2000, A100, 1, 0});
    rig_cycle(&r, 1);
    rig_expect(&r, 10, PLACE_RUNNING);
    rig_expect(&r, 2, PLACE_WAITING);
    rig_close(&r);
}

/* The preemptor is cancelled while its victims stop: they start again, each as old as it was. */
static void test_preemptor_leaves(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){4, 0, 0}, 1, LOWER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_add(&r, (struct rig_ask){10, q, 0, 1, 4000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){1, q, 1, 1, 4000, A100, 5, 0});
    rig_cycle(&r, 1);
    rig_expect(&r, 10, PLACE_STOPPING);
    rig_add(&r, (struct rig_ask){2, q, 0, 1, 4000, A100, 6, 0});
    place_ended(r.p, 1);
    rig_cycle(&r, 2);
    place_stopped(r.p, 10);
    rig_cycle(&r, 3);
    rig_expect(&r, 10, PLACE_RUNNING);
    rig_expect(&r, 2, PLACE_WAITING);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preemption),
        cmocka_unit_test(test_preempt_for_nodes),
        cmocka_unit_test(test_preempt_for_the_second_flavor),
        cmocka_unit_test(test_not_twice_in_a_row),
        cmocka_unit_test(test_let_off),
        cmocka_unit_test(test_whose_loss_is_least),
        cmocka_unit_test(test_nobody_gives_of_its_own),
        cmocka_unit_test(test_not_where_it_is_reserved),
        cmocka_unit_test(test_preemptor_leaves),
        cmocka_unit_test(test_a_promise_on_a_cordoned_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
