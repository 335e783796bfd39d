/* The written forms of values that are covered, and what is covered behind JSON's escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mask.h"

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

static struct mask mask_of(const char *const *values, size_t n)
{
    struct mask m = {0};
    for (size_t i = 0; i < n; i++)
        mask_add(&m, &arena, str_of(values[i]));
    mask_forms(&m, &arena);
    mask_sort(&m);
    return m;
}

/* Each row is a value as some program writes it; covered are all bytes of it. */
static void usual_forms_are_covered(void **state)
{
    (void)state;
    static const struct {
        const char *value, *form;
    } rows[] = {
        {"plain-secret_1", "plain-secret_1"},
        {"q\"uo\\te/x", "q\\\"uo\\\\te/x"},   /* JSON, as short as can be */
        {"q\"uo\\te/x", "q\\\"uo\\\\te\\/x"}, /* with slashes */
        {"line one\nline two\ttab", "line one\\nline two\\ttab"},
        {"bell\a here", "bell\\u0007 here"},
        {"h\xC3\xA9/\xE2\x82\xAC", "h\\u00e9/\\u20ac"},   /* Python */
        {"h\xC3\xA9/\xE2\x82\xAC", "h\\u00e9\\/\\u20ac"}, /* PHP */
        {"h\xC3\xA9/\xE2\x82\xAC", "h\\u00E9/\\u20AC"},   /* Java */
        {"key\xF0\x9F\x98\x80!", "key\\ud83d\\ude00!"},
        {"<a>&'b'", "\\u003ca\\u003e\\u0026'b'"},                         /* Go */
        {"<a>&'b'", "\\u003ca\\u003e\\u0026\\u0027b\\u0027"},             /* templates */
        {"<\"+`\xC3\xA9>", "\\u003C\\u0022\\u002B\\u0060\\u00E9\\u003E"}, /* .NET */
        {"p@ss/w rd~*", "p%40ss%2Fw%20rd~%2A"},                           /* RFC 3986 */
        {"p@ss/w rd~*", "p%40ss%2fw%20rd~%2a"},
        {"p@ss/w rd~*", "p%40ss/w%20rd~%2A"}, /* Python's quote */
        {"p@ss/w rd~*", "p%40ss%2Fw%20rd~*"}, /* encodeURIComponent */
        {"p@ss/w rd~*", "p%40ss%2Fw+rd~%2A"}, /* quote_plus */
        {"p@ss/w rd~*", "p%40ss%2Fw+rd%7E*"}, /* HTML forms */
        {"h\xC3\xA9h\xC3\xA9", "h%C3%A9h%C3%A9"},
        {"secret", "c2VjcmV0"},    /* base64 */
        {"secret7", "c2VjcmV0Nw"}, /* its padding tells nothing */
        {"secret77", "c2VjcmV0Nzc"},
        {"secret7", "c2VjcmV0Nwo"}, /* of a line */
        {"\xFB\xEF\xBE\?\?>", "++++Pz8+"},
        {"\xFB\xEF\xBE\?\?>", "----Pz8-"},                    /* for URLs */
        {"first line\nwith / and \"\n", "with \\/ and \\\""}, /* a line has forms, too */
        {"  padded value ", "cGFkZGVkIHZhbHVl"},              /* without its blanks */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mask m = mask_of(&rows[i].value, 1);
        char text[160];
        int n = snprintf(text, sizeof text, "so: %s.", rows[i].form);
        if (!mask_holds(&m, str_of(text))) fail_msg("row %zu: '%s' is not seen", i, rows[i].form);
        mask_cover(&m, text, (size_t)n);
        for (int k = 4; k < n - 1; k++)
            if (text[k] != '*') fail_msg("row %zu: '%s' became '%s'", i, rows[i].form, text);
        assert_true(strncmp(text, "so: ", 4) == 0 && text[n - 1] == '.');
    }
}

static void forms_are_bounded(void **state)
{
    (void)state;
    static const char *const plain[] = {"abcdef0123456789", "abc"};
    struct mask m = mask_of(plain, 2);
    assert_int_equal(m.n, 3); /* itself, and base64 with and without a line break; too short ones have no forms */
    static const char *const twice[] = {"abcdef0123456789", "abcdef0123456789"};
    m = mask_of(twice, 2);
    assert_int_equal(m.n, 3);
    char *big = malloc((64 << 10) + 1);
    memset(big, '"', 64 << 10);
    big[64 << 10] = '\0';
    m = mask_of((const char *const[]){big}, 1);
    assert_int_equal(mask_longest(&m), 64 << 10);
    assert_int_equal(m.n, 1);
    big[20000] = '\0';
    m = mask_of((const char *const[]){big}, 1);
    assert_int_equal(mask_longest(&m), 60000); /* in a URL */
    free(big);
}

static void escapes_are_seen_through(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{\"got\":\"\\u0070lain\\u0053ecret\",\"n\":1.50}", "{\"got\":\"*********************\",\"n\":1.50}"},
        {"{\"got\":\"a\\\\ plain\\u0053ecret \\n\"}", "{\"got\":\"a\\\\ **************** \\n\"}"},
        {"{\"\\u0070lainSecret\":1, \"x\":\"\\/\"}", "{\"****************\":1, \"x\":\"\\/\"}"},
        {"[\"q\\u0022uoted\\/one\"]", "[\"*****************\"]"},
        {"[\"{\\\"a\\\":\\\"\\\\u0070lainSecret\\\"}\"]", "[\"{\\\"a\\\":\\\"*****************\\\"}\"]"},
        {"\\ud83d\\ude00\\u002dsmile", "***********************"},
        {"no JSON at all \\u0070lainSecret", "no JSON at all ****************"},
        {"{\"s\": \"plainSecret\"}", "{\"s\": \"***********\"}"},
        {"{\"s\": \"\\\\u0070lain Secret \\u00zz \\q \\", "{\"s\": \"\\\\u0070lain Secret \\u00zz \\q \\"},
        {"\\ud83d\\u0070 \\ud83d", "\\ud83d\\u0070 \\ud83d"},
        {"admin:s\\u0033cr3tXY admin", "******************* *****"}, /* one is within another */
        {"p\\u0061ssword12345", "******************"},
        {"", ""},
    };
    static const char *const values[] = {"plainSecret",    "q\"uoted/one", "\xF0\x9F\x98\x80-smile", "admin",
                                         "admin:s3cr3tXY", "sword",        "password12345"};
    struct mask m = mask_of(values, sizeof values / sizeof *values);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[160];
        size_t n = strlen(rows[i].text);
        memcpy(text, rows[i].text, n + 1);
        bool holds = mask_holds(&m, str_of(text)), covered = mask_cover_escaped(&m, text, n);
        if (strcmp(text, rows[i].want) != 0) fail_msg("'%s' became '%s'", rows[i].text, text);
        if (holds != covered || covered != (strcmp(text, rows[i].text) != 0)) fail_msg("'%s': said wrong", text);
    }
}

/* Many values that begin alike, and one within another: each is found, whatever its place among them. */
static void each_of_many_is_found(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct mask m = {0};
    for (int i = 0; i < N; i++)
        mask_add(&m, &arena, arena_printf(&arena, "key-%d-%.*s", i, i % 7, "abcdefg"));
    mask_sort(&m);
    for (int i = 0; i < N; i++) {
        struct str value = arena_printf(&arena, "key-%d-%.*s", i, i % 7, "abcdefg");
        char text[64];
        int n = snprintf(text, sizeof text, "<%.*s>", STR_ARG(value));
        assert_true(mask_cover(&m, text, (size_t)n));
        if (strspn(text + 1, "*") != value.n) fail_msg("%s", text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(usual_forms_are_covered, setup, teardown),
        cmocka_unit_test_setup_teardown(forms_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(escapes_are_seen_through, setup, teardown),
        cmocka_unit_test_setup_teardown(each_of_many_is_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
