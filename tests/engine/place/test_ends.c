/* Reservations by the known ends of those who run: what they amount to. */
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

/* The same of who comes to another queue: what it takes is known to the next of the same cycle. */
static void test_what_others_take(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t q = rig_queue(&r, "q", "c", (struct rig_quota){0, -1, 0}, 1, NEVER, NEVER);
    uint32_t other = rig_queue(&r, "other", "c", (struct rig_quota){0, -1, 0}, 1, NEVER, NEVER);
    rig_queue(&r, "lender", "c", (struct rig_quota){8, -1, -1}, 1, NEVER, NEVER);
    rig_node(&r, "n0", A100, 16);
    rig_add(&r, (struct rig_ask){TIMED, other, 0, 1, 4000, A100, 0, 100});
    rig_add(&r, (struct rig_ask){LONG, other, 0, 1, 1000, A100, 0, 0});
    rig_cycle(&r, 0);
    rig_add(&r, (struct rig_ask){WIDE, q, 0, 1, 6000, A100, 1, 0});
    rig_add(&r, (struct rig_ask){PASSES, other, 0, 1, 1000, A100, 2, 0});
    rig_add(&r, (struct rig_ask){LATE, other, 0, 1, 1000, A100, 3, 0});
    rig_cycle(&r, 4);
    rig_expect(&r, PASSES, PLACE_RUNNING);
    rig_expect(&r, LATE, PLACE_WAITING);
    rig_close(&r);
}

/* Four of the cohort's eight GPUs are used until 100, when there will be six: who ends before that passes. Nothing of
 * them becomes free at 50, when somebody ends who has stopped for others, or has none of that flavor. */
static void test_whose_end_makes_room(void **state)
{
    (void)state;
    for (int victim = 0; victim < 2; victim++) {
        struct rig r;
        rig_open(&r);
        uint32_t q = rig_queue(&r, "q", "c", (struct rig_quota){0, -1, 0}, 1, NEVER, NEVER);
        rig_queue(&r, "lender", "c", (struct rig_quota){8, -1, -1}, 1, NEVER, NEVER);
        rig_node(&r, "n0", A100, 16);
        rig_node(&r, "n1", T4, 16);
        rig_add(&r, (struct rig_ask){TIMED, q, 0, 1, 4000, A100, 0, 100});
        rig_add(&r, (struct rig_ask){LONG, q, 0, 1, 2000, victim ? A100 : T4, 0, 50});
        rig_cycle(&r, 0);
        if (victim) assert_true(place_stopping(r.p, LONG, 99));
        rig_add(&r, (struct rig_ask){WIDE, q, 0, 1, 6000, A100, 1, 0});
        rig_add(&r, (struct rig_ask){PASSES, q, 0, 1, 1000, A100, 2, 80});
        rig_cycle(&r, 2);
        rig_expect(&r, WIDE, PLACE_WAITING);
        if (!rig_runs(&r, PASSES)) fail_msg("an end of %s counts", victim ? "a victim" : "another flavor");
        rig_close(&r);
    }
}

/* Nodes that are reserved for two, of a flavor each, are passed by who ends before the first of these has them. */
static void test_the_first_of_two_on_a_node(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int a100_s, t4_s; /* when they are free */
        enum place_state then;
    } rows[] = {
        {"the GPUs that it asks for come first", 100, 200, PLACE_WAITING},
        {"the others come first", 200, 100, PLACE_WAITING},
        {"it ends before both", 200, 300, PLACE_RUNNING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t q = rig_queue(&r, "q", NULL, (struct rig_quota){-1, 0, 0}, 1, NEVER, NEVER);
        const struct place_offer offers[] = {{.flavor = A100, .gpus = 4}, {.flavor = T4, .gpus = 2}};
        rig_node(&r, "n1", T4, 4);
        rig_add(&r, (struct rig_ask){11, q, 0, 1, 4000, T4, 0, rows[i].t4_s});
        rig_cycle(&r, 0);
        rig_node_of(&r, "n0", 64000, offers, 2);
        rig_add(&r, (struct rig_ask){10, q, 0, 1, 2000, A100, 0, rows[i].a100_s});
        rig_cycle(&r, 0);
        rig_add(&r, (struct rig_ask){1, q, 9, 1, 4000, A100, 1, 0});
        rig_add(&r, (struct rig_ask){2, q, 8, 3, 2000, T4, 1, 0}); /* of the one node, and of both */
        rig_add(&r, (struct rig_ask){3, q, 0, 1, 1000, A100, 1, 150});
        rig_cycle(&r, 1);
        if (place_state(r.p, 3) != rows[i].then) fail_msg("%s", rows[i].what);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken_since),
        cmocka_unit_test(test_what_others_take),
        cmocka_unit_test(test_whose_end_makes_room),
        cmocka_unit_test(test_the_first_of_two_on_a_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
