/* Event streams: history and logs, followed, resumed, and bounded in number. */
#include "tests/api/fixture.h"

#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_with_run(void **state)
{
    fx.cfg.threads = 8;
    if (fixture_open(state) != 0) return -1;
    struct http_answer a = ask("POST", "/api/v1/pipelines", YAML_TYPE, HELLO);
    http_answer_free(&a);
    a = ask("POST", "/api/v1/runs", JSON_TYPE, "{\"pipeline\":\"hello\"}");
    int ok = a.status == 201 && http_number(&a, "id") == 1;
    http_answer_free(&a);
    return ok ? 0 : -1;
}

static int begin_any(const char *path, const char *headers)
{
    char text[600];
    int fd = http_connect(fx.port);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s\r\n", path,
             fx.token, headers);
    assert_true(http_send(fd, text, strlen(text)));
    return fd;
}

static int begin(const char *path, const char *headers)
{
    char all[200];
    snprintf(all, sizeof all, "Accept: text/event-stream\r\n%s", headers ? headers : "");
    return begin_any(path, all);
}

/* Bytes from the stream until `word` is among them. */
static void read_until(int fd, struct buf *seen, const char *word)
{
    char piece[4096];
    while (!seen->p || !strstr(seen->p, word)) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n <= 0) fprintf(stderr, "waited for '%s', saw: %s\n", word, seen->p ? seen->p : "");
        assert_true(n > 0);
        buf_add(seen, piece, (size_t)n);
    }
}

static void add_event(int seq, int kind, int task)
{
    char sql[300];
    snprintf(sql, sizeof sql,
             "INSERT INTO events (run_id, seq, project_id, created_by, at, kind, task, attempt, detail) "
             "VALUES (1, %d, 1, 'x', now(), %d, %s, 1, '{\"a\": 1}')",
             seq, kind, task < 0 ? "NULL" : "0");
    assert_true(support_sql(&fx.db, sql));
}

static void end_run(void)
{
    assert_true(support_sql(&fx.db, "UPDATE runs SET state = 5, ended_at = now(), tasks_total = 2, tasks_failed = 0;"
                                    "DELETE FROM active_runs"));
}

static void test_events(void **state)
{
    (void)state;
    BUF_AUTO seen;
    buf_init(&seen, 0);
    add_event(1, 1, -1);
    int fd = begin("/api/v1/runs/1/events", NULL);
    read_until(fd, &seen, "run.started");
    assert_non_null(strstr(seen.p, "text/event-stream"));
    add_event(2, 21, 0);
    api_wake(fx.api);
    read_until(fd, &seen, "task.started");
    assert_non_null(strstr(seen.p, "id: 2\n"));
    add_event(3, 25, 0);
    end_run();
    read_until(fd, &seen, "event: end");
    read_until(fd, &seen, "\"state\":\"succeeded\"");
    read_until(fd, &seen, "\r\n0\r\n\r\n");
    close(fd);
    /* Again from the middle: only what is new. */
    buf_reset(&seen);
    fd = begin("/api/v1/runs/1/events", "Last-Event-ID: 2\r\n");
    read_until(fd, &seen, "event: end");
    assert_null(strstr(seen.p, "task.started"));
    assert_non_null(strstr(seen.p, "task.succeeded"));
    close(fd);
    struct http_answer a = ask("GET", "/api/v1/runs/1/events?after=1&page_size=1", NULL, NULL);
    assert_string_equal(http_text(&a, "items.0.kind"), "task.started");
    assert_int_equal(http_number(&a, "last"), 2);
    http_answer_free(&a);
    a = ask("GET", "/api/v1/runs/1/events?after=3&wait=20", NULL, NULL); /* ended: no wait */
    assert_string_equal(http_text(&a, "state"), "succeeded");
    http_answer_free(&a);
}

/* ---- logs ---- */

static void write_log(int attempt, const char *text, const char *mode)
{
    char path[400];
    snprintf(path, sizeof path, "%s/logs", fx.dir);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/logs/1", fx.dir);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/logs/1/0-%d.log", fx.dir, attempt);
    FILE *f = fopen(path, mode);
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void set_task(const char *assignments)
{
    char sql[300];
    snprintf(sql, sizeof sql, "UPDATE tasks SET %s WHERE run_id = 1 AND task = 0", assignments);
    assert_true(support_sql(&fx.db, sql));
}

static void test_log_follow(void **state)
{
    (void)state;
    BUF_AUTO seen;
    buf_init(&seen, 0);
    int fd = begin("/api/v1/runs/1/tasks/greet/logs?follow=1", NULL); /* before it began */
    assert_true(support_sql(&fx.db,
                            "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
                            "VALUES (1, 0, 1, 'x', 0, 'greet', 5, 1)"));
    write_log(1, "one\n", "w");
    read_until(fd, &seen, "one\\n");
    write_log(1, "two \xe2\x82", "a"); /* a torn character waits for its rest */
    read_until(fd, &seen, "two ");
    assert_null(strstr(seen.p, "\xef\xbf\xbd"));
    write_log(1, "\xac\xff\n", "a");
    read_until(fd, &seen, "\xe2\x82\xac\xef\xbf\xbd\\n");
    set_task("state = 4"); /* it failed, and a second attempt comes */
    write_log(2, "second\n", "w");
    set_task("state = 5, attempt = 2");
    read_until(fd, &seen, "second");
    read_until(fd, &seen, "id: 2.7\n");
    set_task("state = 7, ended_at = now()");
    read_until(fd, &seen, "event: end");
    read_until(fd, &seen, "\"state\":\"succeeded\",\"attempt\":2,\"offset\":7");
    close(fd);
    buf_reset(&seen);
    fd = begin("/api/v1/runs/1/tasks/0/logs?follow=1&attempt=1", "Last-Event-ID: 1.4\r\n");
    read_until(fd, &seen, "event: end");
    assert_null(strstr(seen.p, "one"));
    assert_non_null(strstr(seen.p, "two"));
    close(fd);
}

/* An id that is none of the stream's: the answer says what it should look like. */
static void test_last_id(void **state)
{
    (void)state;
    assert_true(support_sql(&fx.db,
                            "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
                            "VALUES (1, 0, 1, 'x', 0, 'greet', 5, 1)"));
    static const struct {
        const char *path, *header, *hint;
    } rows[] = {{"/api/v1/runs/1/tasks/0/logs?follow=1", "Last-Event-ID: 7\r\n", "ATTEMPT.OFFSET"},
                {"/api/v1/runs/1/tasks/0/logs?follow=1", "Last-Event-ID: 2.0\r\n", "up to 1"},
                {"/api/v1/runs/1/events", "Last-Event-ID: 1.4\r\n", "number"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_answer a;
        struct http_ask q = {
            .port = fx.port, .method = "GET", .path = rows[i].path, .token = fx.token, .headers = rows[i].header};
        assert_true(http_ask(&q, &a));
        assert_int_equal(a.status, 422);
        assert_non_null(strstr(http_text(&a, "hint"), rows[i].hint));
        http_answer_free(&a);
    }
}

static void test_log_text(void **state)
{
    (void)state;
    assert_true(support_sql(&fx.db,
                            "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
                            "VALUES (1, 0, 1, 'x', 0, 'greet', 7, 2)"));
    write_log(1, "first\n", "w");
    write_log(2, "a\nbb\nccc\n", "w");
    static const struct {
        const char *query, *range, *body;
        int status;
    } rows[] = {{"", NULL, "a\nbb\nccc\n", 200},
                {"?attempt=1", NULL, "first\n", 200},
                {"?tail=1", NULL, "ccc\n", 200},
                {"", "bytes=2-3", "bb", 206},
                {"", "bytes=5-", "ccc\n", 206},
                {"", "bytes=-4", "ccc\n", 206},
                {"", "bytes=100-", NULL, 416},
                {"", "bytes=0-0,2-3", "a\nbb\nccc\n", 200},
                {"", "bytes=nonsense", "a\nbb\nccc\n", 200}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[100], headers[100] = "";
        snprintf(path, sizeof path, "/api/v1/runs/1/tasks/greet/logs%s", rows[i].query);
        if (rows[i].range) snprintf(headers, sizeof headers, "Range: %s\r\n", rows[i].range);
        struct http_answer a;
        struct http_ask q = {.port = fx.port, .method = "GET", .path = path, .token = fx.token, .headers = headers};
        assert_true(http_ask(&q, &a));
        assert_int_equal(a.status, rows[i].status);
        if (rows[i].body) assert_string_equal(a.body.p, rows[i].body);
        http_answer_free(&a);
    }
}

/* Followers take half of the threads; the rest stay for work. */
static void test_bounded(void **state)
{
    (void)state;
    int fds[4];
    BUF_AUTO seen;
    buf_init(&seen, 0);
    for (int i = 0; i < 4; i++) {
        fds[i] = begin("/api/v1/runs/1/events", NULL);
        buf_reset(&seen);
        read_until(fds[i], &seen, "event-stream");
    }
    struct http_answer a;
    struct http_ask q = {.port = fx.port,
                         .method = "GET",
                         .path = "/api/v1/runs/1/events",
                         .token = fx.token,
                         .headers = "Accept: text/event-stream\r\n"};
    assert_true(http_ask(&q, &a));
    assert_int_equal(a.status, 503);
    assert_non_null(http_header(&a, "Retry-After"));
    assert_string_equal(http_header(&a, "Content-Type"), "application/problem+json");
    http_answer_free(&a);
    a = ask("GET", "/readyz", NULL, NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(http_number(&a, "streams"), 4);
    http_answer_free(&a);
    end_run(); /* the streams end with the run */
    for (int i = 0; i < 4; i++) {
        buf_reset(&seen);
        read_until(fds[i], &seen, "event: end");
        close(fds[i]);
    }
}

static void await_streams(int64_t wanted)
{
    for (int64_t open = -1; open != wanted;) {
        struct http_answer a = ask("GET", "/readyz", NULL, NULL);
        assert_int_equal(a.status, 200);
        open = http_number(&a, "streams");
        http_answer_free(&a);
    }
}

/* A follower that hangs up gives its thread back at once. */
static void test_hang_up(void **state)
{
    (void)state;
    BUF_AUTO seen;
    buf_init(&seen, 0);
    for (int i = 0; i < 12; i++) { /* three times as many as there may be at once */
        int fd = begin("/api/v1/runs/1/events", NULL);
        buf_reset(&seen);
        read_until(fd, &seen, "event-stream");
        close(fd);
        await_streams(0);
    }
}

static bool is_silent(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

/* Polls that wait are followers too. When all places are taken the next one is answered with what there is: the first
 * four wait here until the run ends, so that an answer before says that nobody waited for it. */
static void test_polls_bounded(void **state)
{
    (void)state;
    int fds[4];
    for (int i = 0; i < 4; i++)
        fds[i] = begin_any("/api/v1/runs/1/events?after=100&wait=25", "");
    await_streams(4);
    for (int i = 0; i < 8; i++) {
        struct http_answer a = ask("GET", "/healthz", NULL, NULL);
        assert_int_equal(a.status, 200);
        http_answer_free(&a);
        a = ask("GET", "/api/v1/runs/1/events?after=100&wait=25", NULL, NULL);
        assert_int_equal(a.status, 200);
        assert_string_equal(http_text(&a, "state"), "queued");
        assert_int_equal(http_number(&a, "last"), 100);
        http_answer_free(&a);
    }
    for (int i = 0; i < 4; i++)
        assert_true(is_silent(fds[i]));
    end_run();
    for (int i = 0; i < 4; i++) {
        struct http_answer a;
        assert_true(http_receive(fds[i], false, &a));
        assert_string_equal(http_text(&a, "state"), "succeeded");
        http_answer_free(&a);
        close(fds[i]);
    }
}

/* A poll that is given up gives its place back before its time is over: one that came earlier still waits. */
static void test_poll_hang_up(void **state)
{
    (void)state;
    int first = begin_any("/api/v1/runs/1/events?after=100&wait=25", "");
    await_streams(1);
    for (int i = 0; i < 5; i++) {
        int fd = begin_any("/api/v1/runs/1/events?after=100&wait=25", "");
        await_streams(2);
        close(fd);
        await_streams(1);
        assert_true(is_silent(first));
    }
    close(first);
}

/* A server that stops does not wait for its followers. */
static void test_stop_with_followers(void **state)
{
    (void)state;
    BUF_AUTO seen;
    buf_init(&seen, 0);
    int fd = begin("/api/v1/runs/1/events", NULL);
    read_until(fd, &seen, "event-stream");
    api_stop(fx.api);
    fx.api = NULL;
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_log_follow, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_log_text, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_last_id, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_bounded, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_hang_up, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_polls_bounded, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_poll_hang_up, open_with_run, fixture_close),
        cmocka_unit_test_setup_teardown(test_stop_with_followers, open_with_run, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
