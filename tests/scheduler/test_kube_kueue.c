/* What is said of a Job that Kueue holds: why its Workload waits, or why nobody knows. */
#include "tests/scheduler/kube_rig.h"

#define WORKLOADS "GET /apis/kueue.x-k8s.io/v1beta2/namespaces/n/workloads?"
#define OLDER "GET /apis/kueue.x-k8s.io/v1beta1/namespaces/n/workloads?"
#define ITEM(owner, met, message)                                                                                      \
    "{\"metadata\":{\"ownerReferences\":[{\"uid\":\"" owner                                                            \
    "\"}]},\"status\":{\"conditions\":[{\"type\":\"Finished\",\"message\":\"no\"},"                                    \
    "{\"type\":\"QuotaReserved\",\"status\":\"" met "\",\"message\":\"" message "\"}]}}"
#define LISTED(items)                                                                                                  \
    {                                                                                                                  \
        WORKLOADS, 200, NULL, "{\"items\":[" items "]}", WHOLE, 0, 0                                                   \
    }

static struct kube_attempt *held(void)
{
    told(kube_hear_job, KUBE_PRESENT,
         arena_printf(&arena,
                      "{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"generation\":1,\"labels\":{" LABELS
                      ",\"" KUBE_LABEL_KUEUE "\":\"team-a\"}},\"spec\":{\"suspend\":true}}",
                      job_name));
    return asked(1);
}

static void ask(void)
{
    k->held.answered_us = 0;
    kube_ask_kueue(k);
    for (int64_t until = os_mono_us() + 10000000; k->held.call != NULL && os_mono_us() < until; usleep(1000))
        kube_client_turn(k->client);
    assert_null(k->held.call);
}

static void who_is_held_says_why(void **state)
{
    (void)state;
    static const struct {
        struct row answer;
        const char *why;
    } rows[] = {
        {LISTED(ITEM("j1", "False", "no room")), "waits for Kueue: no room"},
        {LISTED(ITEM("j2", "False", "no room") "," ITEM("j1", "True", "")),
         "waits for Kueue: it has the quota, and is about to be admitted"},
        {LISTED(ITEM("j1", "False", "LocalQueue nowhere doesn't exist")),
         "waits for Kueue: LocalQueue nowhere doesn't exist; make it, or let the queue name another: millrace queue "
         "apply"},
        {LISTED(ITEM("j2", "False", "no room")),
         "waits for Kueue: it has not taken notice of the suspended Job; does it run?"},
        {{WORKLOADS, 403, NULL, "{\"kind\":\"Status\",\"message\":\"forbidden\"}", WHOLE, 0, 0},
         "waits for Kueue: its Job is suspended; why cannot be read, since Kubernetes says: forbidden; see "
         "deploy/components/kueue"},
    };
    EACH(i, rows)
    {
        const struct row script[] = {rows[i].answer, {0}};
        server_start(script);
        if (begin(NULL) != 0) fail();
        const struct kube_attempt *a = held();
        ask();
        if (a->waits == NULL || strcmp(a->waits, rows[i].why) != 0)
            fail_msg("'%s', and not '%s'", a->waits != NULL ? a->waits : "", rows[i].why);
        (void)end_with_server(NULL);
    }
}

/* Of versions of its API each cluster has its own. */
static void another_version_is_tried(void **state)
{
    (void)state;
    static const struct row script[] = {
        {.match = OLDER, .status = 404},
        {OLDER, 200, NULL, "{\"items\":[" ITEM("j1", "False", "no room") "]}", WHOLE, 0, 0},
        {0}};
    server_start(script);
    if (begin(NULL) != 0) fail();
    const struct kube_attempt *a = held();
    ask(); /* of v1beta2 there is none */
    assert_null(a->waits);
    ask();
    assert_non_null(strstr(a->waits, "this cluster has none"));
    ask();
    ask();
    assert_string_equal(a->waits, "waits for Kueue: no room");
    (void)end_with_server(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_held_says_why),
        cmocka_unit_test(another_version_is_tried),
    };
    return cmocka_run_group_tests_name("held by Kueue", tests, open_folder, drop_folder);
}
