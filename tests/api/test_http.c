/* The protocol: entity tags, compression, HEAD, repeated creates, connections that are kept, and limits of size and
 * time. */
#include "tests/api/fixture.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

static void test_etag_and_head(void **state)
{
    (void)state;
    struct http_answer a = ask("GET", "/api/v1/openapi.yaml", NULL, NULL);
    assert_int_equal(a.status, 200);
    const char *tag = http_header(&a, "ETag");
    assert_non_null(tag);
    char headers[200];
    snprintf(headers, sizeof headers, "If-None-Match: %s\r\nX-Request-Id: mine-1\r\n", tag);
    char length[20];
    snprintf(length, sizeof length, "%s", http_header(&a, "Content-Length"));
    http_answer_free(&a);
    struct http_ask q = {
        .port = fx.port, .method = "GET", .path = "/api/v1/openapi.yaml", .token = fx.token, .headers = headers};
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 304);
    assert_int_equal(a.body.n, 0);
    assert_string_equal(http_header(&a, "X-Request-Id"), "mine-1");
    http_answer_free(&a);
    q.method = "HEAD";
    q.headers = "X-Request-Id: bad id\\{}\r\n";
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 200);
    assert_string_equal(http_header(&a, "Content-Length"), length);
    assert_string_not_equal(http_header(&a, "X-Request-Id"), "bad id\\{}");
    http_answer_free(&a);
}

static void test_gzip(void **state)
{
    (void)state;
    struct http_answer plain = ask("GET", "/api/v1/openapi.yaml", NULL, NULL), packed;
    struct http_ask q = {.port = fx.port,
                         .method = "GET",
                         .path = "/api/v1/openapi.yaml",
                         .token = fx.token,
                         .headers = "Accept-Encoding: br, gzip;q=0.8\r\n"};
    assert_true(http_ask(&q, &packed));
    assert_string_equal(http_header(&packed, "Content-Encoding"), "gzip");
    assert_string_equal(http_header(&packed, "ETag"), http_header(&plain, "ETag"));
    char *out = malloc(plain.body.n + 1);
    z_stream z = {0};
    assert_int_equal(inflateInit2(&z, 31), Z_OK);
    z.next_in = (unsigned char *)packed.body.p;
    z.avail_in = (unsigned)packed.body.n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (unsigned)plain.body.n + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, plain.body.n);
    assert_memory_equal(out, plain.body.p, plain.body.n);
    inflateEnd(&z);
    free(out);
    http_answer_free(&packed);
    q.headers = "Accept-Encoding: gzip;q=0\r\n";
    assert_true(http_ask(&q, &packed));
    assert_null(http_header(&packed, "Content-Encoding"));
    http_answer_free(&packed);
    http_answer_free(&plain);
}

/* A long list goes out in chunks, whole, with and without compression. */
static void test_long_answer(void **state)
{
    (void)state;
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    assert_true(support_sql(
        &fx.db, "INSERT INTO runs (project_id, pipeline, name, plan_id, created_by, state, ended_at, params)"
                " SELECT 1, 'hello', 'r' || i, 1, 'x', 5, now(), jsonb_build_object('pad', repeat('x', 3000))"
                " FROM generate_series(1, 900) i"));
    a = ask("GET", "/api/v1/runs?page_size=1000", NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_true(a.whole);
    assert_string_equal(http_header(&a, "Transfer-Encoding"), "chunked");
    assert_non_null(http_member(&a, "items.899"));
    http_answer_free(&a);
    struct http_ask q = {.port = fx.port,
                         .method = "GET",
                         .path = "/api/v1/runs?page_size=1000",
                         .token = fx.token,
                         .headers = "Accept-Encoding: gzip\r\n"};
    assert_true(http_ask(&q, &a));
    assert_true(a.whole);
    assert_true(a.body.n > 1000 && a.body.n < 400000);
    http_answer_free(&a);
    /* Pages: every run once. */
    char path[300] = "/api/v1/runs?page_size=400&fields=id";
    int64_t last = INT64_MAX;
    size_t seen = 0;
    for (;;) {
        a = ask("GET", path, NULL, NULL);
        assert_int_equal(a.status, 200);
        const struct value *items = http_member(&a, "items");
        for (size_t i = 0; i < items->u.list.n; i++, seen++) {
            int64_t id = value_get(&items->u.list.items[i], "id")->u.i;
            assert_true(id < last);
            last = id;
        }
        const char *next = http_text(&a, "next_page_token");
        if (!*next) break;
        snprintf(path, sizeof path, "/api/v1/runs?page_size=400&fields=id&page_token=%s", next);
        http_answer_free(&a);
    }
    http_answer_free(&a);
    assert_int_equal(seen, 900);
}

static struct http_answer create(const char *key, const char *body)
{
    char headers[200];
    struct http_answer a;
    snprintf(headers, sizeof headers, "Idempotency-Key: %s\r\n", key);
    struct http_ask q = {.port = fx.port,
                         .method = "POST",
                         .path = "/api/v1/runs",
                         .token = fx.token,
                         .headers = headers,
                         .type = JSON_TYPE,
                         .body = str_of(body)};
    assert_true(http_ask(&q, &a));
    return a;
}

static void test_idempotency(void **state)
{
    (void)state;
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO), b;
    http_answer_free(&a);
    a = create("k1", "{\"pipeline\":\"hello\"}");
    b = create("k1", "{\"pipeline\":\"hello\"}");
    assert_int_equal(a.status, 201);
    assert_int_equal(b.status, 201);
    assert_int_equal(http_number(&a, "id"), http_number(&b, "id"));
    assert_string_equal(http_header(&a, "Location"), http_header(&b, "Location"));
    assert_string_equal(http_header(&b, "Idempotent-Replayed"), "true");
    assert_string_equal(a.body.p, b.body.p);
    http_answer_free(&b);
    http_answer_free(&a);
    a = create("k1", "{\"pipeline\":\"hello\",\"name\":\"x\"}");
    assert_int_equal(a.status, 409);
    http_answer_free(&a);
    a = create("k2", "{\"pipeline\":\"nope\"}");
    assert_int_equal(a.status, 404);
    http_answer_free(&a);
    a = create("k2", "{\"pipeline\":\"hello\"}"); /* what failed was not kept */
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM runs"), 2);
}

/* An answer longer than what is gathered elsewhere still waits for the commit, and is kept whole. */
static void test_long_create(void **state)
{
    (void)state;
    enum { LONG = 3 << 20 };
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO), b;
    http_answer_free(&a);
    char *body = malloc(LONG + 100), *p = body + sprintf(body, "{\"pipeline\":\"hello\",\"params\":{\"who\":\"");
    memset(p, 'x', LONG);
    strcpy(p + LONG, "\"}}");
    a = create("long", body);
    b = create("long", body);
    free(body);
    assert_int_equal(a.status, 201);
    assert_non_null(http_header(&a, "Location"));
    assert_non_null(http_header(&a, "Content-Length"));
    assert_string_equal(http_header(&b, "Idempotent-Replayed"), "true");
    assert_string_equal(a.body.p, b.body.p);
    assert_true(a.body.n > LONG);
    http_answer_free(&b);
    http_answer_free(&a);
}

static void test_if_match(void **state)
{
    (void)state;
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    http_answer_free(&a);
    a = ask("GET", "/api/v1/pipelines/hello", NULL, NULL);
    assert_string_equal(http_header(&a, "ETag"), "\"v1\"");
    http_answer_free(&a);
    struct http_ask q = {.port = fx.port,
                         .method = "POST",
                         .path = "/api/v1/pipelines",
                         .token = fx.token,
                         .type = YAML_TYPE,
                         .headers = "If-Match: \"v7\"\r\n",
                         .body = STR(HELLO "# more\n")};
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 412);
    http_answer_free(&a);
    q.headers = "If-Match: \"v1\"\r\n";
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 201);
    http_answer_free(&a);
}

/* Several requests on one connection, refusals among them. */
static void test_kept_connection(void **state)
{
    (void)state;
    int fd = http_connect(fx.port);
    for (int i = 0; i < 20; i++) {
        char text[400];
        const char *body = i % 3 == 2 ? "{\"nam\":1}" : "";
        snprintf(text, sizeof text,
                 "%s /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: "
                 "application/json\r\n"
                 "Content-Length: %zu\r\n\r\n%s",
                 i % 3 == 2 ? "POST" : "GET", fx.token, strlen(body), body);
        struct http_answer a;
        assert_true(http_send(fd, text, strlen(text)));
        assert_true(http_receive(fd, false, &a));
        assert_int_equal(a.status, i % 3 == 2 ? 422 : 200);
        assert_string_equal(http_header(&a, "Connection"), "keep-alive");
        http_answer_free(&a);
    }
    close(fd);
}

struct raw {
    const char *name, *text;
    int status; /* 0 = the connection just ends */
};

static void test_raw(void **state)
{
    (void)state;
    static const struct raw rows[] = {
        {"HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", 200},
        {"no Host", "GET /healthz HTTP/1.1\r\n\r\n", 400},
        {"rubbish", "\x16\x03\x01 hello\r\n\r\n", 400},
        {"no version", "GET /healthz\r\n\r\n", 400},
        {"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", 505},
        {"odd method", "BREW /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
        {"OPTIONS", "OPTIONS /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
        {"TRACE", "TRACE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
        {"bad length", "POST /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400},
        {"upgrade", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
         200},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = http_connect(fx.port);
        struct http_answer a;
        assert_true(http_send(fd, rows[i].text, strlen(rows[i].text)));
        bool got = http_receive(fd, false, &a);
        int status = got ? a.status : 0;
        if (status != rows[i].status) {
            fprintf(stderr, "%s: %d\n%s\n", rows[i].name, status, a.body.p ? a.body.p : "");
            failed++;
        }
        http_answer_free(&a);
        close(fd);
    }
    assert_int_equal(failed, 0);
}

static int post_raw(const char *path, const char *headers, size_t body)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_printf(
        &text,
        "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s\r\n",
        path, fx.token, headers);
    for (size_t i = 0; i < body; i++)
        buf_char(&text, 'x');
    int fd = http_connect(fx.port);
    struct http_answer a;
    bool got = http_send(fd, text.p, text.n);
    got = http_receive(fd, false, &a) || got;
    int status = a.status;
    http_answer_free(&a);
    close(fd);
    return got ? status : 0;
}

static void send_chunked(int chunks, int status)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_printf(&text,
               "POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
               "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
               fx.token);
    for (int i = 0; i < chunks; i++)
        buf_c(&text, "9\r\nxxxxxxxxx\r\n");
    buf_c(&text, "0\r\n\r\n");
    int fd = http_connect(fx.port);
    struct http_answer a;
    assert_true(http_send(fd, text.p, text.n) && http_receive(fd, false, &a));
    assert_int_equal(a.status, status);
    http_answer_free(&a);
    close(fd);
}

static void test_limits(void **state)
{
    (void)state;
    /* Announced too large: refused before it is sent. */
    assert_int_equal(post_raw("/api/v1/runs", "Content-Length: 99999999999\r\n", 0), 413);
    assert_int_equal(post_raw("/api/v1/runs", "Content-Length: 99999999999\r\nExpect: 100-continue\r\n", 0), 413);
    /* Sent too large. */
    assert_int_equal(post_raw("/api/v1/runs", "Content-Length: 5000\r\n", 5000), 413);
    /* A chunk that does not end where it says. */
    assert_int_equal(post_raw("/api/v1/runs", "Transfer-Encoding: chunked\r\n\r\n1400", 5122), 400);
    send_chunked(600, 413);
    send_chunked(6, 400); /* read well, and no JSON */
    /* Slower than the clock, and torn. */
    assert_int_equal(post_raw("/api/v1/runs", "Content-Length: 50\r\n", 10), 408);
    BUF_AUTO big;
    buf_init(&big, 0);
    buf_c(&big, "X-Long: ");
    for (int i = 0; i < 20000; i++)
        buf_char(&big, 'y');
    buf_c(&big, "\r\n");
    int status = post_raw("/api/v1/runs", big.p, 0);
    assert_int_equal(status, 431);
    /* It still works. */
    struct http_answer a = ask("GET", "/readyz", NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
}

/* Nesting as deep as it may be, and deeper: an answer, never an overrun stack. */
static void test_deep_document(void **state)
{
    (void)state;
    BUF_AUTO text;
    for (int depth = 8; depth <= 4096; depth *= 2) {
        buf_init(&text, 0);
        buf_c(&text, "apiVersion: millrace/v1\nkind: Pipeline\nname: x\nsteps:\n  a:\n    expr: \"${{ ");
        for (int i = 0; i < depth; i++)
            buf_char(&text, '(');
        buf_char(&text, '1');
        for (int i = 0; i < depth; i++)
            buf_char(&text, ')');
        buf_c(&text, " }}\"\n    env: ");
        for (int i = 0; i < depth; i++)
            buf_char(&text, '[');
        for (int i = 0; i < depth; i++)
            buf_char(&text, ']');
        buf_char(&text, '\n');
        struct http_answer a = ask("POST", "/api/v1/pipelines:validate", YAML_TYPE, text.p);
        assert_in_range(a.status, 400, 422);
        http_answer_free(&a);
        buf_reset(&text);
        for (int i = 0; i < depth; i++)
            buf_c(&text, "{\"a\":[");
        a = ask("POST", "/api/v1/runs", JSON_TYPE, text.p);
        assert_in_range(a.status, 400, 422);
        http_answer_free(&a);
        buf_free(&text);
    }
}

static void test_torn_body(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        char text[300];
        int fd = http_connect(fx.port);
        snprintf(text, sizeof text,
                 "POST /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
                 "Content-Type: application/json\r\nContent-Length: 60\r\n\r\n{\"name\":\"torn\"}",
                 fx.token);
        assert_true(http_send(fd, text, strlen(text)));
        close(fd);
    }
    struct http_answer a = ask("GET", "/readyz", NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM projects"), 1);
}

static int open_small(void **state)
{
    fx.cfg.max_body = 4096;
    fx.cfg.body_timeout_ms = 300;
    return fixture_open(state);
}

/* Far more connections than threads: some wait, none breaks the server. */
static void test_many_connections(void **state)
{
    (void)state;
    enum { MANY = 400 };
    static int fds[MANY];
    for (int i = 0; i < MANY; i++)
        fds[i] = http_connect(fx.port);
    for (int i = 0; i < MANY; i++)
        if (fds[i] >= 0 && i % 2 == 0) close(fds[i]);
    static const char text[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    int answered = 0;
    for (int i = 1; i < MANY; i += 2) {
        if (fds[i] < 0) continue;
        struct http_answer a;
        if (http_send(fds[i], text, sizeof text - 1) && http_receive(fds[i], false, &a)) answered += a.status == 200;
        http_answer_free(&a);
        close(fds[i]);
    }
    assert_true(answered > MANY / 4);
    struct http_answer a = ask("GET", "/readyz", NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
}

static void test_health_port(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int status;
    } rows[] = {{"/healthz", 200}, {"/readyz", 200}, {"/api/v1/version", 404}, {"/api/v1/runs", 404}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_answer a;
        struct http_ask q = {.port = api_health_port(fx.api), .method = "GET", .path = rows[i].path};
        assert_true(http_ask(&q, &a));
        assert_int_equal(a.status, rows[i].status);
        http_answer_free(&a);
    }
}

static bool alive = true;

static bool is_alive(void *ctx)
{
    return *(bool *)ctx;
}

static int open_health(void **state)
{
    fx.cfg.health_listen = "127.0.0.1:0";
    fx.cfg.alive = is_alive;
    fx.cfg.alive_ctx = &alive;
    return fixture_open(state);
}

/* A server whose scheduler hangs answers requests, and yet wants to be started again. */
static void test_hanging(void **state)
{
    (void)state;
    static const struct {
        bool alive;
        int status;
        const char *words;
    } rows[] = {{true, 200, "alive"}, {false, 503, "the scheduler hangs"}, {true, 200, "alive"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        alive = rows[i].alive;
        struct http_ask q = {.port = api_health_port(fx.api), .method = "GET", .path = "/healthz"};
        struct http_answer a;
        size_t at;
        assert_true(http_ask(&q, &a));
        assert_int_equal(a.status, rows[i].status);
        assert_true(str_find(buf_view(&a.body), str_of(rows[i].words), &at));
        http_answer_free(&a);
    }
}

static int close_plain(void **state)
{
    int rc = fixture_close(state);
    memset(&fx.cfg, 0, sizeof fx.cfg);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_etag_and_head, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_gzip, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_long_answer, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_idempotency, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_long_create, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_if_match, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_kept_connection, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_raw, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_limits, open_small, close_plain),
        cmocka_unit_test_setup_teardown(test_deep_document, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_torn_body, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_many_connections, fixture_open, close_plain),
        cmocka_unit_test_setup_teardown(test_health_port, open_health, close_plain),
        cmocka_unit_test_setup_teardown(test_hanging, open_health, close_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
