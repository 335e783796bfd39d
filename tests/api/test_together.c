/* What several ask at a time: answers to approvals, changes on conditions, new versions. */
#include "tests/api/fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "engine/store/tasks.h"

#define ASKING                                                                                                         \
    "apiVersion: millrace/v1\nkind: Pipeline\nname: asking\nsteps:\n"                                                  \
    "  ask: {approval: Go on}\n  more: {approval: And on}\n"

static int open_asking(void **state)
{
    char sql[300];
    if (fixture_open(state) != 0) return -1;
    struct http_answer a = ask("POST", "/api/v1/runs", YAML_TYPE, ASKING);
    int ok = a.status == 201 && http_number(&a, "id") == 1;
    http_answer_free(&a);
    /* As the scheduler would have it. */
    snprintf(sql, sizeof sql,
             "DELETE FROM inbox; INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt) "
             "VALUES (1, 0, 1, 'x', 0, 'ask', %d, 1), (1, 1, 1, 'x', 0, 'more', %d, 1)",
             TASK_WAITING, TASK_WAITING);
    return ok && support_sql(&fx.db, sql) ? 0 : -1;
}

static int answer_as(const char *token, const char *task, bool approved)
{
    char path[100];
    struct http_answer a;
    snprintf(path, sizeof path, "/api/v1/runs/1/tasks/%s:approve", task);
    struct http_ask q = {.port = fx.port,
                         .method = "POST",
                         .path = path,
                         .token = token,
                         .type = JSON_TYPE,
                         .body =
                             approved ? STR("{\"approved\":true}") : STR("{\"approved\":false,\"comment\":\"no\"}")};
    assert_true(http_ask(&q, &a));
    int status = a.status;
    if (status == 409 && !strstr(http_text(&a, "detail"), "already") && !strstr(http_text(&a, "detail"), "wait"))
        status = -1;
    http_answer_free(&a);
    return status;
}

static void other_token(char out[80])
{
    struct http_answer a = ask("POST", "/api/v1/tokens", JSON_TYPE, "{\"name\":\"other\",\"role\":\"operator\"}");
    assert_int_equal(a.status, 201);
    snprintf(out, 80, "%s", http_text(&a, "token"));
    http_answer_free(&a);
}

/* Who comes too late is told so. */
static void test_one_answer(void **state)
{
    (void)state;
    char other[80];
    other_token(other);
    assert_int_equal(answer_as(fx.token, "ask", true), 202);
    assert_int_equal(answer_as(fx.token, "ask", true), 202); /* said again */
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM inbox"), 1);
    assert_int_equal(answer_as(fx.token, "ask", false), 409);
    assert_int_equal(answer_as(other, "ask", false), 409);
    assert_int_equal(answer_as(other, "ask", true), 409);
    assert_int_equal(answer_as(other, "more", false), 202); /* another question */
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM inbox"), 2);
    char sql[100];
    snprintf(sql, sizeof sql, "DELETE FROM inbox; UPDATE tasks SET state = %d", TASK_SUCCEEDED);
    assert_true(support_sql(&fx.db, sql));
    assert_int_equal(answer_as(fx.token, "ask", true), 409);
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM inbox"), 0);
}

static char tokens[2][80];
static atomic_int accepted[2];

static void *contradict(void *ctx)
{
    int me = *(int *)ctx;
    if (answer_as(tokens[me], "ask", me == 0) == 202) atomic_fetch_add(&accepted[me], 1);
    return NULL;
}

static void test_contradictions(void **state)
{
    (void)state;
    pthread_t threads[8];
    static int sides[2] = {0, 1};
    snprintf(tokens[0], sizeof tokens[0], "%s", fx.token);
    other_token(tokens[1]);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, contradict, &sides[i % 2]), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    int yes = atomic_load(&accepted[0]), no = atomic_load(&accepted[1]);
    assert_true((yes == 4 && no == 0) || (yes == 0 && no == 4));
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM inbox"), 1);
}

static int change(const char *method, const char *path, const char *match, const char *body)
{
    char header[100];
    struct http_answer a;
    snprintf(header, sizeof header, "If-Match: %s\r\n", match);
    struct http_ask q = {.port = fx.port,
                         .method = method,
                         .path = path,
                         .token = fx.token,
                         .headers = header,
                         .type = body ? JSON_TYPE : NULL};
    if (body) q.body = str_of(body);
    assert_true(http_ask(&q, &a));
    int status = a.status;
    http_answer_free(&a);
    return status;
}

static void tag_of(const char *path, char tag[64])
{
    struct http_answer a = ask("GET", path, NULL, NULL);
    assert_int_equal(a.status, 200);
    snprintf(tag, 64, "%s", http_header(&a, "ETag"));
    http_answer_free(&a);
}

/* Nothing is done to what is not any more as the client saw it. */
static void test_if_match(void **state)
{
    (void)state;
    char old[64], now[64], list[140];
    tag_of("/api/v1/runs/1/tasks/ask", old);
    assert_int_equal(change("POST", "/api/v1/runs/1/tasks/ask:approve", "\"0\"", "{\"approved\":true}"), 412);
    assert_int_equal(change("POST", "/api/v1/runs/1/tasks/ask:approve", old, "{\"approved\":true}"), 202);
    tag_of("/api/v1/runs/1", old);
    assert_true(support_sql(&fx.db, "UPDATE runs SET name = 'renamed'"));
    static const char *const actions[] = {":cancel", ":pause", ":resume", ":retry", ":clone", ":archive", ":unarchive"};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        char path[60];
        snprintf(path, sizeof path, "/api/v1/runs/1%s", actions[i]);
        assert_int_equal(change("POST", path, old, NULL), 412);
    }
    assert_int_equal(support_number(&fx.db, "SELECT count(*) FROM inbox WHERE kind <> 6"), 0);
    tag_of("/api/v1/runs/1", now);
    snprintf(list, sizeof list, "\"x\", %s", now);
    assert_int_equal(change("POST", "/api/v1/runs/1:pause", list, NULL), 202);
    assert_true(support_sql(&fx.db, "UPDATE runs SET state = 5, ended_at = now(); DELETE FROM active_runs"));
    assert_int_equal(change("DELETE", "/api/v1/runs/1", old, NULL), 412);
    assert_int_equal(change("DELETE", "/api/v1/runs/77", "*", NULL), 404);
    assert_int_equal(change("DELETE", "/api/v1/runs/1", "*", NULL), 204);
}

static char shared_tag[64];

static void *archive(void *ctx)
{
    *(int *)ctx = change("POST", "/api/v1/runs/1:archive", shared_tag, NULL);
    return NULL;
}

/* Other programs of the tests have databases beside this one. */
#define ADVISORY_LOCKS                                                                                                 \
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"                                                        \
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"

/* Of several who saw the same, one changes it. */
static void test_if_match_at_once(void **state)
{
    (void)state;
    enum { ARCHIVERS = 6 };
    assert_true(support_sql(&fx.db, "UPDATE runs SET state = 5, ended_at = now(); DELETE FROM active_runs"));
    for (int turn = 0; turn < 10; turn++) {
        pthread_t threads[ARCHIVERS];
        int status[ARCHIVERS], won = 0;
        tag_of("/api/v1/runs/1", shared_tag);
        for (int i = 0; i < ARCHIVERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, archive, &status[i]), 0);
        for (int i = 0; i < ARCHIVERS; i++) {
            pthread_join(threads[i], NULL);
            assert_true(status[i] == 412 || status[i] / 100 == 2);
            won += status[i] / 100 == 2;
        }
        assert_int_equal(won, 1);
        assert_int_equal(change("POST", "/api/v1/runs/1:unarchive", "*", NULL) / 100, 2);
    }
    assert_int_equal(support_number(&fx.db, ADVISORY_LOCKS), 0);
}

/* ---- applying ---- */

struct applier {
    const char *headers;
    int n, status, version;
    char action[20];
};

static void *apply(void *ctx)
{
    struct applier *me = ctx;
    char source[300];
    struct http_answer a;
    snprintf(source, sizeof source, "apiVersion: millrace/v1\nkind: Pipeline\nname: shared\nsteps:\n  a: {expr: %d}\n",
             me->n);
    struct http_ask q = {.port = fx.port,
                         .method = "POST",
                         .path = "/api/v1/pipelines",
                         .token = fx.token,
                         .headers = me->headers,
                         .type = YAML_TYPE,
                         .body = str_of(source)};
    assert_true(http_ask(&q, &a));
    me->status = a.status;
    me->version = (int)http_number(&a, "items.0.version");
    snprintf(me->action, sizeof me->action, "%s", http_text(&a, "items.0.action"));
    http_answer_free(&a);
    return NULL;
}

enum { APPLIERS = 7 };

static void apply_at_once(struct applier all[APPLIERS], int from, const char *headers)
{
    pthread_t threads[APPLIERS];
    for (int i = 0; i < APPLIERS; i++) {
        all[i] = (struct applier){.headers = headers, .n = from + i};
        assert_int_equal(pthread_create(&threads[i], NULL, apply, &all[i]), 0);
    }
    for (int i = 0; i < APPLIERS; i++)
        pthread_join(threads[i], NULL);
}

/* Each is told what became of its own; of several with one condition one is right. */
static void test_applied_at_once(void **state)
{
    (void)state;
    struct applier all[APPLIERS];
    for (int turn = 0; turn < 5; turn++) {
        int seen = 0, matched = 0;
        apply_at_once(all, 0, NULL);
        for (int i = 0; i < APPLIERS; i++) {
            assert_int_equal(all[i].status, 201);
            assert_string_equal(all[i].action, all[i].version == 1 ? "created" : "updated");
            seen |= 1 << all[i].version;
        }
        assert_int_equal(seen, (1 << (APPLIERS + 1)) - 2);
        apply_at_once(all, 100, "If-Match: \"v7\"\r\n");
        for (int i = 0; i < APPLIERS; i++) {
            assert_true(all[i].status == 201 || all[i].status == 412);
            matched += all[i].status == 201;
        }
        assert_int_equal(matched, 1);
        struct http_answer a = ask("DELETE", "/api/v1/pipelines/shared", NULL, NULL);
        assert_int_equal(a.status, 204);
        http_answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_answer, open_asking, fixture_close),
        cmocka_unit_test_setup_teardown(test_applied_at_once, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_if_match, open_asking, fixture_close),
        cmocka_unit_test_setup_teardown(test_if_match_at_once, open_asking, fixture_close),
        cmocka_unit_test_setup_teardown(test_contradictions, open_asking, fixture_close),
    };
    return cmocka_run_group_tests_name("together", tests, NULL, NULL);
}
