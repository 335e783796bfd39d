/* Powers beyond the route's own role: who may answer an approval, who may bring code, and whose answer a repeated
 * create gets. */
#include "tests/api/fixture.h"

#define DIGEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const char *const roles[] = {"viewer", "operator", "editor", "admin"};
static char tokens[4][80];

/* A token of each role, and a pipeline with the code that it was applied with and a bundle besides. */
static int open_with_tokens(void **state)
{
    if (fixture_open(state) != 0) return -1;
    bool ok = true;
    for (int i = 0; i < 4; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"name\":\"%s\",\"role\":\"%s\"}", roles[i], roles[i]);
        struct http_answer a = ask("POST", "/api/v1/tokens", JSON_TYPE, body);
        ok = ok && a.status == 201;
        snprintf(tokens[i], sizeof tokens[i], "%s", http_text(&a, "token"));
        http_answer_free(&a);
    }
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    ok = ok && a.status == 201;
    http_answer_free(&a);
    return ok && support_sql(&fx.db, "INSERT INTO bundles (project_id, digest, size, entries, created_by) "
                                     "VALUES (1, '" DIGEST "', 1, 1, 'test')")
               ? 0
               : -1;
}

static struct http_answer post_as(const char *token, const char *path, const char *headers, const char *type,
                                  const char *body)
{
    struct http_answer a;
    const struct http_ask q = {.port = fx.port,
                               .method = "POST",
                               .path = path,
                               .token = token,
                               .headers = headers,
                               .type = type,
                               .body = str_of(body)};
    assert_true(http_ask(&q, &a));
    return a;
}

static void expect_as(int role, int want, const char *path, const char *type, const char *body)
{
    struct http_answer a = post_as(tokens[role], path, NULL, type, body);
    if (a.status != want) fail_msg("%s, %s %s: %d instead of %d", roles[role], path, body, a.status, want);
    http_answer_free(&a);
}

static int64_t number(const char *sql)
{
    return support_number(&fx.db, sql);
}

/* ---- approvals ---- */

static void approvals_are_answered_by_their_roles(void **state)
{
    (void)state;
    static const struct {
        const char *step, *roles;
        int may[4];
    } rows[] = {
        {"anybody", "", {403, 202, 202, 202}}, /* whom the route lets through */
        {"operators", "roles: operator", {403, 202, 202, 202}},
        {"editors", "roles: [editor]", {403, 403, 202, 202}},
        {"admins", "roles: admin", {403, 403, 403, 202}},
        {"either", "roles: [admin, editor]", {403, 403, 202, 202}},
        {"viewers", "roles: viewer", {403, 202, 202, 202}}, /* the route's role counts, too */
    };
    const int n = sizeof rows / sizeof *rows;
    char text[2000], path[100];
    int at = snprintf(text, sizeof text, "apiVersion: millrace/v1\nkind: Pipeline\nname: ask\nsteps:\n");
    for (int i = 0; i < n; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "  %s: {approval: {%s}}\n", rows[i].step, rows[i].roles);
    struct http_answer a = ask("POST", "/api/v1/runs", YAML_TYPE, text);
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    assert_true(support_sql(&fx.db, "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, "
                                    "attempt, reason) SELECT 1, t, 1, 'x', 0, 's' || t, 3, 1, 0 "
                                    "FROM generate_series(0, 5) t; DELETE FROM inbox"));
    for (int i = 0; i < n; i++)
        for (int role = 0; role < 4; role++) {
            bool may = rows[i].may[role] == 202;
            snprintf(path, sizeof path, "/api/v1/runs/1/tasks/%s:approve", rows[i].step);
            expect_as(role, rows[i].may[role], path, JSON_TYPE, "{\"approved\":true}");
            assert_int_equal(number("SELECT count(*) FROM inbox"), may);
            assert_true(support_sql(&fx.db, "DELETE FROM inbox"));
        }
}

/* ---- code ---- */

/* An operator runs what others have applied; code of one's own is as powerful as a source of one's own. */
static void operators_bring_no_code(void **state)
{
    (void)state;
    static const struct {
        const char *path, *type, *body;
        bool of_operator;
    } rows[] = {
        {"/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\"}", true},
        {"/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"bundle\":\"" DIGEST "\"}", false},
        {"/api/v1/runs", JSON_TYPE,
         "{\"source\":\"apiVersion: millrace/v1\\nkind: Pipeline\\nname: x\\nsteps: {a: {run: id}}\\n\"}", false},
        {"/api/v1/runs", YAML_TYPE, HELLO, false},
        {"/api/v1/runs?bundle=" DIGEST, YAML_TYPE, HELLO, false},
        {"/api/v1/runs/1:clone", JSON_TYPE, "{}", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int role = 0; role < 4; role++) {
            bool may = role >= (rows[i].of_operator ? 1 : 2);
            int64_t runs = number("SELECT count(*) FROM runs");
            expect_as(role, may ? 201 : 403, rows[i].path, rows[i].type, rows[i].body);
            assert_int_equal(number("SELECT count(*) FROM runs"), runs + may);
        }
    assert_int_equal(number("SELECT count(*) FROM runs WHERE bundle_digest = '" DIGEST "' AND created_by NOT IN "
                            "('editor', 'admin')"),
                     0);
}

static void operators_retry_with_the_code_there_is(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool of_operator;
    } rows[] = {{"{}", true}, {"{\"from\":\"greet\"}", true}, {"{\"bundle\":\"" DIGEST "\"}", false}};
    struct http_answer a = ask("POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\"}");
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int role = 0; role < 4; role++) {
            bool may = role >= (rows[i].of_operator ? 1 : 2);
            assert_true(support_sql(&fx.db, "UPDATE runs SET state = 6, ended_at = now(); DELETE FROM active_runs; "
                                            "DELETE FROM inbox"));
            expect_as(role, may ? 202 : 403, "/api/v1/runs/1:retry", JSON_TYPE, rows[i].body);
            assert_int_equal(number("SELECT count(*) FROM inbox"), may);
        }
}

/* ---- answers ---- */

static void expect_repeated(const char *token, const char *path, const char *body, int status, bool replayed)
{
    struct http_answer a = post_as(token, path, "Idempotency-Key: once\r\n", JSON_TYPE, body);
    assert_int_equal(a.status, status);
    if (replayed)
        assert_string_equal(http_header(&a, "Idempotent-Replayed"), "true");
    else
        assert_null(http_header(&a, "Idempotent-Replayed"));
    http_answer_free(&a);
}

static void an_answer_is_for_who_asked(void **state)
{
    (void)state;
    static const char runs[] = "/api/v1/runs", body[] = "{\"pipeline\":\"hello\"}";
    expect_repeated(tokens[1], runs, body, 201, false);
    expect_repeated(tokens[1], runs, body, 201, true);
    expect_repeated(tokens[2], runs, body, 409, false);
    expect_repeated(tokens[3], runs, body, 409, false);
    expect_repeated(tokens[0], runs, body, 403, false); /* who may not ask learns nothing of it */
    expect_repeated(tokens[1], runs, "{\"pipeline\":\"hello\",\"name\":\"x\"}", 409, false);
    expect_repeated(tokens[1], "/api/v1/runs?project=default", body, 409, false);
    expect_repeated(tokens[1], "/api/v1/runs/1:clone", "{}", 409, false);
    expect_repeated(tokens[1], runs, body, 201, true);
    assert_int_equal(number("SELECT count(*) FROM runs"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(approvals_are_answered_by_their_roles, open_with_tokens, fixture_close),
        cmocka_unit_test_setup_teardown(operators_bring_no_code, open_with_tokens, fixture_close),
        cmocka_unit_test_setup_teardown(operators_retry_with_the_code_there_is, open_with_tokens, fixture_close),
        cmocka_unit_test_setup_teardown(an_answer_is_for_who_asked, open_with_tokens, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
