/* How attempts end of which there is no pod, or none that was told of. */
#include "engine/os/clock.h"
#include "tests/scheduler/kube_ends_rig.h"

/* A pod that is still there says how it ends; and a Job of another uid is another one. */
static void a_job_that_is_deleted_is_missed_where_no_pod_is(void **state)
{
    (void)state;
    static const struct {
        uint32_t pods;
        const char *uid;
        enum kube_phase phase;
        bool there;
    } rows[] = {{0, "j1", KUBE_TOLD, false}, {1, "j1", KUBE_CREATED, false}, {0, "j0", KUBE_CREATED, true}};
    EACH(i, rows)
    {
        job_says("", "");
        if (rows[i].pods > 0) says(KUBE_PRESENT, 1, 0, RUNS);
        struct kube_attempt *a = asked(1);
        job_told(KUBE_DELETED, job_name, rows[i].uid, LABELS DELETING);
        if (rows[i].phase == KUBE_TOLD) no_pods(a);
        if (a->phase != rows[i].phase || a->job_there != rows[i].there) fail_msg("row %zu: %d", i, a->phase);
        if (a->phase == KUBE_TOLD) assert_int_equal(a->result.reason, REASON_INFRA);
        if (rows[i].pods > 0) says(KUBE_PRESENT, 1, 0, DONE);
        assert_int_equal(a->ended && a->result.ok, rows[i].pods > 0);
        forget(a);
    }
}

/* Of pods nobody has told: their watch lags behind, or is cut off. */
static void a_pod_is_asked_for_before_its_job_is_missed(void **state)
{
    (void)state;
    static const struct {
        bool owned, stopped;
    } rows[] = {{true, false}, {true, true}, {false, false}, {false, true}};
    EACH(i, rows)
    {
        struct value v;
        struct err err = {0};
        struct str owner = STR("");
        job_says("", "");
        struct kube_attempt *a = asked(1);
        if (rows[i].stopped) stop(1000);
        if (rows[i].owned)
            owner =
                arena_printf(&arena, "{\"kind\":\"Job\",\"controller\":true,\"name\":\"%s\",\"uid\":\"j1\"}", job_name);
        struct str items =
            arena_printf(&arena,
                         "[{\"metadata\":{\"name\":\"pod-p0\",\"uid\":\"p0\",\"labels\":{" LABELS
                         "},\"ownerReferences\":[%.*s]},\"spec\":{\"nodeName\":\"n1\"},\"status\":{" RUNS "}}]",
                         STR_ARG(owner));
        if (!json_parse(&arena, items, 0, &v, &err)) fail_msg("%s", err.message);
        job_told(KUBE_DELETED, job_name, "j1", LABELS DELETING);
        kube_tick(k);
        assert_int_equal(a->phase, KUBE_CREATED); /* nobody has answered */
        assert_non_null(a->question);
        kube_ask_pod_hear(a, &v);
        kube_tick(k);
        assert_int_equal(kube_has_pod(a), rows[i].owned);
        assert_int_equal(a->phase, rows[i].owned ? KUBE_CREATED : KUBE_DRAINING);
        if (!rows[i].owned) assert_int_equal(a->result.reason, rows[i].stopped ? REASON_CANCELLED : REASON_INFRA);
        assert_false(a->queued);
        kube_drop(k, a);
        pod_told(KUBE_DELETED, "p0", LABELS, NULL, NULL, RUNS);
    }
}

/* Before its Job was gone it might have been made. */
static void what_was_asked_before_does_not_count(void **state)
{
    (void)state;
    job_says("", "");
    struct kube_attempt *a = asked(1);
    kube_ask_pod(a);
    int64_t first = a->looked_us;
    usleep(1000);
    kube_gone(a);
    assert_true(a->looked_us > first);
    no_pods(a);
    assert_int_equal(a->phase, KUBE_TOLD);
}

static void one_that_is_not_answered_is_asked_again(void **state)
{
    (void)state;
    job_says("", "");
    struct kube_attempt *a = asked(1);
    kube_gone(a);
    kube_cancel(k->client, a->question);
    a->question = NULL;
    a->looked_us += 60000000;
    kube_tick(k);
    assert_null(a->question); /* not at once */
    a->looked_us -= 61000000;
    kube_tick(k);
    no_pods(a);
    assert_int_equal(a->phase, KUBE_TOLD);
}

/* Of several one was never made: the others may end well until then. */
static void who_lacks_one_goes_on_while_others_do(void **state)
{
    (void)state;
    const struct value none = {.type = VALUE_LIST};
    job_says("", "");
    says(KUBE_PRESENT, 2, 0, RUNS);
    struct kube_attempt *a = asked(2);
    kube_gone(a);
    kube_tick(k);
    assert_null(a->question);
    kube_ask_pod_hear(a, &none);
    assert_int_equal(a->phase, KUBE_CREATED);
    says(KUBE_PRESENT, 2, 0, DONE);
    kube_tick(k);
    no_pods(a);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_INFRA);
}

/* It has the grace that it was made with, which may be hours. */
static void who_is_stopped_and_found_late_is_told_to_hurry(void **state)
{
    (void)state;
    static char found[1024];
    kube_job_name(STR("i1"), STR("train"), id, job_name);
    snprintf(found, sizeof found,
             "{\"items\":[{\"metadata\":{\"name\":\"pod-p0\",\"uid\":\"p0\",\"labels\":{" LABELS
             "},\"ownerReferences\":[{\"kind\":\"Job\",\"controller\":true,\"name\":\"%s\",\"uid\":\"j1\"}]},\"spec\":{"
             "\"nodeName\":\"n1\"},\"status\":{" RUNS "}}]}",
             job_name);
    const struct row script[] = {{.match = "DELETE ", .status = 200, .body = "{}", .times = -1},
                                 {.match = "pods?labelSelector=batch", .status = 403, .body = "{}"},
                                 {.match = "pods?labelSelector=batch", .status = 200, .body = found},
                                 {.match = NULL}};
    server_start(script);
    assert_int_equal(begin(NULL), 0);
    job_says("", "");
    struct kube_attempt *a = asked(1);
    stop(1000);
    while (a->call != NULL || a->question != NULL)
        kube_client_turn(k->client);
    assert_non_null(strstr(a->waits, "its Job is gone, and whether its pod is cannot be read; Kubernetes says: "));
    a->looked_us -= 1000000;
    kube_tick(k);
    while (a->call != NULL || a->question != NULL)
        kube_client_turn(k->client);
    assert_non_null(strstr(received_last("DELETE /api/v1/namespaces/n/pods/pod-p0")->body, "\"gracePeriodSeconds\":1"));
    assert_int_equal(received_of("DELETE /api/v1/"), 1);
    assert_int_equal(a->phase, KUBE_CREATED);
    (void)end_with_server(NULL);
}

/* Of several, as they are being made. */
static void who_is_stopped_and_told_late_is_told_to_hurry(void **state)
{
    (void)state;
    static const struct row script[] = {{.match = "DELETE ", .status = 200, .body = "{}", .times = -1},
                                        {.match = NULL}};
    server_start(script);
    assert_int_equal(begin(NULL), 0);
    job_says("", "");
    says(KUBE_PRESENT, 2, 0, RUNS);
    struct kube_attempt *a = asked(2);
    stop(1000);
    while (a->call != NULL)
        kube_client_turn(k->client);
    for (int twice = 0; twice < 2; twice++) {
        says(KUBE_PRESENT, 2, 1, RUNS);
        while (a->call != NULL)
            kube_client_turn(k->client);
    }
    assert_int_equal(received_of("DELETE /api/v1/namespaces/n/pods/pod-p0"), 1);
    assert_int_equal(received_of("DELETE /api/v1/namespaces/n/pods/pod-p1"), 1);
    assert_int_equal(received_of("DELETE /apis/batch"), 1);
    (void)end_with_server(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_that_is_deleted_is_missed_where_no_pod_is),
        TEST(a_pod_is_asked_for_before_its_job_is_missed),
        TEST(what_was_asked_before_does_not_count),
        TEST(one_that_is_not_answered_is_asked_again),
        TEST(who_lacks_one_goes_on_while_others_do),
        cmocka_unit_test(who_is_stopped_and_found_late_is_told_to_hurry),
        cmocka_unit_test(who_is_stopped_and_told_late_is_told_to_hurry),
    };
    return cmocka_run_group_tests_name("without a pod", tests, open_folder, drop_folder);
}
