/* The scheduler on a real database: runs of inline steps go to their end; a scheduler that is stopped, loses its
 * connection or shares the work with another loses nothing and doubles nothing; a run whose record the database refuses
 * does not stop the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/flow/compile.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/log.h"
#include "engine/store/commands.h"
#include "engine/store/pipelines.h"
#include "engine/store/retention.h"
#include "engine/store/runs.h"
#include "engine/text/yaml.h"
#include "scheduler/scheduler.h"
#include "tests/support/db.h"

#define PATIENCE_US 20000000

static struct support_db test;

static int setup(void **state)
{
    (void)state;
    log_set_level(LEVEL_NONE);
    return support_db_open(&test);
}

static int teardown(void **state)
{
    (void)state;
    return support_db_close(&test);
}

static const struct scope scope = {1, {"test", 4}};

static _Atomic int64_t wall_off_us; /* what somebody set the wall clock by */

static int64_t wall(void)
{
    return os_now_us() + wall_off_us;
}

static struct scheduler *start_polling(int64_t poll_ms)
{
    struct scheduler *s = NULL;
    struct err err = {0};
    const struct scheduler_config cfg = {
        .conninfo = test.dsn.p, .owner = "test", .poll_ms = poll_ms, .db = test.db, .wall_us = wall};
    if (!scheduler_start(&cfg, &s, &err)) fail_msg("scheduler: %s", err.message);
    return s;
}

static struct scheduler *start(void)
{
    return start_polling(20);
}

static int64_t store_plan(const char *yaml)
{
    struct err err = {0};
    struct err_list errors;
    struct value *docs = NULL;
    size_t n = 0;
    const struct plan *plan = NULL;
    char digest[DIGEST_TEXT];
    int64_t id = 0;
    err_list_init(&errors, &test.arena);
    if (!yaml_parse(&test.arena, str_of(yaml), NULL, &docs, &n, &errors) ||
        !compile_pipeline(&test.arena, &docs[0], NULL, &plan, &errors))
        fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    BUF_AUTO json;
    buf_init(&json, 0);
    plan_json(&json, plan);
    digest_of(buf_view(&json), digest);
    const struct plan_text text = {.digest = str_of(digest), .source = str_of(yaml), .plan = buf_view(&json)};
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err));
    assert_true(plans_put(c, &scope, &text, &id, &err));
    return id;
}

static int64_t create(int64_t plan, const char *params, bool together)
{
    struct err err = {0};
    int64_t id = 0;
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err));
    const struct run_new run = {.pipeline = STR("p"), .plan_id = plan, .params = str_of(params), .together = together};
    if (!runs_create(c, &scope, &run, &id, &err)) fail_msg("run: %s", err.message);
    return id;
}

static int64_t create_run(int64_t plan, const char *params)
{
    return create(plan, params, false);
}

static void command(int64_t run, enum command what, const char *payload)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err));
    if (!commands_send(c, &scope, run, what, str_of(payload), &err)) fail_msg("command: %s", err.message);
}

/* Waits until the query gives the number; polls, since that is all another process could do. */
static void await(const char *sql, int64_t wanted)
{
    int64_t end = os_mono_us() + PATIENCE_US, got = -1;
    while (os_mono_us() < end) {
        got = support_number(&test, sql);
        if (got == wanted) return;
        usleep(5000);
    }
    fail_msg("%s: %lld instead of %lld", sql, (long long)got, (long long)wanted);
}

static const char chain[] = "apiVersion: millrace/v1\nkind: Pipeline\nname: p\nparams: {x: {type: int}}\nsteps:\n"
                            "  a: {expr: '${{ params.x + 1 }}'}\n"
                            "  b: {foreach: {range: 5}, expr: '${{ item * steps.a.value }}'}\n"
                            "  c: {when: '${{ steps.a.value > 100 }}', expr: 'null'}\n"
                            "  d: {needs: [b, c], expr: '${{ size(steps.b.value) }}'}\n";

static void assert_record_is_whole(int64_t runs)
{
    assert_int_equal(support_number(&test, "SELECT count(*) FROM runs WHERE state = 5"), runs);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM active_runs"), 0);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM inbox"), 0);
    /* a, b, its 5 items, d succeeded once each; c was skipped */
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE state = 7"), 8 * runs);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE state = 9"), runs);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM events WHERE kind = 25"), 8 * runs);
    assert_int_equal(
        support_number(&test, "SELECT count(*) FROM (SELECT run_id, task FROM events WHERE kind = 25 GROUP BY 1, 2 "
                              "HAVING count(*) > 1) twice"),
        0);
}

static void runs_go_to_their_end(void **state)
{
    (void)state;
    int64_t plan = store_plan(chain);
    for (int i = 0; i < 20; i++)
        create_run(plan, "{\"x\": 1}");
    struct scheduler *s = start();
    await("SELECT count(*) FROM runs WHERE state = 5", 20);
    create_run(plan, "{\"x\": 5}");
    scheduler_hint(s);
    await("SELECT count(*) FROM runs WHERE state = 5", 21);
    scheduler_stop(s);
    assert_record_is_whole(21);
}

/* What the API of another process does; the scheduler itself would look in an hour. */
static void a_notice_wakes_it(void **state)
{
    (void)state;
    struct err err = {0};
    int64_t plan = store_plan(chain);
    struct scheduler *s = start_polling(3600000);
    await("SELECT count(*) FROM shards WHERE epoch = 1", RUN_SHARDS);
    for (int i = 1; i <= 3; i++) {
        CONN_AUTO c = NULL;
        create_run(plan, "{\"x\": 1}");
        assert_true(db_lease(test.db, &c, &err) && commands_notify(c, &err));
        await("SELECT count(*) FROM runs WHERE state = 5", i);
    }
    scheduler_stop(s);
    assert_record_is_whole(3);
}

static void a_stopped_scheduler_is_followed_by_another(void **state)
{
    (void)state;
    int64_t plan = store_plan(chain);
    for (int i = 0; i < 60; i++)
        create_run(plan, "{\"x\": 1}");
    for (int i = 0; i < 10; i++) {
        struct scheduler *s = start();
        usleep((useconds_t)(os_random_u64() % 15000));
        scheduler_stop(s);
    }
    struct scheduler *s = start();
    await("SELECT count(*) FROM active_runs", 0);
    scheduler_stop(s);
    assert_record_is_whole(60);
}

static void a_lost_connection_loses_nothing(void **state)
{
    (void)state;
    int64_t plan = store_plan(chain);
    struct scheduler *s = start();
    for (int i = 0; i < 60; i++) {
        create_run(plan, "{\"x\": 1}");
        if (i % 6 == 0)
            support_number(&test,
                           "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = "
                           "'millrace-scheduler' AND datname = current_database()");
    }
    await("SELECT count(*) FROM active_runs", 0);
    scheduler_stop(s);
    assert_record_is_whole(60);
}

static void an_idle_loop_turns(void **state)
{
    (void)state;
    struct scheduler *s = start();
    int64_t from = os_mono_us(), end = from + PATIENCE_US;
    for (int turn = 0; turn < 3; turn++, from = os_mono_us())
        while (scheduler_statistics(s)->turned_us <= from && os_mono_us() < end)
            usleep(1000);
    assert_true(os_mono_us() < end);
    scheduler_stop(s);
}

static void two_schedulers_share_and_never_double(void **state)
{
    (void)state;
    int64_t plan = store_plan(chain);
    struct scheduler *one = start(), *two = start();
    for (int i = 0; i < 60; i++)
        create_run(plan, "{\"x\": 1}");
    await("SELECT count(*) FROM active_runs", 0);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM shards WHERE epoch > 0"), RUN_SHARDS);
    int64_t end = os_mono_us() + PATIENCE_US;
    while (os_mono_us() < end &&
           (scheduler_statistics(one)->shards != RUN_SHARDS / 2 || scheduler_statistics(two)->shards != RUN_SHARDS / 2))
        usleep(5000);
    assert_int_equal(scheduler_statistics(one)->shards, RUN_SHARDS / 2);
    assert_int_equal(scheduler_statistics(two)->shards, RUN_SHARDS / 2);
    for (int i = 0; i < 60; i++)
        create_run(plan, "{\"x\": 1}");
    scheduler_stop(one); /* the other takes over */
    await("SELECT count(*) FROM active_runs", 0);
    scheduler_stop(two);
    assert_record_is_whole(120);
}

static void a_refused_run_fails_alone(void **state)
{
    (void)state;
    assert_true(
        support_sql(&test, "ALTER TABLE tasks ADD CONSTRAINT poison CHECK (outputs->>'value' IS DISTINCT FROM '667')"));
    int64_t plan = store_plan(chain);
    for (int i = 0; i < 10; i++)
        create_run(plan, i == 4 ? "{\"x\": 666}" : "{\"x\": 1}");
    struct scheduler *s = start();
    await("SELECT count(*) FROM active_runs", 0);
    scheduler_stop(s);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM runs WHERE state = 5"), 9);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM runs WHERE state = 6 AND message LIKE '%poison%'"), 1);
}

static void an_approval_waits_for_its_answer(void **state)
{
    (void)state;
    int64_t plan = store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n"
                              "  ask: {approval: {message: 'go?'}}\n  then: {needs: [ask], expr: 'null'}\n");
    int64_t yes = create_run(plan, "{\"x\": 1}"), no = create_run(plan, "{}");
    struct scheduler *s = start();
    await("SELECT count(*) FROM tasks WHERE state = 3", 2);
    command(yes, COMMAND_APPROVE, "{\"task\": 0, \"approved\": true, \"by\": \"me\"}");
    command(no, COMMAND_APPROVE, "{\"task\": 0, \"approved\": false, \"by\": \"me\"}");
    await("SELECT count(*) FROM runs WHERE state = 5", 1);
    await("SELECT count(*) FROM runs WHERE state = 6", 1);
    scheduler_stop(s);
}

static void one_run_at_a_time_when_the_pipeline_says_so(void **state)
{
    (void)state;
    int64_t plan =
        store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nmaxRuns: 1\nsteps:\n  ask: {approval: {}}\n");
    int64_t first = create_run(plan, "{\"x\": 1}");
    create_run(plan, "{\"x\": 1}");
    assert_true(support_sql(&test, "UPDATE active_runs SET shard = 3; UPDATE inbox SET shard = 3"));
    struct scheduler *s = start();
    await("SELECT count(*) FROM tasks WHERE state = 3", 1);
    await("SELECT count(*) FROM active_runs WHERE state = 1", 1);
    command(first, COMMAND_CANCEL, "{}");
    assert_true(support_sql(&test, "UPDATE inbox SET shard = 3"));
    await("SELECT count(*) FROM runs WHERE state = 7", 1);
    await("SELECT count(*) FROM active_runs WHERE state = 2", 1);
    scheduler_stop(s);
}

static int64_t limited(int limit)
{
    char text[200];
    snprintf(text, sizeof text,
             "apiVersion: millrace/v1\nkind: Pipeline\nname: p\nmaxRuns: %d\nsteps:\n  ask: {approval: {}}\n", limit);
    return store_plan(text);
}

static void await_state(int64_t run, int state)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "SELECT coalesce((SELECT state FROM active_runs WHERE run_id = %lld), (SELECT state FROM runs WHERE id = "
             "%lld))",
             (long long)run, (long long)run);
    await(sql, state);
}

/* A retry is a run as any other: it waits for its turn, the oldest first. */
static void a_retry_keeps_within_the_limit(void **state)
{
    (void)state;
    int64_t plan = limited(1), run[3];
    for (int i = 0; i < 3; i++)
        run[i] = create(plan, "{}", true);
    struct scheduler *s = start();
    await_state(run[0], RUN_RUNNING);
    await("SELECT count(*) FROM inbox", 0);
    await_state(run[1], RUN_QUEUED);
    command(run[0], COMMAND_CANCEL, "{}");
    await_state(run[1], RUN_RUNNING);
    command(run[0], COMMAND_RETRY, "{}");
    await_state(run[0], RUN_QUEUED);
    scheduler_stop(s); /* and so it does after a restart */
    s = start();
    await("SELECT count(*) FROM shards WHERE epoch > 1", RUN_SHARDS);
    command(run[1], COMMAND_CANCEL, "{}");
    await_state(run[0], RUN_RUNNING);
    await_state(run[2], RUN_QUEUED);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE state = 3"), 1);
    command(run[0], COMMAND_APPROVE, "{\"task\": 0, \"approved\": true, \"by\": \"me\"}");
    await_state(run[0], RUN_SUCCEEDED);
    await_state(run[2], RUN_RUNNING);
    scheduler_stop(s);
}

/* Versions with different limits: each goes by its own, and counts what has one. */
static void a_new_limit_holds_for_new_runs(void **state)
{
    (void)state;
    int64_t one = limited(1), three = limited(3),
            none = store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\n"
                              "steps:\n  ask: {approval: {}}\n");
    int64_t free_run = create(none, "{}", false), first = create(one, "{}", true), second = create(one, "{}", true);
    struct scheduler *s = start();
    await_state(free_run, RUN_RUNNING);
    await_state(first, RUN_RUNNING);
    int64_t later[3];
    for (int i = 0; i < 3; i++)
        later[i] = create(three, "{}", true);
    await("SELECT count(*) FROM inbox", 0);
    await_state(later[0], RUN_QUEUED); /* there would be room for it, but the second was there before */
    command(first, COMMAND_CANCEL, "{}");
    await_state(second, RUN_RUNNING);
    await_state(later[0], RUN_RUNNING);
    await_state(later[1], RUN_RUNNING);
    await_state(later[2], RUN_QUEUED);
    command(second, COMMAND_CANCEL, "{}");
    await_state(later[2], RUN_RUNNING);
    scheduler_stop(s);
}

/* Others do not wait for a run with much to compute, and its results are its own affair. */
static void a_dear_run_lets_others_by(void **state)
{
    (void)state;
    int64_t dear = create_run(
        store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n  a: {foreach: {range: 1000}, expr: "
                   "'${{ size(range(20000).map(x, [1, 2, 3].map(y, x * y))) }}'}\n"),
        "{}");
    struct scheduler *s = start();
    await_state(dear, RUN_RUNNING);
    int64_t light = create_run(store_plan(chain), "{\"x\": 1}");
    await_state(light, RUN_SUCCEEDED);
    await_state(dear, RUN_RUNNING);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE state = 8"), 0);
    command(dear, COMMAND_CANCEL, "{}");
    await_state(dear, RUN_CANCELLED);
    scheduler_stop(s);
}

/* Code that a retry brings is the run's from then on, whoever carries it on; what was kept ran the code of before. */
static void a_retry_brings_code_for_good(void **state)
{
    (void)state;
    int64_t plan = store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n"
                              "  a: {expr: '1'}\n  ask: {needs: [a], approval: {}}\n");
    int64_t run = create_run(plan, "{}");
    assert_true(support_sql(&test, "UPDATE runs SET bundle_digest = 'sha256:old'"));
    struct scheduler *s = start();
    await("SELECT count(*) FROM tasks WHERE state = 3", 1);
    command(run, COMMAND_APPROVE, "{\"task\": 1, \"approved\": false, \"by\": \"me\"}");
    await_state(run, RUN_FAILED);
    command(run, COMMAND_RETRY, "{\"bundle\": \"sha256:new\"}");
    await("SELECT count(*) FROM tasks WHERE state = 3", 1);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM runs WHERE bundle_digest = 'sha256:new'"), 1);
    assert_int_equal(
        support_number(&test, "SELECT count(*) FROM tasks WHERE task = 0 AND bundle_digest = 'sha256:old'"), 1);
    assert_int_equal(
        support_number(&test, "SELECT count(*) FROM tasks WHERE task = 1 AND attempt = 2 AND bundle_digest IS NULL"),
        1);
    scheduler_stop(s);
    s = start();
    await("SELECT count(*) FROM shards WHERE epoch > 1", RUN_SHARDS);
    command(run, COMMAND_CANCEL, "{}");
    await_state(run, RUN_CANCELLED);
    command(run, COMMAND_RETRY, "{\"from\": \"a\", \"bundle\": \"sha256:newer\"}");
    await("SELECT count(*) FROM tasks WHERE task = 0 AND attempt = 2 AND bundle_digest IS NULL", 1);
    assert_int_equal(
        support_number(&test, "SELECT count(*) FROM attempts WHERE task = 0 AND bundle_digest = 'sha256:old'"), 1);
    assert_int_equal(
        support_number(&test, "SELECT count(*) FROM attempts WHERE task = 1 AND bundle_digest = 'sha256:new'"), 1);
    scheduler_stop(s);
}

static void round_of_retention(void)
{
    struct err err = {0};
    struct retention_result done;
    const struct retention r = {.runs_us = 1};
    if (!retention_round(test.db, &r, &done, &err)) fail_msg("retention: %s", err.message);
}

/* Named by a param, by the plan, by what a step gave, and by number: an import behind an approval finds all of them. */
static void what_a_run_names_is_held(void **state)
{
    (void)state;
    char yaml[1000];
    struct err err = {0};
    CONN_AUTO c = NULL;
    assert_true(support_sql(&test, "INSERT INTO blobs (project_id, digest, size, created_by, created_at) "
                                   "SELECT 1, 'sha256:' || repeat(x, 64), 3, 'x', '2020-01-01' "
                                   "FROM unnest('{a,b,c,d,e}'::text[]) x"));
    int64_t plan = store_plan(chain), maker = create_run(plan, "{\"x\": 1}"), id = 0;
    assert_true(support_sql(&test, "DELETE FROM inbox; DELETE FROM active_runs; "
                                   "UPDATE runs SET state = 5, ended_at = '2020-01-01'; "
                                   "INSERT INTO artifacts (project_id, created_by, run_id, name, type, digest, size) "
                                   "SELECT 1, 'x', id, 'm', 'text', 'sha256:' || repeat('d', 64), 3 FROM runs"));
    snprintf(yaml, sizeof yaml,
             "apiVersion: millrace/v1\nkind: Pipeline\nname: p\nparams: {given: {type: string}, hex: {type: string}}\n"
             "steps:\n  word: {expr: '${{ \"sha256:\" + params.hex }}'}\n  ask: {needs: [word], approval: {}}\n"
             "  one: {needs: [ask], import: {type: text, uri: '${{ params.given }}'}}\n"
             "  two: {needs: [ask], import: {type: text, uri: 'sha256:%064d'}}\n"
             "  three: {needs: [ask], import: {type: text, uri: '${{ steps.word.value }}'}}\n"
             "  four: {needs: [ask], import: {type: text, uri: 'artifact:%lld'}}\n",
             0, (long long)support_number(&test, "SELECT id FROM artifacts"));
    memset(strstr(yaml, "sha256:0") + 7, 'b', 64);
    plan = store_plan(yaml);
    snprintf(yaml, sizeof yaml, "{\"given\": \"sha256:%064d\", \"hex\": \"%064d\"}", 0, 0);
    memset(strstr(yaml, "sha256:0") + 7, 'a', 64);
    memset(strstr(yaml, "\"0") + 1, 'c', 64);
    int64_t run = create_run(plan, yaml);
    struct scheduler *s = start();
    await("SELECT count(*) FROM tasks WHERE state = 3", 1);
    assert_true(support_sql(&test, "UPDATE blobs SET created_at = '2020-01-01'"));
    round_of_retention();
    assert_int_equal(support_number(&test, "SELECT count(*) FROM blobs"), 4);
    assert_true(db_lease(test.db, &c, &err));
    assert_false(runs_delete(c, 1, maker, &err));
    assert_true(err.code == ERR_CONFLICT && strstr(err.message, "named by run") != NULL);
    command(run, COMMAND_APPROVE, "{\"task\": 1, \"approved\": true, \"by\": \"me\"}");
    await_state(run, RUN_SUCCEEDED);
    scheduler_stop(s);
    round_of_retention(); /* the one it waited for, and now this one */
    assert_int_equal(support_number(&test, "SELECT count(*) FROM runs"), 0);
    assert_true(support_sql(&test, "UPDATE plans SET created_at = '2020-01-01'"));
    round_of_retention();
    assert_int_equal(support_number(&test, "SELECT count(*) FROM blobs"), 0);
    assert_false(runs_create(c, &scope, &(struct run_new){.pipeline = STR("p"), .plan_id = plan}, &id, &err));
}

/* A timer of seconds is due in seconds, one of minutes is not due at once, and others are still heard. */
static void the_wall_clock_may_be_set(void **state)
{
    (void)state;
    const int64_t hour = INT64_C(3600) * 1000000;
    int64_t plan = store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\ndeadline: 10m\nsteps:\n"
                              "  nap: {wait: 1s}\n  ask: {needs: [nap], approval: {}}\n");
    const int64_t jumps[] = {-hour, hour};
    for (size_t i = 0; i < 2; i++) {
        struct scheduler *s = start();
        int64_t run = create_run(plan, "{}");
        scheduler_hint(s);
        await("SELECT count(*) FROM tasks WHERE task = 0 AND state = 3", 1);
        wall_off_us = jumps[i];
        await("SELECT count(*) FROM tasks WHERE task = 1 AND state = 3", 1);
        int64_t unhinted = create_run(plan, "{}");
        await("SELECT count(*) FROM tasks WHERE task = 1 AND state = 3", 2);
        command(run, COMMAND_APPROVE, "{\"task\": 1, \"approved\": true, \"by\": \"me\"}");
        command(unhinted, COMMAND_APPROVE, "{\"task\": 1, \"approved\": true, \"by\": \"me\"}");
        await_state(run, RUN_SUCCEEDED);
        await_state(unhinted, RUN_SUCCEEDED);
        scheduler_stop(s);
        wall_off_us = 0;
        assert_true(support_sql(&test, "DELETE FROM tasks"));
    }
}

/* The shards' epochs say how often it came back: each time it waits longer, up to two seconds. */
static void a_full_disk_is_not_stormed(void **state)
{
    (void)state;
    assert_true(support_sql(&test, "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                                   "RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$;"
                                   "CREATE TRIGGER full_disk BEFORE INSERT ON tasks EXECUTE FUNCTION full_disk()"));
    create_run(store_plan(chain), "{\"x\": 1}");
    int64_t begun = os_mono_us();
    struct scheduler *s = start();
    await("SELECT count(*) FROM shards WHERE shard = 0 AND epoch >= 6", 1);
    assert_true(os_mono_us() - begun > 2000000); /* 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s; never too slow for this */
    assert_true(support_sql(&test, "DROP TRIGGER full_disk ON tasks"));
    await("SELECT count(*) FROM active_runs", 0);
    scheduler_stop(s);
    assert_record_is_whole(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_go_to_their_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_notice_wakes_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_scheduler_is_followed_by_another, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_loop_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(two_schedulers_share_and_never_double, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_run_fails_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(an_approval_waits_for_its_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(one_run_at_a_time_when_the_pipeline_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_retry_keeps_within_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_limit_holds_for_new_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dear_run_lets_others_by, setup, teardown),
        cmocka_unit_test_setup_teardown(a_retry_brings_code_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_run_names_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(the_wall_clock_may_be_set, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_is_not_stormed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
