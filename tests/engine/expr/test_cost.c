/* What evaluations cost: steps and memory are bounded, and whatever takes long is paid for. Cost is counted, never
 * timed. */
#include "tests/engine/expr/world.h"

/* Evaluates; false with the message in w's err. `spent` as in expr_env, may be NULL. */
static bool run(struct world *w, const char *source, uint64_t *spent, struct value *v, struct err *err)
{
    struct expr_env env = world_env(w);
    const struct expr *e;
    env.spent = spent;
    *err = (struct err){0};
    if (!expr_parse(&w->arena, str_of(source), &e, err)) fail_msg("%s: %s", source, err->message);
    return expr_eval(e, &env, &w->arena, v, err);
}

/* What went before in the caller's arena makes no difference. */
static void memory_of_its_own(void **state)
{
    struct world *w = *state;
    struct arena full;
    struct expr_env env = world_env(w);
    const struct expr *e;
    struct value v;
    struct err err = {0};
    arena_init(&full, 100);
    arena_alloc(&full, 1000);
    assert_true(full.over);
    assert_true(expr_parse(&w->arena, STR("range(10000).map(x, [x]).filter(l, l[0] > 9997)"), &e, &err));
    size_t before = full.used;
    assert_true(expr_eval(e, &env, &full, &v, &err));
    assert_int_equal(v.u.list.n, 2);
    assert_int_equal(v.u.list.items[1].u.list.items[0].u.i, 9999);
    assert_true(full.used - before < 1000); /* the result, and nothing that was only on the way */
    arena_free(&full);
}

static void memory_is_bounded(void **state)
{
    struct world *w = *state;
    struct value v;
    struct err err;
    assert_false(run(w, "range(20000).map(x, [{'a': x}, {'a': x}, {'a': x}, {'a': x}, {'a': x}]).all(l, size(l) > 0)",
                     NULL, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.message, "takes too much memory"));
}

static void results_are_bounded(void **state)
{
    struct world *w = *state;
    struct value v;
    struct err err;
    assert_false(run(w, "[range(20000)].map(l, range(14).map(i, l))", NULL, &v, &err));
    assert_non_null(strstr(err.message, "the result is too big: 262144 items, 4 MiB"));
}

static void a_budget_together(void **state)
{
    struct world *w = *state;
    struct value v;
    struct err err;
    uint64_t spent = 0;
    assert_true(run(w, "range(20000).map(x, x)", &spent, &v, &err));
    assert_in_range(spent, 40000, 50000);
    spent = EXPR_MAX_COST - 50000;
    assert_true(run(w, "range(20000).map(x, x)", &spent, &v, &err));
    assert_false(run(w, "range(20000).map(x, x)", &spent, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.message, "this and the expressions beside it take more than 400000 steps"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_its_own),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(results_are_bounded),
        cmocka_unit_test(a_budget_together),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
