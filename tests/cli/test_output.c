/* Tables that fit, times and spans for people, JSON that is indented, text that cannot harm a terminal. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/output.h"
#include "engine/text/json.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    setlocale(LC_CTYPE, "C.UTF-8");
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static const char *print(const char *const *cells, size_t n, unsigned width)
{
    static const struct column columns[] = {{"RUN", true, 0}, {"NAME", false, 6}, {"MESSAGE", false, 8}};
    struct table t;
    struct term term = {.width = width};
    BUF_AUTO out;
    buf_init(&out, 0);
    table_begin(&t, &arena, columns, 3);
    for (size_t i = 0; i < n; i++)
        table_cell_c(&t, cells[i]);
    table_print(&out, &t, &term);
    return arena_cstr(&arena, buf_view(&out));
}

static void tables(void **state)
{
    static const char *const cells[] = {
        "1", "digits", "all is well and more than that", "1234", "日本語の名前", NULL, "5", "a\033[31mb", "two\nlines"};
    (void)state;
    assert_string_equal(print(cells, 9, 0), " RUN  NAME          MESSAGE\n"
                                            "   1  digits        all is well and more than that\n"
                                            "1234  日本語の名前\n"
                                            "   5  a?[31mb       two lines\n");
    assert_string_equal(print(cells, 9, 28), " RUN  NAME        MESSAGE\n"
                                             "   1  digits      all is we…\n"
                                             "1234  日本語の…\n"
                                             "   5  a?[31mb     two lines\n");
    assert_string_equal(print(cells, 3, 5), "RUN  NAME    MESSAGE\n" /* no narrower than its columns bear */
                                            "  1  digits  all is …\n");
    assert_string_equal(print(NULL, 0, 0), "RUN  NAME  MESSAGE\n");
}

static void spans(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {{0, "0.0s"},       {-5, "0.0s"},         {1234567, "1.2s"},     {9999999, "9.9s"},
                {59000000, "59s"}, {200000000, "3m20s"}, {3600000000, "1h00m"}, {90061000000, "1d01h"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(arena_cstr(&arena, span_text(&arena, rows[i].us)), rows[i].text);
}

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } rows[] = {{"1970-01-01T00:00:01Z", 1000000},
                {"2026-01-02T03:04:05.123456Z", 1767323045123456},
                {"2026-01-02T04:04:05.5+01:00", 1767323045500000},
                {"2026-01-01T22:34:05-04:30", 1767323045000000},
                {"", 0},
                {"yesterday", 0},
                {"2026-01-02", 0},
                {"2026-01-02T03:04:05+x", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(time_parse(str_of(rows[i].text)), rows[i].us);
}

static void pretty_json(void **state)
{
    struct value v;
    BUF_AUTO out;
    (void)state;
    buf_init(&out, 0);
    assert_true(json_parse(&arena, STR("{\"a\":[1,{\"b\":\"\\u001b\"}],\"c\":{},\"d\":[]}"), 0, &v, NULL));
    output_json(&out, &v);
    assert_string_equal(
        out.p, "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"\\u001b\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}\n");
}

static void fields_of_the_wrong_type(void **state)
{
    struct value v;
    size_t n = 9;
    (void)state;
    assert_true(json_parse(&arena, STR("{\"s\":1,\"i\":\"x\",\"l\":{}}"), 0, &v, NULL));
    assert_int_equal(field_str(&v, "s").n, 0);
    assert_int_equal(field_int(&v, "i", -7), -7);
    assert_false(field_bool(&v, "s"));
    assert_null(field_list(&v, "l", &n));
    assert_int_equal(n, 0);
    assert_int_equal(field_str(NULL, "s").n, 0);
}

/* Whatever bytes a server sends: no control character, and never wider than asked. */
static void text_is_harmless(void **state)
{
    static const char *const rows[] = {"plain",
                                       "\033]0;title\007",
                                       "a\rb",
                                       "\x80\xff\xfe",
                                       "\xE2\x80\xAEgnp.exe",
                                       "é́",
                                       "👩‍👩‍👧",
                                       ("\xC2\x9B"
                                        "31m")};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t limit = 0; limit < 6; limit++) {
            BUF_AUTO out;
            buf_init(&out, 0);
            size_t used = term_text(&out, str_of(rows[i]), limit);
            assert_true(!limit || used <= limit);
            assert_true(utf8_valid(buf_view(&out), NULL));
            for (size_t k = 0; k < out.n; k++)
                assert_true((unsigned char)out.p[k] >= 0x20 && out.p[k] != 0x7F);
            assert_int_equal(used, term_columns(buf_view(&out)));
            assert_null(out.p ? strstr(out.p, "\xE2\x80\xAE") : NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(spans),
        cmocka_unit_test(times),
        cmocka_unit_test(pretty_json),
        cmocka_unit_test(fields_of_the_wrong_type),
        cmocka_unit_test(text_is_harmless),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
