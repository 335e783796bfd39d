/* What is asked of the cluster's server when an attempt ends or is to end, and what its answers bring: of Jobs and pods
 * that are deleted, of Jobs that have ended, of the last lines. */
#include "tests/scheduler/kube_ends_rig.h"

#define COMPLETE "\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]"
#define NOT_COMPLETE "\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"}]"

/* Another has its name: its own is gone. */
static void what_was_deleted_is_gone(void **state)
{
    (void)state;
    static const struct {
        enum kube_outcome outcome;
        long status;
        bool deleted;
    } rows[] = {
        {KUBE_DONE, 200, true}, {KUBE_REFUSED, 404, true}, {KUBE_REFUSED, 409, true}, {KUBE_REFUSED, 403, false}};
    EACH(i, rows)
    {
        const struct kube_answer answer = {.outcome = rows[i].outcome, .status = rows[i].status};
        if (kube_deleted(&answer) != rows[i].deleted) fail_msg("%ld", rows[i].status);
    }
}

static size_t count(const char *part)
{
    size_t n = 0;
    for (size_t i = 0; i < received(); i++)
        n += strstr(server.got[i].line, part) != NULL;
    return n;
}

/* An answer that says nothing is none; the next one counts. */
static void what_is_not_watched_any_more_is_asked_for_until_somebody_knows(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, RUNS);
    pod_told(KUBE_DELETED, "p0", LABELS, job_name, "j1", RUNS);
    for (int64_t until = os_mono_us() + 10000000; !a->queued && os_mono_us() < until; usleep(1000)) {
        kube_client_turn(k->client);
        kube_untold_tick(a, INT64_MAX);
    }
    assert_true(a->queued);
    assert_int_equal(count("pods?fieldSelector=metadata.name%3Dpod-p0"), 2);
}

#define FROM_TO(to)                                                                                                    \
    "\"startTime\":\"2026-01-01T00:00:00Z\",\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\","                 \
    "\"lastTransitionTime\":\"" to "\"}]"

/* What is complete is not run again. What has run for as long as it may was late: whoever stopped it has not recorded
 * that. */
static void a_job_whose_pods_are_gone_says_how_it_ended(void **state)
{
    (void)state;
    static const struct {
        const char *name, *status;
        int64_t timeout_ms;
        bool rank_0; /* of two it has been told of, and of the other one never */
        enum reason reason;
    } rows[] = {{"complete", COMPLETE, 60000, false, REASON_NONE},
                {"complete, of two", COMPLETE, 60000, true, REASON_NONE},
                {"not complete", NOT_COMPLETE, 60000, false, REASON_INFRA},
                {"late", FROM_TO("2026-01-01T00:01:00Z"), 60000, false, REASON_TIMEOUT},
                {"in time", FROM_TO("2026-01-01T00:00:59Z"), 60000, false, REASON_INFRA},
                {"without a time", FROM_TO("2026-01-01T00:01:00Z"), 0, false, REASON_INFRA},
                {"without either", NOT_COMPLETE, 0, false, REASON_INFRA}};
    EACH(i, rows)
    {
        job_says("", rows[i].status);
        if (rows[i].rank_0) says(KUBE_PRESENT, 2, 0, DONE);
        struct kube_attempt *a = asked(rows[i].rank_0 ? 2 : 1);
        a->timeout_ms = rows[i].timeout_ms;
        a->created_us -= INT64_C(60) * 1000000; /* for its pods to be told of */
        kube_tick(k);
        assert_non_null(a->question);
        turn_until(k->client, &a->queued);
        if (a->result.ok != (rows[i].reason == REASON_NONE) || a->result.reason != rows[i].reason)
            fail_msg("%s: %d", rows[i].name, (int)a->result.reason);
        forget(a);
    }
}

static void an_answer_without_a_list_ends_nothing(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j2", LABELS);
    struct kube_attempt *a = asked(1);
    a->job_ended = true;
    a->created_us -= INT64_C(60) * 1000000;
    kube_tick(k);
    for (; a->question != NULL; usleep(1000))
        kube_client_turn(k->client);
    assert_int_equal(a->phase, KUBE_CREATED);
    a->looked_us = 0;
    kube_tick(k);
    turn_until(k->client, &a->queued);
}

/* What is being answered may be older. */
static void what_is_said_to_be_gone_again_is_asked_for_again(void **state)
{
    (void)state;
    job_says("", "");
    struct kube_attempt *a = asked(1);
    snprintf(a->name, sizeof a->name, "silent");
    job_told(KUBE_DELETED, "silent", "j1", LABELS);
    for (; count("%3Dsilent") == 0; usleep(1000))
        kube_client_turn(k->client);
    job_told(KUBE_DELETED, "silent", "j1", LABELS);
    turn_until(k->client, &a->queued);
}

/* The first request whose line that is. */
static const struct got *request(struct str line)
{
    for (size_t i = 0; i < received(); i++)
        if (str_is(line, server.got[i].line)) return &server.got[i];
    fail_msg("no %.*s came", STR_ARG(line));
    return NULL;
}

static void pods_go_with_their_job(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, RUNS);
    stop(2500);
    turn_until(k->client, &a->deleted);
    const struct got *pod = request(STR("DELETE /api/v1/namespaces/n/pods/pod-p0"));
    const struct got *job = request(arena_printf(&arena, "DELETE /apis/batch/v1/namespaces/n/jobs/%s", job_name));
    assert_true(pod < job);
    assert_non_null(strstr(pod->body, "\"gracePeriodSeconds\":3,\"preconditions\":{\"uid\":\"p0\"}"));
    assert_non_null(strstr(job->body, "\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"j1\"}"));
}

static struct kube_attempt *late(const char *uid)
{
    job_says("", "");
    pod_told(KUBE_PRESENT, uid, LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    a->collects = true;
    a->timeout_ms = 1;
    usleep(2000);
    kube_tick(k);
    turn_until(k->client, &a->ranks[0].hurried);
    return a;
}

/* That it was late is known to nobody else until its end is recorded. */
static void the_job_of_a_late_step_stays(void **state)
{
    (void)state;
    struct kube_attempt *a = late("p0");
    assert_true(a->call == NULL && !a->deleted);
}

static void the_job_of_a_late_step_goes_where_its_pod_may_not_be_deleted(void **state)
{
    (void)state;
    struct kube_attempt *a = late("forbidden");
    turn_until(k->client, &a->deleted);
    (void)request(arena_printf(&arena, "DELETE /apis/batch/v1/namespaces/n/jobs/%s", job_name));
}

/* With their own grace, at once, and by themselves: the Job tells whoever comes when this server is killed meanwhile.
 */
static void the_others_stop_before_an_end_is_told(void **state)
{
    (void)state;
    for (int restarted = 0; restarted <= 1; restarted++) {
        job_says("", "");
        says(KUBE_PRESENT, 2, 0, RUNS);
        says(KUBE_PRESENT, 2, 1, restarted ? FAILED : RUNS);
        struct node node = {.workers = 2};
        struct err err = {0};
        const struct exec_request req = {.id = id, .step = STR("train"), .spec = {.node = &node}, .grace_ms = 7000};
        assert_true(executor.launch(executor.self, &req, true, STR("another"), &err));
        struct kube_attempt *a = kube_find(k, id);
        if (!restarted) says(KUBE_PRESENT, 2, 1, FAILED);
        turn_until(k->client, &a->ranks[0].hurried);
        turn_until(k->client, &a->drained);
        assert_int_equal(a->phase, KUBE_STOPPING);
        assert_string_equal(a->waits, "has failed, and its other pods are being stopped");
        assert_non_null(
            strstr(request(STR("DELETE /api/v1/namespaces/n/pods/pod-p0"))->body, "\"gracePeriodSeconds\":7"));
        says(KUBE_PRESENT, 2, 0, RUNS);
        stop(1000);
        assert_int_equal(a->phase, KUBE_STOPPING);
        says(KUBE_PRESENT, 2, 0, FAILED);
        assert_int_equal(a->phase, KUBE_TOLD);
        assert_true(str_starts(a->result.message, "was stopped")); /* as a server says that comes later */
        assert_int_equal(a->result.reason, REASON_CANCELLED);
        assert_false(a->deleted);
        forget(a);
    }
}

static void who_could_not_be_told_is_told_again(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS);
    stop(1000);
    for (; a->retry_us == 0; usleep(1000))
        kube_client_turn(k->client);
    a->retry_us = 1;
    kube_tick(k);
    turn_until(k->client, &a->deleted);
    assert_int_equal(count("DELETE /api/v1/namespaces/n/pods/pod-p1"), 5 + 1);
}

static void a_job_that_may_not_be_deleted_is_tried_again(void **state)
{
    (void)state;
    job_says("", "");
    struct kube_attempt *a = asked(1);
    snprintf(a->name, sizeof a->name, "forbidden");
    stop(1000);
    for (; a->call != NULL; usleep(1000))
        kube_client_turn(k->client);
    assert_non_null(strstr(kube_waits_why(a), "its Job cannot be deleted"));
    assert_int_not_equal(a->retry_us, 0);
    a->retry_us = 1;
    kube_tick(k);
    turn_until(k->client, &a->deleted);
}

static void who_was_to_stop_before_its_job_was_told_of_is_stopped(void **state)
{
    (void)state;
    stop(1000);
    job_says("", "");
    struct kube_attempt *a = kube_find(k, id);
    turn_until(k->client, &a->queued);
    assert_int_equal(a->result.reason, REASON_CANCELLED);
    (void)request(arena_printf(&arena, "DELETE /apis/batch/v1/namespaces/n/jobs/%s", job_name));
}

/* Its pods would wait for it. */
static void who_is_refused_what_belongs_to_its_job_loses_that(void **state)
{
    (void)state;
    static const struct str secret = STR_INIT("sesame");
    struct kube_attempt *a = asked(1);
    a->secrets = &secret;
    a->n_secrets = 1;
    job_says("", "");
    turn_until(k->client, &a->deleted);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.failure, FAILURE_INVALID);
    (void)request(arena_printf(&arena, "DELETE /apis/batch/v1/namespaces/n/jobs/%s", job_name));
}

/* As when the answer to its creation was lost: another may have the name. */
static void a_job_without_a_known_uid_is_asked_for_and_not_deleted(void **state)
{
    (void)state;
    pod_told(KUBE_PRESENT, "p0", LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_string_equal(a->job_uid, "");
    kube_delete(a);
    turn_until(k->client, &a->deleted);
    (void)request(
        arena_printf(&arena, "GET /apis/batch/v1/namespaces/n/jobs?fieldSelector=metadata.name%%3D%s", job_name));
    assert_int_equal(count("DELETE"), 0);
}

/* ---- logs ---- */

static void the_last_lines_are_those_of_the_rank_that_failed(void **state)
{
    (void)state;
    static const struct step_output output = {.name = {"n", 1}, .param = PARAM_STRING};
    for (uint32_t failed = 0; failed < 2; failed++) {
        struct kube_attempt *a = with_pods(2, RUNS);
        a->outputs = &output;
        a->n_outputs = 1;
        says(KUBE_PRESENT, 2, failed, FAILED);
        turn_until(k->client, &a->drained);
        others_go(a, 2, failed);
        turn_until(k->client, &a->queued);
        size_t at;
        const char *const quoted = failed == 0 ? "; its last lines:\nof zero" : "; its last lines:\n[rank 1] of one";
        if (!str_ends(a->result.message, quoted) || !str_find(a->result.message, STR("its last"), &at) ||
            str_find(str_sub(a->result.message, at + 1, a->result.message.n), STR("its last"), &at))
            fail_msg("rank %u: %.*s", failed, STR_ARG(a->result.message));
        forget(a);
    }
}

static int begin_with_server(void **state)
{
    static const struct row script[] = {
        {.match = "GET /api/v1/namespaces/n/pods?labelSelector=batch.kubernetes.io%2Fcontroller-uid%3Dj1",
         .status = 200,
         .body = "{\"items\":[]}",
         .times = -1},
        {.match = "%3Dsilent", .how = SILENT},
        {.match = "%3Dj2", .status = 200, .body = "{}"},
        {.match = "%3Dj2", .status = 200, .body = "{\"items\":[]}"},
        {.match = "pods?fieldSelector=metadata.name%3Dpod-p0", .status = 403},
        {.match = "pods?fieldSelector=metadata.name%3Dpod-p0", .status = 200, .body = "{\"items\":[]}", .times = -1},
        {.match = "POST /api/v1/namespaces/n/services", .status = 201, .body = "{}", .times = -1},
        {.match = "POST /api/v1/namespaces/n/secrets", .status = 422},
        {.match = "/pods/pod-p0/log", .status = 200, .body = "of zero\n", .times = -1},
        {.match = "/pods/pod-p1/log", .status = 200, .body = "of one\n", .times = -1},
        {.match = "GET /apis/batch/v1/namespaces/n/jobs?fieldSelector=",
         .status = 200,
         .body = "{\"items\":[{\"metadata\":{\"uid\":\"j9\"}}]}",
         .times = -1},
        {.match = "DELETE /api/v1/namespaces/n/pods/pod-p1", .status = 500, .times = 5},
        {.match = "DELETE /api/v1/namespaces/n/pods/pod-forbidden", .status = 403},
        {.match = "jobs/forbidden", .status = 403},
        {.match = "DELETE ", .status = 200, .body = "{}", .times = -1},
        {.match = NULL}};
    server_start(script);
    return begin(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_with_server, end_with_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_deleted_is_gone),
        TEST(what_is_not_watched_any_more_is_asked_for_until_somebody_knows),
        TEST(a_job_whose_pods_are_gone_says_how_it_ended),
        TEST(an_answer_without_a_list_ends_nothing),
        TEST(what_is_said_to_be_gone_again_is_asked_for_again),
        TEST(pods_go_with_their_job),
        TEST(the_job_of_a_late_step_stays),
        TEST(the_job_of_a_late_step_goes_where_its_pod_may_not_be_deleted),
        TEST(the_others_stop_before_an_end_is_told),
        TEST(who_could_not_be_told_is_told_again),
        TEST(a_job_that_may_not_be_deleted_is_tried_again),
        TEST(who_was_to_stop_before_its_job_was_told_of_is_stopped),
        TEST(who_is_refused_what_belongs_to_its_job_loses_that),
        TEST(a_job_without_a_known_uid_is_asked_for_and_not_deleted),
        TEST(the_last_lines_are_those_of_the_rank_that_failed),
    };
    return cmocka_run_group_tests_name("deletions on a cluster", tests, open_folder, drop_folder);
}
