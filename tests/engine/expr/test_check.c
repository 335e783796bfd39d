/* The static check (all mistakes, at their places) and the paths an expression reads. */
#include "tests/engine/expr/world.h"

/* params: n int, name string, share double, flag bool, models list, extra map; steps.train is known, its outputs are a
 * list. */
static bool type_of(void *ctx, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    static const struct {
        const char *name;
        enum expr_type type;
    } params[] = {{"n", EXPR_INT},       {"name", EXPR_STRING}, {"share", EXPR_DOUBLE}, {"flag", EXPR_BOOL},
                  {"models", EXPR_LIST}, {"extra", EXPR_MAP},   {"any", EXPR_ANY},      {"mode", EXPR_STRING}};
    (void)ctx;
    if (str_is(ref->root, "params") && ref->n == 1) {
        for (size_t i = 0; i < sizeof params / sizeof *params; i++) {
            if (!str_is(ref->fields[0], params[i].name)) continue;
            *out = params[i].type;
            return true;
        }
        err_set(err, ERR_INVALID, "there is no param '%.*s'", STR_ARG(ref->fields[0]));
        return err_at(err, ref->spans[1].at, ref->spans[1].len);
    }
    if (str_is(ref->root, "params") && ref->n == 0) {
        *out = EXPR_MAP;
        return true;
    }
    if (str_is(ref->root, "steps") && ref->n == 2 && str_is(ref->fields[1], "outputs")) {
        *out = EXPR_LIST;
        return true;
    }
    if (str_is(ref->root, "steps") && ref->n == 1 && !str_is(ref->fields[0], "train"))
        return err_set(err, ERR_INVALID, "there is no step '%.*s'", STR_ARG(ref->fields[0]));
    return false;
}

static const struct str *words(void *ctx, const struct expr_ref *ref, size_t *n)
{
    static const struct str modes[] = {STR_INIT("fast"), STR_INIT("slow")};
    (void)ctx;
    *n = 2;
    return ref->n == 1 && str_is(ref->fields[0], "mode") ? modes : NULL;
}

static const char *const type_names[] = {"any", "null", "bool", "int", "double", "string", "list", "map"};

static void types_and_mistakes(void **state)
{
    static const struct {
        const char *source, *want; /* the type, or all errors */
    } rows[] = {
        {"1", "int"},
        {"1 + 2.0", "double"},
        {"params.n + 1", "int"},
        {"params.any + 1", "any"},
        {"params.name + 'x'", "string"},
        {"params.models + [1]", "list"},
        {"params.flag ? 1 : 2", "int"},
        {"params.flag ? 1 : 'a'", "any"},
        {"params.models.maxBy(m, m.size)", "any"},
        {"params.models.filter(m, m > 1)", "list"},
        {"params.extra.x.y[0]", "any"},
        {"params.models[0].x", "any"},
        {"size(params.name) > 3 && params.name.matches('^a')", "bool"},
        {"has(params.extra.x)", "bool"},
        {"-params.share", "double"},
        {"params", "map"},
        {"steps.train.outputs", "list"},
        {"params.none == null", "8+4 there is no param 'none'"},
        {"params.n == null", "bool"},
        {"params.n == 'a'", "1+15 int and string are never equal"},
        {"params.n == 1.5", "bool"},
        {"params.n < params.name", "1+22 '<' does not take int and string"},
        {"params.extra < params.extra", "1+27 '<' does not take map and map"},
        {"params.n && !params.name", "14+11 a condition is true or false, this is string; 1+8 a condition is true or "
                                     "false, this is int"},
        {"params.n ? 1 : 2", "1+8 a condition is true or false, this is int"},
        {"params.name + 1", "1+15 '+' does not take string and int [string(x) makes a string of a value]"},
        {"params.name - 'a'", "1+17 '-' does not take string and string"},
        {"params.share % 2", "1+16 '%' does not take double and int"},
        {"'a' in params.name", "1+18 'in' does not take string and string [text.contains(part) looks into a string]"},
        {"1 in params.extra", "1+17 'in' does not take int and map"},
        {"params.n.x", "10+1 int has no field 'x'"},
        {"steps.train.outputs.acc",
         "21+3 list has no field 'acc' [of a list take an item, [0], or all: list.map(x, x.acc)]"},
        {"params.name[0]", "1+14 string has no index of type int"},
        {"params.models[1.5]", "1+18 list has no index of type double"},
        {"size(params.n)", "6+8 size takes string or list or map here, this is int"},
        {"max(params.n)", "1+13 max of one int: it takes a list, or several values"},
        {"params.n.all(x, x)", "1+8 all goes over a list, this is int"},
        {"params.models.filter(x, 1)", "25+1 a condition is true or false, this is int"},
        {"params.models.map(x, 'a', x)", "22+3 a condition is true or false, this is string"},
        {"params.models.maxBy(x, {})", "24+2 maxBy does not order values of type map"},
        {"params.extra.map(k, k + 1)", "21+5 '+' does not take string and int [string(x) makes a string of a value]"},
        {"{1: 2}", "2+1 the key of a map is a string, this is int"},
        {"-params.name", "1+12 '-' does not take string"},
        {"'a'.matches('(')",
         "13+3 not a regular expression: missing closing parenthesis, at character 2 of the pattern "
         "[in '…' a backslash is written twice; r'…' takes it as it is]"},
        {"1 / 0", "1+5 division by zero"},
        {"params.n / 0", "1+12 division by zero"},
        {"params.n % 0 + params.any / 0.0", "1+12 division by zero; 16+16 division by zero"},
        {"true || 1 / 0 > 0", "bool"},
        {"params.flag ? int('x') : range(1, 5, 0)", "15+8 \"x\" is not a whole number; 26+14 range cannot go on by 0"},
        {"[1, 2][2]", "1+9 the index 2 is outside of the list, which has 2 items"},
        {"params.models.map(m, {'a': 1}.b)", "22+10 there is no field 'b'"},
        {"[3].map(x, x / 0)", "12+5 division by zero [it fails for item 0]"},
        {"params.models.map(m, m / 2)", "list"},
        {"range(20001)", "1+12 range makes at most 20000 numbers"},
        {"range(20000)", "list"},
        {"{'a': params.n, 'a': 1}", "17+3 the same key stands here twice"},
        {"json('{')", "any"},
        {"parms.n", "1+5 there is no 'parms' here"},
        {"steps.date.x + steps.other.x", "1+12 there is no step 'date'; 16+13 there is no step 'other'"},
        {"steps.eval-set.outputs",
         "1+10 there is no step 'eval' ['-' subtracts; a name with a dash in it is written [\"a-b\"]]"},
        {"params.mode == 'fast' || 'slow' != params.mode", "bool"},
        {"params.mode == 'fats'", "16+6 it is never 'fats' [did you mean 'fast'?]"},
        {"'x' != params.mode", "1+3 it is never 'x' [one of: fast, slow]"},
        {"params.mode in ['slow', 'quick', params.name]", "25+7 it is never 'quick' [one of: fast, slow]"},
        {"params.none + 'a' > 3", "8+4 there is no param 'none'"},
        {"params.name.x", "13+1 string has no field 'x' [json(text).x reads it from JSON text]"},
    };
    struct world *w = *state;
    size_t failed = 0;
    const struct expr_scope scope = {.type_of = type_of, .words = words};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct expr *e;
        enum expr_type type;
        struct err err = {0};
        struct err_list errors;
        BUF_AUTO got;
        buf_init(&got, 0);
        err_list_init(&errors, &w->arena);
        if (!expr_parse(&w->arena, str_of(rows[i].source), &e, &err))
            buf_printf(&got, "unparsable: %s", err.message);
        else if (expr_check(e, &scope, &type, &errors))
            buf_c(&got, type_names[type]);
        for (size_t k = 0; k < errors.n; k++) {
            const struct err *x = &errors.items[k];
            buf_printf(&got, "%s%u+%u %s%s%s%s", k ? "; " : "", x->at.col, x->len, x->message, x->hint[0] ? " [" : "",
                       x->hint, x->hint[0] ? "]" : "");
        }
        if (str_is(buf_view(&got), rows[i].want)) continue;
        failed++;
        print_error("%s\n   gives  %s\n   not    %s\n", rows[i].source, got.p, rows[i].want);
    }
    assert_int_equal(failed, 0);
}

static void without_a_scope_everything_may_be(void **state)
{
    struct world *w = *state;
    const struct expr *e;
    enum expr_type type;
    struct err err = {0};
    struct err_list errors;
    err_list_init(&errors, &w->arena);
    assert_true(expr_parse(&w->arena, STR("a.b + c[1]"), &e, &err));
    assert_true(expr_check(e, NULL, &type, &errors));
    assert_int_equal(type, EXPR_ANY);
}

static bool note(void *ctx, const struct expr_ref *ref)
{
    struct buf *out = ctx;
    buf_printf(out, "%s%.*s", out->n ? " " : "", STR_ARG(ref->root));
    for (size_t i = 0; i < ref->n; i++)
        buf_printf(out, ".%.*s", STR_ARG(ref->fields[i]));
    buf_printf(out, "%s@%u+%u", ref->guarded ? "?" : "", ref->at.col, ref->len);
    return true;
}

static void references(void **state)
{
    static const struct {
        const char *source, *want; /* root.field…[?]@column+length; "?" = guarded */
    } rows[] = {
        {"1", ""},
        {"a", "a@1+1"},
        {"steps.train.outputs.model + params['x']", "steps.train.outputs.model@1+25 params.x@29+11"},
        {"a.b[c.d].e", "a.b@1+3 c.d@5+3"},
        {"a[0].b", "a@1+1"},
        {"a.b.c.d.e.f.g.h.i.j", "a.b.c.d.e.f.g.h.i.j@1+19"},
        {"(a.b).c", "a.b.c@2+6"},
        {"list.filter(x, x.y == z.y).map(list, list.a)", "list@1+4 z.y@23+3"},
        {"has(a.b)", "a.b?@5+3"},
        {"has(a.b[c].d)", "a.b?@5+3 c@9+1"},
        {"has(a.b) ? a.b : a.b", "a.b?@5+3 a.b?@12+3 a.b@18+3"},
        {"has(a.b) ? a.b.c + a.c : 0", "a.b?@5+3 a.b.c?@12+5 a.c@20+3"},
        {"!has(a.b) ? 0 : a.b", "a.b?@6+3 a.b?@17+3"},
        {"has(a.b) && a.b > 1", "a.b?@5+3 a.b?@13+3"},
        {"has(a.b) || a.b > 1", "a.b?@5+3 a.b@13+3"},
        {"!has(a.b) || a.b > 1", "a.b?@6+3 a.b?@14+3"},
        {"has(a.b) && has(c.d) ? a.b + c.d : a.b", "a.b?@5+3 c.d?@17+3 a.b?@24+3 c.d?@30+3 a.b@36+3"},
        {"(has(a.b) || has(c.d)) ? a.b : 1", "a.b?@6+3 c.d?@18+3 a.b@26+3"},
        {"!(!has(a.b) || x) ? a.b : 1", "a.b?@8+3 x@16+1 a.b?@21+3"},
        {"[1].map(i, has(a.b) ? a.b : a.c)", "a.b?@16+3 a.b?@23+3 a.c@29+3"},
        {"(has(a.b) ? 1 : 2) + a.b", "a.b?@6+3 a.b@22+3"},
    };
    struct world *w = *state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct expr *e;
        struct err err = {0};
        BUF_AUTO got;
        buf_init(&got, 0);
        assert_true(expr_parse(&w->arena, str_of(rows[i].source), &e, &err));
        expr_refs(e, note, &got);
        if (str_is(buf_view(&got), rows[i].want)) continue;
        failed++;
        print_error("%s\n   gives  %.*s\n   not    %s\n", rows[i].source, STR_ARG(buf_view(&got)), rows[i].want);
    }
    assert_int_equal(failed, 0);
}

static bool stop_at_once(void *ctx, const struct expr_ref *ref)
{
    (void)ref;
    ++*(int *)ctx;
    return false;
}

static void a_reader_can_stop(void **state)
{
    struct world *w = *state;
    const struct expr *e;
    struct err err = {0};
    int seen = 0;
    assert_true(expr_parse(&w->arena, STR("a + b && c"), &e, &err));
    expr_refs(e, stop_at_once, &seen);
    assert_int_equal(seen, 1);
}

static void every_span_of_a_path(void **state)
{
    struct world *w = *state;
    struct expr_template t;
    struct err err = {0};
    BUF_AUTO got;
    buf_init(&got, 0);
    assert_true(expr_template_parse(&w->arena, STR("x ${{ a . b }} y ${{ c[\"d\"] }}"), &t, &err));
    expr_template_refs(&t, note, &got);
    assert_string_equal(got.p, "a.b@1+5 c.d@1+6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_mistakes),   cmocka_unit_test(without_a_scope_everything_may_be),
        cmocka_unit_test(references),           cmocka_unit_test(a_reader_can_stop),
        cmocka_unit_test(every_span_of_a_path),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
