/* The arithmetic of waiting: the bucket, holds, growing pauses, Retry-After. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/kube/budget.h"
#include "engine/kube/client_inner.h"

#define S ((int64_t)1000000)

static void the_bucket_fills_as_time_passes(void **state)
{
    struct kube_budget b;
    int64_t now = 5 * S;
    (void)state;
    kube_budget_init(&b, 10, 3, now);
    for (int i = 0; i < 3; i++)
        assert_true(kube_budget_take(&b, now));
    assert_false(kube_budget_take(&b, now));
    int64_t due = kube_budget_due(&b, now);
    assert_in_range(due - now, 100000, 100002);
    assert_false(kube_budget_take(&b, now + 50000));
    assert_true(kube_budget_take(&b, due));
    int taken = 0;
    for (now = due; now < due + 100 * S; now = kube_budget_due(&b, now))
        taken += kube_budget_take(&b, now);
    assert_in_range(taken, 990, 1010); /* ten a second */
    for (taken = 0; kube_budget_take(&b, now + 1000 * S); taken++) {
    }
    assert_int_equal(taken, 3);              /* however long nothing was asked for */
    assert_false(kube_budget_take(&b, now)); /* time that goes back gives nothing */
}

static void holds_hold(void **state)
{
    struct kube_budget b;
    (void)state;
    kube_budget_init(&b, 10, 3, 0);
    kube_budget_hold(&b, 7 * S);
    kube_budget_hold(&b, 2 * S);
    assert_false(kube_budget_take(&b, 7 * S - 1));
    assert_int_equal(kube_budget_due(&b, 0), 7 * S);
    assert_true(kube_budget_take(&b, 7 * S));
}

static void pauses_grow_and_differ(void **state)
{
    static const struct {
        uint32_t n;
        int64_t around;
    } rows[] = {{1, 1000}, {2, 2000}, {3, 4000}, {4, 8000}, {5, 10000}, {60, 10000}, {UINT32_MAX, 10000}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(kube_pause_us(rows[i].n, 1000, 10000, 0), rows[i].around / 2);
        assert_int_equal(kube_pause_us(rows[i].n, 1000, 10000, (uint64_t)rows[i].around), rows[i].around / 2 * 3);
        assert_in_range(kube_pause_us(rows[i].n, 1000, 10000, UINT64_MAX), rows[i].around / 2, rows[i].around / 2 * 3);
    }
}

static void retry_after_is_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"0", 0},
                {"7", 7000},
                {"-3", 0},
                {"99999999999999999", 86400000},
                {"Thu, 01 Jan 1970 00:01:45 GMT", 5000},
                {"Thu, 01 Jan 1970 00:00:05 GMT", 0},
                {"soon", 0},
                {"", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (kube_retry_after_ms(str_of(rows[i].text), 100) != rows[i].ms) fail_msg("%s", rows[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bucket_fills_as_time_passes),
        cmocka_unit_test(holds_hold),
        cmocka_unit_test(pauses_grow_and_differ),
        cmocka_unit_test(retry_after_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
