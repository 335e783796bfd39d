/* The way of a pipeline through the API: checked, applied, run, looked at. */
#include "engine/flow/run.h"
#include "tests/api/fixture.h"

static void test_health(void **state)
{
    (void)state;
    struct http_answer a;
    struct http_ask q = {.port = fx.port, .method = "GET", .path = "/healthz"};
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 200);
    assert_string_equal(http_text(&a, "status"), "alive");
    http_answer_free(&a);
    a = ask("GET", "/readyz", NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    a = ask("GET", "/api/v1/version", NULL, NULL);
    assert_string_equal(http_text(&a, "role"), "admin");
    http_answer_free(&a);
    a = ask("GET", "/api/v1/openapi.yaml", NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
}

static void expect(struct http_answer *a, int status)
{
    if (a->status != status) fprintf(stderr, "status %d: %s\n", a->status, a->body.p ? a->body.p : "");
    assert_int_equal(a->status, status);
}

static void test_apply(void **state)
{
    (void)state;
    struct http_answer a = ask("POST", "/api/v1/pipelines:validate", YAML_TYPE, HELLO);
    expect(&a, 200);
    assert_int_equal(http_number(&a, "pipelines.0.steps"), 2);
    http_answer_free(&a);

    a = ask("POST", "/api/v1/pipelines?dry_run=true", YAML_TYPE, HELLO);
    expect(&a, 200);
    assert_string_equal(http_text(&a, "items.0.action"), "created");
    assert_true(str_starts(str_of(http_text(&a, "items.0.diff")), "--- (none)\n+++ as given\n@@ -0,0 +1,12 @@\n+api"));
    http_answer_free(&a);

    a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    expect(&a, 201);
    assert_int_equal(http_number(&a, "items.0.version"), 1);
    http_answer_free(&a);

    a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    expect(&a, 200);
    assert_string_equal(http_text(&a, "items.0.action"), "unchanged");
    http_answer_free(&a);

    a = ask("POST", "/api/v1/pipelines?dry_run=1", YAML_TYPE, HELLO "  more: {needs: [after], expr: 1}\n");
    expect(&a, 200);
    assert_string_equal(http_text(&a, "items.0.action"), "updated");
    assert_non_null(strstr(http_text(&a, "items.0.diff"), "+  more:"));
    http_answer_free(&a);
}

/* A dry run needs neither the bundle nor its files to be here. */
static void test_dry_run_without_the_bundle(void **state)
{
    (void)state;
    static const char source[] = "{\"source\":\"{apiVersion: millrace/v1, kind: Pipeline, name: sub, steps: {a: "
                                 "{pipeline: ./parts/x.yaml}}}\",\"bundle\":\"sha256:"
                                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"files\":{"
                                 "\"parts/x.yaml\":\"{apiVersion: millrace/v1, kind: Pipeline, name: x, steps: {a: "
                                 "{pipeline: ../y.yaml}}}\",\"parts/../y.yaml\":\"{apiVersion: millrace/v1, kind: "
                                 "Pipeline, name: y, steps: {a: {expr: 1}}}\"}}";
    struct http_answer a = ask("POST", "/api/v1/pipelines?dry_run=1", JSON_TYPE, source);
    expect(&a, 200);
    assert_string_equal(http_text(&a, "items.0.action"), "created");
    http_answer_free(&a);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM pipelines"), 0);
}

static void test_run(void **state)
{
    (void)state;
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    expect(&a, 201);
    http_answer_free(&a);
    a = ask("GET", "/api/v1/pipelines/hello", NULL, NULL);
    expect(&a, 200);
    assert_int_equal(http_number(&a, "version"), 1);
    http_answer_free(&a);
    a = ask("GET", "/api/v1/pipelines", NULL, NULL);
    expect(&a, 200);
    assert_string_equal(http_text(&a, "items.0.name"), "hello");
    http_answer_free(&a);
    a = ask("GET", "/api/v1/pipelines/hello/versions", NULL, NULL);
    expect(&a, 200);
    assert_int_equal(http_number(&a, "items.0.version"), 1);
    http_answer_free(&a);

    a = ask("POST", "/api/v1/runs", JSON_TYPE,
            "{\"pipeline\":\"hello\",\"params\":{\"count\":\"3\"},\"labels\":{\"team\":\"a\"},\"name\":\"first\"}");
    expect(&a, 201);
    int64_t id = http_number(&a, "id");
    assert_true(id > 0);
    assert_int_equal(http_number(&a, "params.count"), 3);
    char path[200];
    snprintf(path, sizeof path, "/api/v1/runs/%lld", (long long)id);
    assert_string_equal(http_header(&a, "Location"), path);
    http_answer_free(&a);

    a = ask("GET", path, NULL, NULL);
    expect(&a, 200);
    assert_string_equal(http_text(&a, "state"), "queued");
    http_answer_free(&a);

    a = ask("GET", "/api/v1/runs?filter=labels.team%20%3D%20a%20and%20pipeline%20%3D%20hello&fields=id,name", NULL,
            NULL);
    expect(&a, 200);
    assert_int_equal(http_number(&a, "items.0.id"), id);
    assert_null(http_member(&a, "items.0.state"));
    http_answer_free(&a);

    snprintf(path, sizeof path, "/api/v1/runs/%lld/tasks", (long long)id);
    a = ask("GET", path, NULL, NULL);
    expect(&a, 200);
    assert_string_equal(http_text(&a, "items.0.path"), "greet");
    assert_string_equal(http_text(&a, "items.0.state"), "pending");
    assert_string_equal(http_text(&a, "items.1.waitingFor"), "waits for greet");
    assert_int_equal(http_number(&a, "items.1.needs.0"), 0);
    http_answer_free(&a);

    static const char *const parts[] = {"tasks/greet",     "tasks/1", "tasks/0/attempts",    "events",
                                        "artifacts",       "plan",    "plan?format=mermaid", "plan?format=yaml",
                                        "tasks/greet/logs"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "/api/v1/runs/%lld/%s", (long long)id, parts[i]);
        a = ask("GET", path, NULL, NULL);
        if (a.status != 200) fprintf(stderr, "%s\n", path);
        expect(&a, 200);
        http_answer_free(&a);
    }

    snprintf(path, sizeof path, "/api/v1/runs/%lld:cancel", (long long)id);
    a = ask("POST", path, JSON_TYPE, "{\"grace\":\"5s\"}");
    expect(&a, 202);
    http_answer_free(&a);
    snprintf(path, sizeof path, "/api/v1/runs/%lld:clone", (long long)id);
    a = ask("POST", path, JSON_TYPE, "{\"params\":{\"who\":\"you\"}}");
    expect(&a, 201);
    assert_int_equal(http_number(&a, "clonedFrom"), id);
    assert_string_equal(http_text(&a, "params.who"), "you");
    assert_int_equal(http_number(&a, "params.count"), 3);
    http_answer_free(&a);

    a = ask("POST", "/api/v1/runs?params=%7B%22who%22%3A%22me%22%7D", YAML_TYPE, HELLO);
    expect(&a, 201);
    http_answer_free(&a);
    a = ask("DELETE", "/api/v1/pipelines/hello", NULL, NULL);
    expect(&a, 204);
    http_answer_free(&a);
}

/* What was recorded of why a task waits counts no more once it has begun. */
static void test_why_a_task_waits(void **state)
{
    (void)state;
    static const struct {
        const char *was;
        enum task_state is;
        bool told;
    } rows[] = {{"ready", TASK_PENDING, true},     {"ready", TASK_READY, true},
                {"ready", TASK_RUNNING, false}, /* it has begun since */
                {"running", TASK_RUNNING, true},   {"running", TASK_STOPPING, true},
                {"stopping", TASK_STOPPING, true}, {"ready", TASK_STOPPING, false},
                {"running", TASK_SUCCEEDED, false}};
    struct http_answer a = ask("POST", "/api/v1/runs", YAML_TYPE, HELLO);
    expect(&a, 201);
    long long id = (long long)http_number(&a, "id");
    http_answer_free(&a);
    char sql[800], path[80];
    snprintf(sql, sizeof sql,
             "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
             "VALUES (%lld, 0, 1, 'x', 0, 'greet', 1, 1) RETURNING 1",
             id);
    assert_int_equal(support_number(&fx.db, sql), 1);
    snprintf(path, sizeof path, "/api/v1/runs/%lld/tasks", id);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(sql, sizeof sql,
                 "WITH t AS (UPDATE tasks SET state = %d WHERE run_id = %lld RETURNING 1) UPDATE active_runs SET "
                 "waiting = '{\"examples\":[{\"task\":0,\"state\":\"%s\",\"reason\":\"for room\"}]}' WHERE run_id = "
                 "%lld RETURNING (SELECT count(*) FROM t)",
                 (int)rows[i].is, id, rows[i].was, id);
        assert_int_equal(support_number(&fx.db, sql), 1);
        a = ask("GET", path, NULL, NULL);
        expect(&a, 200);
        const struct value *why = http_member(&a, "items.0.waitingFor");
        if ((why != NULL) != rows[i].told) fail_msg("row %zu: %s", i, a.body.p);
        http_answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_health, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_apply, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_dry_run_without_the_bundle, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_run, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_why_a_task_waits, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
