/* What a document costs to check: whatever it has very many of, the work grows with its length. Where that cannot be
 * counted, the document is so long that anything else would never end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/flow/compile.h"
#include "engine/flow/params.h"
#include "engine/text/yaml.h"

#define HEAD "apiVersion: millrace/v1\nkind: Pipeline\nname: x\n"

static struct arena arena;
static struct err_list errors;
static const struct plan *plan;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, (size_t)2 << 30);
    err_list_init(&errors, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* The bytes that the check took, beside those of reading. */
static size_t compile(const struct buf *text, bool good)
{
    struct value *docs;
    size_t n;
    assert_false(text->over);
    if (!yaml_parse(&arena, buf_view(text), NULL, &docs, &n, &errors)) fail_msg("%s", errors.items[0].message);
    size_t before = arena.used;
    bool ok = compile_pipeline(&arena, &docs[0], NULL, &plan, &errors);
    if (good && !ok) fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    assert_int_equal(ok, good);
    return arena.used - before;
}

/* Entries made of a pattern with the number in it, once or several times. */
static void repeat(struct buf *out, unsigned n, const char *before, const char *behind)
{
    for (unsigned i = 0; i < n; i++)
        buf_printf(out, "%s%u%s", before, i, behind);
}

static void outputs_at_one_path(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, HEAD "steps:\n  a: {run: x, outputs: {");
    repeat(&text, 100000, "o", ": {type: int}, ");
    buf_c(&text, "p: {type: int, path: outputs/o99999}}}\n");
    compile(&text, false);
    assert_int_equal(errors.total, 1);
    assert_string_equal(errors.items[0].message, "the path 'outputs/o99999' is that of 'o99999', too");
}

static void expressions_in_one_text(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, HEAD "steps:\n  a: {run: \"");
    repeat(&text, 300000, "${{ ", " }} ");
    buf_c(&text, "\"}\n");
    compile(&text, true);
    assert_int_equal(plan->graphs[0].nodes[0].line.n, 600000);
    /* eight characters an expression, and 1,688,884 digits before the last one */
    assert_int_equal(plan->graphs[0].nodes[0].line.parts[599998].at.col, 1 + 8 * 299999 + 1688884 + 4);
}

static void names_and_references(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, HEAD "params:\n");
    repeat(&text, 60000, "  p", ": int\n");
    buf_c(&text, "steps:\n  a:\n    run: [x,");
    repeat(&text, 60000, "'${{ params.p", " }}', ");
    buf_c(&text, "]\n    outputs:\n");
    repeat(&text, 60000, "      o", ": int\n");
    buf_c(&text, "  b:\n    run: [x,");
    repeat(&text, 60000, "'${{ inputs.i", " }}', ");
    buf_c(&text, "]\n    inputs:\n");
    for (unsigned i = 0; i < 60000; i++)
        buf_printf(&text, "      i%u: '${{ steps.a.outputs.o%u }}'\n", i, i);
    compile(&text, true);
    assert_int_equal(plan->graphs[0].nodes[1].n_deps, 1);
}

/* Errors beyond those that are told are not looked for, nor are the names that they may have meant. */
static void errors_without_end(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, HEAD "steps:\n");
    repeat(&text, 10000, "  s", ": {expr: 1}\n");
    repeat(&text, 9000, "  t", ": {expr: '${{ steps.zz.value }}', needs: [zzz]}\n");
    size_t used = compile(&text, false);
    assert_int_equal(errors.n, ERR_LIST_MAX);
    assert_in_range(errors.total, ERR_LIST_MAX + 1, ERR_LIST_MAX + 10);
    assert_true(used < (size_t)64 << 20);
}

static void dear_patterns(void **state)
{
    static const char *const rows[] = {
        ": {type: string, pattern: '(a+)+$', default: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab}\n",
        ": {type: string, pattern: '((a{1,200}){1,900})', default: a}\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        BUF_AUTO text;
        buf_init(&text, 0);
        buf_c(&text, HEAD "params:\n");
        repeat(&text, 30000, "  p", rows[i]);
        buf_c(&text, "steps: {a: {expr: 1}}\n");
        errors.n = errors.total = 0;
        compile(&text, false);
        assert_int_equal(errors.n, ERR_LIST_MAX);
    }
}

static void dear_literal_patterns(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, HEAD "steps:\n");
    repeat(&text, 20000, "  s", ": {expr: \"${{ 'c'.matches('((a{1,200}){1,900}b)') }}\"}\n");
    compile(&text, false);
    assert_string_equal(errors.items[0].message, "the patterns of the document take too long to check");
}

/* What all steps take from the defaults is in the plan once for each. */
static void defaults_many_times(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, HEAD "defaults: {env: {");
    repeat(&text, 10000, "E", ": x, ");
    buf_c(&text, "}}\nsteps:\n");
    repeat(&text, 10000, "  s", ": {run: x, env: {A: x}}\n");
    size_t used = compile(&text, false);
    assert_non_null(strstr(errors.items[0].message, "too many for so many steps"));
    assert_true(used < (size_t)512 << 20);
}

static void params_of_a_run(void **state)
{
    (void)state;
    const size_t n = 100000;
    struct param *params = arena_array(&arena, struct param, n);
    struct value_map_builder given;
    struct value bound, v;
    value_map_begin(&given, &arena);
    for (size_t i = 0; i < n; i++) {
        params[i] = (struct param){.name = arena_printf(&arena, "p%zu", i), .pattern = STR("(a+)+$")};
        value_map_put(&given,
                      params[n - 1 - i].name.n ? params[n - 1 - i].name : arena_printf(&arena, "p%zu", n - 1 - i),
                      value_string(STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")));
    }
    v = value_map_end(&given);
    assert_false(params_bind(&arena, params, n, &v, &bound, &errors));
    assert_int_equal(errors.n, ERR_LIST_MAX);
    assert_in_range(errors.total, ERR_LIST_MAX, ERR_LIST_MAX + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outputs_at_one_path, setup, teardown),
        cmocka_unit_test_setup_teardown(expressions_in_one_text, setup, teardown),
        cmocka_unit_test_setup_teardown(names_and_references, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(dear_patterns, setup, teardown),
        cmocka_unit_test_setup_teardown(dear_literal_patterns, setup, teardown),
        cmocka_unit_test_setup_teardown(defaults_many_times, setup, teardown),
        cmocka_unit_test_setup_teardown(params_of_a_run, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
