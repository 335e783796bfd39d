/* Everything that is refused: a table of requests and what the problem must say. Nothing of them may be stored. */
#include "tests/api/fixture.h"

#define DIGEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ONE_LINE(step) "{apiVersion: millrace/v1, kind: Pipeline, name: x, steps: {a: {" step "}}}"
#define HEAD "apiVersion: millrace/v1\nkind: Pipeline\nname: x\nsteps:\n"
#define Y "apiVersion: millrace/v1\nkind: Pipeline\nname: y\nsteps:\n  b: {pipeline: hello}\n"

struct row {
    const char *name, *method, *path, *type, *body;
    int status;
    const char *code, *where, *hint; /* where: the problem's path, NULL = any; hint: part of it, NULL = any */
};

static const struct row rows[] = {
    {"no such path", "GET", "/api/v1/nothing", NULL, NULL, 404, "not-found", NULL, "openapi.yaml"},
    {"not the API", "GET", "/", NULL, NULL, 404, "not-found", NULL, NULL},
    {"dot segments", "GET", "/api/v1/../../etc/passwd", NULL, NULL, 404, "not-found", NULL, NULL},
    {"wrong method", "PATCH", "/api/v1/runs", NULL, NULL, 405, "method-not-allowed", NULL, "GET"},
    {"wrong method of one", "PUT", "/api/v1/runs/1", NULL, NULL, 405, "method-not-allowed", NULL, "DELETE"},
    {"action by GET", "GET", "/api/v1/runs/1:archive", NULL, NULL, 405, "method-not-allowed", NULL, "POST"},
    {"action by DELETE", "DELETE", "/api/v1/runs/1:archive", NULL, NULL, 405, "method-not-allowed", NULL, "POST"},
    {"action of all by GET", "GET", "/api/v1/pipelines:validate", NULL, NULL, 405, "method-not-allowed", NULL, "POST"},
    {"misspelt action", "POST", "/api/v1/runs/1:cancle", JSON_TYPE, "{}", 404, "not-found", NULL, "cancel"},
    {"bad escape in path", "GET", "/api/v1/pipelines/%zz", NULL, NULL, 400, "syntax", NULL, NULL},
    {"NUL in path", "GET", "/api/v1/pipelines/%00", NULL, NULL, 400, "syntax", NULL, NULL},
    {"bad UTF-8 in path", "GET", "/api/v1/pipelines/%ff", NULL, NULL, 400, "syntax", NULL, NULL},
    {"bad escape in query", "GET", "/api/v1/runs?filter=%", NULL, NULL, 400, "syntax", "query.filter", NULL},
    {"unknown parameter", "GET", "/api/v1/runs?filtre=x", NULL, NULL, 422, "invalid", "query.filtre", "filter"},
    {"page size", "GET", "/api/v1/runs?page_size=0", NULL, NULL, 422, "invalid", "query.page_size", NULL},
    {"page size text", "GET", "/api/v1/runs?page_size=ten", NULL, NULL, 422, "invalid", "query.page_size", NULL},
    {"page token", "GET", "/api/v1/runs?page_token=xyz", NULL, NULL, 422, "invalid", NULL, NULL},
    {"page token of pipelines", "GET", "/api/v1/pipelines?page_token=xyz", NULL, NULL, 422, "invalid", "page_token",
     NULL},
    {"filter of pipelines", "GET", "/api/v1/pipelines?filter=state%20%3D%20failed", NULL, NULL, 422, "invalid",
     "filter", NULL},
    {"half a filter of pipelines", "GET", "/api/v1/pipelines?filter=name%20%3D%20x%20and", NULL, NULL, 422, "invalid",
     "filter", NULL},
    {"bare number for a token", "GET", "/api/v1/runs/1/tasks?page_token=4", NULL, NULL, 422, "invalid",
     "query.page_token", NULL},
    {"page token of tasks", "GET", "/api/v1/runs/1/tasks?page_token=-4", NULL, NULL, 422, "invalid", "query.page_token",
     NULL},
    {"filter field", "GET", "/api/v1/runs?filter=stat%20%3D%20x", NULL, NULL, 422, "invalid", "filter", "state"},
    {"filter syntax", "GET", "/api/v1/runs?filter=state%20%3D", NULL, NULL, 422, "invalid", "filter", NULL},
    {"order", "GET", "/api/v1/runs?order_by=colour", NULL, NULL, 422, "invalid", NULL, NULL},
    {"project", "GET", "/api/v1/runs?project=nowhere", NULL, NULL, 404, "not-found", "query.project", "lists them"},
    {"artifact by word", "GET", "/api/v1/artifacts/x", NULL, NULL, 404, "not-found", NULL, "an artifact is named"},
    {"unknown field", "GET", "/api/v1/runs?fields=id,stat", NULL, NULL, 422, "invalid", "query.fields", "state"},
    {"unknown field of one", "GET", "/api/v1/runs/1?fields=nothing", NULL, NULL, 422, "invalid", "query.fields", NULL},
    {"another kind's field", "GET", "/api/v1/runs/1/tasks?fields=pipeline", NULL, NULL, 422, "invalid", "query.fields",
     NULL},
    {"task state", "GET", "/api/v1/runs/1/tasks?state=runing", NULL, NULL, 422, "invalid", "query.state", "running"},
    {"no such run", "GET", "/api/v1/runs/77", NULL, NULL, 404, "not-found", NULL, NULL},
    {"run by word", "GET", "/api/v1/runs/abc", NULL, NULL, 404, "not-found", NULL, "number"},
    {"run too big", "GET", "/api/v1/runs/99999999999999999999", NULL, NULL, 404, "not-found", NULL, NULL},
    {"no such pipeline", "GET", "/api/v1/pipelines/nope", NULL, NULL, 404, "not-found", NULL, NULL},
    {"no such artifact", "GET", "/api/v1/artifacts/5", NULL, NULL, 404, "not-found", NULL, NULL},
    {"no such blob", "GET", "/api/v1/blobs/" DIGEST, NULL, NULL, 404, "not-found", NULL, NULL},
    {"digest", "GET", "/api/v1/blobs/sha256:12", NULL, NULL, 422, "invalid", "digest", "64 hex"},
    {"no such bundle", "GET", "/api/v1/bundles/" DIGEST, NULL, NULL, 404, "not-found", NULL, NULL},
    {"no such upload", "GET", "/api/v1/uploads/abc", NULL, NULL, 404, "not-found", NULL, NULL},

    {"type missing", "POST", "/api/v1/runs", NULL, "{}", 415, "unsupported-media-type", "Content-Type", "json"},
    {"type wrong", "POST", "/api/v1/projects", YAML_TYPE, "name: x", 415, "unsupported-media-type", "Content-Type",
     "json"},
    {"type unknown", "POST", "/api/v1/runs", "image/png", "x", 415, "unsupported-media-type", "Content-Type", NULL},
    {"form", "POST", "/api/v1/runs", "application/x-www-form-urlencoded", "a=b", 415, "unsupported-media-type", NULL,
     "-H 'Content-Type: application/yaml'"},
    {"form for JSON", "POST", "/api/v1/projects", "application/x-www-form-urlencoded", "{}", 415,
     "unsupported-media-type", "Content-Type", "-H 'Content-Type: application/json'"},
    {"form for what is optional", "POST", "/api/v1/runs/1:cancel", "application/x-www-form-urlencoded", "{}", 415,
     "unsupported-media-type", "Content-Type", "-H 'Content-Type: application/json'"},
    {"empty form", "POST", "/api/v1/runs/77:pause", "application/x-www-form-urlencoded", "", 404, "not-found", NULL,
     NULL},
    {"text", "POST", "/api/v1/pipelines:validate", "text/plain", "# nothing", 422, "invalid", NULL, "apiVersion"},
    {"empty body", "POST", "/api/v1/projects", JSON_TYPE, "", 400, "syntax", NULL, "JSON"},
    {"broken JSON", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\": ", 400, "syntax", NULL, NULL},
    {"JSON list", "POST", "/api/v1/runs", JSON_TYPE, "[1]", 422, "invalid", NULL, NULL},
    {"JSON twice", "POST", "/api/v1/runs", JSON_TYPE, "{\"a\":1,\"a\":2}", 400, "syntax", NULL, NULL},
    {"bad UTF-8", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"\xff\"}", 400, "syntax", NULL, "UTF-8"},
    {"unknown member", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipelin\":\"x\"}", 422, "invalid", "pipelin", "pipeline"},
    {"member type", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":5}", 422, "invalid", "pipeline", NULL},
    {"nothing to run", "POST", "/api/v1/runs", JSON_TYPE, "{}", 422, "invalid", "pipeline", "source"},
    {"both", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"a\",\"source\":\"b\"}", 422, "invalid", "pipeline",
     NULL},
    {"run of nothing", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"nope\"}", 404, "not-found", "pipeline",
     NULL},
    {"version", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"version\":0}", 422, "invalid", "version",
     NULL},
    {"no such version", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"version\":9}", 404, "not-found",
     NULL, NULL},
    {"unknown param", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"params\":{\"hwo\":1}}", 422,
     "invalid", "params.hwo", "who"},
    {"param type", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"params\":{\"count\":\"many\"}}", 422,
     "invalid", "params.count", NULL},
    {"param range", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"params\":{\"count\":10}}", 422,
     "invalid", "params.count", NULL},
    {"label", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"labels\":{\"a\":1}}", 422, "invalid",
     "labels.a", NULL},
    {"run name", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"name\":\"a\\u0007b\"}", 422, "invalid",
     "name", NULL},
    {"ignored", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"ignoreResources\":[\"tpu\"]}", 422,
     "invalid", "ignoreResources[0]", "gpu"},
    {"bundle text", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"bundle\":\"x\"}", 422, "invalid",
     "bundle", NULL},
    {"bundle unknown", "POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\",\"bundle\":\"" DIGEST "\"}", 422,
     "invalid", "bundle", "upload"},
    {"params in query", "POST", "/api/v1/runs?params=%5B1%5D", YAML_TYPE, HELLO, 422, "invalid", "query.params", NULL},

    {"YAML empty", "POST", "/api/v1/pipelines", YAML_TYPE, "# nothing\n", 422, "invalid", NULL, "apiVersion"},
    {"YAML broken", "POST", "/api/v1/pipelines", YAML_TYPE, "a: [1,\n", 400, "syntax", NULL, NULL},
    {"YAML twice", "POST", "/api/v1/pipelines", YAML_TYPE, "a: 1\na: 2\n", 0, NULL, NULL, NULL},
    {"not a pipeline", "POST", "/api/v1/pipelines", YAML_TYPE,
     "apiVersion: millrace/v1\nkind: Pipelin\nname: x\nsteps: {a: {expr: 1}}\n", 422, "invalid", "kind", "Pipeline"},
    {"no steps", "POST", "/api/v1/pipelines", YAML_TYPE, "apiVersion: millrace/v1\nkind: Pipeline\nname: x\n", 422,
     "invalid", NULL, NULL},
    {"unknown key", "POST", "/api/v1/pipelines", YAML_TYPE, HEAD "  a: {rnu: echo}\n", 422, "invalid", NULL, NULL},
    {"unknown step", "POST", "/api/v1/pipelines", YAML_TYPE,
     HEAD "  data: {run: echo}\n  b: {needs: [date], run: echo}\n", 422, "invalid", NULL, "data"},
    {"cycle", "POST", "/api/v1/pipelines", YAML_TYPE,
     HEAD "  a: {needs: [b], run: echo}\n  b: {needs: [a], run: echo}\n", 422, "invalid", NULL, NULL},
    {"two of one name", "POST", "/api/v1/pipelines", YAML_TYPE, HELLO "---\n" HELLO, 422, "invalid", NULL, "line 1"},
    {"two to run", "POST", "/api/v1/runs", YAML_TYPE, HELLO "---\n" HEAD "  a: {expr: 1}\n", 422, "invalid", NULL,
     "apply"},
    {"two to run in JSON", "POST", "/api/v1/runs", JSON_TYPE,
     "{\"source\":\"apiVersion: millrace/v1\\nkind: Pipeline\\nname: x\\nsteps: {a: {expr: 1}}\\n---\\n"
     "apiVersion: millrace/v1\\nkind: Pipeline\\nname: y\\nsteps: {a: {expr: 1}}\\n\"}",
     422, "invalid", NULL, "apply"},
    {"two to plan", "POST", "/api/v1/pipelines:plan", YAML_TYPE, HELLO "---\n" HEAD "  a: {expr: 1}\n", 422, "invalid",
     NULL, "apply"},
    {"project of the document", "POST", "/api/v1/pipelines?project=default", YAML_TYPE, "project: other\n" HELLO, 0,
     NULL, NULL, NULL},
    {"unknown project of the document", "POST", "/api/v1/pipelines", YAML_TYPE, "project: nowhere\n" HELLO, 404,
     "not-found", "project", "lists them"},
    {"unknown project of both", "POST", "/api/v1/pipelines?project=nowhere", YAML_TYPE, "project: nowhere\n" HELLO, 404,
     "not-found", "project", "lists them"},
    {"unknown project of the request", "POST", "/api/v1/pipelines?project=nowhere", YAML_TYPE, HELLO, 404, "not-found",
     "query.project", "lists them"},
    {"format", "POST", "/api/v1/pipelines:plan?format=png", YAML_TYPE, HELLO, 422, "invalid", "query.format",
     "mermaid"},
    {"sub-pipeline by file", "POST", "/api/v1/pipelines", YAML_TYPE, HEAD "  a: {pipeline: ./other.yaml}\n", 422,
     "invalid", NULL, "bundle"},
    {"sub-pipeline's text where it is kept", "POST", "/api/v1/pipelines", JSON_TYPE,
     "{\"source\":\"" ONE_LINE("expr: 1") "\",\"files\":{}}", 422, "invalid", "files", "bundle"},
    {"file that is no text", "POST", "/api/v1/pipelines?dry_run=1", JSON_TYPE,
     "{\"source\":\"x\",\"files\":{\"a.yaml\":1}}", 422, "invalid", "files.a.yaml", NULL},
    {"bundle unknown", "POST", "/api/v1/pipelines", JSON_TYPE,
     "{\"source\":\"" ONE_LINE("expr: 1") "\",\"bundle\":\"" DIGEST "\"}", 422, "invalid", "bundle", "upload"},
    {"file of a bundle that is not here", "POST", "/api/v1/pipelines?dry_run=1", JSON_TYPE,
     "{\"source\":\"" ONE_LINE("pipeline: ./y.yaml") "\",\"bundle\":\"" DIGEST "\"}", 422, "invalid", NULL, "files"},
    {"sub-pipeline by name", "POST", "/api/v1/pipelines", YAML_TYPE, HEAD "  a: {pipeline: helo}\n", 422, "invalid",
     NULL, NULL},

    {"only an image", "POST", "/api/v1/runs", YAML_TYPE, HEAD "  a: {image: \"python:3\"}\n", 422, "invalid", NULL,
     NULL},
    {"a GPU it has not", "POST", "/api/v1/runs", YAML_TYPE, HEAD "  a: {run: echo, resources: {gpu: {count: 1}}}\n",
     422, "invalid", NULL, "ignore"},
    {"more CPUs than there are", "POST", "/api/v1/runs", YAML_TYPE, HEAD "  a: {run: echo, resources: {cpu: 99}}\n",
     422, "invalid", NULL, NULL},
    {"project name", "POST", "/api/v1/projects", JSON_TYPE, "{\"name\":\"A b\"}", 422, "invalid", "name", "a-z"},
    {"project again", "POST", "/api/v1/projects", JSON_TYPE, "{\"name\":\"default\"}", 409, "conflict", NULL, NULL},
    {"role", "POST", "/api/v1/tokens", JSON_TYPE, "{\"name\":\"x\",\"role\":\"king\"}", 422, "invalid", "role",
     "viewer"},
    {"ttl", "POST", "/api/v1/tokens", JSON_TYPE, "{\"name\":\"x\",\"role\":\"viewer\",\"ttl\":\"soon\"}", 422,
     "invalid", "ttl", NULL},
    {"no such token", "DELETE", "/api/v1/tokens/9999", NULL, NULL, 404, "not-found", NULL, NULL},
    {"upload digest", "POST", "/api/v1/uploads", JSON_TYPE, "{\"digest\":\"md5:1\",\"size\":1}", 422, "invalid",
     "digest", NULL},
    {"upload size", "POST", "/api/v1/uploads", JSON_TYPE, "{\"digest\":\"" DIGEST "\",\"size\":-1}", 422, "invalid",
     "size", NULL},
    {"bundle of nothing", "POST", "/api/v1/bundles", JSON_TYPE, "{\"digest\":\"" DIGEST "\"}", 422, "invalid", "digest",
     "upload"},
    {"body on GET", "GET", "/api/v1/runs", NULL, "x", 422, "invalid", NULL, NULL},
    {"grace", "POST", "/api/v1/runs/1:cancel", JSON_TYPE, "{\"grace\":\"5\"}", 422, "invalid", "grace", NULL},
    {"pause takes nothing", "POST", "/api/v1/runs/1:pause", JSON_TYPE, "{\"a\":1}", 422, "invalid", "a", NULL},
    {"pause of nothing", "POST", "/api/v1/runs/77:pause", NULL, NULL, 404, "not-found", NULL, NULL},
    {"retry of an active run", "POST", "/api/v1/runs/1:retry", NULL, NULL, 409, "conflict", NULL, NULL},
    {"retry from nowhere", "POST", "/api/v1/runs/1:retry", JSON_TYPE, "{\"from\":\"gret\"}", 422, "invalid", "from",
     "greet"},
    {"delete of an active run", "DELETE", "/api/v1/runs/1", NULL, NULL, 409, "conflict", NULL, NULL},
    {"archive an active run", "POST", "/api/v1/runs/1:archive", NULL, NULL, 409, "conflict", NULL, "cancel"},
    {"archive of nothing", "POST", "/api/v1/runs/77:archive", NULL, NULL, 404, "not-found", NULL, NULL},
    {"approve no approval", "POST", "/api/v1/runs/1/tasks/greet:approve", JSON_TYPE, "{\"approved\":true}", 409,
     "conflict", NULL, NULL},
    {"approve what", "POST", "/api/v1/runs/1/tasks/greet:approve", JSON_TYPE, "{}", 422, "invalid", "approved", NULL},
    {"no such task", "GET", "/api/v1/runs/1/tasks/nope", NULL, NULL, 404, "not-found", NULL, "train[2]"},
    {"no such task number", "GET", "/api/v1/runs/1/tasks/99", NULL, NULL, 404, "not-found", NULL, NULL},
    {"attempt", "GET", "/api/v1/runs/1/tasks/greet/logs?attempt=3", NULL, NULL, 404, "not-found", "query.attempt",
     NULL},
    {"follow", "GET", "/api/v1/runs/1/tasks/greet/logs?follow=maybe", NULL, NULL, 422, "invalid", "query.follow", NULL},
};

static int open_with_run(void **state)
{
    fx.cfg.local_only = true;
    fx.cfg.cpu_milli = 4000;
    if (fixture_open(state) != 0) return -1;
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    int ok = a.status == 201;
    http_answer_free(&a);
    a = ask("POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\"}");
    ok = ok && a.status == 201 && http_number(&a, "id") == 1;
    http_answer_free(&a);
    return ok ? 0 : -1;
}

static bool check_row(const struct row *r, struct http_answer *a)
{
    const char *hint = http_text(a, "hint"), *where = http_text(a, "path");
    const char *type = http_header(a, "Content-Type");
    if (r->status == 0) return a->status >= 400 && a->status < 500; /* any refusal */
    return a->status == r->status && type && strcmp(type, "application/problem+json") == 0 &&
           strcmp(http_text(a, "code"), r->code) == 0 && http_number(a, "status") == r->status &&
           http_text(a, "detail")[0] && http_text(a, "requestId")[0] && (!r->where || strcmp(where, r->where) == 0) &&
           (!r->hint || strstr(hint, r->hint));
}

static int64_t rows_stored(void)
{
    return support_number(
        &fx.db, "SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM pipelines) + (SELECT count(*) FROM plans)"
                " + (SELECT count(*) FROM projects) + (SELECT count(*) FROM tokens) + (SELECT count(*) FROM uploads)"
                " + (SELECT count(*) FROM inbox) + (SELECT count(*) FROM idempotency_keys)");
}

static void test_table(void **state)
{
    (void)state;
    int failed = 0;
    int64_t before = rows_stored();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct http_answer a = ask(r->method, r->path, r->type, r->body);
        if (!check_row(r, &a)) {
            fprintf(stderr, "%s: %s %s → %d %s\n", r->name, r->method, r->path, a.status, a.body.p ? a.body.p : "");
            failed++;
        }
        http_answer_free(&a);
        if (rows_stored() != before) {
            fprintf(stderr, "%s: something was stored\n", r->name);
            before = rows_stored();
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

/* A file for one pipeline may hold the sub-pipelines that it uses. */
static void test_one_and_its_parts(void **state)
{
    (void)state;
    static const char *const files[] = {HEAD "  a: {pipeline: hello}\n---\n" HELLO,
                                        HEAD "  a: {pipeline: y}\n---\n" HELLO "---\n" Y};
    for (size_t i = 0; i < 2; i++) {
        struct http_answer a = ask("POST", "/api/v1/pipelines:plan", YAML_TYPE, files[i]);
        assert_int_equal(a.status, 200);
        http_answer_free(&a);
    }
}

/* A page token is good for the list it came from. */
static void test_tokens_of_other_lists(void **state)
{
    (void)state;
    static const char *const lists[] = {"/api/v1/runs",
                                        "/api/v1/pipelines",
                                        "/api/v1/artifacts",
                                        "/api/v1/runs/1/tasks",
                                        "/api/v1/runs/2/tasks",
                                        "/api/v1/pipelines/hello/versions",
                                        "/api/v1/runs/1/artifacts"};
    enum { LISTS = sizeof lists / sizeof *lists };
    struct http_answer a = ask("POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\"}");
    http_answer_free(&a);
    a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO "# more\n---\n" Y);
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    assert_true(support_sql(&fx.db,
                            "INSERT INTO artifacts (project_id, created_by, run_id, task, attempt, name, type, digest, "
                            "size) SELECT 1, 'x', 1, 0, 1, 'a' || i, 'b', 'sha256:0', 1 FROM generate_series(1, 3) i"));
    char path[1000], tokens[LISTS][100];
    for (size_t i = 0; i < LISTS; i++) {
        snprintf(path, sizeof path, "%s?page_size=1", lists[i]);
        a = ask("GET", path, NULL, NULL);
        snprintf(tokens[i], sizeof tokens[i], "%s", http_text(&a, "next_page_token"));
        if (!tokens[i][0]) fail_msg("%s: %d %s", path, a.status, a.body.p);
        http_answer_free(&a);
    }
    for (size_t i = 0; i < LISTS; i++)
        for (size_t k = 0; k < LISTS; k++) {
            snprintf(path, sizeof path, "%s?page_size=1&page_token=%s", lists[i], tokens[k]);
            a = ask("GET", path, NULL, NULL);
            if (a.status != (i == k ? 200 : 422)) fail_msg("%s: %d %s", path, a.status, a.body.p);
            http_answer_free(&a);
        }
}

/* Whoever names a field that is not there is told all that are; each member of an answer is one of them. */
static void test_known_fields(void **state)
{
    (void)state;
    static const char *const paths[] = {"/api/v1/runs/1",
                                        "/api/v1/runs",
                                        "/api/v1/runs/1/tasks",
                                        "/api/v1/runs/1/tasks/greet",
                                        "/api/v1/pipelines",
                                        "/api/v1/pipelines/hello",
                                        "/api/v1/pipelines/hello/versions"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct http_answer a = ask("GET", paths[i], NULL, NULL);
        assert_int_equal(a.status, 200);
        const struct value *one = &a.json, *items = value_get(one, "items");
        if (items) one = &items->u.list.items[0];
        assert_true(one->u.map.n > 3);
        for (size_t k = 0; k < one->u.map.n; k++) {
            char path[200], wrong[200];
            struct str key = one->u.map.entries[k].key;
            snprintf(path, sizeof path, "%s?fields=%.*s", paths[i], STR_ARG(key));
            struct http_answer b = ask("GET", path, NULL, NULL);
            if (b.status != 200) fail_msg("%s: %s", path, http_text(&b, "detail"));
            http_answer_free(&b);
            snprintf(wrong, sizeof wrong, "%s?fields=%.*s,nothing", paths[i], STR_ARG(key));
            b = ask("GET", wrong, NULL, NULL);
            assert_int_equal(b.status, 422);
            const char *told = http_text(&b, "detail");
            if (!strstr(told, "'nothing'") || !strstr(told, arena_cstr(&a.arena, key))) fail_msg("%s: %s", wrong, told);
            http_answer_free(&b);
        }
        http_answer_free(&a);
    }
}

/* A run that succeeded has nothing to retry, and must stay as it is. */
static void test_retry_of_success(void **state)
{
    (void)state;
    assert_true(
        support_sql(&fx.db, "UPDATE runs SET state = 5, ended_at = now(); DELETE FROM active_runs; DELETE FROM inbox"));
    struct http_answer a = ask("POST", "/api/v1/runs/1:retry", NULL, NULL);
    assert_int_equal(a.status, 409);
    assert_non_null(strstr(http_text(&a, "hint"), "from"));
    http_answer_free(&a);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM active_runs"), 0);
    a = ask("POST", "/api/v1/runs/1:retry", JSON_TYPE, "{\"from\":\"after\"}");
    assert_int_equal(a.status, 202);
    http_answer_free(&a);
}

/* The database drops every connection: at most some requests are told to come again. */
static void test_lost_connections(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        assert_true(support_sql(
            &fx.db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid()"));
        int status = 503;
        for (int i = 0; i < 20 && status == 503; i++) {
            struct http_answer a = ask("GET", "/api/v1/runs", NULL, NULL);
            status = a.status;
            if (status == 503) assert_non_null(http_header(&a, "Retry-After"));
            http_answer_free(&a);
        }
        assert_int_equal(status, 200);
    }
}

/* All problems of a file at once, each with its place. */
static void test_all_problems(void **state)
{
    (void)state;
    struct http_answer a =
        ask("POST", "/api/v1/pipelines:validate", YAML_TYPE,
            HEAD "  a: {rnu: echo}\n  b: {needs: [zz], run: echo}\n  c: {run: \"echo ${{ params.nope }}\"}\n");
    assert_int_equal(a.status, 422);
    assert_true(http_number(&a, "total") >= 3);
    for (int i = 0; i < 3; i++) {
        char path[40];
        snprintf(path, sizeof path, "errors.%d.line", i);
        assert_true(http_number(&a, path) >= 5);
        snprintf(path, sizeof path, "errors.%d.path", i);
        assert_true(http_text(&a, path)[0] != '\0');
    }
    http_answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_tokens_of_other_lists, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_one_and_its_parts, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_known_fields, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_retry_of_success, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_lost_connections, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_all_problems, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
