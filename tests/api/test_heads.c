/* Heads of requests that could be understood in two ways, or that the HTTP library would read in part. */
#include "tests/api/fixture.h"

#include <unistd.h>

/* A request as it goes over the wire; $ stands for the administrator's token. The answer is to be freed. */
static struct http_answer send_raw(const char *text)
{
    BUF_AUTO bytes;
    struct http_answer a;
    buf_init(&bytes, 0);
    for (const char *c = text; *c; c++)
        if (*c == '$')
            buf_c(&bytes, fx.token);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests_name("heads", tests, fixture_open, fixture_close);
}
