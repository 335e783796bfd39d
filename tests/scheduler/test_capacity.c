/* Room on the machine: CPUs and memory are both counted, each step with what it asks for, or the default. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/capacity.h"

#define MIB ((int64_t)1 << 20)
#define NOTHING_SAID                                                                                                   \
    {                                                                                                                  \
        0                                                                                                              \
    }

static void rows_fit_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct resources taken[3];
        struct resources asked;
        bool fits, possible;
        const char *reason; /* when it does not fit */
    } rows[] = {
        {"all of it", {{0}}, {.cpu_milli = 4000, .memory_bytes = 1024 * MIB}, true, true, ""},
        {"more CPUs than there are", {{0}}, {.cpu_milli = 4001}, false, false, "needs 4.001 CPUs, this machine has 4"},
        {"more memory than there is",
         {{0}},
         {.memory_bytes = 2048 * MIB},
         false,
         false,
         "needs 2Gi of memory, this machine has 1Gi"},
        {"the rest of the CPUs",
         {{.cpu_milli = 3000, .memory_bytes = MIB}},
         {.cpu_milli = 1000, .memory_bytes = MIB},
         true,
         true,
         ""},
        {"CPUs are taken",
         {{.cpu_milli = 2000, .memory_bytes = MIB}, {.cpu_milli = 1500, .memory_bytes = MIB}},
         {.cpu_milli = 1000, .memory_bytes = MIB},
         false,
         true,
         "needs 1 CPUs, 0.5 of 4 are free"},
        {"the rest of the memory",
         {{.cpu_milli = 1, .memory_bytes = 1000 * MIB}},
         {.cpu_milli = 1, .memory_bytes = 24 * MIB},
         true,
         true,
         ""},
        {"memory is taken",
         {{.cpu_milli = 1, .memory_bytes = 600 * MIB}, {.cpu_milli = 1, .memory_bytes = 400 * MIB}},
         {.cpu_milli = 1, .memory_bytes = 25 * MIB},
         false,
         true,
         "needs 25Mi of memory, 24Mi are free"},
        {"the default CPUs count",
         {{.cpu_milli = 3800}},
         NOTHING_SAID,
         false,
         true,
         "needs 0.25 CPUs, 0.2 of 4 are free"},
        {"the default memory counts",
         {{.cpu_milli = 1, .memory_bytes = 961 * MIB}},
         NOTHING_SAID,
         false,
         true,
         "needs 64Mi of memory, 63Mi are free"},
        {"memory of those that do not say counts",
         {{.cpu_milli = 1}, {.cpu_milli = 1}},
         {.cpu_milli = 1, .memory_bytes = 897 * MIB},
         false,
         true,
         "needs 897Mi of memory, 896Mi are free"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct capacity c;
        capacity_init(&c, 4000, 1024 * MIB, 0);
        for (int k = 0; k < 3; k++)
            if (rows[i].taken[k].cpu_milli) capacity_take(&c, &rows[i].taken[k]);
        bool fits = capacity_fits(&c, &rows[i].asked), possible = capacity_possible(&c, &rows[i].asked);
        if (fits != rows[i].fits || possible != rows[i].possible)
            fail_msg("%s: fits %d, possible %d", rows[i].name, fits, possible);
        if (fits) continue;
        BUF_AUTO text;
        buf_init(&text, 0);
        capacity_reason(&c, &rows[i].asked, &text);
        assert_string_equal(text.p, rows[i].reason);
    }
}

/* What is given back is free again, also when more was running than there is room for: after a restart, with fewer. */
static void what_is_given_back_is_free(void **state)
{
    (void)state;
    static const struct resources big = {.cpu_milli = 3000, .memory_bytes = 800 * MIB}, plain = NOTHING_SAID,
                                  all = {.cpu_milli = 4000, .memory_bytes = 1024 * MIB};
    struct capacity c;
    capacity_init(&c, 4000, 1024 * MIB, 0);
    capacity_take(&c, &big);
    capacity_take(&c, &big);
    capacity_take(&c, &plain);
    assert_int_equal(c.running, 3);
    assert_false(capacity_fits(&c, &plain));
    assert_true(capacity_possible(&c, &plain));
    capacity_give(&c, &big);
    assert_true(capacity_fits(&c, &plain));
    capacity_give(&c, &plain);
    capacity_give(&c, &big);
    assert_int_equal(c.running, 0);
    assert_true(capacity_fits(&c, &all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_fit_or_not),
        cmocka_unit_test(what_is_given_back_is_free),
    };
    return cmocka_run_group_tests_name("scheduler/capacity", tests, NULL, NULL);
}
