/* What is shown of runs that were retried: tasks that a retry replaced, code that attempts ran, a retry to come. */
#include "tests/api/fixture.h"

#define HEAD "apiVersion: millrace/v1\nkind: Pipeline\n"
#define OUTER                                                                                                          \
    HEAD "name: outer\nsteps:\n  train: {foreach: {range: 2}, pipeline: inner}\n  last: {needs: [train], expr: '1'}\n"

/* Task 0 is the loop, 1 is `last`. Its first frame (2, 3), with an instance of the sub-pipeline (4, 5) in the first
 * item, was superseded by 6 and 7, the first of which has opened 8 and 9. */
static int open_with_retried(void **state)
{
    if (fixture_open(state) != 0) return -1;
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE,
                               HEAD "name: inner\nsteps:\n  a: {expr: '1'}\n  b: {needs: [a], expr: '2'}\n");
    bool ok = a.status == 201;
    http_answer_free(&a);
    a = ask("POST", "/api/v1/runs", YAML_TYPE, OUTER);
    ok = ok && a.status == 201;
    http_answer_free(&a);
    ok =
        ok && support_sql(
                  &fx.db,
                  "INSERT INTO frames (run_id, frame, project_id, created_by, parent_task, kind, graph, first_task, n, "
                  "opened_at)"
                  " VALUES (1, 1, 1, 'x', 0, 2, 0, 2, 2, now()), (1, 2, 1, 'x', 2, 1, 1, 4, 2, now()),"
                  " (1, 3, 1, 'x', 0, 2, 0, 6, 2, now()), (1, 4, 1, 'x', 6, 1, 1, 8, 2, now());"
                  "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt, reason) VALUES"
                  " (1, 0, 1, 'x', 0, 'train', 5, 2, 0), (1, 2, 1, 'x', 1, 'train[0]', 8, 1, 21),"
                  " (1, 3, 1, 'x', 1, 'train[1]', 7, 1, 21), (1, 4, 1, 'x', 2, 'train[0].a', 7, 1, 21),"
                  " (1, 5, 1, 'x', 2, 'train[0].b', 8, 1, 21), (1, 6, 1, 'x', 3, 'train[0]', 5, 1, 0),"
                  " (1, 8, 1, 'x', 4, 'train[0].a', 5, 1, 0)");
    return ok ? 0 : -1;
}

static const char *tasks_shown(const char *query)
{
    static char text[200];
    char path[200];
    snprintf(path, sizeof path, "/api/v1/runs/1/tasks?fields=task%s", query);
    struct http_answer a = ask("GET", path, NULL, NULL);
    assert_int_equal(a.status, 200);
    text[0] = 0;
    for (int i = 0;; i++) {
        snprintf(path, sizeof path, "items.%d.task", i);
        if (http_member(&a, path) == NULL) break;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? "," : "", (int)http_number(&a, path));
    }
    http_answer_free(&a);
    return text;
}

static void replaced_tasks_are_shown_on_demand(void **state)
{
    (void)state;
    assert_string_equal(tasks_shown(""), "0,1,6,7,8,9");
    assert_string_equal(tasks_shown("&superseded=true"), "0,1,2,3,4,5,6,7,8,9");
    assert_string_equal(tasks_shown("&state=succeeded,failed"), "");
    assert_string_equal(tasks_shown("&state=pending"), "1,7,9");
}

static void paths_name_the_newest(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int task; /* -1 = there is none */
        const char *state;
    } rows[] = {
        {"train", 0, "running"},    {"last", 1, "pending"},       {"train[0]", 6, "running"},
        {"train[1]", 7, "pending"}, {"train[0].a", 8, "running"}, {"train[0].b", 9, "pending"},
        {"train[1].a", -1, NULL},   {"train[2]", -1, NULL},       {"train[-1]", -1, NULL},
        {"train[", -1, NULL},       {"train]", -1, NULL},         {"train[0]a", -1, NULL},
        {"train[0].", -1, NULL},    {"train.a", -1, NULL},        {"last[0]", -1, NULL},
        {"train[0].a.b", -1, NULL}, {"2", 2, "failed"},           {"10", -1, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[200];
        snprintf(path, sizeof path, "/api/v1/runs/1/tasks/%s", rows[i].path);
        struct http_answer a = ask("GET", path, NULL, NULL);
        bool good = rows[i].task < 0 ? a.status == 404
                                     : a.status == 200 && http_number(&a, "task") == rows[i].task &&
                                           strcmp(http_text(&a, "state"), rows[i].state) == 0;
        if (!good) fail_msg("%s: %d %s", rows[i].path, a.status, a.body.p);
        http_answer_free(&a);
        if (rows[i].task < 0) continue;
        snprintf(path, sizeof path, "/api/v1/runs/1/tasks/%s/logs", rows[i].path);
        a = ask("GET", path, NULL, NULL);
        assert_int_equal(a.status, 200);
        const char *attempt = strcmp(rows[i].state, "pending") == 0 ? "0" : rows[i].task == 0 ? "2" : "1";
        assert_string_equal(http_header(&a, "X-Attempt"), attempt);
        http_answer_free(&a);
    }
}

static void end_run(void)
{
    assert_true(support_sql(&fx.db, "UPDATE runs SET state = 6, ended_at = now(), bundle_digest = 'sha256:new';"
                                    "DELETE FROM active_runs; DELETE FROM inbox"));
}

/* Whoever waits for the run must not take its old end for the new one. */
static void a_retry_to_come_is_no_end(void **state)
{
    (void)state;
    end_run();
    struct http_answer a = ask("POST", "/api/v1/runs/1:retry", JSON_TYPE, "{\"from\":\"train[7]\"}");
    assert_int_equal(a.status, 422);
    http_answer_free(&a);
    a = ask("POST", "/api/v1/runs/1:retry", NULL, NULL);
    assert_int_equal(a.status, 202);
    assert_string_equal(http_text(&a, "state"), "queued");
    assert_null(http_member(&a, "endedAt"));
    http_answer_free(&a);
    static const char *const paths[] = {"/api/v1/runs/1", "/api/v1/runs/1/events"};
    for (int i = 0; i < 2; i++) {
        a = ask("GET", paths[i], NULL, NULL);
        assert_string_equal(http_text(&a, "state"), "queued");
        http_answer_free(&a);
    }
    a = ask("POST", "/api/v1/runs/1:retry", NULL, NULL);
    assert_int_equal(a.status, 409);
    http_answer_free(&a);
}

static void attempts_name_their_code(void **state)
{
    (void)state;
    end_run();
    assert_true(support_sql(
        &fx.db, "UPDATE tasks SET bundle_digest = 'sha256:old' WHERE task = 6;"
                "UPDATE tasks SET state = 1 WHERE task = 4;" /* reset: its attempt is among the old ones */
                "INSERT INTO attempts (run_id, task, attempt, project_id, created_by, state, reason, bundle_digest) "
                "VALUES (1, 0, 1, 1, 'x', 8, 6, 'sha256:old'), (1, 4, 1, 1, 'x', 8, 6, 'sha256:old')"));
    static const struct {
        const char *task, *first, *second;
    } rows[] = {{"0", "sha256:old", "sha256:new"},
                {"6", "sha256:old", NULL},
                {"8", "sha256:new", NULL},
                {"4", "sha256:old", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[100];
        snprintf(path, sizeof path, "/api/v1/runs/1/tasks/%s/attempts", rows[i].task);
        struct http_answer a = ask("GET", path, NULL, NULL);
        assert_string_equal(http_text(&a, "items.0.bundle"), rows[i].first);
        if (rows[i].second)
            assert_string_equal(http_text(&a, "items.1.bundle"), rows[i].second);
        else
            assert_null(http_member(&a, "items.1"));
        http_answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replaced_tasks_are_shown_on_demand, open_with_retried, fixture_close),
        cmocka_unit_test_setup_teardown(paths_name_the_newest, open_with_retried, fixture_close),
        cmocka_unit_test_setup_teardown(a_retry_to_come_is_no_end, open_with_retried, fixture_close),
        cmocka_unit_test_setup_teardown(attempts_name_their_code, open_with_retried, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
