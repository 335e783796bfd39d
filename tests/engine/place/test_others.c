/* What pods that are no workloads have of nodes; and victims that an earlier placer told to stop. */
#include "rig.h"

static void put_node_of(struct rig *r, uint32_t flavor, uint32_t gpus, uint32_t taken, int64_t other_cpu)
{
    const struct place_offer offer = {.flavor = flavor, .gpus = gpus, .taken = taken};
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

static void put_node(struct rig *r, uint32_t gpus, uint32_t taken, int64_t other_cpu)
{
    put_node_of(r, A100, gpus, taken, other_cpu);
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

/* By labels that change, or by a flavor that does: what runs has the same GPUs, and they count among those of the
 * flavor that the node offers now. Its queue has used up its quota as before. */
static void test_the_node_is_of_another_flavor(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    struct place_usage use;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){4, 0, 0}, 1, PLACE_PREEMPT_NEVER, PLACE_PREEMPT_NEVER);
    uint32_t n = rig_node(&r, "n", A100, 4);
    rig_add(&r, (struct rig_ask){.id = 1, .queue = q, .pods = 2, .gpu = 2 * PLACE_GPU, .flavor = A100});
    rig_cycle(&r, 1);
    rig_expect(&r, 1, PLACE_RUNNING);
    assert_true(place_on(r.p, 1, n));
    uint64_t offered = place_offered(r.p);
    put_node(&r, 4, 0, 0); /* without its labels */
    assert_int_equal(place_offered(r.p), offered);
    for (int again = 0; again < 2; again++) { /* and back, and away */
        put_node_of(&r, T4, 4, 0, 0);
        assert_int_equal(place_offered(r.p), ++offered);
        assert_false(place_on(r.p, 1, n));
        put_node_of(&r, T4, 4, 4, 2000); /* who tells of it has asked */
        assert_int_equal(place_offered(r.p), offered);
        assert_true(place_moved(r.p, 1, 0, n)); /* says a watch */
        uint64_t t4 = 10 + (uint64_t)again, a100 = 20 + (uint64_t)again;
        rig_add(&r, (struct rig_ask){.id = t4, .queue = q, .pods = 1, .gpu = PLACE_GPU, .flavor = T4});
        rig_add(&r, (struct rig_ask){.id = a100, .queue = q, .pods = 1, .gpu = PLACE_GPU, .flavor = A100});
        rig_cycle(&r, 2);
        rig_why(&r, t4, "each pod needs 1 × t4, the most that a node has free is 0");
        rig_expect(&r, a100, PLACE_WAITING);
        place_usage(r.p, q, A100, &use);
        assert_int_equal(use.used, 4 * PLACE_GPU);
        place_ended(r.p, t4);
        place_ended(r.p, a100);
        put_node(&r, 4, 4, 0);
        assert_int_equal(place_offered(r.p), ++offered);
        assert_true(place_on(r.p, 1, n));
        put_node(&r, 4, 0, 0);
        for (uint32_t pod = 0; pod < 2; pod++)
            assert_true(place_moved(r.p, 1, pod, n));
        rig_cycle(&r, 3);
    }
    put_node_of(&r, T4, 4, 4, 2000);
    const uint32_t on[] = {n};
    const struct rig_ask ask = {.id = 3, .queue = q, .pods = 1, .gpu = PLACE_GPU, .flavor = A100};
    const struct place_ask in = rig_of(&ask);
    assert_true(place_add_running(r.p, &in, A100, on, 0, &err)); /* after a restart */
    assert_true(place_ended(r.p, 1));
    put_node_of(&r, T4, 4, 1, 1000);
    rig_add(&r, (struct rig_ask){.id = 4, .queue = q, .pods = 1, .gpu = 3 * PLACE_GPU, .flavor = T4});
    rig_cycle(&r, 4);
    rig_expect(&r, 4, PLACE_RUNNING);
    rig_close(&r);
}

/* What was promised on it is not to be had, nor on one that is no more. */
static void test_a_promise_is_of_another_flavor(void **state)
{
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        struct rig r;
        rig_open(&r);
        uint32_t q =
            rig_queue(&r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, PLACE_PREEMPT_LOWER, PLACE_PREEMPT_NEVER);
        put_node(&r, 4, 0, 0);
        rig_add(&r, (struct rig_ask){.id = 1, .queue = q, .pods = 1, .gpu = 4 * PLACE_GPU, .flavor = A100});
        rig_cycle(&r, 1);
        rig_add(&r, (struct rig_ask){.id = 2, .queue = q, .priority = 5, .pods = 2, .gpu = PLACE_GPU, .flavor = A100});
        rig_cycle(&r, 2);
        rig_expect(&r, 2, PLACE_PROMISED);
        if (gone)
            place_node_gone(r.p, 0);
        else
            put_node_of(&r, T4, 4, 4, 1000);
        rig_expect(&r, 2, PLACE_WAITING);
        rig_cycle(&r, 3);
        rig_why(&r, 2, "each pod needs 1 × a100, and there is no node of that flavor");
        assert_true(place_stopped(r.p, 1));
        put_node(&r, 4, 0, 0);
        rig_cycle(&r, 4);
        rig_expect(&r, 2, PLACE_RUNNING);
        rig_close(&r);
    }
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
        cmocka_unit_test(test_the_node_is_of_another_flavor),
        cmocka_unit_test(test_a_promise_is_of_another_flavor),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
