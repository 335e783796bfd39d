/* How attempts end by what is heard of their pods and their Jobs, of one worker and of several. */
#include "tests/scheduler/kube_ends_rig.h"

#define PENDING "\"phase\":\"Pending\""
#define SUSPENDED "\"suspend\":true"

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

/* The Job controller may make another for it, as when it takes the first for lost. */
static void a_rank_has_its_first_pod(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        const char *labels = workers == 1 ? LABELS : LABELS RANK_0;
        struct kube_attempt *a = with_pods(workers, RUNS);
        pod_told(KUBE_PRESENT, "p9", labels, job_name, "j1", DONE);
        pod_told(KUBE_DELETED, "p9", labels, job_name, "j1", DONE);
        assert_true(!a->ended && a->phase == KUBE_CREATED);
        assert_string_equal(a->ranks[0].uid, "p0");
        assert_int_equal(a->ranks[0].stage, KUBE_STAGE_RUNNING);
        forget(a);
    }
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
        others_go(a, workers, workers - 1);
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

static void of_several_what_rank_0_leaves_is_waited_for(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS COLLECTS);
    says(KUBE_PRESENT, 2, 0, ENDED("2026-01-01T00:00:09Z") COLLECTS);
    says(KUBE_PRESENT, 2, 1, ENDED("2026-01-01T00:00:09Z") COLLECTS);
    assert_false(a->ended);
    says(KUBE_PRESENT, 2, 0, DONE);
    assert_true(a->ended && a->result.ok);
}

static void what_takes_long_to_be_kept_is_not_late(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        bool late;
    } rows[] = {{RUNS COLLECTS, true}, {ENDED("2026-01-01T00:00:09Z") COLLECTS, false}};
    EACH(i, rows)
    {
        struct kube_attempt *a = with_pods(1, RUNS COLLECTS);
        a->collects = true;
        a->timeout_ms = 1000;
        a->ranks[0].running_us -= INT64_C(2000000);
        says(KUBE_PRESENT, 1, 0, rows[i].status);
        kube_tick(k);
        assert_int_equal(a->expired, rows[i].late);
        forget(a);
    }
}

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

/* Until then it may go on, and another attempt would run beside it. */
static void who_is_drained_is_lost_when_its_grace_is_over(void **state)
{
    (void)state;
    static const struct {
        int64_t after_s;
        enum kube_phase phase;
    } rows[] = {{600, KUBE_CREATED}, {660, KUBE_TOLD}};
    struct kube_attempt *a = with_pods(1, RUNS);
    pod_told(KUBE_PRESENT, "p0", LABELS DRAINED, job_name, "j1", RUNS);
    EACH(i, rows)
    {
        kube_ranks_tick(a, os_mono_us() + rows[i].after_s * 1000000);
        assert_int_equal(a->phase, rows[i].phase);
    }
    assert_int_equal(a->result.reason, REASON_INFRA);
}

/* The deletion of its Job does for what has ended; only rank 0's sidecar may still be at what nobody will want. */
static void who_has_nothing_left_to_do_is_not_told_to_hurry(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS COLLECTS);
    a->collects = true;
    says(KUBE_PRESENT, 2, 1, FAILED COLLECTS);
    assert_true(a->ended && a->hurry && !a->drained);
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
        others_go(a, workers, workers - 1);
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

/* Kueue may resume its Job before they have stopped. */
static void who_was_taken_back_and_resumed_gave_way(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, RUNS);
    a->manifest = STR("{}"); /* this server made it */
    job_says(SUSPENDED, ""); /* as a watch tells that lags behind */
    job_says("", "");
    kube_tick(k);
    assert_false(a->hurry);
    generation = 4;
    job_says("", ""); /* others have changed it: as Kueue took it back, this server would have seen it suspended */
    kube_tick(k);
    assert_false(a->hurry);
    job_says(SUSPENDED, "");
    kube_tick(k);
    assert_true(a->hurry && !a->keeps_job && a->call != NULL);
    job_says("", "");
    kube_tick(k);
    assert_int_equal(a->phase, KUBE_CREATED);
    says(KUBE_DELETED, 1, 0, RUNS);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_PREEMPTED);
    generation = 1;
}

/* There is nothing that could run twice. */
static void who_was_taken_back_before_it_had_a_pod_waits_on(void **state)
{
    (void)state;
    job_says(SUSPENDED, "");
    struct kube_attempt *a = asked(1);
    a->manifest = STR("{}"); /* this server made it */
    generation = 3;
    job_says(SUSPENDED, "");
    kube_tick(k);
    assert_int_equal(a->phase, KUBE_CREATED);
    generation = 1;
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
        if (cases[i].gave_way && cases[i].spec[0] != '\0') no_pods(a);
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
        a->ranks[0].lost_us = os_mono_us() + 1000000; /* others had begun to delete its pod */
        kube_tick(k);
        assert_int_equal(a->phase, KUBE_CREATED);
        a->ranks[0].lost_us = 1;
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
    no_pods(a);
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

/* ---- the others, when one has failed ---- */

static void others_that_never_say_so_are_not_waited_for(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS);
    says(KUBE_DELETED, 2, 1, RUNS);
    kube_tick(k);
    assert_int_equal(a->phase, KUBE_STOPPING);
    a->killed_us -= INT64_C(121) * 1000000;
    kube_tick(k);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_INFRA);
}

/* They were told to stop. */
static void how_the_others_end_is_not_why(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(2, RUNS);
    says(KUBE_DELETED, 2, 1, RUNS);
    says(KUBE_PRESENT, 2, 0, FAILED);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_INFRA);
    assert_true(str_starts(a->result.message, "rank 1: "));
}

/* Of a rank that ended well, and whose pod was deleted meanwhile, nothing is lost. */
static void a_rank_is_lost_only_while_it_is_there(void **state)
{
    (void)state;
    static const struct {
        const char *then;
        enum kube_phase phase;
    } rows[] = {{DONE, KUBE_CREATED}, {RUNS, KUBE_STOPPING}};
    EACH(i, rows)
    {
        struct kube_attempt *a = with_pods(2, RUNS);
        pod_told(KUBE_PRESENT, "p0", LABELS RANK_0 DELETING, job_name, "j1", RUNS);
        assert_int_not_equal(a->ranks[0].lost_us, 0);
        pod_told(KUBE_PRESENT, "p0", LABELS RANK_0 DELETING, job_name, "j1", rows[i].then);
        a->ranks[0].lost_us = 1;
        kube_tick(k);
        assert_int_equal(a->phase, rows[i].phase);
        if (rows[i].phase == KUBE_STOPPING) {
            assert_true(str_starts(a->result.message, "rank 0: "));
            says(KUBE_DELETED, 2, 1, RUNS);
            assert_int_equal(a->phase, KUBE_TOLD);
        }
        forget(a);
    }
}

/* As a server would say that came later. */
static void who_is_stopped_while_its_log_is_fetched_was_stopped(void **state)
{
    (void)state;
    for (int well = 0; well <= 1; well++) {
        struct kube_attempt *a = with_pods(1, RUNS);
        says(KUBE_PRESENT, 1, 0, well ? DONE : FAILED);
        assert_int_equal(a->phase, KUBE_DRAINING);
        stop(1000);
        assert_int_equal(a->result.ok, well);
        assert_int_equal(a->result.reason, well ? 0 : REASON_CANCELLED);
        kube_drop(k, a);
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

static void who_is_forgotten_too_early_is_told_of_first(void **state)
{
    (void)state;
    struct kube_attempt *a = with_pods(1, RUNS);
    says(KUBE_DELETED, 1, 0, RUNS);
    kube_gone(a);
    executor.forget(executor.self, id);
    assert_ptr_equal(kube_find(k, id), a);
    next_is_the_end(REASON_INFRA);
    executor.forget(executor.self, id);
    assert_null(kube_find(k, id));
}

static void who_was_never_seen_is_forgotten_at_once(void **state)
{
    (void)state;
    stop(1000);
    assert_int_equal(kube_find(k, id)->phase, KUBE_HELD);
    executor.disown(executor.self, id, STR("p"), 1000);
    assert_null(kube_find(k, id));
    assert_false(k->ticking);
}

/* ---- what time brings ---- */

/* Though it still grows. */
static void a_log_without_an_end_is_not_waited_for(void **state)
{
    (void)state;
    static const struct {
        int64_t after_s;
        enum kube_phase phase;
    } rows[] = {{590, KUBE_DRAINING}, {601, KUBE_TOLD}};
    struct kube_attempt *a = with_pods(1, RUNS);
    says(KUBE_PRESENT, 1, 0, FAILED);
    EACH(i, rows)
    {
        a->drain_us = os_mono_us();
        a->drained_from_us = os_mono_us() - rows[i].after_s * 1000000;
        kube_tick(k);
        assert_int_equal(a->phase, rows[i].phase);
    }
}

static void a_node_that_never_says_that_it_stopped_is_not_waited_for(void **state)
{
    (void)state;
    static const struct {
        int64_t after_s;
        enum kube_phase phase;
    } rows[] = {{125, KUBE_CREATED}, {131, KUBE_TOLD}};
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct kube_attempt *a = with_pods(workers, RUNS);
        stop(10000);
        EACH(i, rows)
        {
            a->killed_us = os_mono_us() - rows[i].after_s * 1000000;
            kube_tick(k);
            assert_int_equal(a->phase, rows[i].phase);
        }
        assert_int_equal(a->result.reason, REASON_CANCELLED);
        forget(a);
    }
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_end_of_a_pod_counts),
        TEST(a_rank_has_its_first_pod),
        TEST(who_lacks_memory_is_told_what_bounds_it),
        TEST(the_first_that_fails_counts),
        TEST(who_is_taken_away_since_another_failed_is_not_why),
        TEST(who_is_to_stop_has_when_all_pods_have),
        TEST(a_pod_that_is_lost_is_nobodys_fault),
        TEST(who_has_nothing_left_to_do_is_not_told_to_hurry),
        TEST(of_several_what_rank_0_leaves_is_waited_for),
        TEST(what_takes_long_to_be_kept_is_not_late),
        TEST(who_is_drained_says_how_long_it_may_go_on),
        TEST(who_is_drained_is_lost_when_its_grace_is_over),
        TEST(who_is_taken_back_gave_way),
        TEST(who_was_taken_back_and_resumed_gave_way),
        TEST(who_was_taken_back_before_it_had_a_pod_waits_on),
        TEST(who_was_taken_back_unseen_gave_way),
        TEST(who_was_told_to_stop_ends_so_unconfirmed),
        TEST(who_may_have_begun_was_stopped),
        TEST(the_time_of_a_pod_counts_after_a_restart),
        TEST(others_that_never_say_so_are_not_waited_for),
        TEST(who_is_stopped_while_its_log_is_fetched_was_stopped),
        TEST(how_the_others_end_is_not_why),
        TEST(a_rank_is_lost_only_while_it_is_there),
        TEST(an_end_is_told_again_to_whoever_asks_again),
        TEST(there_is_one_end),
        TEST(who_is_forgotten_too_early_is_told_of_first),
        TEST(who_was_never_seen_is_forgotten_at_once),
        TEST(a_log_without_an_end_is_not_waited_for),
        TEST(a_node_that_never_says_that_it_stopped_is_not_waited_for),
        TEST(what_cannot_be_created_may_want_for_what_lies),
    };
    return cmocka_run_group_tests_name("ends on a cluster", tests, open_folder, drop_folder);
}
