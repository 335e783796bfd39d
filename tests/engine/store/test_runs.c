/* Runs in the store: made whole, commanded, deleted whole; lists with filters, orders and pages; errors that point into
 * the filter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/store/commands.h"
#include "engine/store/events.h"
#include "engine/store/runs.h"
#include "engine/store/search_parse.h"
#include "engine/store/tasks.h"
#include "tests/support/db.h"

static struct support_db t;
static struct conn *c;
static struct err err;
static const struct scope me = {1, {"ann", 3}};

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static int setup(void **state)
{
    (void)state;
    return support_db_open(&t) == 0 && db_lease(t.db, &c, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    db_return(c);
    return support_db_close(&t);
}

static int64_t plan(void)
{
    int64_t id = 0;
    struct plan_text text = {STR("sha256:p"), STR("kind: Pipeline"), STR("{}")};
    ok(plans_put(c, &me, &text, &id, &err));
    return id;
}

static int64_t make(const char *pipeline, const char *labels)
{
    struct run_new run = {.pipeline = str_of(pipeline), .plan_id = plan(), .labels = str_of(labels)};
    int64_t id = 0;
    ok(runs_create(c, &me, &run, &id, &err));
    return id;
}

/* As the scheduler would: terminal states are written once, and the active row goes. */
static void end(int64_t id, enum run_state state, const char *when)
{
    char sql[400];
    snprintf(
        sql, sizeof sql,
        "DELETE FROM active_runs WHERE run_id = %lld; UPDATE runs SET state = %d, started_at = '%s', ended_at = '%s', "
        "tasks_total = 3, tasks_failed = 1, outputs = '{\"a\": 1}', message = 'm' WHERE id = %lld",
        (long long)id, (int)state, when, when, (long long)id);
    assert_true(support_sql(&t, sql));
}

static void a_run_is_made_whole(void **state)
{
    (void)state;
    int64_t first = plan();
    assert_int_equal(first, plan()); /* the same digest */
    struct run_new new = {.pipeline = STR("digits"),
                          .version = 3,
                          .plan_id = first,
                          .bundle_digest = STR("sha256:b"),
                          .params = STR("{\"n\": 1}"),
                          .labels = STR("{\"team\": \"vision\", \"kind\": \"x\"}"),
                          .cloned_from = 7};
    int64_t id = 0;
    ok(runs_create(c, &me, &new, &id, &err));
    struct run_rec run;
    ok(runs_get(c, 1, id, &t.arena, &run, &err));
    assert_int_equal(run.state, RUN_QUEUED);
    assert_int_equal(run.version, 3);
    assert_int_equal(run.cloned_from, 7);
    assert_int_equal(run.tasks_total, -1);
    assert_true(str_is(run.pipeline, "digits") && str_is(run.created_by, "ann") &&
                str_is(run.bundle_digest, "sha256:b"));
    char name[40];
    snprintf(name, sizeof name, "digits-%lld", (long long)id);
    assert_true(str_is(run.name, name));
    assert_true(run.created_us > 0 && run.started_us == 0 && run.ended_us == 0 && run.outputs.n == 0);
    assert_int_equal(support_number(&t, "SELECT shard FROM active_runs"), runs_shard(id, 16));
    assert_int_equal(support_number(&t, "SELECT count(*) FROM inbox WHERE kind = 1"), 1);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM run_labels"), 2);
    assert_false(runs_get(c, 2, id, &t.arena, &run, &err)); /* another project does not see it */
    assert_int_equal(err.code, ERR_NOT_FOUND);

    ok(conn_begin(c, &err)); /* nothing is left of one that was rolled back */
    make("other", "{\"a\": \"b\"}");
    conn_rollback(c);
    assert_int_equal(support_number(&t,
                                    "SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM active_runs) + (SELECT "
                                    "count(*) FROM inbox)"),
                     3);
}

/* All pages of a list as "1,2,3": ids in order. */
static const char *listed(const char *filter, const char *order, uint32_t page_size)
{
    static char text[800];
    struct runs_search q = {
        .project_id = 1, .filter = str_of(filter), .order_by = str_of(order), .page_size = page_size};
    text[0] = 0;
    for (int pages = 0; pages < 50; pages++) {
        struct run_rec *rows;
        size_t n;
        struct str next;
        if (!runs_list(c, &q, &t.arena, &rows, &n, &next, &err)) {
            snprintf(text, sizeof text, "%s: %s (%s, %u)", err_name(err.code), err.message, err.path, err.at.col);
            return text;
        }
        if (n > page_size) fail_msg("a page of %zu", n);
        for (size_t i = 0; i < n; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%lld", text[0] ? "," : "",
                     (long long)rows[i].id);
        if (next.n == 0) return text;
        q.page_token = next;
    }
    fail_msg("'%s' never ends", filter);
    return text;
}

static void commands_reach_the_owner(void **state)
{
    (void)state;
    int64_t id = make("p", "");
    ok(commands_send(c, &me, id, COMMAND_CANCEL, STR("{\"graceMs\": 5}"), &err));
    assert_int_equal(support_number(&t, "SELECT count(*) FROM inbox WHERE kind = 2 AND payload->>'graceMs' = '5'"), 1);
    assert_false(commands_send(c, &me, id, COMMAND_RETRY, str_of(""), &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_false(commands_send(c, &me, 999, COMMAND_PAUSE, str_of(""), &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    end(id, RUN_FAILED, "2024-05-01");
    assert_false(commands_send(c, &me, id, COMMAND_PAUSE, str_of(""), &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.message, "failed"));
    ok(runs_archive(c, 1, id, true, &err));
    ok(commands_send(c, &me, id, COMMAND_RETRY, str_of(""), &err));
    struct run_rec run;
    ok(runs_get(c, 1, id, &t.arena, &run, &err));
    assert_false(run.archived); /* what is active is listed */
    assert_false(runs_archive(c, 1, id, true, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    ok(runs_archive(c, 1, id, false, &err));
    assert_int_equal(run.state, RUN_QUEUED); /* active again, though its owner has not heard of it: not ended */
    enum run_state now;
    int64_t last;
    ok(runs_stamp(c, 1, id, &now, &last, &err));
    assert_int_equal(now, RUN_QUEUED);
    assert_string_equal(listed("state = queued", "", 10), "1");
    assert_string_equal(listed("state = failed", "", 10), "");
    assert_int_equal(support_number(&t, "SELECT state FROM active_runs"), RUN_FAILED); /* what its owner goes by */
    assert_false(commands_send(c, &me, id, COMMAND_RETRY, str_of(""), &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_true(run.ended_us == 0 && run.started_us > 0 && run.outputs.n == 0);
    assert_int_equal(support_number(&t, "SELECT state FROM runs"), 0);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM active_runs"), 1);
    ok(commands_notify(c, &err));
}

/* One owner can only count the runs of a limited pipeline when all of them are its own, retried ones included. */
static void runs_of_a_limited_pipeline_share_a_shard(void **state)
{
    (void)state;
    static const char shards[] =
        "SELECT count(DISTINCT shard) FROM (SELECT shard FROM active_runs UNION ALL SELECT shard FROM inbox) AS x";
    struct run_new run = {.pipeline = STR("limited"), .plan_id = plan(), .together = true};
    int64_t ids[8];
    for (int i = 0; i < 8; i++)
        ok(runs_create(c, &me, &run, &ids[i], &err));
    assert_int_equal(support_number(&t, shards), 1);
    end(ids[3], RUN_FAILED, "2024-05-01");
    ok(commands_send(c, &me, ids[3], COMMAND_RETRY, str_of(""), &err));
    assert_int_equal(support_number(&t, "SELECT count(*) FROM active_runs"), 8);
    assert_int_equal(support_number(&t, shards), 1);
    for (int i = 0; i < 8; i++)
        make("free", "");
    assert_true(support_number(&t, shards) >= 8); /* others are spread */
}

static void deletion_leaves_nothing(void **state)
{
    (void)state;
    int64_t id = make("p", "{\"a\": \"b\"}");
    assert_false(runs_delete(c, 1, id, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_true(support_sql(&t, "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
                                "VALUES (1, 0, 1, 'x', 0, 'a', 7, 2);"
                                "INSERT INTO attempts (run_id, task, attempt, project_id, created_by, state, reason) "
                                "VALUES (1, 0, 1, 1, 'x', 8, 6);"
                                "INSERT INTO events VALUES (1, 1, 1, 'x', now(), 1, NULL, NULL, NULL), (1, 2, 1, 'x', "
                                "now(), 21, 0, 1, '{\"k\": 1}');"
                                "INSERT INTO artifacts (project_id, created_by, run_id, task, attempt, name, type, "
                                "digest, size) VALUES (1, 'x', 1, 0, 2, "
                                "'m', 'model', 'd', 1);"
                                "INSERT INTO frames VALUES (1, 1, 1, 'x', 0, 2, 0, 1, 3, '[1,2,3]', NULL, now())"));
    struct task_rec *tasks, task;
    struct attempt_rec *attempts;
    struct event_rec *events;
    struct frame_rec *frames;
    size_t n;
    ok(tasks_list(c, id, -1, 0, 10, &t.arena, &tasks, &n, &err));
    assert_int_equal(n, 1);
    ok(tasks_list(c, id, -1, 1u << TASK_FAILED, 10, &t.arena, &tasks, &n, &err));
    assert_int_equal(n, 0);
    ok(tasks_find(c, id, STR("a"), &t.arena, &task, &err));
    assert_int_equal(task.exit_code, -1);
    assert_false(tasks_get(c, id, 5, &t.arena, &task, &err));
    ok(tasks_attempts(c, id, 0, &t.arena, &attempts, &n, &err));
    assert_int_equal(n, 2);
    assert_int_equal(attempts[1].state, TASK_SUCCEEDED);
    ok(tasks_frames(c, id, 0, 10, &t.arena, &frames, &n, &err));
    assert_int_equal(frames[0].n, 3);
    ok(events_list(c, id, 1, 10, &t.arena, &events, &n, &err));
    assert_int_equal(n, 1);
    assert_true(str_is(events[0].path, "a") && str_is(events[0].detail, "{\"k\": 1}"));
    enum run_state now;
    int64_t last;
    ok(runs_stamp(c, 1, id, &now, &last, &err));
    assert_int_equal(last, 2);
    end(id, RUN_SUCCEEDED, "2024-05-01");
    ok(runs_delete(c, 1, id, &err));
    assert_int_equal(
        support_number(&t,
                       "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM attempts) + (SELECT count(*) FROM "
                       "events) + (SELECT count(*) FROM artifacts) + (SELECT count(*) FROM frames) + (SELECT count(*) "
                       "FROM run_labels) + (SELECT count(*) FROM runs)"),
        0);
    assert_false(runs_delete(c, 1, id, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void lists_filter_order_and_page(void **state)
{
    (void)state;
    for (int i = 1; i <= 6; i++)
        make(i % 2 ? "odd" : "even", i <= 3 ? "{\"team\": \"a\"}" : "{\"team\": \"b\", \"x\": \"1\"}");
    end(2, RUN_SUCCEEDED, "2024-05-04 10:00");
    end(3, RUN_FAILED, "2024-05-02 10:00");
    end(4, RUN_FAILED, "2024-05-03 10:00");
    assert_true(support_sql(
        &t, "UPDATE active_runs SET state = 2 WHERE run_id = 5; UPDATE runs SET archived = true WHERE id = 6;"
            "UPDATE runs SET created_at = timestamptz '2024-01-01' + id * interval '1 day', name = 'n' || (9 - id)"));
    static const struct {
        const char *filter, *order, *want;
    } rows[] = {
        {"", "", "5,4,3,2,1"},
        {"", "created asc", "1,2,3,4,5"},
        {"", "id", "1,2,3,4,5"},
        {"", "ended desc", "2,4,3"},
        {"", "ended asc", "3,4,2"},
        {"", "name asc", "5,4,3,2,1"},
        {"", "name desc", "1,2,3,4,5"},
        {"state = failed", "", "4,3"},
        {"state=failed", "ended asc", "3,4"},
        {"state != failed", "", "5,2,1"},
        {"state in (failed, running)", "", "5,4,3"},
        {"state = active", "", "5,1"},
        {"state = queued", "", "1"},
        {"pipeline = odd and state = failed", "", "3"},
        {"pipeline in ('odd', \"x y\")", "", "5,3,1"},
        {"labels.team = a", "", "3,2,1"},
        {"labels.team = b and labels.x = 1", "", "5,4"},
        {"labels.team = a and state = failed", "", "3"},
        {"labels.team = a and state = active", "", "1"},
        {"labels.team = b and state = running", "", "5"},
        {"labels.team = a and state in (succeeded, failed)", "created asc", "2,3"},
        {"labels.team = a and state != failed", "", "2,1"},
        {"labels.team = a", "ended asc", "3,2"},
        {"labels.team = b", "", "5,4"},
        {"labels.team = b and archived = true", "", "6"},
        {"labels.team = b and archived in (true, false)", "", "6,5,4"},
        {"labels.team != a", "", "5,4"},
        {"archived = true", "", "6"},
        {"archived in (true, false)", "", "6,5,4,3,2,1"},
        {"created >= 2024-01-03 and created < 2024-01-05", "", "3,2"},
        {"created > 2024-01-03T00:00:00Z", "created asc", "3,4,5"},
        {"created >= 2024-01-05T02:00:00+02:00", "", "5,4"},
        {"created > 2030-01-01", "", ""},
        {"created < 2020-01-01", "", ""},
        {"ended >= 2024-05-03", "ended desc", "2,4"},
        {"name ~ N3 and created_by = ann", "", ""},
        {"name ~ N5", "", "4"},
        {"id > 2 and id <= 4", "", "4,3"},
        {"createdAt < 2024-01-03", "", "1"},
        {"name = 'it''s'", "", "invalid: 'and' is missing between two terms (filter, 12)"},
        {"name = \"' OR 1=1 --\"", "", ""},
        {"stat = failed", "", "invalid: there is no field 'stat' to filter by (filter, 1)"},
        {"state = faild", "", "invalid: there is no state 'faild' (filter, 9)"},
        {"state < failed", "", "invalid: a state can only be = or != or in a list (filter, 9)"},
        {"pipeline = odd state = failed", "", "invalid: 'and' is missing between two terms (filter, 16)"},
        {"pipeline", "", "invalid: an operator is missing here (filter, 9)"},
        {"pipeline = ", "", "invalid: a value is missing here (filter, 12)"},
        {"pipeline = 'odd", "", "invalid: the quoted text does not end (filter, 12)"},
        {"pipeline in odd", "", "invalid: 'in' needs a list: in (a, b) (filter, 13)"},
        {"pipeline in (odd", "", "invalid: the list lacks its ')' (filter, 17)"},
        {"created > yesterday", "", "invalid: 'yesterday' is no time (filter, 11)"},
        {"id = x", "", "invalid: 'x' is no whole number (filter, 6)"},
        {"archived = maybe", "", "invalid: 'maybe' is neither true nor false (filter, 12)"},
        {"id ~ 3", "", "invalid: '~' is for texts; id is none (filter, 1)"},
        {"state = failed and", "", "invalid: a term is missing behind 'and' (filter, 16)"},
        {"", "nam", "invalid: cannot order by 'nam' (order_by, 0)"},
        {"", "name up", "invalid: 'up' is no direction (order_by, 0)"},
        {"labels. = a", "", "invalid: there is no field 'labels.' to filter by (filter, 1)"},
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (uint32_t page = 1; page <= 100; page += 33) {
            const char *got = listed(rows[i].filter, rows[i].order, page);
            if (strcmp(got, rows[i].want) == 0) continue;
            print_message("'%s' order '%s' by %u:\n   want %s\n   got  %s\n", rows[i].filter, rows[i].order, page,
                          rows[i].want, got);
            bad++;
        }
    assert_int_equal(bad, 0);
}

/* Of two servers that make runs at the same time, one may take its number first and its time last. */
static void numbers_and_times_may_cross(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        make("p", "");
    assert_true(support_sql(&t,
                            "UPDATE runs SET created_at = timestamptz '2024-01-01Z' + CASE id WHEN 1 THEN interval "
                            "'0' WHEN 2 THEN interval '601.5 s' WHEN 3 THEN interval '601 s' ELSE interval '20 min' "
                            "END"));
    assert_string_equal(listed("created >= 2024-01-01T00:10:00Z and created < 2024-01-01T00:15:00Z", "created asc", 9),
                        "2,3");
    assert_string_equal(listed("created < 2024-01-01T00:10:02Z", "created asc", 9), "1,2,3");
}

/* A search by label goes by what run_labels has of the run. */
static void labels_follow_their_run(void **state)
{
    (void)state;
    static const char same[] = "SELECT count(*) FROM run_labels l JOIN runs r ON r.id = l.run_id WHERE l.state = "
                               "r.state AND l.archived = r.archived";
    int64_t id = make("p", "{\"team\": \"a\", \"x\": \"1\"}");
    make("p", "{\"team\": \"a\"}");
    end(id, RUN_FAILED, "2024-05-01");
    ok(runs_archive(c, 1, id, true, &err));
    assert_int_equal(support_number(&t, "SELECT count(*) FROM run_labels WHERE archived AND state = 6"), 2);
    assert_int_equal(support_number(&t, same), 3);
    ok(runs_archive(c, 1, id, false, &err));
    assert_int_equal(support_number(&t, "SELECT count(*) FROM run_labels WHERE archived"), 0);
    assert_true(support_sql(&t, "UPDATE runs SET state = 0 WHERE id = 1")); /* as a retry does */
    assert_int_equal(support_number(&t, same), 3);
}

static void cursors_fit_only_their_list(void **state)
{
    (void)state;
    make("p", "");
    make("p", "");
    struct runs_search q = {.project_id = 1, .page_size = 1};
    struct run_rec *rows;
    size_t n;
    struct str next;
    ok(runs_list(c, &q, &t.arena, &rows, &n, &next, &err));
    assert_true(next.n > 0);
    q.page_token = next;
    q.filter = STR("pipeline = p");
    assert_false(runs_list(c, &q, &t.arena, &rows, &n, &next, &err));
    assert_string_equal(err.path, "page_token");
    static const char *const tokens[] = {"x", "..", "1.2", "00000000.1.zz", "\"'"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        q.page_token = str_of(tokens[i]);
        assert_false(runs_list(c, &q, &t.arena, &rows, &n, &next, &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    q = (struct runs_search){.project_id = 1, .page_size = 1001};
    assert_false(runs_list(c, &q, &t.arena, &rows, &n, &next, &err));
}

static void times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want; /* -1 = refused */
    } rows[] = {
        {"1970-01-01", 0},
        {"1970-01-02T00:00:01Z", INT64_C(86401000000)},
        {"2024-02-29T12:30:15.25Z", INT64_C(1709209815250000)},
        {"2024-02-29T12:30:15.123456789+01:00", INT64_C(1709206215123456)},
        {"2024-02-29T12:30", INT64_C(1709209800000000)},
        {"2024-13-01", -1},
        {"2024-1-1", -1},
        {"2024-01-01T25:00", -1},
        {"2024-01-01T10:00:00+1", -1},
        {"2024-01-01x", -1},
        {"", -1},
        {"now", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t us = -1;
        bool read = search_time(str_of(rows[i].text), &us);
        if ((read ? us : -1) != rows[i].want) fail_msg("%s: %lld", rows[i].text, (long long)us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_is_made_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(commands_reach_the_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_of_a_limited_pipeline_share_a_shard, setup, teardown),
        cmocka_unit_test_setup_teardown(deletion_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_filter_order_and_page, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_and_times_may_cross, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_follow_their_run, setup, teardown),
        cmocka_unit_test_setup_teardown(cursors_fit_only_their_list, setup, teardown),
        cmocka_unit_test(times_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
