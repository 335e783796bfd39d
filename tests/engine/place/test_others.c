/* What pods that are no workloads have of nodes; and victims that an earlier placer told to stop. */
#include "rig.h"

static void put_node(struct rig *r, uint32_t gpus, uint32_t taken, int64_t other_cpu)
{
    const struct place_offer offer = {.flavor = A100, .gpus = gpus, .taken = taken};
    const struct place_node n = {.name = STR("n"),
                                 .cpu = 64000,
                                 .memory = (int64_t)256 << 30,
                                 .other_cpu = other_cpu,
                                 .schedulable = true,
                                 .offers = &offer,
                                 .n_offers = 1};
    struct err err = {0};
    uint32_t number;
    if (!place_node(r->p, &n, &number, &err)) fail_msg("%s", err.message);
}

/* Others may go: who waits for what they have waits for nodes, and is not told that it can never run. */
static void test_others_are_a_wait(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t taken;
        int64_t cpu;
        bool runs;
    } rows[] = {{"all GPUs", 4, 0, false},
                {"one too many", 3, 0, false},
                {"just so many", 2, 0, true},
                {"the cores", 0, 63500, false},
                {"not all cores", 0, 63000, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct place_why why;
        struct err err = {0};
        rig_open(&r);
        uint32_t q =
            rig_queue(&r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, PLACE_PREEMPT_NEVER, PLACE_PREEMPT_NEVER);
        put_node(&r, 4, rows[i].taken, rows[i].cpu);
        const struct rig_ask ask = {.id = 1, .queue = q, .pods = 1, .gpu = 2 * PLACE_GPU, .flavor = A100};
        const struct place_ask in = rig_of(&ask);
        assert_true(place_feasible(r.p, &in, &why, &err));
        rig_add(&r, ask);
        rig_cycle(&r, 1);
        if (rig_runs(&r, 1) != rows[i].runs) fail_msg("%s", rows[i].name);
        if (!rows[i].runs) {
            assert_true(place_explain(r.p, 1, &why));
            assert_int_equal(why.reason, PLACE_WAITING_FOR_NODES);
            put_node(&r, 4, 0, 0); /* they went */
            rig_cycle(&r, 2);
            rig_expect(&r, 1, PLACE_RUNNING);
        }
        rig_close(&r);
    }
}

static void test_more_than_there_is(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    uint32_t number;
    rig_open(&r);
    const struct place_offer offer = {.flavor = A100, .gpus = 4, .taken = 5};
    const struct place_node n = {.name = STR("n"), .cpu = 1, .offers = &offer, .n_offers = 1};
    assert_false(place_node(r.p, &n, &number, &err));
    rig_close(&r);
}

/* The one for whom it stops asks again: nobody else is preempted for it. */
static void test_a_victim_of_before(void **state)
{
    (void)state;
    struct rig r;
    struct place_why why;
    struct err err = {0};
    const uint32_t on[] = {0, 0};
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, PLACE_PREEMPT_LOWER, PLACE_PREEMPT_NEVER);
    put_node(&r, 2, 0, 0);
    for (uint64_t id = 1; id <= 2; id++) {
        const struct rig_ask ask = {.id = id, .queue = q, .pods = 1, .gpu = PLACE_GPU, .flavor = A100};
        const struct place_ask in = rig_of(&ask);
        assert_true(place_add_running(r.p, &in, A100, on, 0, &err));
    }
    assert_true(place_stopping(r.p, 1, 3));
    assert_false(place_stopping(r.p, 1, 3)); /* it is no more than once */
    rig_add(&r, (struct rig_ask){.id = 3, .queue = q, .priority = 5, .pods = 1, .gpu = PLACE_GPU, .flavor = A100});
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_victims, 0);
    rig_expect(&r, 3, PLACE_WAITING);
    rig_expect(&r, 2, PLACE_RUNNING);
    assert_true(place_reason(r.p, 1, &why));
    assert_int_equal(why.reason, PLACE_PREEMPTED);
    assert_int_equal(why.other, 3);
    assert_true(place_stopped(r.p, 1));
    rig_cycle(&r, 2);
    rig_expect(&r, 3, PLACE_RUNNING);
    rig_expect(&r, 1, PLACE_WAITING);
    rig_close(&r);
}

static void name_it(const void *ctx, uint64_t id, struct buf *out)
{
    buf_printf(out, "%s %d", (const char *)ctx, (int)id);
}

static void test_names(void **state)
{
    (void)state;
    struct rig r;
    BUF_AUTO text;
    rig_open(&r);
    buf_init(&text, 0);
    const struct place_why why = {.reason = PLACE_PREEMPTED, .flavor = PLACE_NONE, .other = 17};
    place_why_text(r.p, &why, name_it, "run", &text);
    assert_string_equal(text.p, "was preempted by run 17, and will run again");
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others_are_a_wait),
        cmocka_unit_test(test_more_than_there_is),
        cmocka_unit_test(test_a_victim_of_before),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
