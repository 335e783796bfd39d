/* Where a log goes on that was rotated, by a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/log_overlap.h"

#define LINE "0123456789012345678901234567890123456789012345678901234567890123456789\n" /* 71 bytes */
#define AS "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *what, *have, *again;
    int64_t at;
} cases[] = {
    {"all of it", "a\n" LINE, "a\n" LINE, 0},
    {"from its second line on, with a new one", "a\n" LINE, LINE "new\n", 2},
    {"too little of it to tell", LINE "3456789\n", "3456789\n" LINE, -1},
    {"a short one that is there", LINE "b\n", "b\n", 71},
    {"nothing of it", LINE, "b\n" LINE, -1},
    {"the last of those that are alike", LINE LINE LINE, LINE "new\n", 142},
    {"what a secret was, is covered", "token ****** is\n" LINE, "token secret is\n" LINE "new\n", 0},
    {"covered where it repeats itself", "xx" AS "**" AS "yy" LINE, AS "aa" AS "yy" LINE "new\n", 2},
    {"of nothing", "", LINE, -1},
    {"nothing", LINE, "", -1},
};

static void it_goes_on_where_it_agrees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t at = log_overlap(str_of(cases[i].have), str_of(cases[i].again));
        if (at != cases[i].at) fail_msg("%s: %lld", cases[i].what, (long long)at);
    }
    assert_int_equal(log_agrees(STR("ab*d"), STR("abcde")), 4);
    assert_int_equal(log_agrees(STR("abcd"), STR("ab*d")), 2);
}

/* By comparing at every place. */
static int64_t slowly(struct str have, struct str again)
{
    size_t least = again.n < 64 ? again.n : 64;
    for (size_t at = have.n - least + 1; least > 0 && have.n >= least && at-- > 0;) {
        struct str rest = str_sub(have, at, have.n);
        if (log_agrees(rest, again) == (rest.n < again.n ? rest.n : again.n)) return (int64_t)at;
    }
    return -1;
}

/* Texts of two letters, which agree with themselves in many places. */
static void it_finds_what_a_slow_search_finds(void **state)
{
    (void)state;
    uint32_t random = 1;
    size_t found = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        char have[200], again[120];
        size_t n = 0, m = 0;
        for (; n < sizeof have; n++) {
            random = random * 1664525 + 1013904223;
            have[n] = random >> 16 & (i % 7) ? 'a' : 'b';
        }
        random = random * 1664525 + 1013904223;
        for (size_t from = random >> 16 & 127; m < sizeof again; m++)
            again[m] = from + m < n ? have[from + m] : 'c';
        struct str h = {have, n}, a = {again, m};
        found += slowly(h, a) >= 0;
        assert_int_equal(log_overlap(h, a), slowly(h, a));
    }
    assert_true(found > 15000);
}

/* Which took minutes, with all of the server waiting, when it compared at every place. */
static void it_is_done_in_a_moment(void **state)
{
    (void)state;
    static char have[16 << 20], again[4096];
    memset(have, '.', sizeof have);
    memset(again, '.', sizeof again);
    again[sizeof again - 1] = 'x';
    assert_int_equal(log_overlap((struct str){have, sizeof have}, (struct str){again, sizeof again}),
                     (int64_t)sizeof have - 64);
    again[70] = 'x';
    assert_int_equal(log_overlap((struct str){have, sizeof have}, (struct str){again, sizeof again}),
                     (int64_t)sizeof have - 64);
    have[sizeof have - 1] = '\n';
    have[5] = '*';
    assert_int_equal(log_overlap((struct str){have, sizeof have}, (struct str){again, sizeof again}), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_goes_on_where_it_agrees),
                                       cmocka_unit_test(it_finds_what_a_slow_search_finds),
                                       cmocka_unit_test(it_is_done_in_a_moment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
