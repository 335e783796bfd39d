/* Who may do what: tokens, roles, projects, steps' own tokens, Host and Origin. */
#include "tests/api/fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "api/routes.h"
#include "engine/os/step_token.h"

static int status_with(const char *method, const char *path, const char *token, const char *headers, const char *type,
                       const char *body)
{
    struct http_answer a;
    struct http_ask q = {
        .port = fx.port, .method = method, .path = path, .token = token, .headers = headers, .type = type};
    if (body) q.body = str_of(body);
    assert_true(http_ask(&q, &a));
    int status = a.status;
    http_answer_free(&a);
    return status;
}

/* Every route of the table wants a token, and says so. */
static void test_no_token(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < n_routes; i++) {
        char path[200];
        size_t n = 0;
        for (const char *p = routes[i].pattern; *p; p++) {
            if (*p == '{') {
                path[n++] = '1';
                p = strchr(p, '}');
                continue;
            }
            path[n++] = *p;
        }
        path[n] = '\0';
        static const char *const tokens[] = {NULL, "mr_wrong", "mrs1.1.0.1.00", ""};
        for (size_t t = 0; t < 4; t++) {
            int status = status_with(routes[i].method, path, tokens[t], NULL, JSON_TYPE, NULL);
            if (status == (routes[i].role == ROLE_NONE ? 200 : 401)) continue;
            fprintf(stderr, "%s %s with %s: %d\n", routes[i].method, path, tokens[t] ? tokens[t] : "no token", status);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
    assert_int_equal(status_with("GET", "/api/v1/runs", NULL, "Authorization: Basic YTpi\r\n", NULL, NULL), 401);
}

static void make_token(const char *body, char out[80])
{
    struct http_answer a = ask("POST", "/api/v1/tokens", JSON_TYPE, body);
    assert_int_equal(a.status, 201);
    snprintf(out, 80, "%s", http_text(&a, "token"));
    http_answer_free(&a);
}

static void test_roles(void **state)
{
    (void)state;
    static const char *const names[] = {"", "viewer", "operator", "editor", "admin"};
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    for (int role = ROLE_VIEWER; role <= ROLE_ADMIN; role++) {
        char token[80], body[100];
        snprintf(body, sizeof body, "{\"name\":\"t%d\",\"role\":\"%s\"}", role, names[role]);
        make_token(body, token);
        assert_int_equal(status_with("GET", "/api/v1/runs", token, NULL, NULL, NULL), 200);
        assert_int_equal(status_with("POST", "/api/v1/runs", token, NULL, JSON_TYPE, "{\"pipeline\":\"hello\"}"),
                         role >= ROLE_OPERATOR ? 201 : 403);
        assert_int_equal(status_with("POST", "/api/v1/runs", token, NULL, YAML_TYPE, HELLO),
                         role >= ROLE_EDITOR ? 201 : 403);
        assert_int_equal(status_with("POST", "/api/v1/pipelines", token, NULL, YAML_TYPE, HELLO),
                         role >= ROLE_EDITOR ? 200 : 403);
        assert_int_equal(status_with("POST", "/api/v1/pipelines?dry_run=1", token, NULL, YAML_TYPE, HELLO), 200);
        assert_int_equal(status_with("GET", "/api/v1/tokens", token, NULL, NULL, NULL), role >= ROLE_ADMIN ? 200 : 403);
    }
}

static void test_revoked_and_expired(void **state)
{
    (void)state;
    char token[80];
    struct http_answer a =
        ask("POST", "/api/v1/tokens", JSON_TYPE, "{\"name\":\"a\",\"role\":\"viewer\",\"ttl\":\"1h\"}");
    assert_int_equal(a.status, 201);
    snprintf(token, sizeof token, "%s", http_text(&a, "token"));
    char path[100];
    snprintf(path, sizeof path, "/api/v1/tokens/%lld", (long long)http_number(&a, "id"));
    assert_true(http_text(&a, "expiresAt")[0] != '\0');
    http_answer_free(&a);
    assert_int_equal(status_with("GET", "/api/v1/runs", token, NULL, NULL, NULL), 200);
    assert_true(support_sql(&fx.db, "UPDATE tokens SET expires_at = now() - interval '1 second' WHERE name = 'a'"));
    assert_int_equal(status_with("GET", "/api/v1/runs", token, NULL, NULL, NULL), 401);
    assert_true(support_sql(&fx.db, "UPDATE tokens SET expires_at = NULL WHERE name = 'a'"));
    assert_int_equal(status_with("GET", "/api/v1/runs", token, NULL, NULL, NULL), 200);
    assert_int_equal(status_with("DELETE", path, fx.token, NULL, NULL, NULL), 204);
    assert_int_equal(status_with("GET", "/api/v1/runs", token, NULL, NULL, NULL), 401);
    /* No secret is ever listed. */
    a = ask("GET", "/api/v1/tokens", NULL, NULL);
    assert_null(strstr(a.body.p, "mr_"));
    http_answer_free(&a);
}

/* A token of one project sees nothing of another, not even by number. */
static void test_projects(void **state)
{
    (void)state;
    char token[80], path[100];
    assert_int_equal(status_with("POST", "/api/v1/projects", fx.token, NULL, JSON_TYPE, "{\"name\":\"other\"}"), 201);
    make_token("{\"name\":\"o\",\"role\":\"admin\",\"project\":\"other\"}", token);
    assert_int_equal(status_with("POST", "/api/v1/pipelines", fx.token, NULL, YAML_TYPE, HELLO), 201);
    struct http_answer a = ask("POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\"}");
    assert_int_equal(a.status, 201);
    int64_t run = http_number(&a, "id");
    http_answer_free(&a);
    static const char *const parts[] = {"",      "/tasks",     "/tasks/0",      "/events",
                                        "/plan", "/artifacts", "/tasks/0/logs", "/tasks/0/attempts"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "/api/v1/runs/%lld%s", (long long)run, parts[i]);
        assert_int_equal(status_with("GET", path, token, NULL, NULL, NULL), 404);
        assert_int_equal(status_with("GET", path, fx.token, NULL, NULL, NULL), 200);
    }
    static const char *const actions[] = {":cancel", ":pause", ":retry", ":clone", ":archive"};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        snprintf(path, sizeof path, "/api/v1/runs/%lld%s", (long long)run, actions[i]);
        assert_int_equal(status_with("POST", path, token, NULL, JSON_TYPE, "{}"), 404);
    }
    assert_int_equal(status_with("GET", "/api/v1/pipelines/hello", token, NULL, NULL, NULL), 404);
    assert_int_equal(status_with("GET", "/api/v1/runs?project=default", token, NULL, NULL, NULL), 403);
    assert_int_equal(status_with("POST", "/api/v1/pipelines?project=default", token, NULL, YAML_TYPE, HELLO), 403);
    assert_int_equal(status_with("POST", "/api/v1/pipelines", token, NULL, YAML_TYPE, "project: default\n" HELLO), 403);
    assert_int_equal(status_with("GET", "/api/v1/tokens", token, NULL, NULL, NULL), 403);
    assert_int_equal(status_with("POST", "/api/v1/pipelines", token, NULL, YAML_TYPE, HELLO), 201);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM pipelines"), 2);
}

/* The header's project is known before anything is looked up: sub-pipelines are that project's. */
static void test_project_of_a_header(void **state)
{
    (void)state;
    static const char parent[] = "project: other\napiVersion: millrace/v1\nkind: Pipeline\nname: parent\n"
                                 "steps: {sub: {pipeline: child}}\n";
    static const char child[] = "apiVersion: millrace/v1\nkind: Pipeline\nname: child\nsteps: {a: {expr: 1}}\n";
    const char *t = fx.token;
    assert_int_equal(status_with("POST", "/api/v1/projects", t, NULL, JSON_TYPE, "{\"name\":\"other\"}"), 201);
    assert_int_equal(status_with("POST", "/api/v1/pipelines", t, NULL, YAML_TYPE, child), 201);
    assert_int_equal(status_with("POST", "/api/v1/pipelines", t, NULL, YAML_TYPE, parent), 422);
    assert_int_equal(status_with("POST", "/api/v1/runs", t, NULL, YAML_TYPE, parent), 422);
    assert_int_equal(status_with("POST", "/api/v1/pipelines?project=other", t, NULL, YAML_TYPE, child), 201);
    assert_int_equal(status_with("POST", "/api/v1/pipelines", t, NULL, YAML_TYPE, parent), 201);
    struct http_answer a = ask("POST", "/api/v1/runs", YAML_TYPE, parent);
    assert_int_equal(a.status, 201);
    assert_string_equal(http_text(&a, "project"), "other");
    http_answer_free(&a);
    a = ask("POST", "/api/v1/pipelines?project=nowhere", YAML_TYPE, "# of nobody\nproject: nowhere\n" HELLO);
    assert_int_equal(a.status, 404);
    assert_string_equal(http_text(&a, "path"), "project");
    assert_int_equal(http_number(&a, "line"), 2);
    http_answer_free(&a);
    char two[1024];
    snprintf(two, sizeof two, "%s---\nproject: default\n%s", parent, child);
    assert_int_equal(status_with("POST", "/api/v1/pipelines", t, NULL, YAML_TYPE, two), 422);
}

static void test_step_tokens(void **state)
{
    (void)state;
    assert_int_equal(status_with("POST", "/api/v1/pipelines", fx.token, NULL, YAML_TYPE, HELLO), 201);
    for (int i = 0; i < 2; i++)
        assert_int_equal(status_with("POST", "/api/v1/runs", fx.token, NULL, JSON_TYPE, "{\"pipeline\":\"hello\"}"),
                         201);
    /* As the scheduler would have it: the first task of run 1 runs its second attempt. */
    assert_true(support_sql(&fx.db,
                            "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
                            "VALUES (1, 0, 1, 'x', 0, 'greet', 5, 2)"));
    struct arena a;
    arena_init(&a, 0);
    CONN_AUTO c = NULL;
    struct err err;
    PGresult *res = NULL;
    assert_true(db_lease(fx.db.db, &c, &err));
    assert_true(conn_sql(c, "SELECT value FROM settings WHERE key = '" API_STEP_KEY_SETTING "'", NULL, &res, &err));
    struct str key = row_copy(res, 0, 0, &a);
    PQclear(res);
    int64_t made =
        support_number(&fx.db, "SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM runs WHERE id = 1");
    const char *now = arena_cstr(&a, step_token_make(&a, key, (struct step_claim){1, 0, 2, made}));
    const char *old = arena_cstr(&a, step_token_make(&a, key, (struct step_claim){1, 0, 1, made}));
    const char *former = arena_cstr(&a, step_token_make(&a, key, (struct step_claim){1, 0, 2, made - 1}));
    const char *forged = arena_cstr(&a, step_token_make(&a, STR("another key"), (struct step_claim){1, 0, 2, made}));
    assert_int_equal(status_with("GET", "/api/v1/runs/1", now, NULL, NULL, NULL), 200);
    assert_int_equal(status_with("GET", "/api/v1/runs/1/tasks", now, NULL, NULL, NULL), 200);
    assert_int_equal(status_with("GET", "/api/v1/version", now, NULL, NULL, NULL), 200);
    assert_int_equal(status_with("GET", "/api/v1/runs/2", now, NULL, NULL, NULL), 403);
    assert_int_equal(status_with("GET", "/api/v1/runs", now, NULL, NULL, NULL), 403);
    assert_int_equal(status_with("POST", "/api/v1/runs/1:cancel", now, NULL, NULL, NULL), 403);
    assert_int_equal(status_with("GET", "/api/v1/runs/1", old, NULL, NULL, NULL), 401);
    assert_int_equal(status_with("GET", "/api/v1/runs/1", former, NULL, NULL, NULL), 401);
    assert_int_equal(status_with("GET", "/api/v1/runs/1", forged, NULL, NULL, NULL), 401);
    assert_true(support_sql(&fx.db, "UPDATE tasks SET state = 7"));
    assert_int_equal(status_with("GET", "/api/v1/runs/1", now, NULL, NULL, NULL), 401);
    arena_free(&a);
}

static void test_host_and_origin(void **state)
{
    (void)state;
    static const struct {
        const char *host, *origin;
        int status;
    } rows[] = {{"127.0.0.1", NULL, 200},
                {"localhost:7070", NULL, 200},
                {"LOCALHOST", NULL, 200},
                {"[::1]:7070", NULL, 200},
                {"evil.example", NULL, 403},
                {"localhost.evil.example", NULL, 403},
                {"127.0.0.1.evil.example", NULL, 403},
                {"millrace.lab", NULL, 200},
                {"127.0.0.1:7070", "http://127.0.0.1:7070", 200},
                {"127.0.0.1:7070", "http://127.0.0.1:8080", 403},
                {"127.0.0.1:7070", "http://evil.example", 403},
                {"127.0.0.1:7070", "null", 403}};
    int failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[300];
        int fd = http_connect(fx.port);
        snprintf(text, sizeof text, "GET /healthz HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", rows[i].host,
                 rows[i].origin ? "Origin: " : "", rows[i].origin ? rows[i].origin : "", rows[i].origin ? "\r\n" : "");
        struct http_answer a = {0};
        assert_true(http_send(fd, text, strlen(text)) && http_receive(fd, false, &a));
        close(fd);
        if (a.status != rows[i].status) {
            fprintf(stderr, "%s from %s: %d\n", rows[i].host, rows[i].origin ? rows[i].origin : "-", a.status);
            failed++;
        }
        http_answer_free(&a);
    }
    assert_int_equal(failed, 0);
}

static int open_named(void **state)
{
    fx.cfg.hosts = "other.lab, millrace.lab";
    return fixture_open(state);
}

/* The first token's file is 0600, survives a restart, and makes itself known to a new database. */
static void test_first_token(void **state)
{
    (void)state;
    char path[300], before[80];
    struct stat st;
    snprintf(path, sizeof path, "%s/token", fx.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(before, sizeof before, "%s", fx.token);
    api_stop(fx.api);
    assert_true(support_sql(&fx.db, "DELETE FROM tokens"));
    assert_true(support_sql(&fx.db, "DELETE FROM settings"));
    assert_int_equal(fixture_start(), 0);
    assert_string_equal(before, fx.token);
    assert_int_equal(status_with("GET", "/api/v1/tokens", fx.token, NULL, NULL, NULL), 200);
}

static void restart(void)
{
    api_stop(fx.api);
    fx.api = NULL;
    assert_int_equal(fixture_start(), 0);
}

/* What was revoked stays revoked, whatever the file says; and somebody can always manage tokens. */
static void test_revoked_first_token(void **state)
{
    (void)state;
    char first[80], second[80];
    snprintf(first, sizeof first, "%s", fx.token);
    struct http_answer a = ask("DELETE", "/api/v1/tokens/1", NULL, NULL);
    assert_int_equal(a.status, 409);
    assert_non_null(strstr(http_text(&a, "hint"), "make another"));
    http_answer_free(&a);
    make_token("{\"name\":\"narrow\",\"role\":\"admin\",\"project\":\"default\"}", second);
    assert_int_equal(status_with("DELETE", "/api/v1/tokens/1", first, NULL, NULL, NULL), 409);
    make_token("{\"name\":\"second\",\"role\":\"admin\"}", second);
    assert_int_equal(status_with("DELETE", "/api/v1/tokens/1", first, NULL, NULL, NULL), 204);
    assert_int_equal(status_with("GET", "/api/v1/tokens", first, NULL, NULL, NULL), 401);
    restart();
    assert_string_equal(fx.token, first);
    assert_int_equal(status_with("GET", "/api/v1/tokens", first, NULL, NULL, NULL), 401);
    assert_int_equal(status_with("GET", "/api/v1/tokens", second, NULL, NULL, NULL), 200);
    assert_true(support_sql(&fx.db, "UPDATE tokens SET expires_at = now() - interval '1 second'"));
    restart();
    assert_string_not_equal(fx.token, first);
    assert_int_equal(status_with("GET", "/api/v1/tokens", fx.token, NULL, NULL, NULL), 200);
    assert_int_equal(status_with("GET", "/api/v1/tokens", first, NULL, NULL, NULL), 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_token, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_roles, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_revoked_and_expired, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_projects, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_project_of_a_header, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_step_tokens, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_first_token, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_revoked_first_token, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_host_and_origin, open_named, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
