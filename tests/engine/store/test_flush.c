/* A turn's transaction: written whole or not at all, and never by a scheduler that is no longer the owner, over what
 * another wrote, or over an end. Two schedulers on a real database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/flow/run.h"
#include "engine/store/hot.h"
#include "engine/store/row.h"
#include "tests/support/db.h"

#define SHARD 5

static struct support_db test;
static struct hot *one, *two;
static struct batch batch;
static int32_t seq; /* of the run's last event */

/* Run 1 in SHARD; its task 0 is running, in its second attempt. */
static int setup(void **state)
{
    (void)state;
    if (support_db_open(&test) != 0) return -1;
    one = hot_new(test.dsn.p, "one");
    two = hot_new(test.dsn.p, "two");
    batch_init(&batch);
    seq = 0;
    bool ok =
        support_sql(&test, "INSERT INTO plans (project_id, digest, source, plan, created_by) "
                           "VALUES (1, 'd', '', '{}', 'test');"
                           "INSERT INTO runs (project_id, pipeline, name, plan_id, created_by, bundle_digest) "
                           "VALUES (1, 'p', 'p-1', 1, 'test', 'sha256:old');"
                           "INSERT INTO active_runs (run_id, project_id, created_by, shard, state) "
                           "VALUES (1, 1, 'test', 5, 2);"
                           "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt, "
                           "executor) VALUES (1, 0, 1, 'test', 0, 'a', 5, 2, 'x')");
    return ok ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    batch_free(&batch);
    hot_free(one);
    hot_free(two);
    return support_db_close(&test);
}

static void own(struct hot *h)
{
    static uint16_t gained[RUN_SHARDS], lost[RUN_SHARDS];
    size_t n_gained, n_lost;
    struct err err = {0};
    const struct hot_claim claim = {"x", 0};
    if (!hot_up(h) && !hot_open(h, &err)) fail_msg("%s", err.message);
    if (!hot_balance(h, &claim, gained, &n_gained, lost, &n_lost, &err)) fail_msg("%s", err.message);
}

static void flush(struct hot *h, enum err_code want)
{
    struct err err = {0};
    bool ok = hot_flush(h, &batch, &err);
    batch_reset(&batch);
    if (ok != (want == ERR_NONE) || err.code != want) fail_msg("%d instead of %d: %s", err.code, want, err.message);
    assert_true(hot_up(h));
}

static int64_t number(const char *sql)
{
    return support_number(&test, sql);
}

/* ---- rows ---- */

static void add_event(void)
{
    const enum batch_table t = BATCH_EVENTS;
    batch_row(&batch, t);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, ++seq);
    batch_int(&batch, t, 1);
    batch_text(&batch, t, STR("test"));
    batch_time(&batch, t, 1700000000123456);
    batch_int(&batch, t, EVENT_TASK_STARTED);
    batch_int(&batch, t, 0);
    batch_int(&batch, t, 2);
    batch_text_or_null(&batch, t, STR("{\"a\": [1, \"\\u00e9\"]}"));
}

static void add_state(enum batch_table t, enum task_state state, int32_t attempt, const char *outputs)
{
    batch_int(&batch, t, state);
    batch_int(&batch, t, attempt);
    batch_int(&batch, t, 0);
    batch_int(&batch, t, 0);
    batch_int(&batch, t, REASON_NONE);
    batch_text_or_null(&batch, t, STR(""));
    batch_null(&batch, t);
    batch_time(&batch, t, 0);
    batch_text(&batch, t, STR("x"));
    batch_text_or_null(&batch, t, str_of(outputs));
    batch_time(&batch, t, 1000000);
    batch_time(&batch, t, 0);
    batch_int(&batch, t, INT64_C(5) << 32);
    batch_int(&batch, t, INT64_C(6) << 32);
}

/* Task 0 succeeds in its attempt, as far as whoever writes knows it. */
static void add_success(int32_t old_attempt, enum task_state old_state)
{
    const enum batch_table t = BATCH_TASK_UPDATE;
    batch_row(&batch, t);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, 0);
    batch_int(&batch, t, old_attempt);
    batch_int(&batch, t, old_state);
    add_state(t, TASK_SUCCEEDED, old_attempt, "{\"v\": 1}");
}

static void add_task(int32_t task, const char *path, const char *outputs)
{
    const enum batch_table t = BATCH_TASK_INSERT;
    batch_row(&batch, t);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, task);
    batch_int(&batch, t, 1);
    batch_text(&batch, t, STR("test"));
    batch_int(&batch, t, 0);
    batch_text(&batch, t, str_of(path));
    add_state(t, TASK_RUNNING, 1, outputs);
}

static void add_finish(enum run_state state)
{
    const enum batch_table t = BATCH_RUN_FINISH;
    batch_row(&batch, t);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, state);
    batch_text_or_null(&batch, t, STR(""));
    batch_text_or_null(&batch, t, STR("{}"));
    batch_int(&batch, t, 1);
    batch_int(&batch, t, 0);
    batch_time(&batch, t, 1000000);
    batch_time(&batch, t, 2000000);
}

static void add_run_state(enum run_state state)
{
    const enum batch_table t = BATCH_RUN_STATE;
    batch_row(&batch, t);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, state);
    batch_int(&batch, t, 0);
    batch_int(&batch, t, 0);
    batch_int(&batch, t, 0);
    batch_int(&batch, t, 1);
    batch_time(&batch, t, 1000000);
}

static void add_bundle(const char *digest)
{
    batch_row(&batch, BATCH_RUN_BUNDLE);
    batch_int(&batch, BATCH_RUN_BUNDLE, 1);
    batch_text(&batch, BATCH_RUN_BUNDLE, str_of(digest));
}

static void nothing_was_written(void)
{
    assert_int_equal(number("SELECT count(*) FROM events"), 0);
    assert_int_equal(number("SELECT count(*) FROM tasks"), 1);
    assert_int_equal(number("SELECT count(*) FROM tasks WHERE state = 5 AND attempt = 2 AND outputs IS NULL"), 1);
    assert_int_equal(number("SELECT count(*) FROM runs WHERE state = 0 AND bundle_digest = 'sha256:old'"), 1);
    assert_int_equal(number("SELECT count(*) FROM active_runs WHERE state = 2"), 1);
}

/* ---- tests ---- */

static void a_turn_is_written_whole(void **state)
{
    (void)state;
    own(one);
    for (int round = 0; round < 2; round++) { /* the second with what the first has left in memory */
        for (int i = 0; i < 3; i++)
            add_event();
        add_task(1 + 2 * round, "b", "{\"v\": \"\xc3\xa9\"}");
        add_task(2 + 2 * round, "", "");
        flush(one, ERR_NONE);
    }
    add_success(2, TASK_RUNNING);
    add_run_state(RUN_PAUSED);
    flush(one, ERR_NONE);
    assert_int_equal(number("SELECT count(*) FROM events WHERE at = '2023-11-14 22:13:20.123456Z' AND task = 0 AND "
                            "attempt = 2 AND detail->'a'->>1 = '\xc3\xa9'"),
                     6);
    assert_int_equal(number("SELECT max(seq) FROM events"), 6);
    assert_int_equal(number("SELECT count(*) FROM tasks WHERE task IN (1, 3) AND outputs->>'v' = '\xc3\xa9'"), 2);
    assert_int_equal(
        number("SELECT count(*) FROM tasks WHERE task IN (2, 4) AND outputs IS NULL AND path = '' AND "
               "message IS NULL AND exit_code IS NULL AND ended_at IS NULL AND "
               "started_at = '1970-01-01 00:00:01Z' AND log_bytes = 21474836480 AND memory_bytes = 25769803776"),
        2);
    assert_int_equal(number("SELECT count(*) FROM tasks WHERE task = 0 AND state = 7 AND attempt = 2"), 1);
    assert_int_equal(number("SELECT count(*) FROM active_runs WHERE state = 3"), 1);
}

/* Whoever lost its lock without a word, as after a failover to a copy of the database, has an epoch of before. */
static void a_stolen_shard_is_not_written(void **state)
{
    (void)state;
    own(one);
    char class[16], shard[16];
    for (int s = 0; s < RUN_SHARDS; s++) {
        struct err err = {0};
        RESULT_AUTO res = NULL;
        snprintf(class, sizeof class, "%d", 0x4d696c6c);
        snprintf(shard, sizeof shard, "%d", s);
        const char *const params[] = {class, shard};
        if (!hot_query(one, Q_HOT_SHARD_UNLOCK, params, 2, &res, &err)) fail_msg("%s", err.message);
        assert_true(row_bool(res, 0, 0));
    }
    own(two);
    assert_true(hot_owns(one, SHARD) && hot_owns(two, SHARD));
    add_event();
    add_success(2, TASK_RUNNING);
    add_finish(RUN_SUCCEEDED);
    flush(one, ERR_STALE);
    nothing_was_written();
    seq = 0;
    add_event();
    add_success(2, TASK_RUNNING);
    flush(two, ERR_NONE);
    assert_int_equal(number("SELECT count(*) FROM tasks WHERE state = 7"), 1);
}

static void what_another_wrote_stays(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int32_t old_attempt;
        enum task_state old_state;
    } rows[] = {
        {"an attempt of before", 1, TASK_RUNNING},
        {"an attempt to come", 3, TASK_RUNNING},
        {"a state of before", 2, TASK_READY},
        {"an end of before", 2, TASK_FAILED},
    };
    own(one);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_message("%s\n", rows[i].name);
        seq = 0;
        add_event();
        add_task(1, "b", "");
        add_success(rows[i].old_attempt, rows[i].old_state);
        flush(one, ERR_STALE);
        nothing_was_written();
    }
    own(two);
    seq = 0;
    add_event();
    add_success(2, TASK_RUNNING);
    flush(two, ERR_NONE);
    add_success(2, TASK_RUNNING); /* the same success once more */
    flush(one, ERR_STALE);
    seq = 0;
    add_event(); /* an event's number is given once */
    flush(one, ERR_STALE);
    assert_int_equal(number("SELECT count(*) FROM events"), 1);
}

static void an_end_is_written_once(void **state)
{
    (void)state;
    own(one);
    own(two);
    add_event();
    add_finish(RUN_SUCCEEDED);
    flush(one, ERR_NONE);
    static const char *const before[] = {
        "SELECT", /* no longer active */
        "INSERT INTO active_runs (run_id, project_id, created_by, shard, state) VALUES (1, 1, 'test', 5, 2)"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        assert_true(support_sql(&test, before[i]));
        add_event();
        add_finish(RUN_FAILED);
        flush(two, ERR_STALE);
        assert_int_equal(number("SELECT count(*) FROM events"), 1);
        assert_int_equal(number("SELECT count(*) FROM active_runs"), i);
        assert_int_equal(number("SELECT count(*) FROM runs WHERE state = 5"), 1);
    }
    assert_true(support_sql(&test, "DELETE FROM active_runs"));
    add_event();
    add_run_state(RUN_PAUSED);
    flush(two, ERR_STALE);
    assert_int_equal(number("SELECT count(*) FROM events"), 1);
}

/* A value that the database does not take costs the turn, not the connection. */
static void a_refused_value_leaves_nothing(void **state)
{
    (void)state;
    own(one);
    add_event();
    add_bundle("sha256:new");
    add_success(2, TASK_RUNNING);
    add_task(1, "b", "{\"v\": ");
    flush(one, ERR_INVALID);
    nothing_was_written();
    assert_true(hot_owns(one, SHARD));
    seq = 0;
    add_event();
    flush(one, ERR_NONE);
    assert_int_equal(number("SELECT count(*) FROM events"), 1);
}

/* Code that a retry brings: what had an attempt keeps the code it ran, what begins one in the same turn does not. */
static void new_code_is_for_new_attempts(void **state)
{
    (void)state;
    own(one);
    add_task(1, "b", "");
    flush(one, ERR_NONE);
    add_bundle("sha256:new");
    const enum batch_table t = BATCH_TASK_UPDATE;
    batch_row(&batch, t);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, 1);
    batch_int(&batch, t, TASK_RUNNING);
    add_state(t, TASK_RUNNING, 2, "");
    flush(one, ERR_NONE);
    assert_int_equal(number("SELECT count(*) FROM runs WHERE bundle_digest = 'sha256:new'"), 1);
    assert_int_equal(number("SELECT count(*) FROM tasks WHERE task = 0 AND bundle_digest = 'sha256:old'"), 1);
    assert_int_equal(number("SELECT count(*) FROM tasks WHERE task = 1 AND bundle_digest IS NULL"), 1);
}

static void a_closed_connection_writes_nothing(void **state)
{
    (void)state;
    struct err err = {0};
    own(one);
    hot_close(one);
    add_event();
    assert_false(hot_flush(one, &batch, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_false(hot_owns(one, SHARD));
    own(one);
    assert_int_equal(number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'millrace-scheduler' AND "
                            "datname = current_database() AND state = 'active'"),
                     0);
    int64_t backend = number("SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace-scheduler' AND "
                             "datname = current_database() ORDER BY backend_start DESC LIMIT 1");
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%lld, 20000)", (long long)backend);
    assert_true(support_sql(&test, sql));
    assert_false(hot_flush(one, &batch, &err)); /* the batch as it was */
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_false(hot_up(one) || hot_owns(one, SHARD));
    nothing_was_written();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_turn_is_written_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stolen_shard_is_not_written, setup, teardown),
        cmocka_unit_test_setup_teardown(what_another_wrote_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_is_written_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_value_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(new_code_is_for_new_attempts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_closed_connection_writes_nothing, setup, teardown),
    };
    return cmocka_run_group_tests_name("store/flush", tests, NULL, NULL);
}
