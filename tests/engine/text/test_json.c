/* JSON: what is read, and what is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/jsonw.h"
#include "engine/text/json.h"

#define EACH(row, rows) for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)

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

static void what_is_read_is_written_the_same(void **state)
{
    static const struct {
        const char *text, *again; /* NULL = the same */
    } rows[] = {
        {"null", NULL},
        {" \t\r\n true ", "true"},
        {"[1,-0,9223372036854775807,-9223372036854775808]", "[1,0,9223372036854775807,-9223372036854775808]"},
        {"[1.5,1e3,-2.5E-1,0.0]", "[1.5,1000.0,-0.25,0.0]"},
        {"\"\\u00e4\\ud83d\\ude00\\n\\/\\\"\\\\\"", "\"\xC3\xA4\xF0\x9F\x98\x80\\n/\\\"\\\\\""},
        {"{\"a\":{\"b\":[]},\"c\":{}}", NULL},
        {"{\"a\" : [ 1 , 2 ] }", "{\"a\":[1,2]}"},
        {"\xEF\xBB\xBF{}", "{}"},
        {"\"\\u007f\xE2\x82\xAC\"", "\"\\u007f\xE2\x82\xAC\""},
    };
    (void)state;
    EACH(r, rows)
    {
        struct value v;
        struct err err;
        BUF_AUTO out;
        buf_init(&out, 0);
        if (!json_parse(&arena, str_of(rows[r].text), 0, &v, &err)) fail_msg("%s: %s", rows[r].text, err.message);
        value_json(&out, &v, false);
        assert_string_equal(out.p, rows[r].again ? rows[r].again : rows[r].text);
    }
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
    static const struct {
        const char *text;
        uint32_t line, col;
        const char *says;
    } rows[] = {
        {"", 1, 1, "unexpected token near end of file"},
        {"nul", 1, 3, "'nul'"},
        {"[1,]", 1, 4, "near ']'"},
        {"[1 2]", 1, 4, "']' expected near '2'"},
        {"{\"a\" 1}", 1, 6, "':' expected"},
        {"{a: 1}", 1, 2, "string or '}' expected"},
        {"{\"a\":1,}", 1, 8, "string or '}' expected"},
        {"{\n \"a\": 1,\n \"b\": 2,\n \"a\": 3}", 4, 2, "the key 'a' stands twice"},
        {"{\"a\\\\\":1,\"a\\\\\":2}", 1, 10, "the key 'a\\\\' stands twice"},
        {"{\"a\\\"b\":1,\"a\\\"b\":2}", 1, 11, "the key 'a\\\"b' stands twice"},
        {"{\"\":1,\"\":2}", 1, 7, "the key '' stands twice"},
        {"{\"a key of more than 20 letters\":1,\"a key of more than 20 letters\":2}", 1, 36,
         "20 letters' stands twice"},
        {"[1] x", 1, 5, "end of file expected"},
        {"\"abc", 1, 4, "premature end"},
        {"\"a\nb\"", 1, 2, "unexpected newline"},
        {"\"\\x\"", 1, 3, "invalid escape"},
        {"\"\\u12g4\"", 1, 6, "invalid escape"},
        {"\"\\ud800\"", 1, 8, "invalid Unicode '\\uD800'"},
        {"\"\\udc00\"", 1, 8, "invalid Unicode '\\uDC00'"},
        {"\"\\u0000\"", 1, 8, "U+0000"},
        {"{\"\\u0000\":1}", 1, 9, "U+0000"},
        {"[01]", 1, 2, "invalid token"},
        {"-", 1, 1, "invalid token"},
        {"1.", 1, 2, "invalid token"},
        {"1e", 1, 2, "invalid token"},
        {"+1", 1, 1, "invalid token"},
        {".5", 1, 1, "invalid token"},
        {"NaN", 1, 3, "'NaN'"},
        {"[9223372036854775808]", 1, 20, "too big integer"},
        {"-9223372036854775809", 1, 20, "too big negative integer"},
        {"1e999", 1, 5, "real number overflow"},
        {"[\"\xC3\xA4\", x]", 1, 7, "'x'"},
        {"[\n\"a\xFF\"]", 2, 2, "unable to decode byte 0xff"},
        {"/* c */ 1", 1, 1, "'/'"},
        {"'a'", 1, 1, "'''"},
    };
    (void)state;
    EACH(r, rows)
    {
        struct value v;
        struct err err;
        if (json_parse(&arena, str_of(rows[r].text), 0, &v, &err)) fail_msg("%s was read", rows[r].text);
        if (!strstr(err.message, rows[r].says) || err.at.line != rows[r].line || err.at.col != rows[r].col)
            fail_msg("%s: %u:%u %s", rows[r].text, err.at.line, err.at.col, err.message);
    }
}

static void depth_is_limited(void **state)
{
    struct value v;
    struct err err;
    (void)state;
    assert_true(json_parse(&arena, STR("[[[1]]]"), 3, &v, &err));
    assert_false(json_parse(&arena, STR("[[[[1]]]]"), 3, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.hint, "at most 3 lists and maps"));
    BUF_AUTO deep;
    buf_init(&deep, 0);
    for (int i = 0; i < 1000000; i++)
        buf_char(&deep, '[');
    assert_false(json_parse(&arena, buf_view(&deep), 0, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
}

static void memory_is_limited(void **state)
{
    struct value v;
    struct err err;
    BUF_AUTO text;
    (void)state;
    buf_init(&text, 0);
    buf_char(&text, '[');
    for (int i = 0; i < 1000000; i++)
        buf_c(&text, "{},");
    buf_c(&text, "1]");
    assert_false(json_parse(&arena, buf_view(&text), 0, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.message, "too many values"));
    assert_true(json_parse(&arena, STR("[{},1]"), 0, &v, &err));
    /* What is kept can be read, and is not let in where it could not. */
    assert_true(json_reload(&arena, buf_view(&text), &v, &err));
    assert_int_equal(v.u.list.n, 1000001);
    assert_false(json_may_come(buf_view(&text), &err));
    assert_true(json_may_come(STR("[{},1]"), &err));
}

static void big_maps_are_checked_for_duplicates(void **state)
{
    struct value v;
    struct err err;
    BUF_AUTO text;
    (void)state;
    buf_init(&text, 0);
    buf_c(&text, "{");
    for (int i = 0; i < 20000; i++)
        buf_printf(&text, "\"k%d\":%d,\n", i, i);
    size_t n = text.n;
    buf_c(&text, "\"last\":0}");
    assert_true(json_parse(&arena, buf_view(&text), 0, &v, &err));
    assert_int_equal(value_get(&v, "k12345")->u.i, 12345);
    text.n = n;
    buf_c(&text, "\"k7\":0}");
    assert_false(json_parse(&arena, buf_view(&text), 0, &v, &err));
    assert_string_equal(err.message, "the key 'k7' stands twice");
}

static void decoding_copies_its_strings(void **state)
{
    struct value v;
    struct err err;
    char text[] = "{\"a\":\"b\"}";
    (void)state;
    assert_true(json_decode(&arena, str_of(text), &v, &err));
    memset(text, 'x', sizeof text);
    assert_true(str_is(value_get(&v, "a")->u.s, "b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_read_is_written_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said_with_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(depth_is_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(big_maps_are_checked_for_duplicates, setup, teardown),
        cmocka_unit_test_setup_teardown(decoding_copies_its_strings, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
