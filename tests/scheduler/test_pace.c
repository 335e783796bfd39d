/* The scheduler's time, when the wall clock is set under it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/pace.h"

#define S INT64_C(1000000)
#define HOUR (3600 * S)

static void durations_hold(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t jump, passed, least, most;
    } rows[] = {
        {"nothing happens", 0, 10 * S, 10 * S, 10 * S},
        {"an hour back", -HOUR, 10 * S, 9 * S, 9 * S},
        {"an hour forth", HOUR, 600 * S, 660 * S, 660 * S},
        {"a century forth", 876600 * HOUR, 10 * S, 11 * S, 11 * S},
        {"back, and caught up with", -HOUR, 20 * HOUR, 19 * HOUR, 19 * HOUR},
        {"forth, and caught up with", HOUR, 20 * HOUR, 21 * HOUR, 21 * HOUR},
        {"a little", S / 1000, S, S + S / 1000, S + S / 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pace p;
        const int64_t begin = 1700000000 * S, step = rows[i].passed / 1000;
        pace_set(&p, begin, 5 * S);
        int64_t last = begin, now = begin;
        for (int64_t t = step; t <= rows[i].passed; t += step, last = now) {
            now = pace_now(&p, begin + rows[i].jump + t, 5 * S + t);
            if (now < last) fail_msg("%s: it went back", rows[i].name);
        }
        if (now - begin < rows[i].least || now - begin > rows[i].most)
            fail_msg("%s: %lld passed", rows[i].name, (long long)(now - begin));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(durations_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
