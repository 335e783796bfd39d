/* The client against a scripted server: outcomes, tries, Retry-After, budget, priorities, cancelling, streams. */
#include "tests/engine/kube/rig.h"

#define STATUS(reason, message) "{\"kind\":\"Status\",\"reason\":\"" reason "\",\"message\":\"" message "\"}"

static struct told ask(struct kube_client *c, const char *method, const char *path, uint32_t tries, int64_t timeout_ms)
{
    struct told t = {0};
    struct kube_request req = {.method = method,
                               .path = str_of(path),
                               .body = strcmp(method, "POST") == 0 ? STR("{}") : (struct str){"", 0},
                               .tries = tries,
                               .timeout_ms = timeout_ms,
                               .done = on_told,
                               .ctx = &t};
    kube_request(c, &req);
    turn_until(c, &t.done);
    return t;
}

static void outcomes_are_told_apart(void **state)
{
    static const struct {
        const char *name, *method;
        struct row row;
        uint32_t tries;
        enum kube_outcome outcome;
        long status;
        uint32_t sent;
        const char *reason, *message;
    } rows[] = {
        {"fine", "GET", {"/x", 200, NULL, .body = "{}", .times = 1}, 5, KUBE_DONE, 200, 1, "", ""},
        {"created", "POST", {"/x", 201, NULL, .body = "{}", .times = 1}, 5, KUBE_DONE, 201, 1, "", ""},
        {"no content", "DELETE", {"/x", 204, NULL, .body = "", .times = 1}, 5, KUBE_DONE, 204, 1, "", ""},
        {"exists",
         "POST",
         {"/x", 409, NULL, .body = STATUS("AlreadyExists", "it exists"), .times = -1},
         5,
         KUBE_REFUSED,
         409,
         1,
         "AlreadyExists",
         "it exists"},
        {"conflict",
         "PUT",
         {"/x", 409, NULL, .body = STATUS("Conflict", "changed"), .times = -1},
         5,
         KUBE_REFUSED,
         409,
         1,
         "Conflict",
         "changed"},
        {"gone",
         "GET",
         {"/x", 410, NULL, .body = STATUS("Expired", "old"), .times = -1},
         5,
         KUBE_REFUSED,
         410,
         1,
         "Expired",
         "old"},
        {"no Status",
         "GET",
         {"/x", 403, NULL, .body = "go\naway", .times = -1},
         5,
         KUBE_REFUSED,
         403,
         1,
         "",
         "the server answered 403: go away"},
        {"unauthenticated",
         "GET",
         {"/x", 401, NULL, .body = STATUS("Unauthorized", "who?"), .times = -1},
         5,
         KUBE_REFUSED,
         401,
         1,
         "Unauthorized",
         "who?"},
        {"elsewhere",
         "GET",
         {"/x", 302, "Location: /y\r\n", .body = "", .times = -1},
         5,
         KUBE_REFUSED,
         302,
         1,
         "",
         "the server answered 302"},
        {"GET 500",
         "GET",
         {"/x", 500, NULL, .body = "", .times = -1},
         3,
         KUBE_UNKNOWN,
         500,
         3,
         "",
         "the server answered 500"},
        {"DELETE 504", "DELETE", {"/x", 504, NULL, .body = "", .times = -1}, 2, KUBE_UNKNOWN, 504, 2, "", NULL},
        {"POST 500",
         "POST",
         {"/x", 500, NULL, .body = STATUS("InternalError", "oops"), .times = -1},
         5,
         KUBE_UNKNOWN,
         500,
         1,
         "InternalError",
         "oops"},
        {"PATCH 502", "PATCH", {"/x", 502, NULL, .body = "", .times = -1}, 5, KUBE_UNKNOWN, 502, 1, "", NULL},
        {"POST 503", "POST", {"/x", 503, NULL, .body = "", .times = -1}, 5, KUBE_UNKNOWN, 503, 1, "", NULL},
        {"POST 429",
         "POST",
         {"/x", 429, NULL, .body = STATUS("TooManyRequests", "slow"), .times = -1},
         2,
         KUBE_AGAIN,
         429,
         2,
         "TooManyRequests",
         "slow"},
        {"POST dropped", "POST", {"/x", .how = DROPPED, .times = -1}, 5, KUBE_UNKNOWN, 0, 1, "", NULL},
        {"GET dropped", "GET", {"/x", .how = DROPPED, .times = -1}, 2, KUBE_UNKNOWN, 0, 2, "", NULL},
        {"POST cut", "POST", {"/x", 201, NULL, .body = "{\"a\":", CUT, .times = -1}, 5, KUBE_UNKNOWN, 201, 1, "", NULL},
        /* as which of the conflicts, nobody heard */
        {"POST 409 cut",
         "POST",
         {"/x", 409, NULL, .body = "{\"kind\":\"Status\",", CUT, .times = -1},
         5,
         KUBE_UNKNOWN,
         409,
         1,
         "",
         NULL},
        {"PUT cut", "PUT", {"/x", 200, NULL, .body = "{\"a\":", CUT, .times = -1}, 2, KUBE_UNKNOWN, 200, 2, "", NULL},
    };
    (void)state;
    EACH(r, rows)
    {
        const struct row script[] = {rows[r].row, {0}};
        server_start(script);
        struct kube_access access = access_of_server();
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
        struct told t = ask(c, rows[r].method, "/x", rows[r].tries, 0);
        kube_client_close(c);
        server_stop();
        if (t.outcome != rows[r].outcome) fail_msg("%s: outcome %d, %s", rows[r].name, t.outcome, t.message);
        if (t.status != rows[r].status) fail_msg("%s: status %ld", rows[r].name, t.status);
        if (t.tries != rows[r].sent || received() != rows[r].sent)
            fail_msg("%s: %u tries, %zu received", rows[r].name, t.tries, received());
        if (t.times != 1) fail_msg("%s: told %d times", rows[r].name, t.times);
        if (strcmp(t.reason, rows[r].reason) != 0) fail_msg("%s: reason %s", rows[r].name, t.reason);
        if (rows[r].message && strcmp(t.message, rows[r].message) != 0) fail_msg("%s: %s", rows[r].name, t.message);
    }
}

static void another_try_may_succeed(void **state)
{
    static const struct row script[] = {{"GET /a", 500, "Connection: close\r\n", .body = "", .how = CUT},
                                        {"GET /a", .how = DROPPED},
                                        {"GET /a", 200, NULL, .body = "yes"},
                                        {"POST /b", 429, "Retry-After: 0\r\n", .body = ""},
                                        {"POST /b", 201, NULL, .body = "made"},
                                        {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct told a = ask(c, "GET", "/a", 0, 0), b = ask(c, "POST", "/b", 0, 0);
    assert_int_equal(a.outcome, KUBE_DONE);
    assert_int_equal(a.tries, 3);
    assert_string_equal(a.body, "yes");
    assert_int_equal(b.outcome, KUBE_DONE);
    assert_int_equal(b.tries, 2);
    const struct kube_client_stats *s = kube_client_statistics(c);
    assert_int_equal(s->requests, 5);
    assert_int_equal(s->retries, 3);
    assert_int_equal(s->throttled, 1);
    assert_int_equal(s->running + s->waiting, 0);
    kube_client_close(c);
    server_stop();
}

/* Curl would send anew what got no answer on a connection that was used before; a creation must not be. */
static void nothing_is_created_twice(void **state)
{
    static const struct row script[] = {{"GET /a", 200, NULL, .body = "", .times = -1},
                                        {"POST /b", .how = DROPPED},
                                        {"POST /b", 201, NULL, .body = ""},
                                        {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    assert_int_equal(ask(c, "GET", "/a", 0, 0).outcome, KUBE_DONE);
    struct told t = ask(c, "POST", "/b", 5, 0);
    assert_int_equal(t.outcome, KUBE_UNKNOWN);
    assert_non_null(strstr(t.message, "the connection was lost before an answer came"));
    assert_int_equal(received(), 2);
    assert_int_equal(server.got[1].connection, server.got[0].connection); /* else it proves nothing */
    assert_int_equal(ask(c, "GET", "/a", 0, 0).outcome, KUBE_DONE);
    kube_client_close(c);
    server_stop();
}

/* And an idle connection may be as dead as the one on which nothing came. */
static void what_takes_too_long_is_unknown(void **state)
{
    static const struct row script[] = {{"/two", 200, NULL, .body = "", .times = 2, .delay_ms = 100},
                                        {"/x", .how = SILENT, .times = -1},
                                        {"/y", 200, NULL, .body = "here"},
                                        {0}};
    struct told two[2] = {0};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    for (size_t i = 0; i < 2; i++)
        kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/two"), .done = on_told, .ctx = &two[i]});
    EACH(i, two) turn_until(c, &two[i].done);
    struct told t = ask(c, "POST", "/x", 5, 150);
    assert_int_equal(t.outcome, KUBE_UNKNOWN);
    assert_int_equal(t.status, 0);
    assert_int_equal(t.tries, 1);
    assert_int_equal(ask(c, "GET", "/y", 0, 0).outcome, KUBE_DONE);
    assert_int_equal(server.got[received() - 1].connection, 3);
    kube_client_close(c);
    server_stop();
}

static void nobody_there_is_surely_not_carried_out(void **state)
{
    static const struct row script[] = {{0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    server_stop();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct told t = ask(c, "POST", "/x", 2, 0);
    assert_int_equal(t.outcome, KUBE_AGAIN);
    assert_int_equal(t.status, 0);
    assert_int_equal(t.tries, 2);
    assert_non_null(strstr(t.message, "http://127.0.0.1:"));
    struct kube_answer a;
    struct err err;
    assert_false(kube_await(c, "GET", STR("no-slash"), (struct str){"", 0}, &arena, &a, &err));
    assert_non_null(strstr(err.message, "'no-slash' is no path"));
    kube_client_close(c);
}

/* While one is told to wait, nothing else goes out either. */
static void retry_after_is_obeyed(void **state)
{
    static const struct row script[] = {{"/a", 503, "Retry-After: 1\r\n", .body = ""},
                                        {"/a", 200, NULL, .body = ""},
                                        {"/b", 200, NULL, .body = ""},
                                        {"/long", 429, "Retry-After: 100000\r\n", .body = ""},
                                        {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct told a = {0}, b = {0};
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/a"), .done = on_told, .ctx = &a});
    while (kube_client_statistics(c)->throttled == 0) {
        struct pollfd p = {.fd = kube_client_fd(c), .events = POLLIN};
        poll(&p, 1, 1000);
        kube_client_turn(c);
    }
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/b"), .done = on_told, .ctx = &b});
    turn_until(c, &a.done);
    turn_until(c, &b.done);
    assert_int_equal(a.outcome, KUBE_DONE);
    assert_int_equal(received(), 3);
    for (size_t i = 1; i < 3; i++)
        if (server.got[i].at_us - server.got[0].at_us < 1000000)
            fail_msg("%s went out before Retry-After was over", server.got[i].line);
    struct told t = ask(c, "GET", "/long", 5, 0); /* too long to wait for here: it is the caller's */
    assert_int_equal(t.outcome, KUBE_AGAIN);
    assert_int_equal(t.tries, 1);
    assert_int_equal(t.retry_after_ms, 86400000);
    kube_client_close(c);
    server_stop();
}

static void the_budget_is_kept(void **state)
{
    static const struct row script[] = {{"/", 200, NULL, .body = "", .times = -1}, {0}};
    static struct told told[30];
    (void)state;
    memset(told, 0, sizeof told);
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c =
        open_client(&(struct kube_client_config){.access = &access, .requests_per_s = 40, .burst = 10});
    for (size_t i = 0; i < 30; i++)
        kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/"), .done = on_told, .ctx = &told[i]});
    for (size_t i = 0; i < 30; i++)
        turn_until(c, &told[i].done);
    /* Ten at once, twenty more at 40 a second; the first may be late. */
    int64_t took = server.got[29].at_us - server.got[0].at_us;
    if (took < 300000) fail_msg("30 requests within %lld us", (long long)took);
    kube_client_close(c);
    server_stop();
}

static void urgent_comes_before_idle(void **state)
{
    static const struct row script[] = {{"/", 200, NULL, .body = "", .times = -1}, {0}};
    static const struct {
        const char *path;
        enum kube_priority priority;
    } rows[] = {{"/idle", KUBE_IDLE}, {"/normal", KUBE_NORMAL}, {"/urgent", KUBE_URGENT}};
    struct told told[3] = {0};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c =
        open_client(&(struct kube_client_config){.access = &access, .requests_per_s = 50, .burst = 1, .in_flight = 4});
    EACH(i, rows)
    kube_request(c, &(struct kube_request){.method = "GET",
                                           .path = str_of(rows[i].path),
                                           .priority = rows[i].priority,
                                           .done = on_told,
                                           .ctx = &told[i]});
    EACH(i, rows) turn_until(c, &told[i].done);
    assert_string_equal(server.got[0].line, "GET /urgent");
    assert_string_equal(server.got[1].line, "GET /normal");
    assert_string_equal(server.got[2].line, "GET /idle");
    kube_client_close(c);
    server_stop();
}

/* Of slow ones no more than `in_flight` are sent; an urgent one passes them. */
static void in_flight_is_kept(void **state)
{
    static const struct row script[] = {
        {"GET /slow", .how = SILENT, .times = -1}, {"/urgent", 200, NULL, .body = ""}, {0}};
    static struct told told[8];
    struct told urgent = {0};
    (void)state;
    memset(told, 0, sizeof told);
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access, .in_flight = 4});
    for (size_t i = 0; i < 8; i++)
        kube_request(c, &(struct kube_request){.method = "GET",
                                               .path = STR("/slow"),
                                               .timeout_ms = 400,
                                               .tries = 1,
                                               .done = on_told,
                                               .ctx = &told[i]});
    kube_client_turn(c);
    assert_int_equal(kube_client_statistics(c)->running, 4);
    assert_int_equal(kube_client_statistics(c)->waiting, 4);
    kube_request(
        c, &(struct kube_request){
               .method = "GET", .path = STR("/urgent"), .priority = KUBE_URGENT, .done = on_told, .ctx = &urgent});
    turn_until(c, &urgent.done);
    assert_int_equal(urgent.outcome, KUBE_DONE);
    for (size_t i = 0; i < 8; i++)
        turn_until(c, &told[i].done);
    assert_int_equal(kube_client_statistics(c)->running, 0);
    kube_client_close(c);
    server_stop();
}

/* ---- cancelling, from within callbacks too ---- */

struct chain {
    struct kube_client *c;
    struct kube_call *other, *self;
    struct told *told;
    struct told next;
};

static void on_first(void *ctx, const struct kube_answer *a)
{
    struct chain *ch = ctx;
    on_told(ch->told, a);
    kube_cancel(ch->c, ch->other);
    kube_cancel(ch->c, ch->self); /* means nothing any more */
    kube_request(ch->c, &(struct kube_request){.method = "GET", .path = STR("/c"), .done = on_told, .ctx = &ch->next});
}

static void callbacks_may_start_and_cancel(void **state)
{
    static const struct row script[] = {{"/a", 200, NULL, .body = ""},
                                        {"/b", .how = SILENT},
                                        {"/c", 200, NULL, .body = "c"},
                                        {"/d", .how = SILENT},
                                        {0}};
    struct told a = {0}, b = {0}, d = {0};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct chain chain = {.c = c, .told = &a};
    chain.other =
        kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/b"), .done = on_told, .ctx = &b});
    chain.self =
        kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/a"), .done = on_first, .ctx = &chain});
    struct kube_call *queued =
        kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/d"), .done = on_told, .ctx = &d});
    kube_cancel(c, queued);
    kube_cancel(c, NULL);
    turn_until(c, &chain.next.done);
    assert_true(a.done);
    assert_false(b.done || d.done);
    assert_string_equal(chain.next.body, "c");
    assert_int_equal(kube_client_statistics(c)->running, 0);
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/d"), .done = on_told, .ctx = &d});
    kube_client_turn(c);
    kube_client_close(c); /* with one under way: not told */
    assert_false(d.done);
    server_stop();
}

/* ---- streams ---- */

struct stream {
    struct kube_client *c;
    struct kube_call *call;
    struct told told;
    char text[4096];
    size_t n;
    bool opened, enough, cancels, heard;
};

static void on_opened(void *ctx)
{
    ((struct stream *)ctx)->opened = true;
}

static bool on_data(void *ctx, struct str bytes)
{
    struct stream *s = ctx;
    memcpy(s->text + s->n, bytes.p, bytes.n);
    s->n += bytes.n;
    s->heard = true;
    if (s->cancels) kube_cancel(s->c, s->call);
    return !s->enough;
}

static void on_ended(void *ctx, const struct kube_answer *a)
{
    on_told(&((struct stream *)ctx)->told, a);
}

static void stream(struct stream *s, const char *path, int64_t idle_ms, int64_t total_ms)
{
    struct kube_stream_request req = {.path = str_of(path),
                                      .idle_timeout_ms = idle_ms,
                                      .total_ms = total_ms,
                                      .opened = on_opened,
                                      .data = on_data,
                                      .done = on_ended,
                                      .ctx = s};
    s->call = kube_stream(s->c, &req);
}

static void streams_end_as_they_should_or_not(void **state)
{
    static const struct {
        const char *name;
        struct row row;
        int64_t idle_ms, total_ms;
        bool enough;
        enum kube_outcome outcome;
        bool opened;
        const char *text, *message;
    } rows[] = {
        {"whole", {"/s", 200, NULL, .body = "abc", CHUNKS}, 0, 0, false, KUBE_DONE, true, "abc", ""},
        {"empty", {"/s", 200, NULL, .body = "", CHUNKS}, 0, 0, false, KUBE_DONE, true, "", ""},
        {"enough", {"/s", 200, NULL, .body = "abc", HELD}, 0, 0, true, KUBE_DONE, true, "abc", ""},
        {"torn", {"/s", 200, NULL, .body = "abc", TORN}, 0, 0, false, KUBE_UNKNOWN, true, "abc", NULL},
        {"idle",
         {"/s", 200, NULL, .body = "abc", HELD},
         1000,
         0,
         false,
         KUBE_UNKNOWN,
         true,
         "abc",
         "nothing came for 1 s, the connection counts as lost"},
        {"late",
         {"/s", 200, NULL, .body = "abc", HELD},
         0,
         1000,
         false,
         KUBE_UNKNOWN,
         true,
         "abc",
         "the stream did not end after 1 s"},
        {"never began", {"/s", .how = SILENT}, 1000, 0, false, KUBE_UNKNOWN, false, "", "nothing came for 1 s"},
        {"forbidden",
         {"/s", 403, NULL, .body = STATUS("Forbidden", "no"), WHOLE},
         0,
         0,
         false,
         KUBE_REFUSED,
         false,
         "",
         "no"},
        {"gone",
         {"/s", 410, NULL, .body = STATUS("Expired", "old"), CHUNKS},
         0,
         0,
         false,
         KUBE_REFUSED,
         false,
         "",
         "old"},
        {"throttled", {"/s", 429, "Retry-After: 1\r\n", .body = "", WHOLE}, 0, 0, false, KUBE_AGAIN, false, "", NULL},
        {"unavailable", {"/s", 503, NULL, .body = "", WHOLE}, 0, 0, false, KUBE_UNKNOWN, false, "", NULL},
    };
    (void)state;
    EACH(r, rows)
    {
        const struct row script[] = {rows[r].row, {0}};
        server_start(script);
        struct kube_access access = access_of_server();
        struct stream s = {.c = open_client(&(struct kube_client_config){.access = &access}), .enough = rows[r].enough};
        stream(&s, "/s", rows[r].idle_ms, rows[r].total_ms);
        turn_until(s.c, &s.told.done);
        kube_client_close(s.c);
        server_stop();
        if (s.told.outcome != rows[r].outcome) fail_msg("%s: %d, %s", rows[r].name, s.told.outcome, s.told.message);
        if (s.opened != rows[r].opened) fail_msg("%s: opened %d", rows[r].name, s.opened);
        if (strcmp(s.text, rows[r].text) != 0) fail_msg("%s: text %s", rows[r].name, s.text);
        if (s.told.times != 1 || received() != 1) fail_msg("%s: told %d times", rows[r].name, s.told.times);
        if (rows[r].message && strstr(s.told.message, rows[r].message) == NULL)
            fail_msg("%s: %s", rows[r].name, s.told.message);
    }
}

static void a_stream_may_be_cancelled_by_its_own_data(void **state)
{
    static const struct row script[] = {{"/s", 200, NULL, .body = "abc", HELD}, {"/x", 200, NULL, .body = ""}, {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct stream s = {.c = open_client(&(struct kube_client_config){.access = &access}), .cancels = true};
    stream(&s, "/s", 0, 0);
    turn_until(s.c, &s.heard);
    assert_int_equal(kube_client_statistics(s.c)->streaming, 0);
    assert_int_equal(ask(s.c, "GET", "/x", 0, 0).outcome, KUBE_DONE);
    assert_false(s.told.done);
    kube_client_close(s.c);
    server_stop();
}

/* Streams do not count as requests in flight, and each has a connection of its own. */
static void streams_do_not_starve_requests(void **state)
{
    static const struct row script[] = {
        {"/s", 200, NULL, .body = "abc", HELD, .times = -1}, {"/x", 200, NULL, .body = ""}, {0}};
    static struct stream s[20];
    (void)state;
    memset(s, 0, sizeof s);
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access, .in_flight = 1});
    for (size_t i = 0; i < 20; i++) {
        s[i].c = c;
        stream(&s[i], "/s", 0, 0);
    }
    for (size_t i = 0; i < 20; i++)
        turn_until(c, &s[i].heard);
    assert_int_equal(kube_client_statistics(c)->streaming, 20);
    assert_int_equal(ask(c, "GET", "/x", 0, 0).outcome, KUBE_DONE);
    assert_int_equal(server.connections, 21);
    kube_client_close(c);
    server_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_are_told_apart),
        cmocka_unit_test(another_try_may_succeed),
        cmocka_unit_test(nothing_is_created_twice),
        cmocka_unit_test(what_takes_too_long_is_unknown),
        cmocka_unit_test(nobody_there_is_surely_not_carried_out),
        cmocka_unit_test(retry_after_is_obeyed),
        cmocka_unit_test(the_budget_is_kept),
        cmocka_unit_test(urgent_comes_before_idle),
        cmocka_unit_test(in_flight_is_kept),
        cmocka_unit_test(callbacks_may_start_and_cancel),
        cmocka_unit_test(streams_end_as_they_should_or_not),
        cmocka_unit_test(a_stream_may_be_cancelled_by_its_own_data),
        cmocka_unit_test(streams_do_not_starve_requests),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
