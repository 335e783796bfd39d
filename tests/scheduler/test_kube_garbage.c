/* How long Jobs that have ended lie, by a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/kube_garbage.h"

#define MS ((int64_t)1000)

static const struct {
    const char *what;
    struct kube_garbage around;
    int64_t least, most; /* it lies, and does not any more */
} cases[] = {
    {"nothing else begins", {.lying = 1, .most = 10}, 499 * MS, 500 * MS},
    {"others begin", {.lying = 1, .most = 10, .starting = true}, 29999 * MS, 30000 * MS},
    {"as many as may", {.lying = 10, .most = 10, .starting = true}, 29999 * MS, 30000 * MS},
    {"more than may", {.lying = 11, .most = 10, .starting = true}, 499 * MS, 500 * MS},
    {"none may", {.lying = 1, .starting = true}, 499 * MS, 500 * MS},
    {"a quota may count it", {.lying = 1, .most = 10, .starting = true, .refused = true}, 499 * MS, 500 * MS},
};

static void what_has_ended_lies_for_a_while(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!kube_may_lie(&cases[i].around, cases[i].least)) fail_msg("%s: is deleted too early", cases[i].what);
        if (kube_may_lie(&cases[i].around, cases[i].most)) fail_msg("%s: lies too long", cases[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_has_ended_lies_for_a_while)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
