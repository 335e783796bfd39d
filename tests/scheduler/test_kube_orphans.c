/* What a Job leaves that others have deleted. What belonged to it goes by its name when the attempt is over; what
 * Millrace has deleted takes it along, and nothing more is asked for. Its pods are stopped before that is told. */
#include "engine/os/clock.h"
#include "tests/scheduler/kube_ends_rig.h"

#define SECRET "DELETE /api/v1/namespaces/n/secrets/its-secret"
#define SERVICE "DELETE /api/v1/namespaces/n/services/"
#define JOB "DELETE /apis/batch/v1/namespaces/n/jobs/"
#define MADE "POST /apis/batch/v1/namespaces/n/jobs"

static bool refuses;              /* what is to be deleted beside the Job */
static const char *told_log = ""; /* of any pod; it stays in the folder */

static void starts(long job_status)
{
    const struct row script[] = {
        {.match = JOB, .status = (int)job_status, .body = "{}", .times = -1},
        {.match = "DELETE ", .status = refuses ? 403 : 200, .body = "{}", .times = -1},
        {.match = "/last", .status = 200, .body = "{}", .delay_ms = 100, .times = -1},
        {.match = "/log", .status = 200, .body = told_log, .times = -1},
        {.match = MADE, .status = 503, .body = "{}", .times = -1},
        NO_PODS,
        {.match = "fieldSelector=", .status = 200, .body = "{\"items\":[]}", .times = -1},
        {.match = "watch=1", .how = SILENT, .times = -1},
        {.match = "limit=500", .status = 200, .body = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}", 0, -1},
        {.match = NULL}};
    server_start(script);
    if (begin(NULL) != 0) fail();
}

/* With two workers and a secret; or one that has neither. */
static struct kube_attempt *runs(bool with)
{
    struct kube_attempt *a = with_pods(with ? 2 : 1, RUNS);
    a->secret_name = with ? STR("its-secret") : STR("");
    return a;
}

static void answered_last(void *ctx, const struct kube_answer *answer)
{
    *(bool *)ctx = answer->status == 200;
}

/* Whatever is asked for has come. */
static void all_come(void)
{
    bool last = false;
    const struct kube_request marker = {
        .method = "GET", .path = STR("/last"), .priority = KUBE_IDLE, .done = answered_last, .ctx = &last};
    kube_request(k->client, &marker);
    turn_until(k->client, &last);
}

/* Its pods end, it is told, and forgotten. */
static void ends(struct kube_attempt *a)
{
    struct exec_event told;
    uint32_t workers = a->workers;
    for (uint32_t i = 0; i < workers; i++)
        says(KUBE_PRESENT, workers, i, DONE);
    turn_until(k->client, &a->queued);
    assert_true(executor.next(executor.self, &arena, &told));
    executor.forget(executor.self, id);
    while ((a = kube_find(k, id)) != NULL) {
        a->forgotten_us -= INT64_C(3600) * 1000000; /* it may lie for a while */
        if (a->retry_us != 0) a->retry_us = 1;
        if (a->retry_us != 0) kube_tick(k);
        kube_client_turn(k->client);
        usleep(1000);
    }
    all_come();
}

static void job_goes(const char *metadata)
{
    told(kube_hear_job, metadata[0] != '\0' ? KUBE_PRESENT : KUBE_DELETED,
         arena_printf(&arena, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"labels\":{" LABELS "}%s},\"spec\":{}}",
                      job_name, metadata));
    if (metadata[0] == '\0') answered(kube_find(k, id), "j1", NULL);
}

#define LEAVING ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":[\"orphan\"]"

static void what_others_may_have_left_goes_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *told[2]; /* NULL = nothing; empty = that it is gone */
        bool with;
        long status; /* of our deletion */
        size_t by_us, removed;
    } rows[] = {
        {"by us", {NULL}, true, 200, 1, 0},      {"gone", {""}, true, 200, 0, 1},
        {"leaving", {LEAVING}, true, 200, 0, 1}, {"leaving, and gone", {LEAVING, ""}, true, 200, 0, 1},
        {"found gone", {NULL}, true, 404, 1, 1}, {"gone, with nothing", {""}, false, 200, 0, 0},
    };
    EACH(i, rows)
    {
        starts(rows[i].status);
        struct kube_attempt *a = runs(rows[i].with);
        for (size_t t = 0; t < 2 && rows[i].told[t] != NULL; t++)
            job_goes(rows[i].told[t]);
        ends(a);
        if (received_of(JOB) != rows[i].by_us || received_of(SECRET) != rows[i].removed ||
            received_of(SERVICE) != rows[i].removed)
            fail_msg("%s: %zu, %zu, %zu", rows[i].name, received_of(JOB), received_of(SECRET), received_of(SERVICE));
        (void)end_with_server(NULL);
    }
}

/* A step that is stopped meanwhile, whose Job Millrace has deleted. */
static void what_is_stopped_takes_all_along(void **state)
{
    (void)state;
    starts(200);
    struct kube_attempt *a = runs(true);
    stop(1000);
    turn_until(k->client, &a->deleted);
    job_goes("");
    ends(a);
    assert_int_equal(received_of(JOB), 1);
    assert_int_equal(received_of(SECRET) + received_of(SERVICE), 0);
    (void)end_with_server(NULL);
}

/* While no server looked. What was never made is launched again by the same names. */
static void what_is_not_there_any_more_may_have_left_it(void **state)
{
    (void)state;
    for (int never = 0; never <= 1; never++) {
        struct exec_event told;
        starts(200);
        struct kube_attempt *a = asked(2);
        a->secret_name = STR("its-secret");
        a->never = never;
        assert_int_equal(a->phase, KUBE_HELD);
        turn_until(k->client, &a->queued);
        assert_true(executor.next(executor.self, &arena, &told));
        assert_int_equal(told.kind, EXEC_UNKNOWN);
        assert_int_equal(told.never, never);
        all_come();
        assert_int_equal(received_of(SECRET) + received_of(SERVICE), never ? 0 : 2);
        (void)end_with_server(NULL);
    }
}

static void it_stays_where_it_may_not_be_deleted(void **state)
{
    (void)state;
    refuses = true;
    starts(200);
    struct kube_attempt *a = runs(true);
    job_goes("");
    ends(a);
    assert_int_equal(received_of(SECRET), 1);
    (void)end_with_server(NULL);
    refuses = false;
}

/* ---- pods ---- */

#define POD "DELETE /api/v1/namespaces/n/pods/"

static void starts_told(void)
{
    starts(200);
    while (!kube_synced(k))
        kube_client_turn(k->client);
}

static void left(const char *uid, const char *status)
{
    pod_told(KUBE_PRESENT, uid, LABELS, NULL, NULL, status);
}

/* By a server that was not there before. */
static struct kube_attempt *comes_back(uint32_t workers)
{
    struct node node = {.workers = workers};
    struct err err = {0};
    const struct exec_request req = {
        .id = id, .step = STR("train"), .spec = {.node = &node}, .grace_ms = 7000, .started_us = os_now_us()};
    assert_true(executor.launch(executor.self, &req, true, executor.instance(executor.self), &err));
    kube_find(k, id)->secret_name = STR("its-secret");
    return kube_find(k, id);
}

static struct kube_attempt *is_killed(uint32_t workers)
{
    (void)workers;
    stop(7000);
    return kube_find(k, id);
}

/* Its Job is there at first, and is told to be gone. */
static struct kube_attempt *loses_its_job(uint32_t workers)
{
    job_says("", "");
    struct kube_attempt *a = comes_back(workers);
    job_goes(LEAVING);
    job_goes("");
    return a;
}

/* Rank 0 is known. */
static struct kube_attempt *loses_its_job_with_a_pod(uint32_t workers)
{
    job_says("", "");
    says(KUBE_PRESENT, workers, 0, DONE);
    struct kube_attempt *a = comes_back(workers);
    job_goes(LEAVING);
    job_goes("");
    kube_tick(k);
    return a;
}

static void waits_for(struct kube_attempt *a, enum kube_phase phase)
{
    for (int64_t until = os_mono_us() + 10000000; a->phase != phase && os_mono_us() < until; usleep(1000))
        kube_client_turn(k->client);
    assert_int_equal(a->phase, phase);
    assert_false(a->queued);
}

static void pods_that_are_left_have_ended_before_an_end_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct kube_attempt *(*comes)(uint32_t workers);
        enum reason reason;
        bool secret; /* is known, and goes */
        const char *says;
    } rows[] = {{"comes back", comes_back, REASON_INFRA, true, "its Job is not there: it was deleted"},
                {"is killed", is_killed, REASON_CANCELLED, false, "was stopped"},
                {"loses its Job", loses_its_job, REASON_INFRA, true, "its Job was deleted by somebody else"},
                {"has a pod", loses_its_job_with_a_pod, REASON_INFRA, true, "its Job was deleted by somebody else"}};
    EACH(i, rows)
    {
        struct exec_event e;
        starts_told();
        left("left-0", RUNS);
        left("left-1", RUNS);
        left("left-2", DONE);
        pod_told(KUBE_PRESENT, "another", OTHERS, NULL, NULL, RUNS);
        struct kube_attempt *a = rows[i].comes(2);
        waits_for(a, KUBE_STOPPING);
        assert_string_equal(a->waits, "its Job was deleted, and its pods are being stopped");
        kube_tick(k);
        all_come();
        assert_int_equal(received_of(POD), 2);
        assert_non_null(strstr(received_last(POD "pod-left-0")->body, "\"gracePeriodSeconds\":7"));
        assert_non_null(strstr(received_last(POD "pod-left-1")->body, "\"uid\":\"left-1\""));
        kube_tick(k);
        all_come();
        assert_int_equal(received_of(POD), 2); /* once */
        left("left-0", FAILED);
        kube_tick(k);
        assert_false(a->queued);
        pod_told(KUBE_DELETED, "left-1", LABELS, NULL, NULL, RUNS);
        kube_tick(k);
        assert_true(a->queued);
        while (executor.next(executor.self, &arena, &e) && e.kind == EXEC_WAITS) {
        }
        assert_int_equal(e.kind, EXEC_ENDED);
        assert_int_equal(e.result.reason, rows[i].reason);
        if (!str_starts(e.result.message, rows[i].says)) fail_msg("%s: %s", rows[i].name, e.result.message.p);
        executor.forget(executor.self, id);
        assert_null(kube_find(k, id));
        all_come();
        assert_int_equal(received_of(SECRET), rows[i].secret);
        assert_int_equal(received_of(JOB), 0);
        (void)end_with_server(NULL);
    }
}

/* Nor what others have made of a pod, however often, nor one whose node is lost. */
static void pods_that_are_left_are_not_waited_for_for_ever(void **state)
{
    (void)state;
    starts_told();
    left("left-0", RUNS);
    struct kube_attempt *a = comes_back(1);
    waits_for(a, KUBE_STOPPING);
    a->killed_us -= INT64_C(120) * 1000000;
    kube_tick(k);
    assert_int_equal(a->phase, KUBE_STOPPING); /* it has its grace, too */
    stop(1000);
    assert_true(str_starts(a->result.message, "was stopped"));
    a->killed_us -= INT64_C(122) * 1000000;
    kube_tick(k);
    assert_int_equal(a->phase, KUBE_TOLD);
    (void)end_with_server(NULL);
}

static void pods_that_are_left_may_not_be_deleted(void **state)
{
    (void)state;
    refuses = true;
    starts_told();
    left("left-0", RUNS);
    struct kube_attempt *a = comes_back(1);
    waits_for(a, KUBE_STOPPING);
    for (size_t asked = 1; asked <= 2; asked++) {
        kube_tick(k);
        all_come();
        assert_int_equal(received_of(POD), asked);
        assert_string_equal(a->waits, "its Job was deleted, and its pod pod-left-0 cannot be deleted; Kubernetes says: "
                                      "the server answered 403: {}");
        kube_tick(k);
        all_come();
        assert_int_equal(received_of(POD), asked); /* not at once */
        k->strays->since_us -= INT64_C(16) * 1000000;
    }
    a->killed_us -= INT64_C(130) * 1000000;
    kube_tick(k);
    assert_non_null(strstr(a->result.message.p, "; that all its pods have ended since has not been confirmed"));
    (void)end_with_server(NULL);
    refuses = false;
}

/* It may be forgotten meanwhile: they go all the same. */
static void pods_that_are_left_go_without_their_attempt(void **state)
{
    (void)state;
    starts_told();
    left("left-0", RUNS);
    waits_for(comes_back(1), KUBE_STOPPING);
    executor.disown(executor.self, id, STR("p"), 1000);
    assert_null(kube_find(k, id));
    k->strays->since_us -= INT64_C(16) * 1000000;
    kube_tick(k);
    all_come();
    assert_int_equal(received_of(POD), 1);
    assert_int_equal(received_of(SECRET), 1);
    (void)end_with_server(NULL);
}

/* They say only that it was launched, and what they said. */
static void pods_that_are_left_and_have_ended_are_not_waited_for(void **state)
{
    (void)state;
    struct exec_event e;
    told_log = "it said this\n";
    starts_told();
    pod_told(KUBE_PRESENT, "left-1", LABELS RANK_1, NULL, NULL, DONE);
    pod_told(KUBE_PRESENT, "left-0", LABELS RANK_0, NULL, NULL, DONE);
    struct kube_attempt *a = comes_back(2);
    turn_until(k->client, &a->queued);
    assert_true(executor.next(executor.self, &arena, &e));
    assert_int_equal(e.kind, EXEC_ENDED);
    assert_int_equal(e.result.reason, REASON_INFRA);
    assert_int_equal(e.result.log_bytes, strlen(told_log));
    assert_non_null(received_last("GET /api/v1/namespaces/n/pods/pod-left-0/log"));
    (void)end_with_server(NULL);
}

/* Those that are known are told by themselves, and once. */
static void who_is_stopped_while_the_log_is_fetched_stops_all(void **state)
{
    (void)state;
    starts_told();
    says(KUBE_PRESENT, 2, 0, RUNS);
    left("left-1", RUNS);
    struct kube_attempt *a = comes_back(2);
    kube_gone(a);
    kube_tick(k);
    assert_int_equal(a->phase, KUBE_DRAINING);
    stop(7000);
    waits_for(a, KUBE_STOPPING);
    kube_tick(k);
    all_come();
    assert_int_equal(received_of(POD "pod-p0"), 1);
    assert_int_equal(received_of(POD "pod-left-1"), 1);
    assert_int_equal(a->result.reason, REASON_CANCELLED);
    (void)end_with_server(NULL);
}

/* Whether it was made is not known; and a pod of it goes on. */
static void what_was_made_is_not_made_again(void **state)
{
    (void)state;
    struct node node = {.workers = 1};
    struct err err = {0};
    const struct exec_request req = {
        .id = id, .step = STR("train"), .spec = {.node = &node, .image = STR("i")}, .grace_ms = 7000};
    static const struct {
        const char *pod; /* that is told: whose it is; NULL = none */
        bool before, cancelled;
        size_t posts;
        enum kube_phase phase;
    } rows[] = {{NULL, false, false, 2, KUBE_CREATING},
                {"", false, false, 1, KUBE_STOPPING},
                {"", false, true, 1, KUBE_STOPPING},
                {"j1", false, false, 2, KUBE_CREATING},
                {"", true, false, 1, KUBE_STOPPING}}; /* it is made once, whatever copies there are */
    EACH(i, rows)
    {
        starts_told();
        if (rows[i].before) left("left-0", RUNS);
        assert_true(executor.launch(executor.self, &req, false, STR("another"), &err));
        struct kube_attempt *a = kube_find(k, id);
        while (a->call != NULL)
            kube_client_turn(k->client);
        assert_true(a->phase == KUBE_CREATING && a->unsure);
        if (rows[i].pod != NULL)
            pod_told(KUBE_PRESENT, "left-0", LABELS, rows[i].pod[0] != '\0' ? job_name : NULL, rows[i].pod, RUNS);
        if (rows[i].cancelled) stop(7000);
        a->retry_us = 1;
        kube_tick(k);
        all_come();
        if (received_of(MADE) != rows[i].posts) fail_msg("row %zu: %zu", i, received_of(MADE));
        assert_int_equal(a->phase, rows[i].phase);
        if (rows[i].cancelled) assert_true(str_is(a->result.message, "was stopped"));
        (void)end_with_server(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_may_have_left_goes_by_name),
        cmocka_unit_test(what_is_stopped_takes_all_along),
        cmocka_unit_test(what_is_not_there_any_more_may_have_left_it),
        cmocka_unit_test(it_stays_where_it_may_not_be_deleted),
        cmocka_unit_test(pods_that_are_left_have_ended_before_an_end_is_told),
        cmocka_unit_test(pods_that_are_left_are_not_waited_for_for_ever),
        cmocka_unit_test(pods_that_are_left_go_without_their_attempt),
        cmocka_unit_test(pods_that_are_left_may_not_be_deleted),
        cmocka_unit_test(who_is_stopped_while_the_log_is_fetched_stops_all),
        cmocka_unit_test(what_was_made_is_not_made_again),
        cmocka_unit_test(pods_that_are_left_and_have_ended_are_not_waited_for),
    };
    return cmocka_run_group_tests_name("orphans on a cluster", tests, open_folder, drop_folder);
}
