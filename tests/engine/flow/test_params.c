/* Binding what a user gives to declared params. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/jsonw.h"
#include "engine/flow/params.h"
#include "engine/text/json.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct value words[3] = {
    {.type = VALUE_STRING, .u.s = STR_INIT("small")}, {.type = VALUE_INT, .u.i = 3}, {.type = VALUE_BOOL, .u.b = true}};

/* One of each kind. */
static const struct param params[] = {
    {.name = STR_INIT("string"), .type = PARAM_STRING, .has_min = true, .min = 2, .has_max = true, .max = 5},
    {.name = STR_INIT("pattern"), .type = PARAM_STRING, .pattern = STR_INIT("[a-z]+|x1")},
    {.name = STR_INIT("int"), .type = PARAM_INT, .has_min = true, .min = -3, .has_max = true, .max = 10},
    {.name = STR_INIT("float"), .type = PARAM_FLOAT, .has_max = true, .max = 1},
    {.name = STR_INIT("bool"), .type = PARAM_BOOL},
    {.name = STR_INIT("list"), .type = PARAM_LIST, .any_items = true, .has_min = true, .min = 1},
    {.name = STR_INIT("ints"), .type = PARAM_LIST, .items = PARAM_INT},
    {.name = STR_INIT("map"), .type = PARAM_MAP},
    {.name = STR_INIT("enum"), .type = PARAM_ENUM, .values = words, .n_values = 3},
    {.name = STR_INIT("secret"), .type = PARAM_SECRET},
};

static const struct param *param_named(const char *name)
{
    for (size_t i = 0; i < sizeof params / sizeof *params; i++) {
        if (str_is(params[i].name, name)) return &params[i];
    }
    fail_msg("no param %s", name);
    return NULL;
}

static void values_are_brought_to_their_type(void **state)
{
    static const struct {
        const char *param, *given, *bound; /* bound "!…": refused, saying that */
    } rows[] = {
        {"string", "\"abc\"", "\"abc\""},
        {"string", "\"a\"", "!below the minimum"},
        {"string", "\"\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\"", "\"\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\""},
        {"string", "\"abcdef\"", "!above the maximum"},
        {"string", "12", "!expected a string"},
        {"pattern", "\"abc\"", "\"abc\""},
        {"pattern", "\"x1\"", "\"x1\""},
        {"pattern", "\"abc1\"", "!does not match the pattern"},
        {"pattern", "\"abc\\n\"", "!does not match the pattern"},
        {"int", "5", "5"},
        {"int", "\"-3\"", "-3"},
        {"int", "4.0", "4"},
        {"int", "4.5", "!whole number"},
        {"int", "\"4.5\"", "!whole number"},
        {"int", "11", "!above the maximum 10"},
        {"int", "\"-4\"", "!below the minimum -3"},
        {"int", "true", "!whole number"},
        {"float", "1", "1.0"},
        {"float", "\"1e-3\"", "0.001"},
        {"float", "\"nan\"", "!expected a number"},
        {"float", "1.5", "!above the maximum 1"},
        {"bool", "true", "true"},
        {"bool", "\"false\"", "false"},
        {"bool", "\"yes\"", "!true or false"},
        {"bool", "1", "!true or false"},
        {"list", "[1,\"a\",null]", "[1,\"a\",null]"},
        {"list", "[]", "!below the minimum"},
        {"list", "\"a,b\"", "!expected a list"},
        {"ints", "[1,\"2\",3.0]", "[1,2,3]"},
        {"ints", "\"1, 2,3\"", "[1,2,3]"},
        {"ints", "\"\"", "[]"},
        {"ints", "[1,\"b\"]", "!whole number"},
        {"map", "{\"a\":1}", "{\"a\":1}"},
        {"map", "[1]", "!expected a map"},
        {"map", "{\"artifact\":\"t\",\"digest\":\"" DIGEST "\"}", "{\"artifact\":\"t\",\"digest\":\"" DIGEST "\"}"},
        {"map", "{\"artifact\":\"t\",\"digest\":\"sha256:00\"}", "!is no artifact"},
        {"map", "{\"artifact\":\"t\",\"digest\":5}", "!is no artifact"},
        {"map", "{\"artifact\":\"t\"}", "!is no artifact"},
        {"map", "{\"artifact\":5,\"digest\":\"" DIGEST "\"}", "!is no artifact"},
        {"map", "{\"artifact\":\"t\",\"digest\":\"" DIGEST "\",\"folder\":true}",
         "{\"artifact\":\"t\",\"digest\":\"" DIGEST "\",\"folder\":true}"},
        {"map", "{\"artifact\":\"t\",\"digest\":\"" DIGEST "\",\"folder\":\"yes\"}",
         "!artifact's 'folder', found a string"},
        {"map", "{\"artifact\":\"t\",\"digest\":\"" DIGEST "\",\"folder\":null}", "!artifact's 'folder'"},
        {"enum", "\"small\"", "\"small\""},
        {"enum", "3", "3"},
        {"enum", "\"3\"", "3"},
        {"enum", "\"true\"", "true"},
        {"enum", "\"false\"", "!none of its values"},
        {"enum", "\"smal\"", "!none of its values"},
        {"enum", "4", "!none of its values"},
        {"secret", "{\"secret\":{\"env\":\"A\"}}", "{\"secret\":{\"env\":\"A\"}}"},
        {"secret", "{\"secret\":{\"kubernetes\":\"a/b\"}}", "{\"secret\":{\"kubernetes\":\"a/b\"}}"},
        {"secret", "\"hunter2\"", "!never the secret itself"},
        {"secret", "{\"secret\":{\"kubernetes\":\"ab\"}}", "!never the secret itself"},
        {"secret", "{\"secret\":{\"env\":\"A\",\"file\":\"b\"}}", "!never the secret itself"},
        {"secret", "{\"secret\":\"hunter2\"}", "!never the secret itself"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value given, bound;
        struct err err;
        BUF_AUTO out;
        buf_init(&out, 0);
        assert_true(json_parse(&arena, str_of(rows[i].given), 0, &given, &err));
        bool ok = param_check(&arena, param_named(rows[i].param), &given, &(uint64_t){0}, &bound, &err);
        if (ok) value_json(&out, &bound, false);
        bool right =
            ok ? strcmp(out.p, rows[i].bound) == 0 : rows[i].bound[0] == '!' && strstr(err.message, rows[i].bound + 1);
        if (!right) fail_msg("%s = %s: %s", rows[i].param, rows[i].given, ok ? out.p : err.message);
        if (!ok && strstr(err.message, "hunter2")) fail_msg("the secret is told: %s", err.message);
    }
}

static void all_problems_are_told_at_once(void **state)
{
    static const struct param some[] = {
        {.name = STR_INIT("epochs"), .type = PARAM_INT},
        {.name = STR_INIT("rate"),
         .type = PARAM_FLOAT,
         .optional = true,
         .has_default = true,
         .default_value = {.type = VALUE_DOUBLE, .u.d = 0.5}},
        {.name = STR_INIT("note"), .type = PARAM_STRING, .optional = true},
        {.name = STR_INIT("name"), .type = PARAM_STRING},
        {.name = STR_INIT("sizes"), .type = PARAM_LIST, .items = PARAM_INT, .optional = true},
    };
    struct err_list errors;
    struct value given, bound;
    struct err err;
    (void)state;
    err_list_init(&errors, &arena);
    assert_true(json_parse(&arena, STR("{\"epoch\": 3, \"rate\": \"x\", \"sizes\": [1, \"b\"]}"), 0, &given, &err));
    assert_false(params_bind(&arena, some, 5, &given, &bound, &errors));
    assert_int_equal(errors.total, 5);
    static const char *const paths[] = {"params.epoch", "params.epochs", "params.rate", "params.name",
                                        "params.sizes[1]"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(errors.items[i].path, paths[i]);
    assert_string_equal(errors.items[0].hint, "did you mean 'epochs'?");

    err_list_init(&errors, &arena);
    assert_true(json_parse(&arena, STR("{\"name\": \"n\", \"epochs\": 3, \"qqqqqq\": 1}"), 0, &given, &err));
    assert_false(params_bind(&arena, some, 5, &given, &bound, &errors));
    assert_int_equal(errors.total, 1);
    assert_string_equal(errors.items[0].hint, "known here: epochs, rate, note, name, sizes");
    uint64_t spent = 0;
    assert_false(
        param_check(&arena, param_named("enum"), &(struct value){.type = VALUE_INT, .u.i = 4}, &spent, &bound, &err));
    assert_string_equal(err.hint, "one of: small, 3, true");

    static const struct param map = {.name = STR_INIT("m"), .type = PARAM_MAP};
    err_list_init(&errors, &arena);
    assert_true(json_parse(&arena, STR("{\"m\": {\"artifact\": \"t\"}}"), 0, &given, &err));
    assert_false(params_bind(&arena, &map, 1, &given, &bound, &errors));
    assert_string_equal(errors.items[0].path, "params.m");
    assert_non_null(strstr(errors.items[0].hint, "sha256:<64 hex digits>"));

    err_list_init(&errors, &arena);
    assert_true(json_parse(&arena, STR("{\"name\": \"n\", \"epochs\": 3, \"note\": null}"), 0, &given, &err));
    assert_true(params_bind(&arena, some, 5, &given, &bound, &errors));
    BUF_AUTO out;
    buf_init(&out, 0);
    value_json(&out, &bound, false);
    assert_string_equal(out.p, "{\"epochs\":3,\"rate\":0.5,\"note\":null,\"name\":\"n\",\"sizes\":null}");

    struct value list = {.type = VALUE_LIST};
    assert_false(params_bind(&arena, some, 5, &list, &bound, &errors));
    err_list_init(&errors, &arena);
    assert_true(params_bind(&arena, some + 1, 2, NULL, &bound, &errors)); /* none given, none needed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_are_brought_to_their_type, setup, teardown),
        cmocka_unit_test_setup_teardown(all_problems_are_told_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
