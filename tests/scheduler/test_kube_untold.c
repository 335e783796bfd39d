/* What watches do not tell is asked for, by one question at a time: of two, the earlier answer would be of what was
 * before, and come to whoever has gone with the later one. */
#include "tests/scheduler/kube_rig.h"

#define BY_NAME "jobs?fieldSelector=metadata.name"
#define NOTHING                                                                                                        \
    {                                                                                                                  \
        .match = "limit=500", .status = 200, .body = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}",        \
        .times = -1                                                                                                    \
    }

static size_t watched(void)
{
    return received_of("GET /api/v1/namespaces/n/pods?labelSelector=millrace.dev%2Finstance%3Di1&watch=1");
}

/* All there is is told again, since the watch was too old, and who has its name is not answered yet. */
static void who_is_not_there_is_asked_for_once(void **state)
{
    (void)state;
    const struct row script[] = {{.match = "pods?labelSelector=millrace.dev%2Finstance%3Di1&watch=1", .status = 410},
                                 {.match = "watch=1", .how = SILENT, .times = -1},
                                 {.match = BY_NAME, .how = SILENT, .times = -1},
                                 NOTHING,
                                 {.match = NULL}};
    server_start(script);
    assert_int_equal(begin(NULL), 0);
    const struct kube_attempt *a = asked(1);
    while (a->call == NULL)
        kube_client_turn(k->client);
    const struct kube_call *first = a->call;
    while (watched() < 2)
        kube_client_turn(k->client);
    assert_ptr_equal(a->call, first);
    assert_int_equal(end_with_server(NULL), 0);
}

static void on_last(void *ctx, const struct kube_answer *answer)
{
    (void)answer;
    *(bool *)ctx = true;
}

/* Somebody takes off its label, and puts it back, and takes it off again. */
static void the_last_answer_counts(void **state)
{
    (void)state;
    const struct row script[] = {
        {.match = BY_NAME, .status = 200, .body = "{\"items\":[]}", .delay_ms = 100},
        {.match = BY_NAME, .status = 200, .body = "{\"items\":[{\"metadata\":{\"name\":\"x\",\"uid\":\"j1\"}}]}"},
        {.match = "/last", .status = 200, .body = "{}", .delay_ms = 300},
        {.match = "watch=1", .how = SILENT, .times = -1},
        NOTHING,
        {.match = NULL}};
    const struct kube_request last = {.method = "GET", .path = STR("/last"), .done = on_last, .ctx = &(bool){false}};
    server_start(script);
    assert_int_equal(begin(NULL), 0);
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    const struct kube_attempt *a = asked(1);
    job_told(KUBE_DELETED, job_name, "j1", LABELS);
    while (received_of("GET /apis/batch/v1/namespaces/n/" BY_NAME) < 1)
        kube_client_turn(k->client);
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    job_told(KUBE_DELETED, job_name, "j1", LABELS);
    kube_request(k->client, &last);
    turn_until(k->client, last.ctx);
    assert_int_equal(received_of("GET /apis/batch/v1/namespaces/n/" BY_NAME), 2);
    assert_true(a->phase == KUBE_CREATED && a->job_there && !a->deleted);
    assert_int_equal(end_with_server(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_is_not_there_is_asked_for_once),
                                       cmocka_unit_test(the_last_answer_counts)};
    return cmocka_run_group_tests_name("what watches do not tell", tests, open_folder, drop_folder);
}
