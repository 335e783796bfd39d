/* Pods that do not start, and do not say why: what is said of them, and whether they are given up. */
#include "tests/scheduler/kube_rig.h"

#define PENDING "\"phase\":\"Pending\""
#define TAKEN PENDING ",\"startTime\":\"2026-01-01T00:00:00Z\""

/* Of one that is not placed, as that scheduler's, with a claim or without. */
static struct kube_attempt *not_placed(const char *scheduler, bool claims)
{
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    struct kube_attempt *a = asked(1);
    told(kube_hear_pod, KUBE_PRESENT,
         arena_printf(&arena,
                      "{\"metadata\":{\"name\":\"pod-p0\",\"uid\":\"p0\",\"labels\":{" LABELS "},\"ownerReferences\":"
                      "[{\"kind\":\"Job\",\"controller\":true,\"name\":\"%s\",\"uid\":\"j1\"}]},\"spec\":{"
                      "\"schedulerName\":\"%s\"%s},\"status\":{" PENDING "}}",
                      job_name, scheduler,
                      claims ? ",\"resourceClaims\":[{\"name\":\"g\",\"resourceClaimName\":\"mine\"}]" : ""));
    return a;
}

static struct kube_attempt *on_a_node(const char *uid, const char *status)
{
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    struct kube_attempt *a = asked(1);
    pod_told(KUBE_PRESENT, uid, LABELS, job_name, "j1", status);
    return a;
}

static void seconds_pass(struct kube_attempt *a, int seconds)
{
    assert_int_not_equal(a->ranks[0].silence.since_us, 0);
    a->ranks[0].silence.since_us -= seconds * INT64_C(1000000);
    kube_tick(k);
}

static void a_node_that_takes_no_notice_is_named(void **state)
{
    (void)state;
    struct kube_attempt *a = on_a_node("p0", PENDING);
    seconds_pass(a, 9);
    assert_string_equal(a->waits, "starts on node n1");
    seconds_pass(a, 2);
    assert_string_equal(a->waits, "node n1 has taken no notice of its pod for more than 10 s: its kubelet may be down, "
                                  "see kubectl describe node n1");
    assert_int_equal(a->hangs_us, 0); /* it may come back */
    executor.kill(executor.self, id, STR("p"), 1000);
    kube_tick(k);
    assert_non_null(strstr(a->waits, "its kubelet may be down"));
    pod_told(KUBE_PRESENT, "p0", LABELS, job_name, "j1", TAKEN);
    assert_string_equal(a->waits, "starts on node n1");
    seconds_pass(a, 20);
    assert_string_equal(a->waits, "starts on node n1"); /* events may say more */
}

static void only_kubernetes_own_scheduler_hangs_on_claims(void **state)
{
    (void)state;
    static const struct {
        const char *scheduler;
        bool claims, hangs;
        const char *says;
    } rows[] = {
        {"default-scheduler", true, true, "its pod is not placed, and nothing says why: 'default-scheduler'"},
        {"another", true, false, "its pod is not placed, and nothing says why: 'another'"},
        {"default-scheduler", false, false, "no scheduler has looked at its pod yet"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_attempt *a = not_placed(rows[i].scheduler, rows[i].claims);
        seconds_pass(a, 6);
        if (a->waits == NULL || strstr(a->waits, rows[i].says) == NULL || (a->hangs_us != 0) != rows[i].hangs)
            fail_msg("%s: '%s'", rows[i].scheduler, a->waits);
        kube_drop(k, a);
    }
}

static bool is_told(struct str reason)
{
    return !str_is(reason, "Scheduled");
}

/* In whatever order they are listed. */
static void the_newest_event_of_its_own_counts(void **state)
{
    (void)state;
#define EVENT(uid, reason, second)                                                                                     \
    "{\"involvedObject\":{\"uid\":\"" uid "\"},\"reason\":\"" reason "\",\"lastTimestamp\":\"2026-01-01T00:00:" second \
    "Z\"}"
    static const struct {
        const char *events, *reason; /* reason NULL = none */
    } rows[] = {
        {"", NULL},
        {EVENT("p1", "Killing", "01"), NULL},
        {EVENT("p0", "Scheduled", "01"), NULL},
        {EVENT("p0", "Pulling", "01") "," EVENT("p0", "Failed", "02"), "Failed"},
        {EVENT("p0", "Failed", "02") "," EVENT("p0", "Pulling", "01"), "Failed"},
        {EVENT("p0", "Pulling", "01") "," EVENT("p0", "Failed", "03") "," EVENT("p0", "BackOff", "02"), "Failed"},
        {EVENT("p0", "Pulling", "01") "," EVENT("p0", "Failed", "01"), "Failed"},
        {EVENT("p0", "Pulling", "01") "," EVENT("p1", "Failed", "02") "," EVENT("p0", "Scheduled", "03"), "Pulling"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value v;
        struct err err = {0};
        assert_true(json_parse(&arena, arena_printf(&arena, "[%s]", rows[i].events), 0, &v, &err));
        const struct value *e = kube_newest_event(&v, "p0", is_told);
        if (e == NULL ? rows[i].reason != NULL
                      : rows[i].reason == NULL || !str_is(kube_text(e, "reason"), rows[i].reason))
            fail_msg("%s", rows[i].events);
    }
}

/* What keeps a pod from starting, and what only accompanies it; each of a pod of its own. */
static const struct {
    const char *reason;
    bool tells;
} warnings[] = {
    {"FailedMount", true},
    {"FailedAttachVolume", true},
    {"FailedMapVolume", true},
    {"FailedCreatePodContainer", true},
    {"FailedPrepareDynamicResources", true},
    {"FailedCreatePodSandBox", true},
    {"FailedPodSandBoxStatus", true},
    {"NetworkNotReady", true},
    {"FailedResourceClaimCreation", true},
    {"FailedToRetrieveImagePullSecret", false},
    {"DNSConfigForming", false},
};

static void warnings_that_say_why_it_does_not_start_are_quoted(void **state)
{
    (void)state;
    EACH(i, warnings)
    {
        char uid[8], quoted[128];
        snprintf(uid, sizeof uid, "p%zu", i);
        snprintf(quoted, sizeof quoted, "Kubernetes says: %s: it says so", warnings[i].reason);
        struct kube_attempt *a = on_a_node(uid, TAKEN);
        k->silent.answered_us = 0;
        seconds_pass(a, 6);
        while (k->silent.call != NULL) {
            kube_client_turn(k->client);
            usleep(1000);
        }
        bool told = strstr(a->waits, quoted) != NULL;
        if (told != warnings[i].tells || (a->hangs_us != 0) != warnings[i].tells)
            fail_msg("%s: '%s'", warnings[i].reason, a->waits);
        kube_drop(k, a);
    }
}

static int begin_with_warnings(void **state)
{
    static char events[4096];
    const struct row script[] = {{"n/events?", 200, .body = events, .times = -1}, {.match = NULL}};
    size_t n = (size_t)snprintf(events, sizeof events, "{\"items\":[");
    EACH(i, warnings)
    n += (size_t)snprintf(events + n, sizeof events - n,
                          "%s{\"involvedObject\":{\"uid\":\"p%zu\"},\"reason\":\"%s\",\"message\":\"it says so\"}",
                          i > 0 ? "," : "", i, warnings[i].reason);
    snprintf(events + n, sizeof events - n, "]}");
    server_start(script);
    return begin(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_newest_event_of_its_own_counts),
        TEST(a_node_that_takes_no_notice_is_named),
        TEST(only_kubernetes_own_scheduler_hangs_on_claims),
        cmocka_unit_test_setup_teardown(warnings_that_say_why_it_does_not_start_are_quoted, begin_with_warnings,
                                        end_with_server),
    };
    return cmocka_run_group_tests_name("silent pods", tests, open_folder, drop_folder);
}
