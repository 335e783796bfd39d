/* What a turn costs a run: dear expressions are spread over turns, and what a run keeps is bounded. Cost is counted,
 * never timed. */
#include "tests/engine/flow/rig.h"

#define DEAR "${{ size(range(20000).map(x, [1, 2, 3].map(y, x * y))) }}" /* 260,003 steps */
#define MOST (2 * EXPR_MAX_COST)

struct fixture {
    struct arena a;
    struct build b;
    struct rig g;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    arena_init(&f->a, 0);
    build_init(&f->b, &f->a, 3, 32);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->g.run) rig_free(&f->g);
    arena_free(&f->a);
    free(f);
    return 0;
}

static struct node *expr_node(struct fixture *f, uint32_t graph, const char *name, const char *value, const char *needs)
{
    struct node *n = build_node(&f->b, graph, name, VERB_EXPR, needs);
    n->value = build_template(&f->b, value);
    return n;
}

static void begin(struct fixture *f, struct value params)
{
    rig_init(&f->g, build_end(&f->b), params);
    rig_begin(&f->g);
}

/* The dearest turn of the whole run. */
static uint64_t dearest(struct fixture *f, uint32_t given)
{
    uint64_t most = 0;
    for (bool more = true; more;) {
        uint32_t budget = given;
        f->g.now_us += 1000;
        more = run_advance(f->g.run, &budget, f->g.now_us, &f->g.out);
        uint64_t cost = f->g.out.cost + f->g.out.spent;
        if (cost > most) most = cost;
        rig_commit(&f->g);
    }
    rig_verify(&f->g);
    return most;
}

static void dear_items_take_turns(void **state)
{
    struct fixture *f = *state;
    struct node *n = expr_node(f, 0, "a", DEAR, NULL);
    build_foreach(&f->b, n, "${{ range(150) }}", 0);
    expr_node(f, 0, "b", "${{ steps.a.outputs.all(o, o.value == 20000) }}", "a");
    begin(f, value_null());
    assert_true(dearest(f, 20000) <= MOST);
    rig_expect_run(&f->g, RUN_SUCCEEDED);
    assert_true(str_is(f->g.rows[rig_task(&f->g, "b")].row.outputs, "{\"value\":true}"));
}

/* What an end computes is bounded as well: many instances may end at once. */
static void dear_ends_take_turns(void **state)
{
    struct fixture *f = *state;
    struct node *n = build_node(&f->b, 0, "subs", VERB_PIPELINE, NULL);
    n->graph = 1;
    build_foreach(&f->b, n, "${{ range(50) }}", 0);
    build_node(&f->b, 1, "x", VERB_NOOP, NULL);
    build_output(&f->b, 1, "o", DEAR);
    begin(f, value_null());
    assert_true(dearest(f, 20000) <= MOST + EXPR_MAX_COST);
    rig_expect_run(&f->g, RUN_SUCCEEDED);
}

static void one_step_has_one_budget(void **state)
{
    struct fixture *f = *state;
    struct node *n = build_node(&f->b, 0, "sub", VERB_PIPELINE, NULL);
    n->graph = 1;
    build_node(&f->b, 1, "x", VERB_NOOP, NULL);
    for (int i = 0; i < 10; i++) {
        build_output(&f->b, 1, "o", DEAR);
        build_output(&f->b, 0, "o", DEAR);
    }
    begin(f, value_null());
    assert_true(dearest(f, 20000) <= MOST);
    rig_expect_run(&f->g, RUN_FAILED);
    assert_non_null(strstr(f->g.message, "this and the expressions beside it take more than 400000 steps"));
}

static struct value big_text(struct fixture *f, size_t n)
{
    char *p = arena_alloc(&f->a, n);
    memset(p, 'a', n);
    struct value_map_builder m;
    value_map_begin(&m, &f->a);
    value_map_put(&m, STR("big"), value_string((struct str){p, n}));
    return value_map_end(&m);
}

static void a_value_is_bounded(void **state)
{
    struct fixture *f = *state;
    expr_node(f, 0, "a", "${{ params.big }}", NULL);
    begin(f, big_text(f, PLAN_MAX_VALUE));
    dearest(f, 20000);
    rig_expect_run(&f->g, RUN_FAILED);
    assert_string_equal(f->g.message, "a: expr: this takes more than 4 MiB: make it an artifact");
}

static void all_values_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct node *n = expr_node(f, 0, "a", "${{ params.big }}", NULL);
    build_foreach(&f->b, n, "${{ range(100) }}", 0);
    rig_init(&f->g, build_end(&f->b), big_text(f, PLAN_MAX_VALUE - 100));
    struct run_out out;
    struct arena turn;
    arena_init(&turn, 0);
    run_out_init(&out, &turn);
    run_begin(f->g.run, 1, &out);
    size_t most = 0, turns = 0;
    for (bool more = true; more; turns++) {
        arena_reset(&turn);
        run_out_init(&out, &turn);
        more = run_advance(f->g.run, &(uint32_t){20000}, 2, &out);
        run_committed(f->g.run);
        if (turn.used > most) most = turn.used;
    }
    struct run_summary summary;
    run_summary(f->g.run, &turn, &summary);
    assert_int_equal(summary.state, RUN_FAILED);
    assert_non_null(strstr(arena_cstr(&turn, summary.message), "computed takes more than 256 MiB"));
    assert_true(run_bytes(f->g.run) < PLAN_MAX_KEPT + ((size_t)16 << 20));
    assert_true(most < (size_t)128 << 20); /* and a turn makes only so much */
    arena_free(&turn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(dear_items_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(dear_ends_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(one_step_has_one_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(a_value_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(all_values_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
