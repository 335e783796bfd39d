/* What is asked of runs by several at a time: answers to approvals. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_answer, open_asking, fixture_close),
        cmocka_unit_test_setup_teardown(test_contradictions, open_asking, fixture_close),
    };
    return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
