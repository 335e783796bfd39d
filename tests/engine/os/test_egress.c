/* The one way out: which addresses may be reached, and that a call goes nowhere else, carries what it was given, and
 * ends in time. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/os/egress.h"

static struct arena arena;
static pid_t server;
static int port4, port6;

/* ---- addresses ---- */

static void addresses_are_judged(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool open, when_private; /* allowed by default; allowed with private ones */
    } rows[] = {
        {"8.8.8.8", true, true},
        {"1.1.1.1", true, true},
        {"127.0.0.1", false, true},
        {"127.255.0.9", false, true},
        {"10.1.2.3", false, true},
        {"172.16.0.1", false, true},
        {"172.31.255.255", false, true},
        {"172.32.0.1", true, true},
        {"192.168.1.1", false, true},
        {"100.64.0.1", false, true},
        {"100.100.100.200", false, false},
        {"169.254.169.254", false, false},
        {"0.0.0.0", false, false},
        {"224.0.0.1", false, false},
        {"255.255.255.255", false, false},
        {"::1", false, true},
        {"::", false, false},
        {"fe80::1", false, false},
        {"fc00::1", false, true},
        {"fd12:3456::1", false, true},
        {"fd00:ec2::254", false, false},
        {"ff02::1", false, false},
        {"2606:4700::1111", true, true},
        {"::ffff:127.0.0.1", false, true},
        {"::ffff:169.254.169.254", false, false},
        {"::ffff:8.8.8.8", true, true},
        {"64:ff9b::7f00:1", false, true},
        {"64:ff9b::a9fe:a9fe", false, false},
        {"64:ff9b:1::7f00:1", false, false},
        {"::ffff:0:127.0.0.1", false, false},
        {"2001:0:7f00:1::1", false, false},
        {"2001:4860:4860::8888", true, true},
        {"2a00:1450::1", true, true},
        {"2002:7f00:1::", false, true},
        {"2002:a9fe:a9fe::", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        struct sockaddr_in four = {.sin_family = AF_INET};
        const struct sockaddr *a = (const struct sockaddr *)&six;
        if (inet_pton(AF_INET6, rows[i].text, &six.sin6_addr) != 1) {
            assert_int_equal(inet_pton(AF_INET, rows[i].text, &four.sin_addr), 1);
            a = (const struct sockaddr *)&four;
        }
        if (egress_allowed(a, false) != rows[i].open) fail_msg("%s", rows[i].text);
        if (egress_allowed(a, true) != rows[i].when_private) fail_msg("%s with private ones", rows[i].text);
    }
    assert_false(egress_allowed(&(struct sockaddr){.sa_family = AF_UNIX}, true));
}

/* ---- a server that answers by path ---- */

static void answer(int fd)
{
    char in[8192], out[16384];
    size_t n = 0;
    while (n < sizeof in - 1 && (n < 4 || !strstr(in, "\r\n\r\n"))) {
        ssize_t got = read(fd, in + n, sizeof in - 1 - n);
        if (got <= 0) return;
        n += (size_t)got;
        in[n] = '\0';
    }
    if (strstr(in, " /silent ")) {
        pause();
        return;
    }
    if (strstr(in, " /redirect "))
        snprintf(out, sizeof out, "HTTP/1.1 302 Found\r\nLocation: /echo\r\nContent-Length: 0\r\n\r\n");
    else if (strstr(in, " /huge "))
        snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n%05000d", 0);
    else if (strstr(in, " /missing "))
        snprintf(out, sizeof out, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
    else
        snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n%s", in);
    if (write(fd, out, strlen(out)) < 0) return;
}

static int listen_on(int family, int *port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *a = family == AF_INET6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t n = family == AF_INET6 ? sizeof six : sizeof four;
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, a, n) != 0 || listen(fd, 16) != 0 || getsockname(fd, a, &n) != 0) return -1;
    *port = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
    return fd;
}

static void serve(int listening)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listening, NULL, NULL);
        if (fork() == 0) {
            alarm(20);
            answer(fd);
            _exit(0);
        }
        close(fd);
    }
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    int four = listen_on(AF_INET, &port4), six = listen_on(AF_INET6, &port6);
    if (six < 0) port6 = 0; /* a machine without IPv6 */
    server = fork();
    if (server == 0) {
        setpgid(0, 0);
        if (six >= 0 && fork() == 0) serve(six);
        serve(four);
    }
    close(four);
    if (six >= 0) close(six);
    return four >= 0 && server > 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    kill(-server, SIGKILL);
    waitpid(server, NULL, 0);
    arena_free(&arena);
    return 0;
}

static bool call(const char *host, int port, const char *path, struct egress_request req, struct egress_response *out,
                 struct err *err)
{
    req.url = arena_printf(&arena, "http://%s:%d%s", host, port, path);
    if (!req.method.n) req.method = STR("GET");
    err_clear(err);
    return egress_call(&req, &arena, out, err);
}

static void calls_carry_what_they_were_given(void **state)
{
    (void)state;
    struct egress_response res;
    struct err err;
    const struct egress_header headers[] = {{STR("X-Key"), STR("value")}};
    const struct egress_request req = {
        .method = STR("PUT"), .body = STR("the body"), .headers = headers, .n_headers = 1, .allow_private = true};
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* counts for nothing */
    if (!call("127.0.0.1", port4, "/echo", req, &res, &err)) fail_msg("%s", err.message);
    unsetenv("http_proxy");
    assert_int_equal(res.status, 200);
    assert_true(str_is(res.content_type, "text/plain"));
    char *text = arena_cstr(&arena, res.body);
    assert_int_equal(strncmp(text, "PUT /echo HTTP/1.1\r\n", 20), 0);
    assert_non_null(strstr(text, "X-Key: value\r\n"));
    assert_non_null(strstr(text, "Content-Length: 8\r\n"));
    assert_true(call("127.0.0.1", port4, "/missing", (struct egress_request){.allow_private = true}, &res, &err));
    assert_int_equal(res.status, 404);
    assert_true(call("127.0.0.1", port4, "/redirect", (struct egress_request){.allow_private = true}, &res, &err));
    assert_int_equal(res.status, 302); /* told, not followed */
    if (port6) {
        if (!call("[::1]", port6, "/echo", (struct egress_request){.allow_private = true}, &res, &err))
            fail_msg("[::1]: %s", err.message);
        assert_int_equal(res.status, 200);
    }
    if (!call("localhost", port4, "/echo", (struct egress_request){.allow_private = true}, &res, &err))
        fail_msg("localhost: %s", err.message);
}

static void calls_are_bounded(void **state)
{
    (void)state;
    struct egress_response res;
    struct err err;
    assert_false(call("127.0.0.1", port4, "/huge", (struct egress_request){.allow_private = true, .max_bytes = 4999},
                      &res, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_false(call("127.0.0.1", port4, "/silent", (struct egress_request){.allow_private = true, .timeout_ms = 200},
                      &res, &err));
    assert_int_equal(err.code, ERR_TIMEOUT);
}

static void what_is_closed_stays_closed(void **state)
{
    (void)state;
    struct egress_response res;
    struct err err;
    static const char *const hosts[] = {"127.0.0.1", "localhost",          "127.1",    "2130706433",     "0x7f.1",
                                        "[::1]",     "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        if (call(hosts[i], port4, "/echo", (struct egress_request){0}, &res, &err)) fail_msg("%s answered", hosts[i]);
        if (err.code != ERR_FORBIDDEN) fail_msg("%s: %s", hosts[i], err.message);
    }
    assert_false(call("169.254.169.254", 80, "/", (struct egress_request){.allow_private = true}, &res, &err));
    assert_int_equal(err.code, ERR_FORBIDDEN);
    static const char *const urls[] = {"file:///etc/passwd", "gopher://x/", "ftp://x/", "", "x", "http://"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        const struct egress_request req = {.method = STR("GET"), .url = str_of(urls[i]), .allow_private = true};
        if (egress_call(&req, &arena, &res, &err)) fail_msg("%s was called", urls[i]);
    }
    const struct egress_header header[] = {{STR("X"), STR("a\r\nHost: b")}};
    assert_false(call("127.0.0.1", port4, "/echo",
                      (struct egress_request){.allow_private = true, .headers = header, .n_headers = 1}, &res, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

/* ---- names ---- */

#define NAME "millrace.invalid" /* a name that no resolver knows: RFC 6761 */

static const char *const *name_has; /* addresses, up to NULL */
static int asked;

static int resolve(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    struct addrinfo numeric = *hints, **end = found;
    numeric.ai_flags = AI_NUMERICHOST;
    assert_string_equal(host, NAME);
    asked++;
    *found = NULL;
    for (const char *const *a = name_has; *a; a++) {
        assert_int_equal(getaddrinfo(*a, port, &numeric, end), 0);
        while (*end)
            end = &(*end)->ai_next;
    }
    return *found ? 0 : EAI_NONAME;
}

static bool call_name(const char *const *addresses, bool allow_private, struct egress_response *out, struct err *err)
{
    name_has = addresses;
    asked = 0;
    return call(NAME, port4, "/echo",
                (struct egress_request){.resolve = resolve, .allow_private = allow_private, .timeout_ms = 5000}, out,
                err);
}

/* The one look-up that was checked is the one that is used. */
static void a_name_is_asked_for_once(void **state)
{
    (void)state;
    struct egress_response res;
    struct err err;
    static const char *const here[] = {"127.0.0.1", NULL}, *const either[] = {"127.0.0.7", "127.0.0.1", NULL},
                             *const nowhere[] = {NULL};
    if (!call_name(here, true, &res, &err)) fail_msg("%s", err.message);
    assert_int_equal(res.status, 200);
    assert_int_equal(asked, 1);
    assert_non_null(strstr(arena_cstr(&arena, res.body), "Host: " NAME ":")); /* it is called by its name */
    if (!call_name(either, true, &res, &err)) fail_msg("%s", err.message);    /* the first one refuses */
    assert_int_equal(res.status, 200);
    assert_false(call_name(nowhere, true, &res, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "cannot resolve '" NAME "'"));
}

static void every_address_of_a_name_is_judged(void **state)
{
    (void)state;
    static const struct {
        const char *addresses[4];
        bool allow_private;
    } rows[] = {
        {{"127.0.0.1", "169.254.169.254"}, true},
        {{"169.254.169.254", "127.0.0.1"}, true},
        {{"127.0.0.1", "127.0.0.1", "fd00:ec2::254"}, true},
        {{"127.0.0.1"}, false},
        {{"8.8.8.8", "127.0.0.1"}, false},
        {{"8.8.8.8", "2001:4860:4860::8888", "::1"}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct egress_response res;
        struct err err;
        if (call_name(rows[i].addresses, rows[i].allow_private, &res, &err)) fail_msg("row %zu answered", i);
        if (err.code != ERR_FORBIDDEN) fail_msg("row %zu: %s", i, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_judged),     cmocka_unit_test(calls_carry_what_they_were_given),
        cmocka_unit_test(calls_are_bounded),        cmocka_unit_test(what_is_closed_stays_closed),
        cmocka_unit_test(a_name_is_asked_for_once), cmocka_unit_test(every_address_of_a_name_is_judged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
