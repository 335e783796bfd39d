/* Clients that do not get on: more of them than threads, each sending a byte now and then. The others are answered all
 * the same, and the slow ones are sent away by the clock, not by their pace. */
#include "tests/api/fixture.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SLOW = 24, THREADS = 8 };

struct crowd {
    int fds[SLOW];
    pthread_t thread;
    atomic_bool stop;
};

/* A byte each, ten times a second, whatever becomes of it. */
static void *trickle(void *ctx)
{
    struct crowd *crowd = ctx;
    while (!atomic_load(&crowd->stop)) {
        for (int i = 0; i < SLOW; i++)
            if (send(crowd->fds[i], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) continue;
        usleep(100000);
    }
    return NULL;
}

static void gather(struct crowd *crowd, const char *head)
{
    memset(crowd, 0, sizeof *crowd);
    for (int i = 0; i < SLOW; i++) {
        crowd->fds[i] = http_connect(fx.port);
        assert_true(crowd->fds[i] >= 0 && http_send(crowd->fds[i], head, strlen(head)));
    }
    assert_int_equal(pthread_create(&crowd->thread, NULL, trickle, crowd), 0);
}

static void disperse(struct crowd *crowd)
{
    atomic_store(&crowd->stop, true);
    pthread_join(crowd->thread, NULL);
    for (int i = 0; i < SLOW; i++)
        close(crowd->fds[i]);
}

static void test_crowds(void **state)
{
    (void)state;
    struct http_answer a = ask("POST", "/api/v1/uploads", JSON_TYPE,
                               "{\"digest\":\"sha256:"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"size\":100000}");
    assert_int_equal(a.status, 201);
    char upload[80];
    snprintf(upload, sizeof upload, "%s", http_text(&a, "id"));
    http_answer_free(&a);
    char rows[5][600];
    snprintf(rows[0], 600,
             "POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bad\r\n"
             "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n");
    snprintf(rows[1], 600,
             "POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
             fx.token);
    snprintf(rows[2], 600,
             "PATCH /api/v1/uploads/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nUpload-Offset: 0\r\n"
             "Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n",
             upload, fx.token);
    snprintf(rows[3], 600, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    snprintf(rows[4], 600, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); /* answered, then the next head */
    for (int i = 0; i < 5; i++) {
        struct crowd crowd;
        gather(&crowd, rows[i]);
        for (int k = 0; k < 3; k++) {
            static const char *const paths[] = {"/healthz", "/readyz", "/api/v1/runs"};
            a = ask("GET", paths[k], NULL, NULL);
            if (a.status != 200) fprintf(stderr, "crowd %d: %s: %d\n", i, paths[k], a.status);
            assert_int_equal(a.status, 200);
            http_answer_free(&a);
        }
        a = ask("POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"nope\"}");
        assert_int_equal(a.status, 404);
        http_answer_free(&a);
        disperse(&crowd);
    }
}

/* Connected and silent. */
static void test_silent(void **state)
{
    (void)state;
    int fds[SLOW];
    for (int i = 0; i < SLOW; i++)
        fds[i] = http_connect(fx.port);
    struct http_answer a = ask("GET", "/healthz", NULL, NULL);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    for (int i = 0; i < SLOW; i++)
        close(fds[i]);
}

/* One alone: nobody is in need of its thread, and still its time ends. */
static void trickle_alone(const char *token, int status)
{
    char head[400];
    struct http_answer a;
    snprintf(head, sizeof head,
             "POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
             token);
    struct crowd crowd = {.fds = {0}};
    for (int i = 0; i < SLOW; i++)
        crowd.fds[i] = -1;
    int fd = crowd.fds[0] = http_connect(fx.port);
    assert_true(http_send(fd, head, strlen(head)));
    assert_int_equal(pthread_create(&crowd.thread, NULL, trickle, &crowd), 0);
    assert_true(http_receive(fd, false, &a));
    assert_int_equal(a.status, status);
    assert_string_equal(http_header(&a, "Connection"), "close");
    http_answer_free(&a);
    disperse(&crowd);
}

static void test_alone(void **state)
{
    (void)state;
    trickle_alone(fx.token, 408);
    trickle_alone("bad", 401);
}

/* A client that asks now and then keeps its connection: here past the second for which it once stayed open. A server
 * that stops does not wait for it. */
static void test_now_and_then(void **state)
{
    (void)state;
    static const char ask_health[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fd = http_connect(fx.port);
    for (int i = 0; i < 2; i++) {
        struct http_answer a;
        assert_true(http_send(fd, ask_health, strlen(ask_health)) && http_receive(fd, false, &a));
        assert_int_equal(a.status, 200);
        http_answer_free(&a);
        if (i == 0) sleep(2);
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    api_stop(fx.api);
    fx.api = NULL;
    char end;
    assert_true(read(fd, &end, 1) <= 0);
    close(fd);
}

static int open_few(void **state)
{
    fx.cfg.threads = THREADS;
    fx.cfg.body_timeout_ms = 0;
    return fixture_open(state);
}

static int open_hasty(void **state)
{
    fx.cfg.threads = THREADS;
    fx.cfg.body_timeout_ms = 500;
    return fixture_open(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_crowds, open_few, fixture_close),
        cmocka_unit_test_setup_teardown(test_silent, open_few, fixture_close),
        cmocka_unit_test_setup_teardown(test_alone, open_hasty, fixture_close),
        cmocka_unit_test_setup_teardown(test_now_and_then, open_few, fixture_close),
    };
    return cmocka_run_group_tests_name("slow", tests, NULL, NULL);
}
