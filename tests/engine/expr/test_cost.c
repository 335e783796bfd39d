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

static bool look_blanks(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                        bool *absent, struct err *err)
{
    static const char *const names[] = {"blanks", "m"};
    (void)a;
    *used = 0;
    *absent = !str_is(ref->root, names[0]) && !str_is(ref->root, names[1]);
    if (!*absent) *out = ((const struct value *)ctx)[str_is(ref->root, names[1])];
    (void)err;
    return true;
}

/* What looks like one step and takes many is paid for: of a text of 65,536 blanks, and a map with it as a key. */
static void what_takes_long_is_paid_for(void **state)
{
    static const struct {
        const char *source;
        uint64_t least;
    } rows[] = {
        {"int(blanks) == 0 || true", 4096},
        {"double(blanks) == 0.0 || true", 4096},
        {"m[blanks]", 1024},
        {"blanks in m", 1024},
        {"blanks.contains('x')", 4096},
        {"blanks.matches('x')", 4096},
        {"string([blanks])", 4096},
        {"string([0.1, 0.2])", 16},
        {"json('[1]')", 8},
        {"[1, 2, 3, 4].exists(i, m.x == 1) || true", 16},
        {"'c'.matches('((a{1,200}){1,150}b)')", 640},
        {"blanks.matches('^( *) \\\\1x ') || true", 8192}, /* each of the tries compares all of it */
        {"blanks.matches('^ *[ ]{60000}x ') || true", 4096},
    };
    static char text[65537];
    struct world *w = *state;
    struct value_map_builder b;
    memset(text, ' ', sizeof text - 1);
    value_map_begin(&b, &w->arena);
    value_map_put(&b, (struct str){text, sizeof text - 1}, value_int(1));
    struct value vars[] = {value_string((struct str){text, sizeof text - 1}), value_map_end(&b)};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t spent = 0;
        struct expr_env env = {.ctx = vars, .lookup = look_blanks, .json = world_json, .spent = &spent};
        const struct expr *e;
        struct value v;
        struct err err = {0};
        assert_true(expr_parse(&w->arena, str_of(rows[i].source), &e, &err));
        if (!expr_eval(e, &env, &w->arena, &v, &err)) assert_int_equal(err.code, ERR_LIMIT);
        if (spent < rows[i].least) fail_msg("%s takes only %llu steps", rows[i].source, (unsigned long long)spent);
    }
}

/* A pattern is compiled once in an evaluation; others are paid for one by one. */
static void patterns_are_compiled_once(void **state)
{
    struct world *w = *state;
    struct value v;
    struct err err;
    uint64_t spent = 0;
    assert_true(run(w, "range(1000).map(x, 'c'.matches('((a{1,200}){1,150}b)')).all(m, !m)", &spent, &v, &err));
    assert_true(v.u.b);
    assert_in_range(spent, 20000, 40000);
    spent = 0;
    assert_false(run(w, "range(1000).all(x, !'c'.matches('((a{1,200}){1,150}b)' + string(x)))", &spent, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
}

/* The nearest name is told of the error that stands in the end, whatever failed in between. */
static void the_hint_is_that_of_the_error(void **state)
{
    struct world *w = *state;
    struct value v;
    struct err err;
    assert_false(run(w, "params.nam == 'x' || (params.shar == 1.0 || params.n == 4)", NULL, &v, &err));
    assert_non_null(strstr(err.message, "'nam'"));
    assert_string_equal(err.hint, "did you mean 'name'?");
    assert_false(run(w, "params.nam == 'x' || 1 / 0 == 1 || params.n == 4", NULL, &v, &err));
    assert_string_equal(err.hint, "did you mean 'name'?");
    assert_false(run(w, "params.n == 4 || 1 / 0 == 1 || params.nam == 'x'", NULL, &v, &err));
    assert_string_equal(err.hint, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_its_own),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(results_are_bounded),
        cmocka_unit_test(a_budget_together),
        cmocka_unit_test(what_takes_long_is_paid_for),
        cmocka_unit_test(patterns_are_compiled_once),
        cmocka_unit_test(the_hint_is_that_of_the_error),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
