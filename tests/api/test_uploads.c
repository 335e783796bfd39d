/* Bytes by digest: uploads that break off and go on, bundles, artifacts and their ranges. */
#include "tests/api/fixture.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/blob/bundle.h"
#include "engine/blob/disk.h"
#include "engine/os/digest.h"

static struct http_answer patch(const char *id, int64_t offset, struct str bytes)
{
    char path[200], headers[100];
    struct http_answer a;
    snprintf(path, sizeof path, "/api/v1/uploads/%s", id);
    snprintf(headers, sizeof headers, "Upload-Offset: %lld\r\n", (long long)offset);
    struct http_ask q = {.port = fx.port,
                         .method = "PATCH",
                         .path = path,
                         .token = fx.token,
                         .headers = headers,
                         .type = "application/octet-stream",
                         .body = bytes};
    assert_true(http_ask(&q, &a));
    return a;
}

static struct http_answer announce(const char *digest, int64_t size)
{
    char body[200];
    snprintf(body, sizeof body, "{\"digest\":\"%s\",\"size\":%lld}", digest, (long long)size);
    return ask("POST", "/api/v1/uploads", JSON_TYPE, body);
}

static void upload(struct str bytes, char digest[DIGEST_TEXT])
{
    digest_of(bytes, digest);
    struct http_answer a = announce(digest, (int64_t)bytes.n);
    assert_int_equal(a.status, 201);
    char id[80];
    snprintf(id, sizeof id, "%s", http_text(&a, "id"));
    http_answer_free(&a);
    a = patch(id, 0, bytes);
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
}

static void test_resume(void **state)
{
    (void)state;
    enum { SIZE = 700000 };
    char *bytes = malloc(SIZE), digest[DIGEST_TEXT], id[80], path[200];
    for (int i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    digest_of((struct str){bytes, SIZE}, digest);
    struct http_answer a = announce(digest, SIZE);
    assert_int_equal(a.status, 201);
    assert_int_equal(http_number(&a, "offset"), 0);
    snprintf(id, sizeof id, "%s", http_text(&a, "id"));
    http_answer_free(&a);
    a = patch(id, 0, (struct str){bytes, 300000});
    assert_int_equal(a.status, 200);
    assert_int_equal(http_number(&a, "offset"), 300000);
    http_answer_free(&a);
    a = patch(id, 10, (struct str){bytes, 10}); /* not where it stands */
    assert_int_equal(a.status, 409);
    assert_string_equal(http_header(&a, "Upload-Offset"), "300000");
    http_answer_free(&a);

    /* The connection breaks in the middle of the next piece. */
    char head[500];
    int fd = http_connect(fx.port);
    snprintf(
        head, sizeof head,
        "PATCH /api/v1/uploads/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nUpload-Offset: 300000\r\n"
        "Content-Type: application/octet-stream\r\nContent-Length: 400000\r\n\r\n",
        id, fx.token);
    assert_true(http_send(fd, head, strlen(head)) && http_send(fd, bytes + 300000, 100000));
    shutdown(fd, SHUT_WR);
    assert_true(http_receive(fd, false, &a));
    assert_int_equal(a.status, 400);
    http_answer_free(&a);
    close(fd);

    a = announce(digest, SIZE); /* the same upload is taken up again */
    assert_int_equal(a.status, 201);
    assert_string_equal(http_text(&a, "id"), id);
    int64_t offset = http_number(&a, "offset");
    assert_true(offset >= 300000 && offset <= 400000);
    http_answer_free(&a);
    a = patch(id, offset, (struct str){bytes + offset, (size_t)(SIZE - offset)});
    assert_int_equal(a.status, 201);
    assert_non_null(strstr(a.body.p, "\"complete\":true"));
    http_answer_free(&a);
    a = announce(digest, SIZE);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    snprintf(path, sizeof path, "/api/v1/blobs/%s", digest);
    a = ask("GET", path, NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.n, SIZE);
    assert_memory_equal(a.body.p, bytes, SIZE);
    assert_string_equal(http_header(&a, "X-Content-Type-Options"), "nosniff");
    assert_non_null(strstr(http_header(&a, "Content-Disposition"), "attachment"));
    http_answer_free(&a);
    free(bytes);
}

static void test_wrong_bytes(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], id[80], path[200];
    digest_of(STR("right"), digest);
    struct http_answer a = announce(digest, 5);
    snprintf(id, sizeof id, "%s", http_text(&a, "id"));
    http_answer_free(&a);
    a = patch(id, 0, STR("wrong"));
    assert_int_equal(a.status, 422);
    assert_string_equal(http_text(&a, "path"), "digest");
    http_answer_free(&a);
    snprintf(path, sizeof path, "/api/v1/blobs/%s", digest);
    a = ask("GET", path, NULL, NULL);
    assert_int_equal(a.status, 404);
    http_answer_free(&a);
    a = announce(digest, 5); /* begins anew */
    snprintf(id, sizeof id, "%s", http_text(&a, "id"));
    assert_int_equal(http_number(&a, "offset"), 0);
    http_answer_free(&a);
    a = patch(id, 0, STR("right and more"));
    assert_in_range(a.status, 413, 422);
    http_answer_free(&a);
    a = patch(id, 0, STR("right"));
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
}

/* Two send the same bytes: who comes second is told that they are there. */
static void test_together(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], id[80], path[200];
    digest_of(STR("the same"), digest);
    struct http_answer a = announce(digest, 8), b = announce(digest, 8);
    snprintf(id, sizeof id, "%s", http_text(&a, "id"));
    assert_string_equal(http_text(&b, "id"), id);
    http_answer_free(&a);
    http_answer_free(&b);
    a = patch(id, 0, STR("the same"));
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    for (int64_t offset = 0; offset < 8; offset += 4) {
        a = patch(id, offset, STR("the same"));
        assert_int_equal(a.status, 201);
        assert_int_equal(http_number(&a, "offset"), 8);
        assert_true(http_member(&a, "complete")->u.b);
        http_answer_free(&a);
    }
    snprintf(path, sizeof path, "/api/v1/uploads/%s", id);
    a = ask("GET", path, NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_true(http_member(&a, "complete")->u.b);
    http_answer_free(&a);
}

/* Bytes that another project has are not ours for knowing their name. */
static void test_foreign_digest(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], path[200];
    upload(STR("mine"), digest);
    struct http_answer a = ask("POST", "/api/v1/projects", JSON_TYPE, "{\"name\":\"other\"}");
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    snprintf(path, sizeof path, "/api/v1/blobs/%s?project=other", digest);
    a = ask("GET", path, NULL, NULL);
    assert_int_equal(a.status, 404);
    http_answer_free(&a);
    char body[200];
    snprintf(body, sizeof body, "{\"digest\":\"%s\",\"size\":4}", digest);
    a = ask("POST", "/api/v1/uploads?project=other", JSON_TYPE, body);
    assert_int_equal(a.status, 201); /* it has to prove it by sending them */
    http_answer_free(&a);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_bundle(void **state)
{
    (void)state;
    char dir[256], digest[DIGEST_TEXT], body[400], path[200];
    struct bundle_stats stats;
    struct err err;
    int fd;
    assert_int_equal(support_dir_make(dir), 0);
    write_file(dir, "sub.yaml", "apiVersion: millrace/v1\nkind: Pipeline\nname: sub\nsteps:\n  inner: {expr: 1}\n");
    write_file(dir, "step.py", "print(1)\n");
    assert_true(bundle_pack_temp(dir, NULL, &fd, &stats, &err));
    BUF_AUTO bytes;
    buf_init(&bytes, 0);
    assert_true(buf_reserve(&bytes, (size_t)stats.size));
    assert_int_equal(pread(fd, bytes.p, (size_t)stats.size, 0), stats.size);
    bytes.n = (size_t)stats.size;
    close(fd);
    support_dir_remove(dir);
    upload(buf_view(&bytes), digest);
    assert_string_equal(digest, stats.digest);
    snprintf(body, sizeof body, "{\"digest\":\"%s\"}", digest);
    struct http_answer a = ask("POST", "/api/v1/bundles", JSON_TYPE, body);
    assert_int_equal(a.status, 201);
    assert_true(http_number(&a, "entries") >= 2);
    http_answer_free(&a);
    a = ask("POST", "/api/v1/bundles", JSON_TYPE, body);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    snprintf(path, sizeof path, "/api/v1/bundles/%s", digest);
    a = ask("HEAD", path, NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    /* A file of the bundle is a sub-pipeline of what is sent with it. */
    snprintf(body, sizeof body, "/api/v1/pipelines?bundle=%s", digest);
    a = ask("POST", body, YAML_TYPE,
            "apiVersion: millrace/v1\nkind: Pipeline\nname: x\nsteps:\n  a: {pipeline: ./sub.yaml}\n");
    if (a.status != 201) fprintf(stderr, "%s\n", a.body.p);
    assert_int_equal(a.status, 201);
    assert_string_equal(http_text(&a, "items.0.bundle"), digest);
    http_answer_free(&a);
    a = ask("POST", body, YAML_TYPE,
            "apiVersion: millrace/v1\nkind: Pipeline\nname: x\nsteps:\n  a: {pipeline: ../sub.yaml}\n");
    assert_int_equal(a.status, 422);
    http_answer_free(&a);
    /* What is no archive is none. */
    upload(STR("this is no archive"), digest);
    snprintf(body, sizeof body, "{\"digest\":\"%s\"}", digest);
    a = ask("POST", "/api/v1/bundles", JSON_TYPE, body);
    assert_int_equal(a.status, 422);
    http_answer_free(&a);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM bundles"), 1);
}

static void test_artifact(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], sql[600], tag[100];
    upload(STR("0123456789"), digest);
    snprintf(sql, sizeof sql,
             "INSERT INTO artifacts (project_id, created_by, run_id, task, attempt, name, type, digest, size) "
             "VALUES (1, 'x', NULL, NULL, NULL, 'a \"b\"/../c', 'model', '%s', 10)",
             digest);
    assert_true(support_sql(&fx.db, sql));
    struct http_answer a = ask("GET", "/api/v1/artifacts?filter=type%20%3D%20model", NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(http_number(&a, "items.0.id"), 1);
    assert_null(http_member(&a, "items.0.path"));
    http_answer_free(&a);
    /* One of a task tells which, wherever it is listed. */
    snprintf(sql, sizeof sql,
             "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
             "VALUES (7, 3, 1, 'x', 0, 'train[2]', 7, 1); "
             "INSERT INTO artifacts (project_id, created_by, run_id, task, attempt, name, type, digest, size) "
             "VALUES (1, 'x', 7, 3, 1, 'out', 'table', '%s', 10)",
             digest);
    assert_true(support_sql(&fx.db, sql));
    static const char *const paths[] = {"/api/v1/artifacts?filter=type%20%3D%20table",
                                        "/api/v1/artifacts?order_by=size&filter=name%20%3D%20out"};
    for (size_t i = 0; i < 2; i++) {
        a = ask("GET", paths[i], NULL, NULL);
        assert_string_equal(http_text(&a, "items.0.path"), "train[2]");
        http_answer_free(&a);
    }
    a = ask("GET", "/api/v1/artifacts/2/lineage", NULL, NULL);
    assert_string_equal(http_text(&a, "producedBy.0.path"), "train[2]");
    http_answer_free(&a);
    a = ask("GET", "/api/v1/artifacts/1", NULL, NULL);
    assert_string_equal(http_text(&a, "digest"), digest);
    http_answer_free(&a);
    a = ask("GET", "/api/v1/artifacts/1/lineage", NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    a = ask("GET", "/api/v1/artifacts/1/content", NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body.p, "0123456789");
    assert_string_equal(http_header(&a, "Content-Disposition"), "attachment; filename=\"a__b__.._c\"");
    snprintf(tag, sizeof tag, "%s", http_header(&a, "ETag"));
    http_answer_free(&a);
    char headers[200];
    snprintf(headers, sizeof headers, "Range: bytes=2-4\r\nIf-Range: %s\r\n", tag);
    struct http_ask q = {
        .port = fx.port, .method = "GET", .path = "/api/v1/artifacts/1/content", .token = fx.token, .headers = headers};
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 206);
    assert_string_equal(a.body.p, "234");
    assert_string_equal(http_header(&a, "Content-Range"), "bytes 2-4/10");
    http_answer_free(&a);
    q.headers = "Range: bytes=2-4\r\nIf-Range: \"other\"\r\n";
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    snprintf(headers, sizeof headers, "If-None-Match: %s\r\n", tag);
    q.headers = headers;
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 304);
    http_answer_free(&a);
    q.headers = "Range: bytes=10-\r\n";
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 416);
    assert_string_equal(http_header(&a, "Content-Range"), "bytes */10");
    http_answer_free(&a);
}

static struct http_answer put(const char *body, const char *key)
{
    struct http_answer a;
    struct http_ask q = {.port = fx.port,
                         .method = "POST",
                         .path = "/api/v1/artifacts",
                         .token = fx.token,
                         .headers = key,
                         .type = JSON_TYPE,
                         .body = str_of(body)};
    assert_true(http_ask(&q, &a));
    return a;
}

static void test_artifact_of_upload(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], body[400];
    upload(STR("0123456789"), digest);
    assert_true(support_sql(&fx.db, "UPDATE blobs SET created_at = '2020-01-01'"));
    snprintf(body, sizeof body,
             "{\"name\":\"a b/c.csv\",\"type\":\"data-set\",\"digest\":\"%s\",\"metadata\":{\"n\":[3]}}", digest);
    static const char key[] = "Idempotency-Key: once\r\n";
    for (int i = 0; i < 2; i++) { /* said twice, made once */
        struct http_answer a = put(body, key);
        if (a.status != 201) fail_msg("%s", a.body.p);
        assert_string_equal(http_header(&a, "Location"), "/api/v1/artifacts/1");
        assert_string_equal(http_text(&a, "name"), "a b/c.csv");
        assert_string_equal(http_text(&a, "type"), "data-set");
        assert_string_equal(http_text(&a, "digest"), digest);
        assert_int_equal(http_number(&a, "size"), 10);
        assert_int_equal(http_number(&a, "metadata.n.0"), 3);
        assert_null(http_member(&a, "run"));
        http_answer_free(&a);
    }
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM artifacts WHERE run_id IS NULL"), 1);
    /* A sweep that had marked the blob finds it young. */
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM blobs WHERE created_at < '2021-01-01'"), 0);
    struct http_answer a = ask("GET", "/api/v1/artifacts/1/content", NULL, NULL);
    assert_string_equal(a.body.p, "0123456789");
    http_answer_free(&a);
}

static void test_artifact_refused(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], gzip[DIGEST_TEXT], deep[100] = "", *body = malloc(80000), *big = malloc(70000);
    upload(STR("no archive"), digest);
    upload(STR("\x1f\x8b so it begins"), gzip);
    memset(big, 'x', 69999);
    big[69999] = 0;
    for (int i = 0; i < 16; i++)
        strcat(deep, "[");
    for (int i = 0; i < 16; i++)
        strcat(deep, "]");
    const struct {
        const char *name, *type, *digest, *metadata, *path; /* path NULL = made */
    } rows[] = {
        {"n", "t", digest, "{}", NULL},
        {"n", "t", digest, "null", NULL},
        {"n", "t", digest, "{\"folder\":false}", NULL},
        {"n", "t", gzip, "{\"folder\":true}", NULL},
        {"", "t", digest, "{}", "name"},
        {"a\\nb", "t", digest, "{}", "name"},
        {big, "t", digest, "{}", "name"},
        {"n", "", digest, "{}", "type"},
        {"n", "1st", digest, "{}", "type"},
        {"n", "a/b", digest, "{}", "type"},
        {"n", "t", "sha256:12", "{}", "digest"},
        {"n", "t", "sha256:0000000000000000000000000000000000000000000000000000000000000000", "{}", "digest"},
        {"n", "t", digest, "[]", "metadata"},
        {"n", "t", digest, deep, "metadata"},
        {"n", "t", digest, "{\"folder\":1}", "metadata.folder"},
        {"n", "t", digest, "{\"folder\":true}", "metadata.folder"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(body, 80000, "{\"name\":\"%s\",\"type\":\"%s\",\"digest\":\"%s\",\"metadata\":%s}", rows[i].name,
                 rows[i].type, rows[i].digest, rows[i].metadata);
        struct http_answer a = put(body, NULL);
        bool good =
            rows[i].path ? a.status == 422 && strcmp(http_text(&a, "path"), rows[i].path) == 0 : a.status == 201;
        if (!good) fail_msg("row %zu: %d %s", i, a.status, a.body.p);
        http_answer_free(&a);
    }
    snprintf(body, 80000, "{\"name\":\"n\",\"type\":\"t\",\"digest\":\"%s\",\"metadata\":{\"x\":\"%s\"}}", digest, big);
    struct http_answer a = put(body, NULL);
    assert_int_equal(a.status, 422);
    assert_string_equal(http_text(&a, "path"), "metadata");
    http_answer_free(&a);
    snprintf(body, 80000, "{\"name\":\"n\",\"type\":\"t\",\"digest\":\"%s\",\"metadata\":{\"x\":%s}}", digest, deep);
    a = put(body, NULL);
    assert_int_equal(a.status, 422);
    assert_string_equal(http_text(&a, "path"), "metadata");
    http_answer_free(&a);
    /* Another project's bytes are not ours. */
    assert_true(support_sql(&fx.db, "INSERT INTO projects (name, created_by) VALUES ('other', 'x');"
                                    "DELETE FROM artifacts; UPDATE blobs SET project_id = 2"));
    snprintf(body, 80000, "{\"name\":\"n\",\"type\":\"t\",\"digest\":\"%s\"}", digest);
    a = put(body, NULL);
    assert_int_equal(a.status, 422);
    http_answer_free(&a);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM artifacts"), 0);
    free(body);
    free(big);
}

/* Its record alone would keep it away for good from whoever has it. */
static void test_what_is_gone_is_taken_again(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], path[400];
    upload(STR("0123456789"), digest);
    struct http_answer a = announce(digest, 10);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    snprintf(path, sizeof path, "%s/blobs/%.2s/%s", fx.dir, digest + 7, digest + 9);
    assert_int_equal(unlink(path), 0);
    upload(STR("0123456789"), digest);
    snprintf(path, sizeof path, "/api/v1/blobs/%s", digest);
    a = ask("GET", path, NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_memory_equal(a.body.p, "0123456789", 10);
    http_answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resume, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_wrong_bytes, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_together, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_foreign_digest, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_what_is_gone_is_taken_again, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_bundle, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_artifact, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_artifact_of_upload, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_artifact_refused, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
