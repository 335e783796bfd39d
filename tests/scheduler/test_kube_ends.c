/* How attempts end by what is heard of their pods and their Jobs, of one worker and of several. */
#include "tests/scheduler/kube_rig.h"

#define FAILED                                                                                                         \
    "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"terminated\":{\"exitCode\":1}}}]"
#define DELETING "},\"deletionTimestamp\":\"2026-01-01T00:00:10Z\",\"annotations\":{" /* behind the labels */
#define PENDING "\"phase\":\"Pending\""
#define COMPLETE "\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]"
#define NOT_COMPLETE "\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"}]"
#define SUSPENDED "\"suspend\":true"

static int generation = 1; /* of the Job: how often its spec was written */

static void job_says(const char *spec, const char *status)
{
    told(kube_hear_job, KUBE_PRESENT,
         arena_printf(&arena,
                      "{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"generation\":%d,\"labels\":{" LABELS
                      ",\"" KUBE_LABEL_KUEUE "\":\"q\"}},\"spec\":{%s},\"status\":{%s}}",
                      job_name, generation, spec, status));
}

/* The only one, or one of two. */
static void says(enum kube_change change, uint32_t workers, uint32_t rank, const char *status)
{
    const char *labels = workers == 1 ? LABELS : rank == 0 ? LABELS RANK_0 : LABELS RANK_1;
    const char *uid = rank == 0 ? "p0" : "p1";
    pod_told(change, uid, labels, job_name, "j1", status);
    if (change == KUBE_DELETED) answered(kube_find(k, id), uid, NULL);
}

static struct kube_attempt *with_pods(uint32_t workers, const char *status)
{
    job_says("", "");
    for (uint32_t i = 0; i < workers; i++)
        says(KUBE_PRESENT, workers, i, status);
    return asked(workers);
}

/* So that another may come. */
static void forget(struct kube_attempt *a)
{
    struct exec_event told;
    while (a->queued)
        assert_true(executor.next(executor.self, &arena, &told));
    kube_drop(k, a);
}

static void stop(uint32_t grace_ms)
{
    executor.kill(executor.self, id, STR("p"), grace_ms);
}

/* ---- pods ---- */

static void the_first_end_of_a_pod_counts(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, DONE);
    says(KUBE_PRESENT, 1, 0, FAILED);
    assert_true(a->ended && a->result.ok);
    forget(a);
    a = with_pods(2, RUNS);
    says(KUBE_PRESENT, 2, 0, DONE);
    says(KUBE_PRESENT, 2, 0, FAILED);
    assert_false(a->ended);
    says(KUBE_PRESENT, 2, 1, DONE);
    assert_true(a->ended && a->result.ok);
}

static void who_lacks_memory_is_told_what_bounds_it(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, RUNS);
    assert_string_equal(a->memory_bound, "resources.memory");
    a->memory_bound = "retry.memory.max";
    says(KUBE_PRESENT, 1, 0,
         "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"terminated\":{\"exitCode\":137,"
         "\"reason\":\"OOMKilled\"}}}]");
    assert_true(a->ended && str_starts(a->result.message, "used more memory than it may: raise retry.memory.max;"));
}

static void the_first_that_fails_counts(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS);
    says(KUBE_PRESENT, 2, 0, DONE);
    says(KUBE_PRESENT, 2, 1, FAILED);
    assert_true(a->ended && !a->result.ok);
    assert_int_equal(a->result.failure, FAILURE_ERROR);
    assert_true(str_starts(a->result.message, "rank 1: "));
}

/* The one that has failed is told of last, as in a list of pods. */
static void who_is_taken_away_since_another_failed_is_not_why(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS);
    pod_told(KUBE_PRESENT, "p0", LABELS RANK_0 DELETING, job_name, "j1", FAILED);
    kube_tick(k);
    assert_false(a->ended);
    says(KUBE_PRESENT, 2, 1, FAILED);
    assert_true(a->ended);
    assert_int_equal(a->result.failure, FAILURE_ERROR);
    assert_true(str_starts(a->result.message, "rank 1: exited with code 1"));
    forget(a);
    for (int told = 1; told <= 2; told++) { /* nobody has: somebody has deleted them */
        a = with_pods(2, RUNS);
        pod_told(KUBE_PRESENT, "p1", LABELS RANK_1 DELETING, job_name, "j1", FAILED);
        if (told == 2) pod_told(KUBE_PRESENT, "p0", LABELS RANK_0 DELETING, job_name, "j1", FAILED);
        assert_int_equal(a->ended, told == 2);
        kube_ranks_tick(a, INT64_MAX);
        assert_true(a->ended);
        assert_int_equal(a->result.reason, REASON_INFRA);
        assert_true(str_starts(a->result.message, "rank 1: was stopped as its pod was deleted"));
        forget(a);
    }
}

static void who_is_to_stop_has_when_all_pods_have(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS);
    stop(1000);
    says(KUBE_PRESENT, 2, 1, FAILED);
    assert_false(a->ended);
    says(KUBE_PRESENT, 2, 0, DONE);
    assert_true(a->ended && !a->result.ok);
    assert_int_equal(a->result.reason, REASON_CANCELLED);
    forget(a);
    a = with_pods(2, RUNS);
    stop(1000);
    says(KUBE_DELETED, 2, 0, RUNS);
    assert_int_equal(a->phase, KUBE_CREATED);
    says(KUBE_DELETED, 2, 1, RUNS);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_CANCELLED);
}

static void a_pod_that_is_lost_is_nobodys_fault(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct kube_attempt *a = with_pods(workers, RUNS);
        says(KUBE_DELETED, workers, workers - 1, RUNS);
        assert_int_equal(a->phase, KUBE_TOLD);
        assert_int_equal(a->result.reason, REASON_INFRA);
        forget(a);
    }
}

#define COLLECTS ",\"initContainerStatuses\":[{\"name\":\"millrace-collect\",\"state\":{\"running\":{}}}]"

#define DRAINED "},\"deletionTimestamp\":\"2026-01-01T00:10:30Z\",\"deletionGracePeriodSeconds\":620,\"annotations\":{"
#define ENDED(at)                                                                                                      \
    "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"terminated\":{\"exitCode\":0,\"finishedAt\":\"" at "\"}}}" \
    "]"

/* Of a step that had ended before, what it left is being kept. */
static void who_is_drained_says_how_long_it_may_go_on(void **state)
{
    (void)state;
    static const char told[] = "its pod is being deleted by others, as when its node is drained: it was told to stop, "
                               "and is killed if it has not after 10m20s";
    static const struct {
        const char *status, *says;
    } rows[] = {{RUNS COLLECTS, told},
                {ENDED("2026-01-01T00:00:11Z") COLLECTS, told},
                {ENDED("2026-01-01T00:00:09Z") COLLECTS, "has ended; its outputs are being kept"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_attempt *a = with_pods(1, RUNS COLLECTS);
        pod_told(KUBE_PRESENT, "p0", LABELS DRAINED, job_name, "j1", rows[i].status);
        assert_string_equal(a->waits, rows[i].says);
        forget(a);
    }
    struct kube_attempt *a = with_pods(2, RUNS COLLECTS);
    pod_told(KUBE_PRESENT, "p1", LABELS RANK_1 DRAINED, job_name, "j1", RUNS COLLECTS);
    assert_string_equal(a->waits, arena_printf(&arena, "rank 1: %s", told).p);
    forget(a);
    a = with_pods(1, RUNS COLLECTS);
    a->kill_wanted = true; /* it is ours that deletes it */
    pod_told(KUBE_PRESENT, "p0", LABELS DRAINED, job_name, "j1", RUNS COLLECTS);
    assert_null(a->waits);
}

/* The deletion of its Job does for what has ended; only rank 0's sidecar may still be at what nobody will want. */
static void who_has_nothing_left_to_do_is_not_told_to_hurry(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS COLLECTS);
    a->collects = true;
    says(KUBE_PRESENT, 2, 1, FAILED COLLECTS);
    assert_true(a->ended);
    assert_int_equal(kube_rank_to_hurry(a), 0); /* it goes on */
    says(KUBE_PRESENT, 2, 0, FAILED COLLECTS);
    assert_int_equal(kube_rank_to_hurry(a), 0); /* it keeps */
    says(KUBE_PRESENT, 2, 0, FAILED);
    assert_int_equal(kube_rank_to_hurry(a), UINT32_MAX);
}

static void who_is_taken_back_gave_way(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct kube_attempt *a = with_pods(workers, PENDING);
        job_says(SUSPENDED, "");
        says(KUBE_DELETED, workers, workers - 1, PENDING);
        assert_int_equal(a->phase, KUBE_TOLD);
        assert_int_equal(a->result.reason, REASON_PREEMPTED);
        forget(a);
        a = with_pods(workers, RUNS);
        job_says(SUSPENDED, "");
        says(KUBE_PRESENT, workers, workers - 1, FAILED);
        assert_true(a->ended);
        assert_int_equal(a->result.reason, REASON_PREEMPTED);
        forget(a);
    }
}

/* While no server looked, and whether or not its pods were made again since. */
static void who_was_taken_back_unseen_gave_way(void **state)
{
    (void)state;
    static const struct {
        int generation;
        const char *spec;
        bool gave_way;
    } cases[] = {{1, SUSPENDED, false}, {2, SUSPENDED, false}, {2, "", false}, {3, "", false},
                 {3, SUSPENDED, true},  {4, "", true},         {5, "", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        generation = cases[i].generation;
        job_says(cases[i].spec, "");
        if (cases[i].spec[0] == '\0') says(KUBE_PRESENT, 1, 0, RUNS);
        struct kube_attempt *a = asked(1);
        kube_tick(k);
        assert_int_equal(a->phase, cases[i].gave_way && cases[i].spec[0] != '\0' ? KUBE_TOLD : KUBE_CREATED);
        if (a->hurry) says(KUBE_PRESENT, 1, 0, FAILED); /* it was told to stop first */
        bool gave_way = a->result.reason == REASON_PREEMPTED;
        if (gave_way != cases[i].gave_way) fail_msg("generation %d: %d", generation, gave_way);
        forget(a);
    }
    generation = 1;
}

static void who_was_told_to_stop_ends_so_unconfirmed(void **state)
{
    (void)state;
    for (int expired = 0; expired <= 1; expired++) {
        struct kube_attempt *a = with_pods(1, RUNS);
        a->timeout_ms = expired ? 90000 : 0;
        stop(1000);
        a->expired = expired;
        kube_tick(k);
        assert_int_equal(a->phase, KUBE_CREATED);
        a->killed_us -= INT64_C(121) * 1000000;
        a->lost_us = os_mono_us() + 1000000; /* others had begun to delete its pod */
        kube_tick(k);
        assert_int_equal(a->phase, KUBE_CREATED);
        a->lost_us = 1;
        kube_tick(k);
        assert_int_equal(a->phase, KUBE_TOLD);
        assert_int_equal(a->result.reason, expired ? REASON_TIMEOUT : REASON_CANCELLED);
        assert_true(str_starts(a->result.message,
                               expired ? "ran longer than its timeout (1m30s); its node" : "was stopped; its node"));
        forget(a);
    }
}

static void who_may_have_begun_was_stopped(void **state)
{
    (void)state;
    job_says("", "");
    struct kube_attempt *a = asked(1);
    stop(1000);
    kube_gone(a);
    assert_true(str_is(a->result.message, "was stopped"));
}

/* What was told before anybody asked is all that is told of a pod that goes on. */
static void the_time_of_a_pod_counts_after_a_restart(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct kube_attempt *a = with_pods(workers, RUNS);
        a->collects = true;
        a->timeout_ms = 1;
        usleep(2000);
        kube_tick(k);
        assert_true(a->kill_wanted && a->expired);
        forget(a);
    }
}

/* ---- what is told, and how often ---- */

static void next_is_the_end(enum reason reason)
{
    struct exec_event e;
    assert_true(executor.next(executor.self, &arena, &e));
    assert_int_equal(e.kind, EXEC_ENDED);
    assert_int_equal(e.result.reason, reason);
    assert_false(executor.next(executor.self, &arena, &e));
}

static void an_end_is_told_again_to_whoever_asks_again(void **state)
{
    (void)state;
    (void)with_pods(1, RUNS);
    says(KUBE_DELETED, 1, 0, RUNS);
    next_is_the_end(REASON_INFRA);
    (void)asked(1); /* the scheduler has lost its memory */
    next_is_the_end(REASON_INFRA);
    stop(1000);
    next_is_the_end(REASON_INFRA);
}

static void there_is_one_end(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, RUNS);
    says(KUBE_DELETED, 1, 0, RUNS);
    next_is_the_end(REASON_INFRA);
    kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR("again"));
    assert_false(a->queued);
    executor.forget(executor.self, id);
    kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR("again"));
    assert_false(a->queued);
    assert_int_equal(a->phase, KUBE_FORGOTTEN);
}

/* ---- what time brings ---- */

static void a_node_that_never_says_that_it_stopped_is_not_waited_for(void **state)
{
    (void)state;
    static const struct {
        int64_t after_s;
        enum kube_phase phase;
    } rows[] = {{125, KUBE_CREATED}, {131, KUBE_TOLD}};
    struct kube_attempt *a = with_pods(1, RUNS);
    stop(10000);
    EACH(i, rows)
    {
        a->killed_us = os_mono_us() - rows[i].after_s * 1000000;
        kube_tick(k);
        assert_int_equal(a->phase, rows[i].phase);
    }
    assert_int_equal(a->result.reason, REASON_CANCELLED);
}

/* A quota may count what lies; of a deletion that was refused it says nothing. */
static void what_cannot_be_created_may_want_for_what_lies(void **state)
{
    (void)state;
    static const struct {
        enum kube_phase phase;
        uint32_t tries;
        bool refused;
    } rows[] = {{KUBE_CREATING, 0, false}, {KUBE_CREATING, 1, true}, {KUBE_CREATED, 1, false}};
    struct kube_attempt *a = asked(1);
    EACH(i, rows)
    {
        a->phase = rows[i].phase;
        a->tries = rows[i].tries;
        kube_tick(k);
        assert_int_equal(k->garbage.refused, rows[i].refused);
    }
}

/* ---- Jobs, as a server tells and is told ---- */

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

/* An answer that says nothing is none; the next one counts. */
static void what_is_not_watched_any_more_is_asked_for_until_somebody_knows(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, RUNS);
    size_t n = 0;
    pod_told(KUBE_DELETED, "p0", LABELS, job_name, "j1", RUNS);
    for (int64_t until = os_mono_us() + 10000000; !a->queued && os_mono_us() < until; usleep(1000)) {
        kube_client_turn(k->client);
        kube_untold_tick(a, INT64_MAX);
    }
    assert_true(a->queued);
    for (size_t i = 0; i < received(); i++)
        n += strstr(server.got[i].line, "pods?fieldSelector=metadata.name%3Dpod-p0") != NULL;
    assert_int_equal(n, 2);
}

static void by_its_job(const char *status)
{
    job_says("", status);
    struct kube_attempt *a = asked(1);
    a->timeout_ms = 60000;
    a->created_us -= INT64_C(60) * 1000000; /* for its pod to be told of */
    kube_tick(k);
    turn_until(k->client, &a->queued);
}

static void a_job_that_is_complete_is_not_run_again(void **state)
{
    (void)state;
    by_its_job(COMPLETE);
    assert_true(kube_find(k, id)->result.ok);
}

static void a_job_that_is_not_complete_is(void **state)
{
    (void)state;
    by_its_job(NOT_COMPLETE);
    assert_int_equal(kube_find(k, id)->result.reason, REASON_INFRA);
}

/* Its pod is gone, but by that time it had run for as long as it may: whoever stopped it has not recorded that. */
static void a_job_that_failed_late_was_late(void **state)
{
    (void)state;
    by_its_job("\"startTime\":\"2026-01-01T00:00:00Z\",\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\","
               "\"lastTransitionTime\":\"2026-01-01T00:01:00Z\"}]");
    assert_int_equal(kube_find(k, id)->result.reason, REASON_TIMEOUT);
}

static void a_job_that_failed_in_time_was_not(void **state)
{
    (void)state;
    by_its_job("\"startTime\":\"2026-01-01T00:00:00Z\",\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\","
               "\"lastTransitionTime\":\"2026-01-01T00:00:59Z\"}]");
    assert_int_equal(kube_find(k, id)->result.reason, REASON_INFRA);
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

/* That it was late is known to nobody else until its end is recorded. */
static void the_job_of_a_late_step_stays(void **state)
{
    (void)state;
    for (int refused = 0; refused <= 1; refused++) {
        struct kube_attempt *a = with_pods(1, RUNS);
        a->collects = true;
        a->timeout_ms = 1;
        usleep(2000);
        kube_tick(k);
        turn_until(k->client, &a->ranks[0].hurried);
        assert_true(a->call == NULL && !a->deleted);
        a->keeps_job = !refused; /* a server without the right to delete pods */
        kube_delete(a);
        assert_true((a->call != NULL) == refused);
        forget(a);
    }
}

static void who_could_not_be_told_is_told_again(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS);
    size_t n = 0;
    stop(1000);
    for (; a->retry_us == 0; usleep(1000))
        kube_client_turn(k->client);
    a->retry_us = 1;
    kube_tick(k);
    turn_until(k->client, &a->deleted);
    for (size_t i = 0; i < received(); i++)
        n += strstr(server.got[i].line, "DELETE /api/v1/namespaces/n/pods/pod-p1") != NULL;
    assert_int_equal(n, 5 + 1);
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
    for (size_t i = 0; i < received(); i++)
        if (strstr(server.got[i].line, "DELETE") != NULL) fail_msg("%s", server.got[i].line);
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
        {.match = "pods?fieldSelector=metadata.name%3Dpod-p0", .status = 403},
        {.match = "pods?fieldSelector=metadata.name%3Dpod-p0", .status = 200, .body = "{\"items\":[]}", .times = -1},
        {.match = "POST /api/v1/namespaces/n/services", .status = 201, .body = "{}", .times = -1},
        {.match = "/pods/pod-p0/log", .status = 200, .body = "of zero\n", .times = -1},
        {.match = "/pods/pod-p1/log", .status = 200, .body = "of one\n", .times = -1},
        {.match = "GET /apis/batch/v1/namespaces/n/jobs?fieldSelector=",
         .status = 200,
         .body = "{\"items\":[{\"metadata\":{\"uid\":\"j9\"}}]}",
         .times = -1},
        {.match = "DELETE /api/v1/namespaces/n/pods/pod-p1", .status = 500, .times = 5},
        {.match = "DELETE ", .status = 200, .body = "{}", .times = -1},
        {.match = NULL}};
    server_start(script);
    return begin(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define TEST_OF_JOB(name) cmocka_unit_test_setup_teardown(name, begin_with_server, end_with_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_end_of_a_pod_counts),
        TEST(who_lacks_memory_is_told_what_bounds_it),
        TEST(the_first_that_fails_counts),
        TEST(who_is_taken_away_since_another_failed_is_not_why),
        TEST(who_is_to_stop_has_when_all_pods_have),
        TEST(a_pod_that_is_lost_is_nobodys_fault),
        TEST(who_has_nothing_left_to_do_is_not_told_to_hurry),
        TEST(who_is_drained_says_how_long_it_may_go_on),
        TEST(who_is_taken_back_gave_way),
        TEST(who_was_taken_back_unseen_gave_way),
        TEST(who_was_told_to_stop_ends_so_unconfirmed),
        TEST(who_may_have_begun_was_stopped),
        TEST(the_time_of_a_pod_counts_after_a_restart),
        TEST(an_end_is_told_again_to_whoever_asks_again),
        TEST(there_is_one_end),
        TEST(a_node_that_never_says_that_it_stopped_is_not_waited_for),
        TEST(what_cannot_be_created_may_want_for_what_lies),
        TEST(what_was_deleted_is_gone),
        TEST_OF_JOB(what_is_not_watched_any_more_is_asked_for_until_somebody_knows),
        TEST_OF_JOB(a_job_that_is_complete_is_not_run_again),
        TEST_OF_JOB(a_job_that_is_not_complete_is),
        TEST_OF_JOB(a_job_that_failed_late_was_late),
        TEST_OF_JOB(a_job_that_failed_in_time_was_not),
        TEST_OF_JOB(pods_go_with_their_job),
        TEST_OF_JOB(the_job_of_a_late_step_stays),
        TEST_OF_JOB(who_could_not_be_told_is_told_again),
        TEST_OF_JOB(a_job_without_a_known_uid_is_asked_for_and_not_deleted),
        TEST_OF_JOB(the_last_lines_are_those_of_the_rank_that_failed),
    };
    return cmocka_run_group_tests_name("ends on a cluster", tests, open_folder, drop_folder);
}
