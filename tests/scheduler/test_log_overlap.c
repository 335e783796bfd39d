/* Where a log goes on that was rotated, by a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/log_overlap.h"

#define LINE "0123456789012345678901234567890123456789012345678901234567890123456789\n" /* 71 bytes */

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_goes_on_where_it_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
