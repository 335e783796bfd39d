/* Whose shards are whose: shares, what a free shard with somebody's attempts under way is left for, and for how long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/os/clock.h"
#include "engine/store/hot.h"
#include "engine/store/row.h"
#include "tests/support/db.h"

#define HOUR_US INT64_C(3600000000)
#define A_SHARD 63 /* the last one: beyond the share of a second scheduler */

static struct support_db test;
static struct hot *one, *two;
static uint16_t gained[RUN_SHARDS], lost[RUN_SHARDS];
static size_t n_gained, n_lost;

/* One run, in A_SHARD, with a task that is running on executor "a". */
static int setup(void **state)
{
    (void)state;
    if (support_db_open(&test) != 0) return -1;
    one = hot_new(test.dsn.p, "one");
    two = hot_new(test.dsn.p, "two");
    return support_sql(&test, "INSERT INTO active_runs (run_id, project_id, created_by, shard, state) "
                              "VALUES (1, 1, 'test', 63, 2)") &&
                   support_sql(&test, "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, "
                                      "attempt, executor) VALUES (1, 0, 1, 'test', 0, 'a', 5, 1, 'a'), "
                                      "(1, 1, 1, 'test', 0, 'b', 3, 1, NULL), (1, 2, 1, 'test', 0, 'c', 7, 1, 'z')")
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    hot_free(one);
    hot_free(two);
    return support_db_close(&test);
}

static void opened(struct hot *h)
{
    struct err err = {0};
    if (!hot_open(h, &err)) fail_msg("%s", err.message);
}

static void balance(struct hot *h, const char *executor, int64_t grace_us)
{
    struct err err = {0};
    const struct hot_claim claim = {executor, grace_us};
    if (!hot_balance(h, &claim, gained, &n_gained, lost, &n_lost, &err)) fail_msg("%s", err.message);
}

static void a_shard_is_left_to_whoever_hears_of_its_attempts(void **state)
{
    (void)state;
    opened(two);
    balance(two, "b", HOUR_US);
    assert_int_equal(n_gained, RUN_SHARDS - 1);
    assert_false(hot_owns(two, A_SHARD));
    balance(two, "b", HOUR_US);
    assert_int_equal(n_gained, 0);
    opened(one);
    balance(one, "a", HOUR_US);
    assert_int_equal(n_gained, 1);
    assert_true(hot_owns(one, A_SHARD));
    assert_int_equal(support_number(&test, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND "
                                           "mode = 'ExclusiveLock' AND database = (SELECT oid FROM pg_database "
                                           "WHERE datname = current_database())"),
                     RUN_SHARDS);
}

static void the_grace_ends(void **state)
{
    (void)state;
    opened(two);
    balance(two, "b", 1);
    assert_int_equal(n_gained, RUN_SHARDS - 1);
    balance(two, "b", 1); /* free for longer than that */
    assert_int_equal(n_gained, 1);
    assert_true(hot_owns(two, A_SHARD));
}

/* Being owned in between, unseen, starts the grace anew. */
static void coming_back_starts_the_grace_anew(void **state)
{
    (void)state;
    opened(two);
    balance(two, "b", HOUR_US);
    opened(one);
    balance(one, "a", HOUR_US);
    assert_true(hot_owns(one, A_SHARD));
    hot_close(one);
    int64_t end = os_mono_us() + 20000000;
    do /* the server may take a moment to notice */
        assert_true(os_mono_us() < end);
    while (support_number(&test, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'millrace-scheduler' "
                                 "AND datname = current_database()") > 1);
    balance(two, "b", 1);
    assert_false(hot_owns(two, A_SHARD));
    balance(two, "b", 1);
    assert_true(hot_owns(two, A_SHARD));
}

/* What is under way here comes first, whatever the share; then the surplus goes. */
static void ones_own_is_taken_beyond_the_share(void **state)
{
    (void)state;
    opened(one);
    opened(two);
    balance(one, "a", HOUR_US);
    assert_true(hot_owns(one, A_SHARD));
    assert_int_equal(hot_owned(one), RUN_SHARDS / 2);
    balance(two, "b", HOUR_US);
    assert_int_equal(hot_owned(two), RUN_SHARDS / 2);
}

static void without_others_nothing_is_left(void **state)
{
    (void)state;
    opened(two);
    balance(two, "b", 0);
    assert_int_equal(n_gained, RUN_SHARDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shard_is_left_to_whoever_hears_of_its_attempts, setup, teardown),
        cmocka_unit_test_setup_teardown(the_grace_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(coming_back_starts_the_grace_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(ones_own_is_taken_beyond_the_share, setup, teardown),
        cmocka_unit_test_setup_teardown(without_others_nothing_is_left, setup, teardown),
    };
    return cmocka_run_group_tests_name("store/hot", tests, NULL, NULL);
}
