/* Pods that were admitted, are on no node yet, and find others where they are booked. */
#include "rig.h"

#define NEVER PLACE_PREEMPT_NEVER

static uint32_t open_two(struct rig *r, uint32_t nodes[2])
{
    rig_open(r);
    nodes[0] = rig_node(r, "n0", A100, 8);
    nodes[1] = rig_node(r, "n1", A100, 8);
    return rig_queue(r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, NEVER, NEVER);
}

/* Booked on one node, it is found on the other. */
static uint32_t astray(struct rig *r, uint64_t id, const uint32_t nodes[2])
{
    uint32_t other = r->out.admitted[r->out.n_admitted - 1].nodes[0] == nodes[0] ? 1 : 0;
    assert_true(place_moved(r->p, id, 0, nodes[other]));
    return nodes[other];
}

static void test_it_goes_where_there_is_room(void **state)
{
    (void)state;
    struct rig r;
    uint32_t nodes[2], q = open_two(&r, nodes);
    rig_add(&r, (struct rig_ask){1, q, 0, 1, 8000, A100, 0, 0});
    rig_cycle(&r, 1);
    uint32_t booked = r.out.admitted[0].nodes[0], other = booked == nodes[0] ? nodes[1] : nodes[0];
    assert_int_equal(place_unbound(r.p, 1, 0, PLACE_NONE), booked); /* as long as there is room */
    rig_add(&r, (struct rig_ask){2, q, 0, 1, 1000, A100, 1, 0});
    rig_cycle(&r, 2);
    assert_int_equal(astray(&r, 2, nodes), booked);
    assert_int_equal(place_unbound(r.p, 1, 0, PLACE_NONE), other);
    rig_add(&r, (struct rig_ask){3, q, 0, 1, 8000, A100, 2, 0});
    rig_cycle(&r, 3);
    rig_expect(&r, 3, PLACE_WAITING);
    assert_true(place_moved(r.p, 1, 0, other));
    assert_true(place_moved(r.p, 2, 0, other)); /* who has turned up stays, however full it is */
    assert_int_equal(place_unbound(r.p, 1, 0, PLACE_NONE), other);
    assert_int_equal(place_unbound(r.p, 2, 0, PLACE_NONE), other);
    rig_cycle(&r, 4);
    rig_expect(&r, 3, PLACE_RUNNING);
    rig_close(&r);
}

/* Then as much is not free for others, in whatever pieces. */
static void test_no_node_has_room(void **state)
{
    (void)state;
    struct rig r;
    struct place_why why;
    uint32_t nodes[2], q = open_two(&r, nodes);
    rig_add(&r, (struct rig_ask){1, q, 0, 1, 8000, A100, 0, 0});
    rig_cycle(&r, 1);
    uint32_t booked = r.out.admitted[0].nodes[0];
    for (uint64_t id = 2; id < 8; id++)
        rig_add(&r, (struct rig_ask){id, q, 0, 1, 1000, A100, (int)id, 0});
    rig_cycle(&r, 2);
    for (uint64_t id = 2; id < 5; id++)
        assert_true(place_moved(r.p, id, 0, booked)); /* three of the six: five and five are free */
    assert_int_equal(place_unbound(r.p, 1, 0, PLACE_NONE), PLACE_NONE);
    for (uint64_t id = 8; id < 14; id++)
        rig_add(&r, (struct rig_ask){id, q, 0, 1, 1000, A100, (int)id, 0});
    rig_cycle(&r, 3);
    assert_int_equal(r.out.n_admitted, 2);
    assert_true(place_reason(r.p, 13, &why));
    assert_int_equal(why.reason, PLACE_WAITING_FOR_NODES);
    assert_int_equal(why.free, 0);
    rig_cycle(&r, 4);
    assert_int_equal(r.out.n_admitted, 0);
    for (uint64_t id = 2; id < 5; id++)
        assert_true(place_ended(r.p, id));
    for (uint64_t id = 8; id < 10; id++)
        if (place_state(r.p, id) == PLACE_RUNNING) assert_true(place_ended(r.p, id));
    assert_int_equal(place_unbound(r.p, 1, 0, PLACE_NONE), booked);
    rig_cycle(&r, 5);
    assert_int_equal(r.out.n_admitted, 4); /* all that wait */
    assert_true(place_ended(r.p, 1));
    rig_cycle(&r, 6);
    rig_close(&r);
}

/* A victim that is adrift is no more. */
static void test_adrift_and_preempted(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t n = rig_node(&r, "n0", A100, 2);
    uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, PLACE_PREEMPT_LOWER, NEVER);
    rig_add(&r, (struct rig_ask){1, q, 0, 1, 2000, A100, 0, 0});
    rig_cycle(&r, 1);
    place_node_gone(r.p, n);
    assert_int_equal(place_unbound(r.p, 1, 0, PLACE_NONE), PLACE_NONE);
    n = rig_node(&r, "n0", A100, 2);
    rig_add(&r, (struct rig_ask){2, q, 5, 1, 1000, A100, 1, 0});
    rig_cycle(&r, 2);
    rig_expect(&r, 1, PLACE_STOPPING);
    assert_true(place_stopped(r.p, 1));
    rig_cycle(&r, 3);
    rig_expect(&r, 2, PLACE_RUNNING);
    rig_expect(&r, 1, PLACE_WAITING);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_it_goes_where_there_is_room),
                                       cmocka_unit_test(test_no_node_has_room),
                                       cmocka_unit_test(test_adrift_and_preempted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
