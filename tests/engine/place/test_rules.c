/* The rules of the GPU queue, one after another: quota, borrowing, lending, gangs, shares, order. */
#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER

/* ---- one workload against one world ---- */

struct world {
    const char *name;
    struct rig_quota mine, other; /* of the queue that asks, and of another of its cohort */
    int other_uses;               /* GPUs that run in the other queue */
    uint32_t nodes[3];            /* A100s of each node */
    uint32_t pods, gpu, flavor;
    enum place_reason reason; /* PLACE_NO_REASON = it runs */
    int64_t need, free, limit;
    uint32_t fit;
    const char *text;
};

static const struct world worlds[] = {
    {"fits", {4, 0, 0}, {0, 0, 0}, 0, {4}, 1, 4000, A100, PLACE_NO_REASON, 0, 0, 0, 0, ""},
    {"no such flavor offered by nodes",
     {4, 0, 0},
     {0, 0, 0},
     0,
     {4},
     1,
     1000,
     T4,
     PLACE_UNSCHEDULABLE,
     1000,
     0,
     0,
     0,
     "each pod needs 1 × t4, and there is no node of that flavor"},
    {"more than the quota",
     {4, 0, 0},
     {0, 0, 0},
     0,
     {8},
     1,
     5000,
     A100,
     PLACE_EXCEEDS_QUOTA,
     5000,
     0,
     4000,
     0,
     "needs 5 × a100, queue mine can have at most 4, borrowed ones included"},
    {"more than may be borrowed",
     {2, 1, 0},
     {4, 0, 4},
     0,
     {8},
     1,
     4000,
     A100,
     PLACE_EXCEEDS_QUOTA,
     4000,
     0,
     3000,
     0,
     NULL},
    {"more than the cohort lends",
     {2, -1, 0},
     {4, 0, 1},
     0,
     {8},
     1,
     4000,
     A100,
     PLACE_EXCEEDS_QUOTA,
     4000,
     0,
     3000,
     0,
     NULL},
    {"borrows", {2, -1, 0}, {4, 0, 4}, 0, {8}, 1, 6000, A100, PLACE_NO_REASON, 0, 0, 0, 0, NULL},
    {"borrows up to the limit", {2, 2, 0}, {4, 0, 4}, 0, {8}, 1, 4000, A100, PLACE_NO_REASON, 0, 0, 0, 0, NULL},
    {"borrows what is lent", {2, -1, 0}, {4, 0, 1}, 0, {8}, 1, 3000, A100, PLACE_NO_REASON, 0, 0, 0, 0, NULL},
    {"what is not lent serves its owner",
     {2, -1, 0},
     {4, 0, 1},
     3,
     {8},
     1,
     3000,
     A100,
     PLACE_NO_REASON,
     0,
     0,
     0,
     0,
     NULL},
    {"the owner uses what it lends",
     {2, -1, 0},
     {4, 0, 4},
     4,
     {8},
     1,
     3000,
     A100,
     PLACE_WAITING_FOR_QUOTA,
     3000,
     2000,
     0,
     0,
     "needs 3 × a100, 2 free in queue mine; position 1 of 1"},
    {"another has borrowed mine",
     {4, 0, -1},
     {0, -1, 0},
     2,
     {8},
     1,
     4000,
     A100,
     PLACE_WAITING_FOR_QUOTA,
     4000,
     2000,
     0,
     0,
     NULL},
    {"mine is not lent", {4, 0, 2}, {0, -1, 0}, 2, {8}, 1, 2000, A100, PLACE_NO_REASON, 0, 0, 0, 0, NULL},
    {"no node is large enough",
     {8, 0, 0},
     {0, 0, 0},
     0,
     {4, 4},
     1,
     8000,
     A100,
     PLACE_UNSCHEDULABLE,
     8000,
     0,
     4000,
     0,
     NULL},
    {"no node has room now",
     {8, 0, 0},
     {2, 0, 0},
     2,
     {8},
     1,
     7000,
     A100,
     PLACE_WAITING_FOR_NODES,
     7000,
     6000,
     0,
     0,
     "each pod needs 7 × a100, the most that a node has free is 6; position 1 of 1"},
    {"eight scattered are no eight",
     {16, 0, 0},
     {8, 0, 0},
     8,
     {8, 4, 4},
     1,
     8000,
     A100,
     PLACE_NO_REASON,
     0,
     0,
     0,
     0,
     NULL},
    {"a gang in part",
     {16, 0, 0},
     {2, 0, 0},
     2,
     {4, 4},
     4,
     2000,
     A100,
     PLACE_WAITING_FOR_GANG,
     2000,
     4000,
     0,
     3,
     "each pod needs 2 × a100; there is room for 3 of its 4 pods, which start together; position 1 of 1"},
    {"a whole gang", {16, 0, 0}, {2, 0, 0}, 0, {4, 4}, 4, 2000, A100, PLACE_NO_REASON, 0, 0, 0, 0, NULL},
    {"no GPU", {0, 0, 0}, {0, 0, 0}, 0, {4}, 3, 0, A100, PLACE_NO_REASON, 0, 0, 0, 0, NULL},
};

static void run_world(const struct world *w)
{
    struct rig r;
    rig_open(&r);
    uint32_t mine = rig_queue(&r, "mine", "all", w->mine, 1, NEVER, NEVER);
    uint32_t other = rig_queue(&r, "other", "all", w->other, 1, NEVER, NEVER);
    for (int i = 0; i < 3 && w->nodes[i] > 0; i++)
        rig_node(&r, (const char *[]){"n0", "n1", "n2"}[i], A100, w->nodes[i]);
    for (int i = 0; i < w->other_uses; i++)
        rig_add(&r, (struct rig_ask){100 + (uint64_t)i, other, 0, 1, 1000, A100, 0, 0});
    rig_cycle(&r, 1);
    for (int i = 0; i < w->other_uses; i++)
        if (!rig_runs(&r, 100 + (uint64_t)i)) fail_msg("%s: the other's %d. does not run", w->name, i + 1);
    const struct rig_ask ask = {1, mine, 0, w->pods, w->gpu, w->flavor, 1, 0};
    rig_add(&r, ask);
    rig_cycle(&r, 2);
    struct place_why why = {0}, never = {0};
    struct err err = {0};
    struct place_ask place = rig_of(&ask);
    bool feasible = place_feasible(r.p, &place, &never, &err), waits = place_explain(r.p, 1, &why);
    bool ever =
        w->reason != PLACE_NO_SUCH_FLAVOR && w->reason != PLACE_EXCEEDS_QUOTA && w->reason != PLACE_UNSCHEDULABLE;
    if (feasible != ever) fail_msg("%s: feasible is %d", w->name, feasible);
    if (!ever && never.reason != w->reason) fail_msg("%s: %s", w->name, err.message);
    if (waits != (w->reason != PLACE_NO_REASON)) fail_msg("%s: waits is %d", w->name, waits);
    BUF_AUTO text;
    buf_init(&text, 0);
    place_why_text(r.p, ever ? &why : &never, NULL, NULL, &text);
    buf_char(&text, '\0');
    if (waits && (why.reason != w->reason || why.need != w->need || why.free != w->free || why.limit != w->limit ||
                  why.pods_fit != w->fit))
        fail_msg("%s: %s: %s (%d, %d, %d, %u)", w->name, place_reason_name(why.reason), text.p, (int)why.need,
                 (int)why.free, (int)why.limit, why.pods_fit);
    if (waits && w->text != NULL && strcmp(w->text, text.p) != 0) fail_msg("%s: %s", w->name, text.p);
    rig_close(&r);
}

static void test_worlds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++)
        run_world(&worlds[i]);
}

/* ---- more than one ---- */

static void test_no_such_flavor(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    uint32_t q;
    rig_open(&r);
    rig_node(&r, "n0", A100, 8);
    const struct place_flavor_quota only = {T4, {1000, 0, 0}};
    const struct place_queue queue = {.name = STR("small"),
                                      .cohort = PLACE_NONE,
                                      .cpu = {PLACE_UNLIMITED, 0, 0},
                                      .memory = {PLACE_UNLIMITED, 0, 0},
                                      .flavors = &only,
                                      .n_flavors = 1};
    assert_true(place_queue(r.p, &queue, &q, &err));
    const struct rig_ask ask = {1, q, 0, 1, 1000, A100, 0, 0};
    const struct place_ask place = rig_of(&ask);
    struct place_why why;
    assert_false(place_feasible(r.p, &place, &why, &err));
    assert_int_equal(why.reason, PLACE_NO_SUCH_FLAVOR);
    assert_string_equal(err.message, "it can never run: queue small offers none of its flavors");
    rig_add(&r, ask);
    rig_cycle(&r, 1);
    assert_true(place_explain(r.p, 1, &why));
    assert_int_equal(why.reason, PLACE_NO_SUCH_FLAVOR);
    rig_close(&r);
}

static void test_shares(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){4, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", PART, 2);
    static const struct {
        uint32_t gpu;
        bool runs;
    } asks[] = {{500, true}, {500, true}, {1000, true}, {300, false}};
    for (size_t i = 0; i < 4; i++)
        rig_add(&r, (struct rig_ask){i + 1, q, 0, 1, asks[i].gpu, PART, (int)i, 0});
    rig_cycle(&r, 10);
    for (size_t i = 0; i < 4; i++)
        rig_expect(&r, i + 1, asks[i].runs ? PLACE_RUNNING : PLACE_WAITING);
    place_ended(r.p, 1); /* two halves were on one GPU: 0.3 fits, a whole one does not */
    rig_add(&r, (struct rig_ask){9, q, 1, 1, 1000, PART, 0, 0});
    rig_cycle(&r, 11);
    rig_expect(&r, 9, PLACE_WAITING);
    place_ended(r.p, 9);
    rig_cycle(&r, 12);
    rig_expect(&r, 4, PLACE_RUNNING);
    struct err err = {0};
    const struct rig_ask odd = {20, q, 0, 1, 1500, PART, 0, 0};
    const struct place_ask ask = rig_of(&odd);
    assert_false(place_add(r.p, &ask, &err));
    assert_string_equal(err.message, "1.5 GPUs a pod cannot be had");
    rig_close(&r);
}

static void test_order_and_flavors(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    const uint64_t *ids;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){2, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 1);
    rig_node(&r, "n1", T4, 1);
    const uint32_t either[] = {A100, T4};
    for (uint64_t id = 1; id <= 4; id++) { /* the last is the most important */
        struct place_ask ask = {.id = id,
                                .queue = q,
                                .priority = id == 4,
                                .pods = 1,
                                .gpu = 1000,
                                .flavors = either,
                                .n_flavors = 2,
                                .submit_us = (int64_t)id};
        assert_true(place_add(r.p, &ask, &err));
    }
    assert_int_equal(place_first(r.p, q, 9, &r.a, &ids), 4);
    static const uint64_t order[] = {4, 1, 2, 3};
    assert_memory_equal(ids, order, sizeof order);
    assert_int_equal(place_first(r.p, q, 2, &r.a, &ids), 2);
    assert_memory_equal(ids, order, 2 * sizeof *ids);
    assert_int_equal(place_first(r.p, q, 0, &r.a, &ids), 0);
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_admitted, 2);
    assert_int_equal(r.out.admitted[0].id, 4);
    assert_int_equal(r.out.admitted[0].flavor, A100);
    assert_int_equal(r.out.admitted[1].id, 1);
    assert_int_equal(r.out.admitted[1].flavor, T4);
    struct place_why why;
    assert_true(place_explain(r.p, 3, &why));
    assert_int_equal(why.position, 2);
    assert_int_equal(why.of, 2);
    rig_cycle(&r, 2);
    assert_int_equal(r.out.n_admitted, 0);
    rig_close(&r);
}

/* Of flavors of which none has room, that is told which came furthest, of several the first. */
static void test_which_flavor_is_told(void **state)
{
    (void)state;
    enum lack { QUOTA, NODES };
    static const struct {
        const char *name;
        enum lack a100, t4;
        uint32_t flavor;
        enum place_reason reason;
    } rows[] = {
        {"the second", QUOTA, NODES, T4, PLACE_WAITING_FOR_NODES},
        {"the first", NODES, QUOTA, A100, PLACE_WAITING_FOR_NODES},
        {"both by quota", QUOTA, QUOTA, A100, PLACE_WAITING_FOR_QUOTA},
        {"both by nodes", NODES, NODES, A100, PLACE_WAITING_FOR_NODES},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct err err = {0};
        uint32_t q;
        rig_open(&r);
        /* Two GPUs of which one is used, of the queue's or of the node's. */
        const struct place_flavor_quota quota[] = {{A100, {rig_gpus(rows[i].a100 == QUOTA ? 2 : 8), 0, 0}},
                                                   {T4, {rig_gpus(rows[i].t4 == QUOTA ? 2 : 8), 0, 0}}};
        const struct place_queue queue = {.name = STR("q"),
                                          .cohort = PLACE_NONE,
                                          .cpu = {PLACE_UNLIMITED, 0, 0},
                                          .memory = {PLACE_UNLIMITED, 0, 0},
                                          .flavors = quota,
                                          .n_flavors = 2};
        assert_true(place_queue(r.p, &queue, &q, &err));
        rig_node(&r, "n0", A100, rows[i].a100 == NODES ? 2 : 8);
        rig_node(&r, "n1", T4, rows[i].t4 == NODES ? 2 : 8);
        rig_add(&r, (struct rig_ask){10, q, 0, 1, 1000, A100, 0, 0});
        rig_add(&r, (struct rig_ask){11, q, 0, 1, 1000, T4, 0, 0});
        rig_cycle(&r, 0);
        const uint32_t either[] = {A100, T4};
        struct place_ask ask = rig_of(&(struct rig_ask){1, q, 0, 1, 2000, A100, 1, 0});
        ask.flavors = either;
        ask.n_flavors = 2;
        assert_true(place_add(r.p, &ask, &err));
        rig_cycle(&r, 1);
        struct place_why why;
        assert_true(place_explain(r.p, 1, &why));
        if (why.reason != rows[i].reason || why.flavor != rows[i].flavor)
            fail_msg("%s: %s, flavor %u", rows[i].name, place_reason_name(why.reason), why.flavor);
        rig_close(&r);
    }
}

/* Of many who came in no order, in several groups. */
static void test_the_first_of_many(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    const uint64_t *ids;
    const uint32_t a100 = A100;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){2, 2, 0}, 1, NEVER, NEVER);
    for (uint32_t i = 0; i < 500; i++) {
        uint64_t age = i * 37 % 500;                   /* each once */
        const struct place_ask ask = {.id = 500 - age, /* which says nothing of it */
                                      .queue = q,
                                      .pods = 1 + (uint32_t)(age % 3),
                                      .gpu = 1000,
                                      .flavors = &a100,
                                      .n_flavors = 1,
                                      .submit_us = (int64_t)age};
        assert_true(place_add(r.p, &ask, &err));
    }
    assert_int_equal(place_first(r.p, q, 100, &r.a, &ids), 100);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(ids[i], 500 - i);
    rig_close(&r);
}

/* Who is left over when so many were admitted has its turn in the next cycle, though nothing comes from outside. */
static void test_a_few_at_a_time(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_node(&r, "n0", A100, 8);
    for (uint64_t id = 1; id <= 2; id++) {
        uint32_t q = rig_queue(&r, id == 1 ? "a" : "b", NULL, (struct rig_quota){4, 0, 0}, 1, NEVER, NEVER);
        rig_add(&r, (struct rig_ask){id, q, 0, 1, 1000, A100, 0, 0});
    }
    for (int left = 1; left >= 0; left--) {
        place_out_init(&r.out, &r.a);
        assert_int_equal(place_cycle(r.p, 1, 1, &r.out), left);
        assert_int_equal(r.out.n_admitted, 1);
    }
    rig_close(&r);
}

/* Best fit: small ones gather where little is left, so that whole nodes stay free. */
static void test_packing(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 8);
    rig_node(&r, "n1", A100, 8);
    rig_node(&r, "cpu", A100, 0);
    for (uint64_t id = 1; id <= 8; id++)
        rig_add(&r, (struct rig_ask){id, q, 0, 1, 1000, A100, (int)id, 0});
    rig_add(&r, (struct rig_ask){9, q, 0, 1, 8000, A100, 9, 0});
    rig_add(&r, (struct rig_ask){10, q, 0, 1, 0, A100, 10, 0});
    rig_cycle(&r, 20);
    assert_int_equal(r.out.n_admitted, 10);
    struct str on = place_node_name(r.p, r.out.admitted[9].nodes[0]);
    assert_true(str_is(on, "cpu"));
    rig_close(&r);
}

static void test_restart(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){8, 0, 0}, 1, NEVER, NEVER);
    uint32_t n0 = rig_node(&r, "n0", A100, 4), n1 = rig_node(&r, "n1", A100, 4);
    const struct rig_ask known = {1, q, 0, 2, 2000, A100, 0, 0};
    const struct place_ask ask = rig_of(&known);
    assert_true(place_add_running(r.p, &ask, A100, (uint32_t[]){n0, n1}, 5, &err));
    rig_add(&r, (struct rig_ask){2, q, 0, 1, 4000, A100, 1, 0});
    rig_cycle(&r, 1);
    rig_expect(&r, 2, PLACE_WAITING);
    assert_true(place_moved(r.p, 1, 1, n0)); /* both on n0 in truth */
    rig_cycle(&r, 2);
    rig_expect(&r, 2, PLACE_RUNNING);
    place_node_gone(r.p, n0);
    rig_cycle(&r, 3);
    rig_expect(&r, 1, PLACE_RUNNING); /* until somebody says that it ended */
    assert_true(place_ended(r.p, 1));
    assert_false(place_ended(r.p, 1));
    rig_cycle(&r, 4);
    rig_close(&r);
}

static void test_offers(void **state)
{
    (void)state;
    const struct place_pair a100 = {STR("nvidia.com/gpu.product"), STR("A100-SXM4-40GB")};
    const struct place_pair taint = {STR("nvidia.com/gpu"), STR("=present")}, any = {STR("nvidia.com/gpu"), STR("")};
    const struct place_flavor flavors[] = {
        {.name = STR("a100"),
         .resource = STR("nvidia.com/gpu"),
         .labels = &a100,
         .n_labels = 1,
         .tolerates = &any,
         .n_tolerates = 1},
        {.name = STR("gpu"), .resource = STR("nvidia.com/gpu"), .tolerates = &taint, .n_tolerates = 1},
        {.name = STR("mig"), .resource = STR("nvidia.com/mig-1g.5gb")},
        {.name = STR("big"), .described = true},
        {.name = STR("dra"), .described = true},
    };
    static const struct str both[] = {STR_INIT("dra"), STR_INIT("big")};
    const struct place_devices devices[] = {{.name = STR("nvidia.com/gpu"), .n = 8, .taken = 3},
                                            {.name = STR("nvidia.com/mig-1g.5gb"), .n = 7, .taken = 9},
                                            {STR("gpu.nvidia.com"), 4, 0, both, 1},
                                            {STR("gpu.nvidia.com"), 2, 1, both, 2}}; /* count for the first */
    static const struct {
        bool label;
        const char *taint; /* its value; NULL = none */
        size_t n;
        struct place_offer offers[4];
    } rows[] = {{true, NULL, 4, {{0, 8, 3}, {2, 7, 7}, {3, 2, 1}, {4, 4, 0}}},
                {false, NULL, 4, {{1, 8, 3}, {2, 7, 7}, {3, 2, 1}, {4, 4, 0}}},
                {true, "present", 1, {{0, 8, 3}}},
                {false, "present", 1, {{1, 8, 3}}},
                {true, "reserved", 1, {{0, 8, 3}}},
                {false, "reserved", 0, {{0}}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct place_offer out[5];
        const struct place_pair has = {taint.key, str_of(rows[i].taint)};
        size_t n = place_offers(flavors, 5, &a100, rows[i].label, &has, rows[i].taint != NULL, devices, 4, out);
        assert_int_equal(n, rows[i].n);
        assert_memory_equal(out, rows[i].offers, n * sizeof *out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worlds),
        cmocka_unit_test(test_no_such_flavor),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_order_and_flavors),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_the_first_of_many),
        cmocka_unit_test(test_a_few_at_a_time),
        cmocka_unit_test(test_which_flavor_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
