/* What is quoted of the log of a container that moves data, and of a step's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/kube_words.h"

static void test_last_line(void **state)
{
    static const struct {
        const char *log, *want;
    } rows[] = {
        {"", ""},
        {"\n\n", ""},
        {"cannot reach http://a: no\n", "cannot reach http://a: no"},
        {"cannot reach http://a: no; trying again\n", "cannot reach http://a: no"},
        {"one\ntwo; trying again\n\n  \n", "two"},
        {"one; trying again\ntwo; sending it through the server", "two; sending it through the server"},
        {"waiting for the step to end\n", ""},
        {"waiting for the step to end\ns3://b/k: no; trying again\n", "s3://b/k: no"},
        {"s3://b/k: no; trying again\n{\"outputs\":{}}\n", ""},
        {"; trying again\n", ""},
        {"a\tb\x1b[31mc\x7f", "a?b?[31mc?"},
        {"a\xff\xc3\xa4\xc3", "a?ä?"},
    };
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got = kube_words(str_of(rows[i].log), &a);
        if (!str_is(got, rows[i].want)) fail_msg("row %zu: '%.*s'", i, STR_ARG(got));
    }
    arena_free(&a);
}

static void test_long_line(void **state)
{
    char log[2 * KUBE_WORDS_MAX + 1];
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    log[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof log; i += 2)
        memcpy(log + i, "ä", 2);
    log[sizeof log - 2] = '\n';
    log[sizeof log - 1] = '\0';
    struct str got = kube_words(str_of(log), &a);
    /* Not half a character: an odd number of bytes before the ellipsis. */
    assert_int_equal(got.n, KUBE_WORDS_MAX - 1 + strlen("…"));
    assert_true(utf8_valid(got, NULL) && str_ends(got, "ä…"));
    arena_free(&a);
}

static void test_last_lines(void **state)
{
#define BUSY "mv: cannot move 'x' to 'outputs/n': Device or resource busy"
    static const struct {
        const char *log;
        bool cut;
        const char *want;
    } rows[] = {
        {"", false, ""},
        {" \n\n", false, ""},
        {"a\nb\n", false, "; its last lines:\na\nb"},
        {"a\nb\n", true, "; its last lines:\nb"},
        {"one long line", true, "; its last lines:\none long line"},
        {"a\tb\r\nc\x1b[31m\xff\n", false, "; its last lines:\na\tb\r\nc?[31m?"},
        {BUSY "\n", false,
         "; its output 'n' is a mount here, and can only be written in place, as with cat FILE > outputs/NAME; its "
         "last "
         "lines:\n" BUSY},
    };
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got = kube_last_lines(str_of(rows[i].log), rows[i].cut, STR("n"), &a);
        if (!str_is(got, rows[i].want)) fail_msg("row %zu: '%.*s'", i, STR_ARG(got));
    }
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_last_line), cmocka_unit_test(test_long_line),
                                       cmocka_unit_test(test_last_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
