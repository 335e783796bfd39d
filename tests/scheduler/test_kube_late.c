/* When a step's log is followed, by how late nodes were before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/kube_late.h"

#define MS ((int64_t)1000)

static const struct {
    const char *what;
    int64_t late_ms, seemed_ms, ran_ms, then_ms;
} cases[] = {
    {"a node that tells at once", 0, 1000, 1000, 0},
    {"what whole seconds hide", 0, 1900, 1000, 0},
    {"a late one", 0, 3500, 1000, 1500},
    {"a later one than before", 1500, 4000, 0, 3000},
    {"a less late one, by and by", 1280, 1000, 0, 1260},
    {"heard of for a part of its time", 1280, 1000, 60000, 1260},
    {"the cluster was away", 0, 600000, 1000, 4000},
};

static void it_is_as_late_as_the_latest_of_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t then = kube_late_heard(cases[i].late_ms * MS, cases[i].seemed_ms * MS, cases[i].ran_ms * MS);
        if (then != cases[i].then_ms * MS) fail_msg("%s: %lld us", cases[i].what, (long long)then);
    }
}

static void it_is_forgotten(void **state)
{
    (void)state;
    int64_t late = KUBE_LATE_MOST_US;
    for (int i = 0; i < 500; i++)
        late = kube_late_heard(late, 1000 * MS, 1000 * MS);
    assert_in_range(late, 0, 10 * MS);
}

static void followed_later_by_that(void **state)
{
    (void)state;
    assert_int_equal(kube_follow_after_us(0), 2000 * MS);
    assert_int_equal(kube_follow_after_us(1500 * MS), 4250 * MS);
    assert_int_equal(kube_follow_after_us(KUBE_LATE_MOST_US), 8000 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_as_late_as_the_latest_of_late),
                                       cmocka_unit_test(it_is_forgotten), cmocka_unit_test(followed_later_by_that)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
