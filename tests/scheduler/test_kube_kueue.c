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

static int generation = 1;

static void job_says(enum kube_change change, int version, bool suspended)
{
    told(kube_hear_job, change,
         arena_printf(&arena,
                      "{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"generation\":%d,\"resourceVersion\":\"%d\","
                      "\"labels\":{" LABELS ",\"" KUBE_LABEL_KUEUE "\":\"team-a\"}},\"spec\":{\"suspend\":%s}}",
                      job_name, generation, version, suspended ? "true" : "false"));
}

static struct kube_attempt *held(void)
{
    job_says(KUBE_PRESENT, 7, true);
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

/* ---- its queue is another one's ---- */

#define DELETE "DELETE /apis/batch/v1/namespaces/n/jobs/"

static void turn(const struct kube_attempt *a)
{
    for (int64_t until = os_mono_us() + 10000000; (a->call != NULL || a->question != NULL) && os_mono_us() < until;
         usleep(1000))
        kube_client_turn(k->client);
    assert_null(a->call);
}

static void requeue(struct kube_attempt *a)
{
    executor.requeue(executor.self, a->id);
    kube_tick(k);
}

static void what_is_held_goes(void **state)
{
    (void)state;
    static const struct row script[] = {
        {.match = DELETE, .status = 409}, {.match = DELETE, .status = 200}, NO_PODS, {0}};
    server_start(script);
    if (begin(NULL) != 0) fail();
    struct kube_attempt *a = held();
    kube_tick(k);
    assert_null(a->call);
    requeue(a);
    turn(a);
    assert_non_null(strstr(received_last(DELETE)->body, "\"uid\":\"j1\",\"resourceVersion\":\"7\""));
    assert_int_equal(a->phase, KUBE_CREATED); /* somebody has written it since */
    job_says(KUBE_PRESENT, 8, true);
    a->requeue_us = 0;
    kube_tick(k);
    turn(a);
    assert_non_null(strstr(received_last(DELETE)->body, "\"resourceVersion\":\"8\""));
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_PREEMPTED);
    assert_int_equal(a->result.failure, FAILURE_INFRA);
    job_says(KUBE_DELETED, 8, true);
    executor.forget(executor.self, a->id);
    (void)end_with_server(NULL);
}

/* The watch may be quicker than the answer, and the answer may be that of a second try. */
static void that_it_is_gone_is_heard_twice(void **state)
{
    (void)state;
    static const struct row script[] = {{.match = DELETE, .status = 404, .times = -1}, NO_PODS, {0}};
    for (int first = 0; first < 2; first++) {
        server_start(script);
        if (begin(NULL) != 0) fail();
        struct kube_attempt *a = held();
        requeue(a);
        assert_non_null(a->call);
        if (first) job_says(KUBE_DELETED, 8, true);
        turn(a);
        if (!first) job_says(KUBE_DELETED, 8, true);
        assert_int_equal(a->phase, KUBE_TOLD);
        assert_int_equal(a->result.reason, REASON_PREEMPTED);
        (void)end_with_server(NULL);
    }
}

static void what_has_begun_stays(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        bool admitted, pod, cancelled, unseen;
    } rows[] = {{.what = "admitted", .admitted = true},
                {.what = "has one pod of two", .pod = true},
                {.what = "had pods", .unseen = true},
                {.what = "is cancelled", .cancelled = true}};
    static const struct row script[] = {{.match = DELETE, .status = 200, .times = -1}, NO_PODS, {0}};
    EACH(i, rows)
    {
        server_start(script);
        if (begin(NULL) != 0) fail();
        generation = rows[i].unseen ? 3 : 1;
        struct kube_attempt *a = held();
        a->workers = 2;
        if (rows[i].admitted) job_says(KUBE_PRESENT, 8, false);
        if (rows[i].pod) pod_told(KUBE_PRESENT, "p0", LABELS RANK_0, job_name, "j1", "\"phase\":\"Pending\"");
        if (rows[i].cancelled) executor.kill(executor.self, a->id, STR(""), 0);
        requeue(a);
        turn(a);
        if (rows[i].cancelled) assert_int_equal(a->result.reason, REASON_CANCELLED);
        if (received_of(DELETE) != rows[i].cancelled) fail_msg("%s: it was deleted", rows[i].what);
        generation = 1;
        (void)end_with_server(NULL);
    }
}

/* That its Job was deleted is told by the watch alone: the answer was lost. */
static void that_it_goes_is_not_answered(void **state)
{
    (void)state;
    static const struct row script[] = {{.match = DELETE, .how = DROPPED, .times = -1}, NO_PODS, {0}};
    server_start(script);
    if (begin(NULL) != 0) fail();
    struct kube_attempt *a = held();
    requeue(a);
    turn(a);
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_false(a->dismissed); /* others may delete it, too */
    job_says(KUBE_DELETED, 8, true);
    answered(a, "j1", NULL);
    turn(a);
    assert_int_equal(a->result.reason, REASON_PREEMPTED);
    (void)end_with_server(NULL);
}

/* Whether it has a pod takes its time. */
static void what_is_gone_is_taken_back_once(void **state)
{
    (void)state;
    static const struct row script[] = {
        {.match = DELETE, .status = 200, .times = -1}, {.match = "pods?", .how = SILENT}, {0}};
    server_start(script);
    if (begin(NULL) != 0) fail();
    struct kube_attempt *a = held();
    requeue(a);
    for (int i = 0; i < 5; i++) {
        while (a->call != NULL)
            kube_client_turn(k->client);
        requeue(a);
    }
    assert_int_equal(received_of(DELETE), 1);
    assert_non_null(a->question);
    (void)end_with_server(NULL);
}

/* Others have the server's time, too. */
static void who_may_not_be_taken_back_says_so(void **state)
{
    (void)state;
    static const struct row script[] = {
        {.match = DELETE, .status = 403, .body = "{\"kind\":\"Status\",\"message\":\"forbidden\"}", .times = -1},
        LISTED(ITEM("j1", "False", "no room")),
        NO_PODS,
        {0}};
    server_start(script);
    if (begin(NULL) != 0) fail();
    struct kube_attempt *a = held();
    requeue(a);
    assert_string_equal(a->waits,
                        "is taken back from Kueue: its queue hands over to another LocalQueue now, or to none");
    turn(a);
    assert_string_equal(a->waits, "its Job cannot be deleted; Kubernetes says: forbidden");
    ask();
    assert_string_equal(a->waits, "its Job cannot be deleted; Kubernetes says: forbidden");
    assert_true(a->requeue_us > 0);
    a->requeue_us = INT64_MAX;
    for (int i = 0; i < 10; i++)
        requeue(a);
    assert_int_equal(received_of(DELETE), 1);
    a->requeue_us = 1;
    requeue(a);
    turn(a);
    assert_int_equal(received_of(DELETE), 2);
    assert_int_equal(a->phase, KUBE_CREATED);
    (void)end_with_server(NULL);
}

/* It would come to be in the LocalQueue that it is not to go to any more. */
static void who_was_not_created_yet_is_not_created_any_more(void **state)
{
    (void)state;
    for (int unsure = 0; unsure <= 1; unsure++) {
        struct exec_event e;
        if (begin(NULL) != 0) fail();
        struct kube_attempt *a = asked(1);
        a->phase = KUBE_CREATING;
        a->unsure = unsure;
        a->retry_us = INT64_MAX;
        requeue(a);
        assert_int_equal(a->phase, unsure ? KUBE_CREATING : KUBE_TOLD);
        while (executor.next(executor.self, &arena, &e) && e.kind == EXEC_WAITS) {
        }
        if (!unsure) assert_int_equal(e.result.reason, REASON_PREEMPTED);
        (void)end(NULL);
    }
}

/* A cancel comes while its deletion is under way, which may be refused. */
static void cancelled_meanwhile(void **state)
{
    (void)state;
    for (int status = 200; status <= 409; status += 209) {
        const struct row script[] = {
            {.match = DELETE, .status = status, .delay_ms = 50}, {.match = DELETE, .status = 200}, NO_PODS, {0}};
        server_start(script);
        if (begin(NULL) != 0) fail();
        struct kube_attempt *a = held();
        requeue(a);
        executor.kill(executor.self, a->id, STR(""), 0);
        turn(a);
        assert_int_equal(a->phase, KUBE_TOLD);
        assert_int_equal(a->result.reason, REASON_CANCELLED);
        assert_int_equal(received_of(DELETE), status == 200 ? 1 : 2);
        (void)end_with_server(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_held_says_why),
        cmocka_unit_test(another_version_is_tried),
        cmocka_unit_test(what_is_held_goes),
        cmocka_unit_test(that_it_is_gone_is_heard_twice),
        cmocka_unit_test(what_has_begun_stays),
        cmocka_unit_test(cancelled_meanwhile),
        cmocka_unit_test(that_it_goes_is_not_answered),
        cmocka_unit_test(who_may_not_be_taken_back_says_so),
        cmocka_unit_test(what_is_gone_is_taken_back_once),
        cmocka_unit_test(who_was_not_created_yet_is_not_created_any_more),
    };
    return cmocka_run_group_tests_name("held by Kueue", tests, open_folder, drop_folder);
}
