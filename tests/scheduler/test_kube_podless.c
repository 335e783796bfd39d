/* How attempts end of which there is no pod, or none that was told of. */
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_that_is_deleted_is_missed_where_no_pod_is),
        TEST(a_pod_is_asked_for_before_its_job_is_missed),
    };
    return cmocka_run_group_tests_name("without a pod", tests, open_folder, drop_folder);
}
