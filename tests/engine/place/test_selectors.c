/* Workloads that may only be on nodes with certain labels. */
#include <stdio.h>

#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER

static uint32_t open_one(struct rig *r, enum place_preempt within)
{
    rig_open(r);
    return rig_queue(r, "q", NULL, (struct rig_quota){1000, 0, 0}, 1, within, NEVER);
}

static void test_it_goes_where_its_labels_are(void **state)
{
    (void)state;
    struct rig r;
    uint32_t q = open_one(&r, NEVER);
    rig_node(&r, "n0", A100, 2); /* the better fit, but for its label */
    uint32_t n1 = rig_node(&r, "n1", A100, 8);
    rig_add_in(&r, (struct rig_ask){1, q, 0, 1, 2000, A100, 1, 0}, IN_B);
    rig_add_in(&r, (struct rig_ask){2, q, 0, 4, 2000, A100, 2, 0}, IN_B);
    rig_add_in(&r, (struct rig_ask){3, q, 0, 1, 8000, A100, 3, 0}, IN_A);
    rig_add_in(&r, (struct rig_ask){4, q, 0, 1, 0, A100, 4, 0}, IN_C);
    rig_add(&r, (struct rig_ask){5, q, 0, 1, 2000, A100, 5, 0});
    rig_cycle(&r, 10);
    assert_int_equal(r.out.n_admitted, 2);
    assert_int_equal(r.out.admitted[0].id, 1);
    assert_int_equal(r.out.admitted[0].nodes[0], n1);
    assert_int_equal(r.out.admitted[1].id, 5); /* n0 is not kept for those who cannot be there */
    rig_why(&r, 2,
            "each pod needs 2 × a100 on a node with zone=b; there is room for 3 of its 4 pods, which start together");
    rig_why(&r, 3,
            "each pod needs 8 × a100 on a node with zone=a; empty nodes would have room for 0 of 1, "
            "the largest has 2");
    rig_why(&r, 4, "each pod needs to be on a node with zone=c, and there is no such node");
    rig_close(&r);
}

static void test_what_can_never_be(void **state)
{
    (void)state;
    static const struct {
        uint32_t gpu;
        enum zone zone;
        const char *says; /* NULL = it can */
    } rows[] = {
        {2000, ANYWHERE, NULL},
        {2000, IN_A, NULL},
        {4000, IN_B, NULL},
        {4000, IN_A,
         "it can never run: each pod needs 4 × a100 on a node with zone=a; empty nodes would have room "
         "for 0 of 1, the largest has 2"},
        {1000, IN_C, "it can never run: each pod needs 1 × a100 on a node with zone=c, and there is no such node"},
        {0, IN_C, "it can never run: each pod needs to be on a node with zone=c, and there is no such node"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        uint32_t q = open_one(&r, NEVER);
        rig_node(&r, "n0", A100, 2);
        rig_node(&r, "n1", A100, 4);
        const struct place_ask ask = rig_of_in(&(struct rig_ask){1, q, 0, 1, rows[i].gpu, A100, 1, 0}, rows[i].zone);
        struct place_why why;
        struct err err = {0};
        assert_int_equal(place_feasible(r.p, &ask, &why, &err), rows[i].says == NULL);
        assert_string_equal(err.message, rows[i].says != NULL ? rows[i].says : "");
        rig_close(&r);
    }
}

/* Only who stands in the way is sent away. */
static void test_victims_are_on_its_nodes(void **state)
{
    (void)state;
    struct rig r;
    uint32_t q = open_one(&r, PLACE_PREEMPT_LOWER);
    rig_node(&r, "n0", A100, 4);
    rig_node(&r, "n1", A100, 4);
    rig_add_in(&r, (struct rig_ask){1, q, 0, 1, 4000, A100, 1, 0}, IN_A);
    rig_add_in(&r, (struct rig_ask){2, q, 0, 1, 4000, A100, 2, 0}, IN_B);
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_admitted, 2);
    rig_add_in(&r, (struct rig_ask){3, q, 5, 1, 4000, A100, 3, 0}, IN_A);
    rig_cycle(&r, 2);
    assert_int_equal(r.out.n_victims, 1);
    assert_int_equal(r.out.victims[0].id, 1);
    rig_node(&r, "n0", A100, 5); /* a node that has changed is as good as before */
    rig_expect(&r, 3, PLACE_PROMISED);
    assert_true(place_stopped(r.p, 1));
    rig_cycle(&r, 3);
    rig_expect(&r, 3, PLACE_RUNNING);
    rig_expect(&r, 1, PLACE_WAITING);
    rig_close(&r);
}

static void relabel(struct rig *r, const char *name, const struct place_pair *labels, size_t n, bool any)
{
    const struct place_offer offer = {.flavor = A100, .gpus = 4};
    const struct place_node node = {.name = str_of(name),
                                    .cpu = 64000,
                                    .memory = (int64_t)256 << 30,
                                    .schedulable = true,
                                    .any_labels = any,
                                    .labels = labels,
                                    .n_labels = n,
                                    .offers = &offer,
                                    .n_offers = 1};
    struct err err = {0};
    uint32_t number;
    if (!place_node(r->p, &node, &number, &err)) fail_msg("%s", err.message);
}

static void test_labels_come_and_go(void **state)
{
    (void)state;
    struct rig r;
    uint32_t q = open_one(&r, NEVER);
    const struct place_pair labels[] = {{STR("disk"), STR("ssd")}, {STR("zone"), STR("c")}};
    rig_node(&r, "n0", A100, 4);
    for (uint64_t id = 1; id <= 3; id++)
        rig_add_in(&r, (struct rig_ask){id, q, 0, 1, 1000, A100, (int)id, 0}, IN_C);
    rig_cycle(&r, 1);
    assert_int_equal(r.out.n_admitted, 0);
    relabel(&r, "n0", labels, 2, false);
    rig_cycle(&r, 2);
    assert_int_equal(r.out.n_admitted, 3);
    relabel(&r, "n0", labels, 1, false); /* who runs there goes on */
    rig_add_in(&r, (struct rig_ask){4, q, 0, 1, 1000, A100, 4, 0}, IN_C);
    rig_cycle(&r, 3);
    assert_int_equal(r.out.n_admitted, 0);
    rig_why(&r, 4, "each pod needs 1 × a100 on a node with zone=c, and there is no such node");
    relabel(&r, "machine", NULL, 0, false);
    rig_cycle(&r, 4);
    assert_int_equal(r.out.n_admitted, 0);
    relabel(&r, "machine", NULL, 0, true);
    rig_cycle(&r, 4);
    assert_int_equal(r.out.n_admitted, 1);
    rig_close(&r);
}

/* Taints keep away who asks for no flavor, but for those that it tolerates. */
static void test_taints(void **state)
{
    (void)state;
    static const struct place_pair key = {STR_INIT("dedicated"), STR_INIT("")},
                                   taint = {STR_INIT("dedicated"), STR_INIT("ml")},
                                   value = {STR_INIT("dedicated"), STR_INIT("=ml")},
                                   none = {STR_INIT("dedicated"), STR_INIT("=")},
                                   other = {STR_INIT("dedicated"), STR_INIT("=web")}, all = {{"", 0}, {"", 0}};
    static const struct {
        const struct place_pair *tolerates;
        uint32_t gpu;
        bool can;
    } rows[] = {{NULL, 0, false}, {&key, 0, true},    {&value, 0, true},    {&other, 0, false},
                {&all, 0, true},  {NULL, 1000, true}, {&other, 1000, true}, {&none, 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct err err = {0};
        struct place_why why;
        uint32_t q = open_one(&r, NEVER), number;
        const struct place_offer offer = {.flavor = A100, .gpus = 4};
        const struct place_node node = {.name = STR("n0"),
                                        .cpu = 64000,
                                        .memory = (int64_t)256 << 30,
                                        .schedulable = true,
                                        .taints = &taint,
                                        .n_taints = 1,
                                        .offers = &offer,
                                        .n_offers = 1};
        const struct rig_ask one = {1, q, 0, 1, rows[i].gpu, A100, 1, 0};
        struct place_ask ask = rig_of(&one);
        assert_true(place_node(r.p, &node, &number, &err));
        ask.tolerates = rows[i].tolerates;
        ask.n_tolerates = rows[i].tolerates != NULL;
        if (place_feasible(r.p, &ask, &why, &err) != rows[i].can) fail_msg("row %zu: %s", i, err.message);
        assert_true(place_add(r.p, &ask, &err));
        rig_cycle(&r, 2);
        assert_int_equal(r.out.n_admitted, rows[i].can);
        if (!rows[i].can) rig_why(&r, 1, "each pod needs 1 CPUs, and there is no node whose taints it tolerates");
        rig_close(&r);
    }
}

static void tainted(struct rig *r, const struct place_pair *taints, size_t n)
{
    const struct place_node node = {.name = STR("n0"),
                                    .cpu = 64000,
                                    .memory = (int64_t)256 << 30,
                                    .schedulable = true,
                                    .taints = taints,
                                    .n_taints = n};
    struct err err = {0};
    uint32_t number;
    if (!place_node(r->p, &node, &number, &err)) fail_msg("%s", err.message);
}

/* Taints and tolerations are sets: that one stands there twice makes it no other. */
static void test_taints_change(void **state)
{
    (void)state;
    static const struct place_pair gpu = {STR_INIT("gpu"), STR_INIT("")}, team = {STR_INIT("team"), STR_INIT("")};
    const struct place_pair both[] = {gpu, team}, twice[] = {gpu, gpu};
    struct rig r;
    struct err err = {0};
    uint32_t q = open_one(&r, NEVER);
    tainted(&r, both, 2);
    const struct rig_ask first = {1, q, 0, 1, 0, A100, 1, 0}, second = {2, q, 0, 1, 0, A100, 2, 0};
    struct place_ask of_both = rig_of(&first), of_one = rig_of(&second);
    of_both.tolerates = both;
    of_one.tolerates = twice;
    of_both.n_tolerates = of_one.n_tolerates = 2;
    assert_true(place_add(r.p, &of_both, &err) && place_add(r.p, &of_one, &err));
    rig_cycle(&r, 1);
    rig_expect(&r, 1, PLACE_RUNNING);
    rig_expect(&r, 2, PLACE_WAITING);
    tainted(&r, twice, 2);
    rig_cycle(&r, 2);
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_close(&r);
}

/* Who was promised room on a node that has lost its label looks for other room. */
static void test_a_promise_on_a_relabelled_node(void **state)
{
    (void)state;
    struct rig r;
    uint32_t q = open_one(&r, PLACE_PREEMPT_LOWER);
    const struct place_pair a[] = {{STR_INIT("zone"), STR_INIT("a")}};
    relabel(&r, "n0", a, 1, false);
    rig_add_in(&r, (struct rig_ask){1, q, 0, 1, 4000, A100, 1, 0}, IN_A);
    rig_cycle(&r, 1);
    rig_add_in(&r, (struct rig_ask){2, q, 5, 1, 4000, A100, 2, 0}, IN_A);
    rig_cycle(&r, 2);
    rig_expect(&r, 2, PLACE_PROMISED);
    relabel(&r, "n0", NULL, 0, false);
    assert_true(place_stopped(r.p, 1));
    rig_cycle(&r, 3);
    rig_expect(&r, 2, PLACE_WAITING);
    rig_why(&r, 2, "each pod needs 4 × a100 on a node with zone=a, and there is no such node");
    relabel(&r, "n0", a, 1, false);
    rig_cycle(&r, 4);
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_close(&r);
}

/* As many as there are bits; one that is left is free for the next. */
static void test_many_selectors(void **state)
{
    (void)state;
    struct rig r;
    uint32_t q = open_one(&r, NEVER);
    rig_node(&r, "n0", A100, 4);
    for (uint64_t id = 1; id <= 1030; id++) {
        char text[16];
        snprintf(text, sizeof text, "v%d", (int)id);
        const struct place_pair label = {STR("which"), str_of(text)};
        const struct rig_ask one = {id, q, 0, 1, 1000, A100, (int)id, 0};
        struct place_ask ask = rig_of(&one);
        struct err err = {0};
        ask.selector = &label;
        ask.n_selector = 1;
        assert_true(place_add(r.p, &ask, &err));
        if (id != 1024) continue;
        assert_true(place_ended(r.p, 1));
        rig_cycle(&r, 1024);
        rig_expect(&r, 1024, PLACE_RUNNING); /* one too many: its labels are not looked at */
    }
    rig_cycle(&r, 2000);
    assert_int_equal(r.out.n_admitted, 3);
    assert_int_equal(r.out.admitted[0].id, 1026); /* 1025 has what the first has left */
    rig_why(&r, 1025, "each pod needs 1 × a100 on a node with which=v1025, and there is no such node");
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_goes_where_its_labels_are),
        cmocka_unit_test(test_what_can_never_be),
        cmocka_unit_test(test_victims_are_on_its_nodes),
        cmocka_unit_test(test_labels_come_and_go),
        cmocka_unit_test(test_many_selectors),
        cmocka_unit_test(test_taints),
        cmocka_unit_test(test_taints_change),
        cmocka_unit_test(test_a_promise_on_a_relabelled_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
