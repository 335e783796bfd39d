/* Heads of requests that could be understood in two ways, or that the HTTP library would read in part. */
#include "tests/api/fixture.h"

#include <unistd.h>

/* A request as it goes over the wire; $ stands for the administrator's token, @ for the server's port. The answer is to
 * be freed. */
static struct http_answer send_raw(const char *text)
{
    BUF_AUTO bytes;
    struct http_answer a;
    buf_init(&bytes, 0);
    for (const char *c = text; *c; c++)
        if (*c == '$')
            buf_c(&bytes, fx.token);
        else if (*c == '@')
            buf_printf(&bytes, "%d", fx.port);
        else
            buf_char(&bytes, *c);
    int fd = http_connect(fx.port);
    assert_true(http_send(fd, bytes.p, bytes.n));
    if (!http_receive(fd, false, &a)) a.status = 0;
    close(fd);
    return a;
}

static struct http_answer with_headers(size_t n)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
    for (size_t i = 1; i < n; i++)
        buf_printf(&text, "X-%zu: a\r\n", i);
    buf_c(&text, "\r\n");
    return send_raw(text.p);
}

/* The library reads 64, and would drop the rest without a word. */
static void test_too_many(void **state)
{
    (void)state;
    static const struct {
        size_t headers;
        int status;
    } rows[] = {{1, 200}, {62, 200}, {63, 200}, {64, 431}, {65, 431}, {200, 431}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_answer a = with_headers(rows[i].headers);
        if (a.status != rows[i].status) fprintf(stderr, "%zu headers: %d\n", rows[i].headers, a.status);
        assert_int_equal(a.status, rows[i].status);
        http_answer_free(&a);
    }
}

struct row {
    const char *name, *text;
    int status;
    const char *detail; /* a part of it; NULL = any */
};

static void check(const struct row *rows, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        struct http_answer a = send_raw(rows[i].text);
        if (a.status != rows[i].status || (rows[i].detail && !strstr(http_text(&a, "detail"), rows[i].detail))) {
            fprintf(stderr, "%s: %d %s\n", rows[i].name, a.status, a.body.p ? a.body.p : "");
            failed++;
        }
        http_answer_free(&a);
    }
    assert_int_equal(failed, 0);
}

#define GET "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"

static void test_lines(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"plain", GET "\r\n", 200, NULL},
        {"empty value", GET "X:\r\n\r\n", 200, NULL},
        {"blanks behind a value", GET "X: a  \r\n\r\n", 200, NULL},
        {"no headers", "GET /healthz HTTP/1.0\r\n\r\n", 200, NULL},
        {"folded", GET "X: a\r\n b\r\nOrigin: http://evil\r\n\r\n", 400, "no header"},
        {"no name", GET ": a\r\nOrigin: http://evil\r\n\r\n", 400, "no header"},
        {"no name first", "GET /healthz HTTP/1.0\r\n: a\r\nOrigin: http://evil\r\n\r\n", 400, "no header"},
        {"bare line feeds", "GET /healthz HTTP/1.1\nHost: localhost\n\n", 400, "no header"},
    };
    check(rows, sizeof rows / sizeof *rows);
}

#define POST                                                                                                           \
    "POST /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $\r\n"                                 \
    "Content-Type: application/json\r\n"

/* Two readers could differ about where the body ends, or for whom the request is. */
static void test_framing(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a length", POST "Content-Length: 2\r\n\r\n{}", 422, "name"},
        {"chunks", POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 422, "name"},
        {"length 5x", POST "Content-Length: 5x\r\n\r\nhello", 400, "5x"},
        {"length +5", POST "Content-Length: +5\r\n\r\nhello", 400, "+5"},
        {"length 5, 5", POST "Content-Length: 5, 5\r\n\r\nhello", 400, "5, 5"},
        {"no length", POST "Content-Length:\r\n\r\nhello", 400, "Content-Length"},
        {"two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "2 headers Content-Length"},
        {"length and chunks", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "not both"},
        {"chunks twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
         "2 headers Transfer"},
        {"chunks of 1.0", "POST /healthz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "1.0"},
        {"blank before the colon", "GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, "name"},
        {"blank before another colon", GET "X : a\r\n\r\n", 400, "name"},
        {"blank and no value", GET "X :\r\n\r\n", 400, "name"},
        {"name", GET "a(b): a\r\n\r\n", 400, "name"},
        {"two hosts", GET "Host: localhost\r\n\r\n", 400, "2 headers Host"},
        {"two tokens", POST "authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}", 400, "2 headers Author"},
        {"two keys", POST "Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}", 400,
         "2 headers Idem"},
        {"address", "GET http://localhost:@/healthz HTTP/1.1\r\nHost: localhost:@\r\n\r\n", 200, NULL},
        {"address of another", "GET http://evil:@/healthz HTTP/1.1\r\nHost: localhost:@\r\n\r\n", 400, "Host"},
        {"address of another, twice", "GET http://evil:@/healthz HTTP/1.1\r\nHost: evil:@\r\n\r\n", 403, "evil"},
        {"address of another port", "GET http://localhost:1/healthz HTTP/1.1\r\nHost: localhost:1\r\n\r\n", 400,
         "target"},
        {"OPTIONS of all", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "OPTIONS"},
        {"GET of all", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "target"},
        {"host behind brackets", "GET /healthz HTTP/1.1\r\nHost: [::1].evil\r\n\r\n", 403, "evil"},
        {"brackets", "GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, NULL},
        {"port of the host", "GET /healthz HTTP/1.1\r\nHost: localhost:x\r\n\r\n", 403, "localhost:x"},
    };
    check(rows, sizeof rows / sizeof *rows);
}

/* What the library refuses by itself is told apart as far as can be. */
static void test_told_apart(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"method", "BREW /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 501, "method"},
        {"method in small letters", "get /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 501, "capitals"},
        {"TRACE", "TRACE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 501, "method"},
        {"known method", "PROPFIND /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "PROPFIND"},
        {"version", "GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.1"},
        {"no version", "GET /healthz\r\nHost: localhost\r\n\r\n", 400, "METHOD"},
        {"no colon", GET "Xab\r\n\r\n", 400, "Name: value"},
        {"tab", GET "X: a\tb\r\n\r\n", 400, "control"},
        {"target", "GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "target"},
        {"coding", POST "Transfer-Encoding: gzip\r\n\r\nx", 501, "chunked"},
        {"two codings", POST "Transfer-Encoding: gzip, chunked\r\n\r\nx", 501, "chunked"},
        {"packed body", POST "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415, "gzip"},
        {"plain body", POST "Content-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", 422, "name"},
        {"chunk of no size", POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400, "chunk"},
        {"chunk without an end", POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx", 400, "chunk"},
    };
    check(rows, sizeof rows / sizeof *rows);
}

static void test_large(void **state)
{
    (void)state;
    static const struct {
        size_t bytes;
        int status;
    } rows[] = {{16000, 200}, {17000, 431}, {60000, 431}, {70000, 400}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        BUF_AUTO text;
        buf_init(&text, 0);
        buf_c(&text, GET "X: ");
        for (size_t k = 0; k < rows[i].bytes; k++)
            buf_char(&text, 'y');
        buf_c(&text, "\r\n\r\n");
        struct http_answer a = send_raw(text.p);
        if (a.status != rows[i].status) fprintf(stderr, "%zu bytes: %d\n", rows[i].bytes, a.status);
        assert_int_equal(a.status, rows[i].status);
        http_answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_many),   cmocka_unit_test(test_lines), cmocka_unit_test(test_framing),
        cmocka_unit_test(test_told_apart), cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests_name("heads", tests, fixture_open, fixture_close);
}
