/* Slices, numbers, UTF-8, Base64, suggestions, units, errors and how they are shown. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/base64.h"
#include "engine/base/caret.h"
#include "engine/base/mask.h"
#include "engine/base/units.h"

#define EACH(row, rows) for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)

static void numbers_are_read_whole(void **state)
{
    static const struct {
        const char *text;
        bool is_int, is_double;
        int64_t i;
        double d;
    } rows[] = {
        {"0", true, true, 0, 0},
        {"-42", true, true, -42, -42},
        {"+7", true, true, 7, 7},
        {"9223372036854775807", true, true, INT64_MAX, 9223372036854775807.0},
        {"-9223372036854775808", true, true, INT64_MIN, -9223372036854775808.0},
        {"9223372036854775808", false, true, 0, 9223372036854775808.0},
        {"1e-3", false, true, 0, 0.001},
        {".5", false, true, 0, 0.5},
        {"5.", false, true, 0, 5},
        {"", false, false, 0, 0},
        {"-", false, false, 0, 0},
        {"1x", false, false, 0, 0},
        {" 1", false, false, 0, 0},
        {"0x10", false, false, 0, 0},
        {"nan", false, false, 0, 0},
        {"inf", false, false, 0, 0},
        {"1e", false, false, 0, 0},
        {"1e999", false, false, 0, 0},
        {".", false, false, 0, 0},
    };
    (void)state;
    EACH(r, rows)
    {
        int64_t i = 0;
        double d = 0;
        if (str_int(str_of(rows[r].text), &i) != rows[r].is_int || i != rows[r].i) fail_msg("int: %s", rows[r].text);
        if (str_double(str_of(rows[r].text), &d) != rows[r].is_double || d != rows[r].d)
            fail_msg("double: %s", rows[r].text);
    }
}

static void doubles_are_written_short_and_exact(void **state)
{
    static const struct {
        double d;
        const char *text;
    } rows[] = {
        {1, "1.0"},
        {0.1, "0.1"},
        {-2.5, "-2.5"},
        {1e300, "1e+300"},
        {100000, "100000.0"},
        {0.1 + 0.2, "0.30000000000000004"},
        {-0.0, "-0.0"},
        {NAN, "NaN"},
        {INFINITY, "Infinity"},
        {5e-324, "4.94065645841247e-324"},
    };
    (void)state;
    EACH(r, rows)
    {
        char text[32];
        assert_int_equal(double_text(rows[r].d, text), strlen(rows[r].text));
        assert_string_equal(text, rows[r].text);
    }
}

static void utf8_follows_rfc3629(void **state)
{
    static const struct {
        const char *text;
        int bad; /* -1 = valid */
        size_t count;
    } rows[] = {
        {"", -1, 0},
        {"plain ascii, longer than a word", -1, 31},
        {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", -1, 3},
        {"\xF4\x8F\xBF\xBF", -1, 1},
        {"ab\xFFzz", 2, 0},
        {"\xC0\xAF", 0, 0},         /* overlong */
        {"\xE0\x80\xAF", 0, 0},     /* overlong */
        {"\xED\xA0\x80", 0, 0},     /* surrogate */
        {"\xF4\x90\x80\x80", 0, 0}, /* beyond U+10FFFF */
        {"12345678\xE2\x82", 8, 0}, /* cut off */
        {"\x80", 0, 0},
    };
    (void)state;
    EACH(r, rows)
    {
        size_t bad = 99;
        bool valid = utf8_valid(str_of(rows[r].text), &bad);
        if (valid != (rows[r].bad < 0) || (!valid && bad != (size_t)rows[r].bad))
            fail_msg("row %zu: bad at %zu", r, bad);
        if (valid) assert_int_equal(utf8_count(str_of(rows[r].text)), rows[r].count);
        assert_int_equal(utf8_sub(str_of(rows[r].text), 99).n, valid ? strlen(rows[r].text) : bad);
    }
    assert_int_equal(utf8_sub(STR("a\xC3\xA4"), 2).n, 1); /* no half character */
}

static void characters_are_written(void **state)
{
    static const struct {
        uint32_t c;
        const char *text;
    } rows[] = {{'a', "a"},          {0x7F, "\x7F"},           {0x80, "\xC2\x80"},
                {0x7FF, "\xDF\xBF"}, {0x20AC, "\xE2\x82\xAC"}, {0x1F600, "\xF0\x9F\x98\x80"}};
    (void)state;
    EACH(r, rows)
    {
        char out[5] = "";
        assert_int_equal(utf8_put(out, rows[r].c), strlen(rows[r].text));
        assert_string_equal(out, rows[r].text);
    }
    assert_true(hex_digit('0') == 0 && hex_digit('9') == 9 && hex_digit('a') == 10 && hex_digit('F') == 15);
    assert_true(hex_digit('g') < 0 && hex_digit('/') < 0 && hex_digit(':') < 0 && hex_digit('\0') < 0);
    BUF_AUTO b;
    buf_init(&b, 0);
    assert_true(buf_url(&b, STR("aZ09-._~ /\xC3\xFF%")));
    assert_true(str_is(buf_view(&b), "aZ09-._~%20%2F%C3%FF%25"));
}

static void slices_are_cut(void **state)
{
    (void)state;
    struct str rest = STR("a,,b,"), piece;
    static const char *const pieces[] = {"a", "", "b", ""};
    EACH(i, pieces)
    {
        assert_true(str_split(&rest, ',', &piece));
        assert_true(str_is(piece, pieces[i]));
    }
    assert_false(str_split(&rest, ',', &piece));
    assert_true(str_is(str_trim(STR(" \t x y\r\n")), "x y"));
    assert_true(str_is(str_sub(STR("hello"), 3, 99), "lo"));
    assert_int_equal(str_sub(STR("hello"), 9, 9).n, 0);
    size_t at = 0;
    assert_true(str_find(STR("abcabc"), STR("ca"), &at));
    assert_int_equal(at, 2);
    assert_false(str_find(STR("abc"), STR("abcd"), &at));
    assert_true(str_starts(STR("abc"), "ab") && str_ends(STR("abc"), "bc") && !str_ends(STR("c"), "bc"));
    assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0 &&
                str_cmp(STR("b"), STR("b")) == 0);
}

static void near_names_are_suggested(void **state)
{
    static const struct str names[] = {STR_INIT("data"), STR_INIT("train"),   STR_INIT("parallelism"),
                                       STR_INIT("when"), STR_INIT("timeout"), STR_INIT("image")};
    static const struct {
        const char *word, *found;
    } rows[] = {{"date", "data"},
                {"tarin", "train"},
                {"paralelism", "parallelism"},
                {"Timeout", "timeout"},
                {"timeOut", "timeout"},
                {"xyz", ""},
                {"", ""},
                {"whne", "when"},
                {"imgae", "image"}};
    (void)state;
    EACH(r, rows)
    {
        struct str found = suggest(str_of(rows[r].word), names, 6);
        if (!str_is(found, rows[r].found)) fail_msg("%s: %.*s", rows[r].word, STR_ARG(found));
    }
}

/* Numbers as values when they are written bare, else strings. */
static struct value scalar(const char *text)
{
    int64_t i;
    double d;
    if (str_int(str_of(text), &i)) return value_int(i);
    if (str_double(str_of(text), &d)) return value_double(d);
    return value_string(str_of(text));
}

static void units_are_read(void **state)
{
    static const struct {
        char kind;
        const char *text;
        bool ok;
        double number;
        const char *says; /* within the error */
    } rows[] = {
        {'d', "90s", true, 90e3, ""},
        {'d', "1h30m", true, 5400e3, ""},
        {'d', "250ms", true, 250, ""},
        {'d', "0.5s", true, 500, ""},
        {'d', "2d", true, 172800e3, ""},
        {'d', "1w", true, 604800e3, ""},
        {'d', "0", true, 0, ""},
        {'d', "600", false, 0, "600s is seconds, 600m is minutes"},
        {'d', "10 m", false, 0, "not a duration"},
        {'d', "30m1h", false, 0, "not a duration"},
        {'d', "1h1h", false, 0, "not a duration"},
        {'d', "-5s", false, 0, "not a duration"},
        {'d', "4000d", false, 0, "ten years"},
        {'d', "", false, 0, "not a duration"},
        {'b', "1Gi", true, 1073741824, ""},
        {'b', "1.5Ki", true, 1536, ""},
        {'b', "500M", true, 5e8, ""},
        {'b', "1024B", true, 1024, ""},
        {'b', "1024", false, 0, "1024Mi is mebibytes, 1024B is bytes"},
        {'b', "1GB", false, 0, "not a size"},
        {'b', "20Ei", false, 0, "8Ei"},
        {'b', "500m", false, 0, "not a size"},
        {'c', "1", true, 1000, ""},
        {'c', "0.5", true, 500, ""},
        {'c', "500m", true, 500, ""},
        {'c', "-1", false, 0, "number of CPUs"},
        {'c', "1Gi", false, 0, "number of CPUs"},
        {'p', "50%", true, 0.5, ""},
        {'p', "-0.5%", true, -0.005, ""},
        {'p', "0.5", false, 0, "as a share it is 50%, as a percentage it is 0.5%"},
        {'p', "50", false, 0, "50 has no unit: as a percentage it is 50%"},
        {'p', "1", false, 0, "as a share it is 100%, as a percentage it is 1%"},
        {'p', "half", false, 0, "share in percent"},
    };
    (void)state;
    EACH(r, rows)
    {
        struct value v = scalar(rows[r].text);
        int64_t i = 0;
        double number = 0;
        struct err err = {.code = ERR_NONE};
        bool ok = false;
        if (rows[r].kind == 'd') ok = units_duration(&v, &i, &err);
        if (rows[r].kind == 'b') ok = units_bytes(&v, &i, &err);
        if (rows[r].kind == 'c') ok = units_cpu(&v, &i, &err);
        if (rows[r].kind == 'p') ok = units_percent(&v, &number, &err);
        if (rows[r].kind != 'p') number = (double)i;
        if (ok != rows[r].ok || (ok && number != rows[r].number)) fail_msg("%s: %d %g", rows[r].text, ok, number);
        if (!strstr(err.message, rows[r].says)) fail_msg("%s: %s", rows[r].text, err.message);
    }
}

static void units_are_written(void **state)
{
    char out[32];
    (void)state;
    assert_string_equal(units_bytes_text(1536, out), "1.5Ki");
    assert_string_equal(units_bytes_text(1 << 30, out), "1Gi");
    assert_string_equal(units_bytes_text(12, out), "12B");
    assert_string_equal(units_duration_text(2000, out), "2s");
    assert_string_equal(units_duration_text(5400250, out), "1h30m250ms");
    assert_string_equal(units_duration_text(0, out), "0");
}

static void errors_carry_their_place(void **state)
{
    (void)state;
    struct err e;
    assert_false(err_set(NULL, ERR_INVALID, "x"));
    assert_false(err_set(&e, ERR_NOT_FOUND, "no %s", "step"));
    assert_string_equal(e.hint, "");
    err_set(&e, ERR_CONFLICT, "again: %s", e.message);
    assert_string_equal(e.message, "again: no step");
    char lots[600];
    memset(lots, 'x', sizeof lots);
    lots[397] = '\xC3'; /* a character across the cut */
    lots[398] = '\xA4';
    lots[599] = '\0';
    err_set(&e, ERR_INVALID, "%s", lots);
    assert_true(utf8_valid(str_of(e.message), NULL));
    assert_true(str_ends(str_of(e.message), "…"));
    for (int code = 0; code < ERR_CODE_COUNT; code++)
        assert_true(err_status((enum err_code)code) >= 200 && strlen(err_name((enum err_code)code)) > 1);
    assert_true(err_retryable(ERR_UNAVAILABLE) && !err_retryable(ERR_INVALID));
}

static void error_lists_count_beyond_their_room(void **state)
{
    (void)state;
    struct arena a;
    struct err_list list;
    arena_init(&a, 0);
    err_list_init(&list, &a);
    for (uint32_t i = 0; i < 60; i++)
        err_list_add(&list, ERR_INVALID, (struct pos){100 - i, 1}, "number %u", i);
    assert_int_equal(list.n, ERR_LIST_MAX);
    assert_int_equal(list.total, 60);
    err_list_sort(&list);
    for (size_t i = 1; i < list.n; i++)
        assert_true(list.items[i - 1].at.line < list.items[i].at.line);
    arena_free(&a);
}

static void carets_point_at_the_place(void **state)
{
    static const char source[] =
        "one: 1\n      data: ${{ steps.date.outputs.train }}\n\t\xC3\xA4\t\xE6\xBC\xA2\xE5\xAD\x97 bad\n";
    static const struct {
        const char *name;
        struct err e;
        const char *text;
    } rows[] = {
        {"the format's own example",
         {.code = ERR_INVALID,
          .at = {2, 23},
          .len = 4,
          .path = "steps.train.inputs.data",
          .message = "steps.train.inputs.data refers to steps.date, which does not exist",
          .hint = "did you mean 'data'?"},
         "p.yaml:2:23: error: steps.train.inputs.data refers to steps.date, which does not exist\n"
         "    2 |       data: ${{ steps.date.outputs.train }}\n"
         "      |                       ^~~~ did you mean 'data'?\n"},
        {"tabs, accents and wide characters",
         {.code = ERR_INVALID, .at = {3, 5}, .len = 1, .path = "a", .message = "no"},
         "p.yaml:3:5: error: a: no\n"
         "    3 | \t\xC3\xA4\t\xE6\xBC\xA2\xE5\xAD\x97 bad\n"
         "      | \t \t  ^~\n"},
        {"behind the end of the line",
         {.code = ERR_INVALID, .at = {1, 99}, .message = "no"},
         "p.yaml:1:99: error: no\n    1 | one: 1\n      |       ^\n"},
        {"no such line",
         {.code = ERR_INVALID, .at = {77, 1}, .message = "no", .hint = "mend"},
         "p.yaml:77:1: error: no\n  hint: mend\n"},
        {"what a terminal would obey",
         {.code = ERR_INVALID, .at = {1, 1}, .path = "a\x1b[m", .message = "\x1b]0;x\a", .hint = "\xE2\x80\xAE\r"},
         "p.yaml:1:1: error: a?[m: ?]0;x?\n    1 | one: 1\n      | ^ ??\n"},
        {"no place", {.code = ERR_INVALID, .path = "steps", .message = "missing"}, "p.yaml: error: steps: missing\n"},
    };
    (void)state;
    EACH(r, rows)
    {
        BUF_AUTO out;
        buf_init(&out, 0);
        caret_render(&out, &rows[r].e, "p.yaml", str_of(source));
        if (strcmp(out.p, rows[r].text) != 0) fail_msg("%s:\n%s", rows[r].name, out.p);
    }
}

static void long_lines_are_clipped_around_the_place(void **state)
{
    (void)state;
    char line[1001];
    memset(line, 'a', 1000);
    memcpy(line + 499, "HERE", 4);
    line[1000] = '\0';
    struct err e = {.code = ERR_INVALID, .at = {1, 500}, .len = 4, .message = "no"};
    BUF_AUTO out;
    buf_init(&out, 0);
    caret_render(&out, &e, "f", str_of(line));
    assert_true(out.n < 400);
    const char *text = strchr(out.p, '\n') + 1, *marks = strchr(text, '\n') + 1;
    size_t dots = strlen("…") - 1; /* bytes of it beyond its one column */
    assert_int_equal(strstr(text, "HERE") - text - (ptrdiff_t)dots, strchr(marks, '^') - marks);
}

static void values_are_covered_in_place(void **state)
{
    static const struct {
        const char *text, *want;
        size_t unsure;
    } rows[] = {
        {"", "", 0},
        {"nothing here", "nothing here", 0},
        {"hunter2", "*******", 0},
        {"a hunter2, hunter2hunter2.", "a *******, **************.", 0},
        {"hunter2-long", "************", 0}, /* the longer one, whole */
        {"hunter2-lon", "*******-lon", 0},
        {"abc", "abc", 3}, /* too short a value */
        {"say hunt", "say hunt", 4},
        {"say hunter2-lo", "say *******-lo", 0},
        {"hhh", "hhh", 1},
        {"abcd1234efgh", "************", 0}, /* neither shows its rest */
        {"the first line, a short one, second line", "the **********, a short one, ***********", 0},
    };
    (void)state;
    static const char *const values[] = {
        "abc", "hunter2", "hunter2-long", "", "1234efgh", "abcd1234", "first line\n  \n  short\n  second line"};
    struct arena a;
    struct mask m = {0};
    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        mask_add(&m, &a, str_of(values[i]));
    mask_sort(&m);
    assert_int_equal(m.n, 7);
    assert_int_equal(mask_longest(&m), strlen(values[6]));
    EACH(r, rows)
    {
        char text[64];
        size_t n = strlen(rows[r].text);
        memcpy(text, rows[r].text, n + 1);
        bool holds = mask_holds(&m, str_of(text)), covered = mask_cover(&m, text, n);
        size_t unsure = mask_unsure(&m, str_of(text));
        if (strcmp(text, rows[r].want) != 0) fail_msg("'%s' became '%s'", rows[r].text, text);
        if (covered != holds || covered != (strcmp(text, rows[r].text) != 0))
            fail_msg("'%s': said wrong", rows[r].text);
        if (unsure != rows[r].unsure) fail_msg("'%s': %zu bytes are unsure", rows[r].text, unsure);
    }
    assert_int_equal(mask_unsure(&m, STR("so hunter2-lo")), 10); /* asked before it is covered */
    arena_free(&a);
}

static void base64_goes_both_ways(void **state)
{
    static const struct {
        const char *text, *bytes; /* bytes NULL = not Base64 */
    } rows[] = {
        {"", ""},        {"Zg==", "f"},        {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYg==", "foob"},
        {"Zm8", "fo"},   {" Z m\n9v ", "foo"}, {"Z", NULL},    {"Zm9v=", NULL}, {"Zg=a", NULL},
        {"Zg===", NULL}, {"Z!==", NULL},
    };
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    EACH(r, rows)
    {
        struct str out;
        bool ok = base64_decode(&arena, str_of(rows[r].text), &out);
        if (ok != (rows[r].bytes != NULL)) fail_msg("'%s'", rows[r].text);
        if (!ok) continue;
        if (!str_is(out, rows[r].bytes)) fail_msg("'%s' gives '%s'", rows[r].text, out.p);
        struct str again;
        assert_true(base64_decode(&arena, base64_encode(&arena, out), &again) && str_eq(again, out));
    }
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_whole),
        cmocka_unit_test(doubles_are_written_short_and_exact),
        cmocka_unit_test(utf8_follows_rfc3629),
        cmocka_unit_test(characters_are_written),
        cmocka_unit_test(slices_are_cut),
        cmocka_unit_test(near_names_are_suggested),
        cmocka_unit_test(units_are_read),
        cmocka_unit_test(units_are_written),
        cmocka_unit_test(errors_carry_their_place),
        cmocka_unit_test(error_lists_count_beyond_their_room),
        cmocka_unit_test(carets_point_at_the_place),
        cmocka_unit_test(values_are_covered_in_place),
        cmocka_unit_test(long_lines_are_clipped_around_the_place),
        cmocka_unit_test(base64_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
