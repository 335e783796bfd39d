/* What expressions evaluate to, and how they fail: the message and the place it points at. */
#include "tests/engine/expr/world.h"

/* Parses and evaluates; the result as JSON, or "error COL+LEN: message [hint]". */
static struct str outcome(struct world *w, const char *source)
{
    const struct expr *e;
    struct expr_env env = world_env(w);
    struct value v;
    struct err err = {0};
    if (!expr_parse(&w->arena, str_of(source), &e, &err) || !expr_eval(e, &env, &w->arena, &v, &err)) {
        assert_int_not_equal(err.code, ERR_NONE);
        assert_int_not_equal(err.at.line, 0);
        return arena_printf(&w->arena, "error %u+%u: %s%s%s%s", err.at.col, err.len, err.message,
                            err.hint[0] ? " [" : "", err.hint, err.hint[0] ? "]" : "");
    }
    BUF_AUTO json;
    buf_init(&json, 0);
    value_json(&json, &v, false);
    return arena_str(&w->arena, buf_view(&json));
}

struct row {
    const char *source, *want;
};

static void run_rows(struct world *w, const struct row *rows, size_t n)
{
    size_t failed = 0;
    for (size_t i = 0; i < 2 * n; i++) {
        const struct row *row = &rows[i / 2];
        w->whole_paths = i & 1;
        struct str got = outcome(w, row->source);
        if (str_is(got, row->want)) continue;
        failed++;
        print_error("%s\n   gives  %.*s\n   not    %s\n", row->source, STR_ARG(got), row->want);
    }
    assert_int_equal(failed, 0);
}
#define RUN(rows) run_rows(*state, rows, sizeof rows / sizeof *rows)

static void literals(void **state)
{
    static const struct row rows[] = {
        {"1", "1"},
        {" -7 ", "-7"},
        {"0x1F", "31"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "error 1+19: the number does not fit into 64 bits"},
        {"99999999999999999999999", "error 1+23: the number does not fit into 64 bits"},
        {"1.5e3", "1500.0"},
        {".5", "0.5"},
        {"1e400", "error 1+5: the number is too big"},
        {"10m", "error 1+3: a number is directly followed by 'm' [units such as 10m or 1Gi are strings: write them in "
                "quotes]"},
        {"true", "true"},
        {"null", "null"},
        {"'a\\n\\'\\u00e9\\x41\\101'", "\"a\\n'éAA\""},
        {"\"it's\"", "\"it's\""},
        {"r'a\\n'", "\"a\\\\n\""},
        {"'\\q'", "error 2+2: unknown escape in a string [write \\\\ for a backslash, or r'…' for a string without "
                  "escapes]"},
        {"'\\u0000'", "error 2+6: the escape is not a character that a string may hold"},
        {"'\\ud800'", "error 2+6: the escape is not a character that a string may hold"},
        {"'\\U00110000'", "error 2+10: the escape is not a character that a string may hold"},
        {"1 + 'abc", "error 5+1: the string is not closed: ' is missing"},
        {"[1, 'a', [], 2.0,]", "[1,\"a\",[],2.0]"},
        {"{'a': 1, 'b': {}}", "{\"a\":1,\"b\":{}}"},
        {"{'a': 1, 'a': 2}", "error 10+3: the key 'a' stands here twice"},
        {"{1: 2}", "error 2+1: the key of a map is a string, this is int"},
    };
    RUN(rows);
}

static void arithmetic(void **state)
{
    static const struct row rows[] = {
        {"1 + 2 * 3 - 4", "3"},
        {"(1 + 2) * 3", "9"},
        {"7 / 2", "3"},
        {"-7 / 2", "-3"},
        {"-7 % 3", "-1"},
        {"7 / 2.0", "3.5"},
        {"1 + 0.5", "1.5"},
        {"2 * 1.5", "3.0"},
        {"- params.n", "-3"},
        {"--params.n", "3"},
        {"-params.share", "-0.25"},
        {"-item", "error 1+5: '-' does not take string"},
        {"big + 1", "error 1+7: the result does not fit into 64 bits"},
        {"big * 2", "error 1+7: the result does not fit into 64 bits"},
        {"-big - 2", "error 1+8: the result does not fit into 64 bits"},
        {"-(-big - 1)", "error 1+11: the result does not fit into 64 bits"},
        {"(-big - 1) / -1", "error 1+15: the result does not fit into 64 bits"},
        {"(-big - 1) % -1", "0"},
        {"1 / 0", "error 1+5: division by zero"},
        {"1 % 0", "error 1+5: division by zero"},
        {"1.0 / 0", "error 1+7: division by zero"},
        {"1e308 * 10", "error 1+10: the result is not a finite number"},
        {"5.0 % 2", "error 1+7: '%' takes whole numbers [int(x) cuts the fraction off]"},
        {"'a' + 'b'", "\"ab\""},
        {"[1] + [2, 3]", "[1,2,3]"},
        {"'a' + 1", "error 1+7: '+' does not take string and int [string(x) makes a string of a value]"},
        {"true + 1", "error 1+8: '+' does not take bool and int"},
        {"'n=' + string(params.n)", "\"n=3\""},
    };
    RUN(rows);
}

static void comparisons(void **state)
{
    static const struct row rows[] = {
        {"1 == 1.0", "true"},
        {"1 != 1", "false"},
        {"1 < 1.5", "true"},
        {"big < 9223372036854775808.0", "true"},
        {"'a' < 'b'", "true"},
        {"[1, 2] < [1, 3]", "true"},
        {"1 == 'a'", "false"},
        {"null == null", "true"},
        {"params.none == null", "true"},
        {"{'a': 1, 'b': 2} == {'b': 2, 'a': 1.0}", "true"},
        {"1 < 'a'", "error 1+7: '<' does not take int and string"},
        {"null < null", "error 1+11: these two of type null have no order"},
        {"2 in [1, 2]", "true"},
        {"2.0 in [1, 2]", "true"},
        {"3 in [1, 2]", "false"},
        {"'n' in params", "true"},
        {"'m' in params", "false"},
        {"'a' in 'abc'", "error 1+12: 'in' does not take string and string [text.contains(part) looks into a string]"},
        {"1 in params", "error 1+11: 'in' does not take int and map"},
        {"1 < 2 == true", "true"},
    };
    RUN(rows);
}

static void logic(void **state)
{
    static const struct row rows[] = {
        {"true && false", "false"},
        {"false || true", "true"},
        {"!true || !false", "true"},
        {"true || 1 / 0 > 0", "true"},
        {"1 / 0 > 0 || true", "true"},
        {"1 / 0 > 0 && false", "false"},
        {"false && 1 / 0 > 0", "false"},
        {"1 / 0 > 0 && true", "error 1+5: division by zero"},
        {"1 / 0 > 0 || 1 % 0 > 0", "error 1+5: division by zero"},
        {"true && 1 / 0 > 0", "error 9+5: division by zero"},
        {"steps.skipped.x && false", "false"},
        {"broken || true", "error 1+6: the database is away"},
        {"1 && true", "error 1+1: a condition is true or false, this is int"},
        {"!item", "error 2+4: a condition is true or false, this is string"},
        {"params.flag ? 'yes' : 'no'", "\"yes\""},
        {"false ? 1 : true ? 2 : 3", "2"},
        {"true ? 1 : 1 / 0", "1"},
        {"1 ? 2 : 3", "error 1+1: a condition is true or false, this is int"},
        {"true || false && false", "true"},
    };
    RUN(rows);
}

static void names(void **state)
{
    static const struct row rows[] = {
        {"params.n", "3"},
        {"params['odd-name']", "7"},
        {"params.nested.deep[1]", "2"},
        {"params.nested['de' + 'ep'][0]", "1"},
        {"(params.nested).deep", "[1,2]"},
        {"params.models[params.n - 1]", "\"c\""},
        {"steps.train.outputs[1].name", "\"b\""},
        {"steps['train'].status", "\"Succeeded\""},
        {"{'in': 1}.in", "1"},
        {"params.nme", "error 8+3: there is no field 'nme' [did you mean 'name'?]"},
        {"params.n.x", "error 10+1: int has no field 'x'"},
        {"params.models[3]", "error 1+16: the index 3 is outside of the list, which has 3 items"},
        {"params.models[-1]", "error 1+17: the index -1 is outside of the list, which has 3 items"},
        {"params.models['a']", "error 15+3: list has no field 'a' [of a list take an item, [0], or all: "
                               "list.map(x, x.a)]"},
        {"params.n[0]", "error 1+11: int has no index of type int"},
        {"steps.train.outputs.accuracy", "error 21+8: list has no field 'accuracy' [of a list take an item, [0], or "
                                         "all: list.map(x, x.accuracy)]"},
        {"nowhere", "error 1+7: unknown name nowhere"},
        {"1 + steps.skipped.outputs.x", "error 5+23: steps.skipped.outputs.x is not there [has(x) ? x : … asks first]"},
    };
    RUN(rows);
}

static void presence(void **state)
{
    static const struct row rows[] = {
        {"has(params.n)", "true"},
        {"has(params.nope)", "false"},
        {"has(params.none)", "false"},
        {"has(params.none.x)", "false"},
        {"has(steps.skipped)", "false"},
        {"has(steps.skipped.outputs.x)", "false"},
        {"has(steps.skipped.outputs[0].x)", "false"},
        {"has(steps.train.outputs[0].name)", "true"},
        {"has(steps.train.outputs[9])", "false"},
        {"has(steps.train.outputs[9].name)", "false"},
        {"has(steps.train.outputs[0].nope)", "false"},
        {"has(steps.skipped.x) ? steps.skipped.x : 5", "5"},
        {"steps.train.outputs.filter(o, has(o.index)).size()", "3"},
        {"has(1)", "error 5+1: has() asks for a name or a field [it is written has(a.b)]"},
        {"has(params.n.x)", "error 14+1: int has no field 'x'"},
    };
    RUN(rows);
}

static void functions(void **state)
{
    static const struct row rows[] = {
        {"size('héllo')", "5"},
        {"[1, 2].size()", "2"},
        {"size({'a': 1})", "1"},
        {"size(1)", "error 6+1: size takes string or list or map here, this is int"},
        {"'abc'.startsWith('ab')", "true"},
        {"'abc'.startsWith('abcd')", "false"},
        {"'abc'.endsWith('bc')", "true"},
        {"'abc'.endsWith('xabc')", "false"},
        {"'abc'.contains('')", "true"},
        {"text.contains('lo w')", "true"},
        {"'v1.2'.matches('^v[0-9]+')", "true"},
        {"'ab12'.matches(r'\\d{2}$')", "true"},
        {"'é'.matches('^.$')", "true"},
        {"''.matches('^$')", "true"},
        {"'a'.matches('(')", "error 13+3: not a regular expression: missing closing parenthesis, at character 2 of the "
                             "pattern [in '…' a backslash is written twice; r'…' takes it as it is]"},
        {"'a'.matches(1)", "error 13+1: matches takes string here, this is int"},
        {"int('42')", "42"},
        {"int(' -3 ')", "-3"},
        {"int(3.9)", "3"},
        {"int(-3.9)", "-3"},
        {"int(1e30)", "error 1+9: 1e+30 does not fit into an int"},
        {"int('4x')", "error 1+9: \"4x\" is not a whole number"},
        {"double('1e-3')", "0.001"},
        {"double(2)", "2.0"},
        {"double('nan')", "error 1+13: \"nan\" is not a number"},
        {"string(3.0)", "\"3.0\""},
        {"string(1)", "\"1\""},
        {"string(true)", "\"true\""},
        {"string(null)", "\"null\""},
        {"string([1, 'a'])", "\"[1,\\\"a\\\"]\""},
        {"bool('true')", "true"},
        {"bool('maybe')", "error 1+13: \"maybe\" is neither true nor false"},
        {"json('[1]')", "[1]"},
        {"json('x')", "error 1+9: not JSON: expected a value"},
        {"min(3, 1.5, 2)", "1.5"},
        {"max([1, 3, 2])", "3"},
        {"max('a', 'b')", "\"b\""},
        {"min([])", "error 1+7: min of an empty list"},
        {"max(1)", "error 1+6: max of one int: it takes a list, or several values"},
        {"max(1, 'a')", "error 1+11: max cannot order int and string"},
    };
    RUN(rows);
}

static void comprehensions(void **state)
{
    static const struct row rows[] = {
        {"[1, 2, 3].filter(x, x > 1)", "[2,3]"},
        {"[1, 2].map(x, x * 10)", "[10,20]"},
        {"[1, 2, 3].map(x, x > 1, x * 10)", "[20,30]"},
        {"[1, 2].map(x, [3, 4].map(y, x * y))", "[[3,4],[6,8]]"},
        {"[1, 2].map(x, [x].map(x, x + 1)[0] + x)", "[3,5]"},
        {"{'a': 1, 'b': 2}.map(k, k)", "[\"a\",\"b\"]"},
        {"[1, 2].all(x, x > 0)", "true"},
        {"[].all(x, false)", "true"},
        {"[].exists(x, true)", "false"},
        {"[1, 2].exists(x, x == 2)", "true"},
        {"[0, 1].exists(x, 1 / x == 1)", "true"},
        {"[0, 2].exists(x, 1 / x == 1)", "error 18+5: division by zero [it fails for item 0]"},
        {"[0, 1].all(x, 1 / x == 7)", "false"},
        {"range(3)", "[0,1,2]"},
        {"range(2, 4)", "[2,3]"},
        {"range(5, 0, -2)", "[5,3,1]"},
        {"range(3, 3)", "[]"},
        {"range(0)", "[]"},
        {"range(1, 2, 0)", "error 1+14: range cannot go on by 0"},
        {"range(1000000)", "error 1+14: range makes at most 20000 numbers"},
        {"steps.train.outputs.maxBy(o, o.accuracy).name", "\"b\""},
        {"steps.train.outputs.minBy(o, o.accuracy).name", "\"d\""},
        {"steps.train.outputs.maxBy(o, o.index)", "error 30+7: there is no field 'index' [it fails for item 3]"},
        {"[1, 'a'].maxBy(x, x)", "error 19+1: maxBy cannot order int and string [it fails for item 1]"},
        {"[null].maxBy(x, x)", "error 17+1: maxBy cannot order null and null [it fails for item 0]"},
        {"[].minBy(x, x)", "error 1+14: minBy of an empty list"},
        {"[1].filter(x, x)", "error 15+1: a condition is true or false, this is int [it fails for item 0]"},
        {"params.n.map(x, x)", "error 1+8: map goes over a list, this is int"},
        {"[1].map(params, params + 1)", "[2]"},
    };
    RUN(rows);
}

static void syntax_errors(void **state)
{
    static const struct row rows[] = {
        {"", "error 1+1: the expression is empty [write a value between ${{ and }}, such as params.name]"},
        {"1 +", "error 4+1: expected a value, found the end"},
        {"(1", "error 3+1: expected ')', found the end"},
        {"1 2", "error 3+1: expected an operator or the end, found a number"},
        {"a and b", "error 3+3: expected an operator or the end, found 'and' [and, or and not are written &&, || and "
                    "!]"},
        {"a = 1", "error 3+1: unexpected '=' [equality is ==]"},
        {"a & b", "error 3+1: unexpected '&' [and is &&]"},
        {"é", "error 1+1: unexpected 'é'"},
        {"a.1", "error 2+2: expected an operator or the end, found a number"},
        {"a.", "error 3+1: expected a field name, found the end"},
        {"[1 2]", "error 4+1: expected ',' or ']', found a number"},
        {"size(1,", "error 8+1: expected a value, found the end"},
        {"size(1,)", "error 8+1: expected a value, found ')'"},
        {"{'a' 1}", "error 6+1: expected ':', found a number"},
        {"lenght(x)", "error 1+6: there is no function 'lenght' [it is written name(…) or value.name(…)]"},
        {"x.startswith('a')", "error 3+10: there is no function 'startswith' [did you mean 'startsWith'?]"},
        {"startsWith('a', 'b')", "error 1+10: startsWith is called on a value [it is written text.startsWith(part)]"},
        {"x.int()", "error 3+3: int is not called on a value [it is written int(x)]"},
        {"x.startsWith()", "error 3+12: wrong number of arguments for startsWith [it is written "
                           "text.startsWith(part)]"},
        {"x.map(1, 2)", "error 7+1: expected a name for the item, found a number [it is written list.map(x, value) or "
                        "list.map(x, condition, value)]"},
        {"x.filter(y)", "error 11+1: expected ',', found ')' [it is written list.filter(x, condition)]"},
        {"x.filter(y, 1, 2)", "error 10+8: wrong number of arguments for filter [it is written list.filter(x, "
                              "condition)]"},
        {"a ? b", "error 6+1: expected ':', found the end"},
        {"${{ a }}", "error 1+1: unexpected '$' [inside ${{ }} names stand bare: params.x]"},
        {"\n\n  (", "error 4+1: expected a value, found the end"},
    };
    RUN(rows);
}

/* Short expressions that would make, compare or print something enormous. */
static void limits(void **state)
{
    struct world *w = *state;
    char source[EXPR_MAX_BYTES + 2], *p = source;
    memset(source, '(', sizeof source);
    source[200] = '\0';
    assert_true(str_starts(outcome(w, source), "error 65+1: the expression is nested more than 64 deep"));
    memset(source, '!', 200);
    assert_true(str_starts(outcome(w, source), "error 64+1: the expression is nested more than 64 deep"));

    p = stpcpy(source, "1");
    for (int i = 0; i < 300; i++)
        p = stpcpy(p, "+1");
    assert_true(str_starts(outcome(w, source), "error 1+513: the expression is a chain of more than 256 parts"));

    memset(source, ' ', sizeof source);
    source[EXPR_MAX_BYTES + 1] = '\0';
    struct err err = {0};
    const struct expr *e;
    assert_false(expr_parse(&w->arena, str_of(source), &e, &err));
    assert_int_equal(err.code, ERR_LIMIT);

    /* doubling a shared tree: 2^80 leaves */
    p = stpcpy(source, "[1]");
    for (int i = 0; i < 80; i++)
        p = stpcpy(p, ".map(x, [x, x])");
    assert_true(str_starts(outcome(w, source), "error 1+1203: the result is too big"));
    stpcpy(p, " == 1");
    assert_non_null(strstr(outcome(w, source).p, "takes more than 400000 steps"));
    /* and the steps of what is too dear cannot be forgiven */
    stpcpy(p, " == 1 || true");
    assert_non_null(strstr(outcome(w, source).p, "takes more than 400000 steps"));

    /* 20 nested loops over 10 items */
    p = source;
    for (int i = 0; i < 20; i++)
        p = stpcpy(p, "[0,1,2,3,4,5,6,7,8,9].map(x, ");
    p = stpcpy(p, "1");
    for (int i = 0; i < 20; i++)
        p = stpcpy(p, ")");
    assert_non_null(strstr(outcome(w, source).p, "takes more than 400000 steps"));

    assert_non_null(strstr(outcome(w, "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$')").p,
                           "the pattern takes too many steps"));
}

static void a_budget_of_ones_own(void **state)
{
    struct world *w = *state;
    struct expr_env env = world_env(w);
    const struct expr *e;
    struct value v;
    struct err err = {0};
    assert_true(expr_parse(&w->arena, STR("[1, 2, 3].map(x, x + 1)"), &e, &err));
    assert_true(expr_eval(e, &env, &w->arena, &v, &err));
    env.max_cost = 5;
    assert_false(expr_eval(e, &env, &w->arena, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
}

/* Callers tell a skipped step's value from a mistake by the code. */
static void codes(void **state)
{
    static const struct {
        const char *source;
        enum err_code code;
    } rows[] = {
        {"steps.skipped.x", ERR_NOT_FOUND}, {"params.nope", ERR_INVALID}, {"1 / 0", ERR_INVALID},
        {"broken", ERR_UNAVAILABLE},        {"1 +", ERR_SYNTAX},
    };
    struct world *w = *state;
    struct expr_env env = world_env(w);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct expr *e;
        struct value v;
        struct err err = {0};
        assert_false(expr_parse(&w->arena, str_of(rows[i].source), &e, &err) &&
                     expr_eval(e, &env, &w->arena, &v, &err));
        if (err.code != rows[i].code) print_error("%s gives %s\n", rows[i].source, err_name(err.code));
        assert_int_equal(err.code, rows[i].code);
    }
}

/* Any bytes: no crash, a place within the text, and no more cost than allowed. Sources are cut and spliced from good
 * ones. */
static void any_bytes(void **state)
{
    static const char *const seeds[] = {
        "steps.train.outputs.maxBy(o, o.accuracy).name",
        "[1, 2].map(x, {'a': x}[string('a')] + 1 % 2)",
        "has(params.x) && !(params.n >= 1e3) ? r'\\d' : \"\\u00e9\"",
        "'a'.matches('(a|b)*c') || 1 in [1, -2.5]",
    };
    struct world *w = *state;
    struct expr_env env = world_env(w);
    uint64_t random = 88172645463325252u;
    struct arena a;
    arena_init(&a, 0);
    env.max_cost = 2000;
    for (int round = 0; round < 20000; round++) {
        char text[160];
        size_t n = 0;
        for (int piece = 0; piece < 3; piece++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            struct str seed = str_of(seeds[random % 4]);
            struct str part = str_sub(seed, random / 4 % seed.n, random / 256 % 40);
            memcpy(text + n, part.p, part.n);
            n += part.n;
            if (random & 1 << 20) text[n++] = (char)(random >> 32);
        }
        const struct expr *e;
        struct value v;
        struct err err = {0};
        struct str source = {text, n};
        arena_reset(&a);
        if (!expr_parse(&a, source, &e, &err) || !expr_eval(e, &env, &a, &v, &err)) {
            assert_int_not_equal(err.code, ERR_NONE);
            assert_true(err.at.line >= 1 && err.at.col >= 1 && err.at.col <= n + 1);
        }
    }
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals),
        cmocka_unit_test(arithmetic),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(logic),
        cmocka_unit_test(names),
        cmocka_unit_test(presence),
        cmocka_unit_test(functions),
        cmocka_unit_test(comprehensions),
        cmocka_unit_test(syntax_errors),
        cmocka_unit_test(limits),
        cmocka_unit_test(a_budget_of_ones_own),
        cmocka_unit_test(codes),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
