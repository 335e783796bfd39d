/* A scripted HTTP server in a thread, and what turns a client until something is so. Each request takes the first row
 * of the script that fits its line and is not used up; all that came is kept in order. */
#ifndef MILLRACE_TESTS_KUBE_RIG_H
#define MILLRACE_TESTS_KUBE_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/kube/client.h"
#include "engine/os/clock.h"

#define EACH(row, rows) for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)

enum how {
    WHOLE,
    CUT,     /* the body's beginning, then the connection is closed */
    DROPPED, /* closed without an answer */
    SILENT,  /* no answer at all */
    CHUNKS,  /* the body chunked, properly ended */
    HELD,    /* the body chunked, then the connection stays open */
    TORN     /* the body chunked, then the connection is closed */
};

struct row {
    const char *match; /* part of "METHOD /path"; NULL ends the script */
    int status;
    const char *headers, *body; /* headers: whole lines */
    enum how how;
    int times; /* 0 = once, -1 = for ever */
    int delay_ms;
};

struct got { /* a request that came */
    char line[512], auth[256];
    char body[512];
    char head[2048];
    int64_t at_us;
    int connection;
};

static struct {
    pthread_mutex_t lock;
    struct row script[64];
    struct got got[512];
    size_t n_got;
    int listening, port, connections, open;
    pthread_t thread;
    _Atomic bool stop;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct arena arena;

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) return;
        p += sent;
        n -= (size_t)sent;
    }
}

/* Until the test is over or the other side has gone. */
static void hold(int fd)
{
    char c;
    while (!server.stop) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 20) > 0 && recv(fd, &c, 1, 0) <= 0) return;
    }
}

/* False: the connection is over. */
static bool reply(int fd, const struct row *r)
{
    char head[1024], size[64];
    size_t n = r->body ? strlen(r->body) : 0;
    bool chunked = r->how >= CHUNKS;
    if (r->delay_ms > 0) usleep((useconds_t)r->delay_ms * 1000);
    if (r->how == DROPPED) return false;
    if (r->how == SILENT) {
        hold(fd);
        return false;
    }
    snprintf(size, sizeof size, "Content-Length: %zu\r\n", r->how == CUT ? n + 100 : n);
    int used = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%s%s\r\n", r->status,
                        r->headers ? r->headers : "", chunked ? "Transfer-Encoding: chunked\r\n" : size);
    send_all(fd, head, (size_t)used);
    if (chunked && n > 0) {
        used = snprintf(head, sizeof head, "%zx\r\n", n);
        send_all(fd, head, (size_t)used);
    }
    send_all(fd, r->body, n);
    if (chunked && n > 0) send_all(fd, "\r\n", 2);
    if (r->how == CHUNKS) send_all(fd, "0\r\n\r\n", 5);
    if (r->how == HELD) hold(fd);
    return r->how == WHOLE || r->how == CHUNKS;
}

static struct row take(const char *line)
{
    static const struct row none = {.status = 404, .body = "{\"kind\":\"Status\",\"reason\":\"NotScripted\"}"};
    for (struct row *r = server.script; r->match != NULL; r++) {
        if (r->times == -2 || strstr(line, r->match) == NULL) continue;
        if (r->times >= 0 && --r->times <= 0) r->times = -2;
        return *r;
    }
    return none;
}

static bool header_of(const char *head, const char *name, char *out, size_t room)
{
    const char *at = strcasestr(head, name);
    if (at == NULL) return false;
    at += strlen(name);
    snprintf(out, room, "%.*s", (int)strcspn(at, "\r\n"), at);
    return true;
}

/* One request; false when the connection is over. */
static bool answer(int fd, int number)
{
    static _Thread_local char in[1 << 16];
    size_t n = 0;
    char *end = NULL, length[32] = "0";
    while (end == NULL || n < (size_t)(end - in) + 4 + (size_t)atoi(length)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (server.stop) return false;
        if (poll(&p, 1, 20) <= 0) continue;
        ssize_t more = recv(fd, in + n, sizeof in - 1 - n, 0);
        if (more <= 0) return false;
        n += (size_t)more;
        in[n] = '\0';
        if (end == NULL && (end = strstr(in, "\r\n\r\n")) != NULL) header_of(in, "\r\nContent-Length: ", length, 32);
    }
    pthread_mutex_lock(&server.lock);
    struct got *g = &server.got[server.n_got];
    if (server.n_got < 511) server.n_got++;
    memset(g, 0, sizeof *g);
    snprintf(g->line, sizeof g->line, "%.*s", (int)strcspn(in, "\r\n"), in);
    char *version = strstr(g->line, " HTTP/");
    if (version != NULL) *version = '\0';
    snprintf(g->head, sizeof g->head, "%.*s", (int)(end - in) + 2, in);
    snprintf(g->body, sizeof g->body, "%.500s", end + 4);
    header_of(g->head, "\r\nAuthorization: ", g->auth, sizeof g->auth);
    g->at_us = os_mono_us();
    g->connection = number;
    struct row r = take(g->line);
    pthread_mutex_unlock(&server.lock);
    return reply(fd, &r);
}

static void *serve_one(void *ctx)
{
    int fd = (int)(intptr_t)ctx;
    pthread_mutex_lock(&server.lock);
    int number = ++server.connections;
    pthread_mutex_unlock(&server.lock);
    while (answer(fd, number)) {
    }
    close(fd);
    pthread_mutex_lock(&server.lock);
    server.open--;
    pthread_mutex_unlock(&server.lock);
    return NULL;
}

static void *serve(void *ctx)
{
    (void)ctx;
    while (!server.stop) {
        struct pollfd p = {.fd = server.listening, .events = POLLIN};
        pthread_t thread;
        if (poll(&p, 1, 20) <= 0) continue;
        int fd = accept(server.listening, NULL, NULL);
        if (fd < 0) continue;
        pthread_mutex_lock(&server.lock);
        server.open++;
        pthread_mutex_unlock(&server.lock);
        pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd);
        pthread_detach(thread);
    }
    return NULL;
}

/* Begins with this script, and nothing received. The rows are copied. */
static void __attribute__((unused)) server_start(const struct row *script)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    memset(server.script, 0, sizeof server.script);
    for (size_t i = 0; script[i].match != NULL; i++)
        server.script[i] = script[i];
    server.n_got = 0;
    server.connections = server.open = 0;
    server.stop = false;
    server.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.listening, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(server.listening, 64), 0);
    getsockname(server.listening, (struct sockaddr *)&a, &n);
    server.port = ntohs(a.sin_port);
    pthread_create(&server.thread, NULL, serve, NULL);
}

static void __attribute__((unused)) server_stop(void)
{
    server.stop = true;
    pthread_join(server.thread, NULL);
    close(server.listening);
    for (int open = 1; open > 0; usleep(1000)) {
        pthread_mutex_lock(&server.lock);
        open = server.open;
        pthread_mutex_unlock(&server.lock);
    }
}

static size_t __attribute__((unused)) received(void)
{
    pthread_mutex_lock(&server.lock);
    size_t n = server.n_got;
    pthread_mutex_unlock(&server.lock);
    return n;
}

/* Those whose line begins so. */
static size_t __attribute__((unused)) received_of(const char *begin)
{
    size_t n = received(), fit = 0;
    for (size_t i = 0; i < n; i++)
        fit += strncmp(server.got[i].line, begin, strlen(begin)) == 0;
    return fit;
}

/* The last of these. */
static const struct got __attribute__((unused)) * received_last(const char *begin)
{
    for (size_t i = received(); i-- > 0;)
        if (strncmp(server.got[i].line, begin, strlen(begin)) == 0) return &server.got[i];
    fail_msg("no %s came", begin);
    return NULL;
}

/* ---- clients ---- */

static struct kube_access __attribute__((unused)) access_of_server(void)
{
    return (struct kube_access){.server = arena_printf(&arena, "http://127.0.0.1:%d", server.port),
                                .namespace = STR("default"),
                                .origin = STR("test")};
}

static struct kube_client __attribute__((unused)) * open_client(const struct kube_client_config *config)
{
    struct kube_client *c = NULL;
    struct err err;
    if (!kube_client_open(config, &c, &err)) fail_msg("%s", err.message);
    return c;
}

/* Waits for the client's descriptor, as a loop would, until *until is true; fails after 20 s. */
static void __attribute__((unused)) turn_until(struct kube_client *c, const bool *until)
{
    int64_t end = os_mono_us() + 20000000;
    while (!*until) {
        struct pollfd p = {.fd = kube_client_fd(c), .events = POLLIN};
        poll(&p, 1, 1000);
        kube_client_turn(c);
        if (os_mono_us() > end) fail_msg("waited in vain");
    }
}

struct told { /* what a call was told */
    bool done;
    int times;
    enum kube_outcome outcome;
    long status;
    uint32_t tries;
    int64_t retry_after_ms, took_us, at_us;
    char body[512], reason[64], message[512];
};

static void __attribute__((unused)) on_told(void *ctx, const struct kube_answer *a)
{
    struct told *t = ctx;
    t->done = true;
    t->times++;
    t->outcome = a->outcome;
    t->status = a->status;
    t->tries = a->tries;
    t->retry_after_ms = a->retry_after_ms;
    t->took_us = a->took_us;
    t->at_us = os_mono_us();
    snprintf(t->body, sizeof t->body, "%.*s", STR_ARG(a->body));
    snprintf(t->reason, sizeof t->reason, "%.*s", STR_ARG(a->reason));
    snprintf(t->message, sizeof t->message, "%.*s", STR_ARG(a->message));
}

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#endif
