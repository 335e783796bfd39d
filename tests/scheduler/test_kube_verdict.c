/* What the ends of pods, and their loss, mean for an attempt, by tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/kube_verdict.h"

static const struct {
    const char *what;
    struct kube_standing s; /* with that end */
    bool well;
    enum kube_verdict ended, lost; /* by an end; had it been lost instead */
} verdicts[] = {
    {"the only one, well", {.workers = 1, .well = 1}, true, KUBE_ENDS_WELL, KUBE_ENDS_SO},
    {"the only one, badly", {.workers = 1}, false, KUBE_ENDS_SO, KUBE_ENDS_SO},
    {"the first of two, well", {.workers = 2, .there = 1, .well = 1}, true, KUBE_GOES_ON, KUBE_ENDS_SO},
    {"the first of two, badly", {.workers = 2, .there = 1}, false, KUBE_ENDS_SO, KUBE_ENDS_SO},
    {"the last of two, well", {.workers = 2, .well = 2}, true, KUBE_ENDS_WELL, KUBE_ENDS_SO},
    {"one of two, the other has none yet", {.workers = 2, .well = 1}, true, KUBE_GOES_ON, KUBE_ENDS_SO},
    {"of how many is not known, well", {.well = 1}, true, KUBE_GOES_ON, KUBE_ENDS_SO},
    {"of how many is not known, badly", {.there = 1}, false, KUBE_ENDS_SO, KUBE_ENDS_SO},
    {"stopped, the only one", {.workers = 1, .stopped = true}, false, KUBE_ENDS_SO, KUBE_ENDS_SO},
    {"stopped too late", {.workers = 1, .well = 1, .stopped = true}, true, KUBE_ENDS_WELL, KUBE_ENDS_SO},
    {"stopped, the first of two", {.workers = 2, .there = 1, .stopped = true}, false, KUBE_GOES_ON, KUBE_GOES_ON},
    {"stopped, the last of two", {.workers = 2, .stopped = true}, false, KUBE_ENDS_SO, KUBE_ENDS_SO},
    {"stopped, one of two well, the other gone",
     {.workers = 2, .well = 1, .stopped = true},
     true,
     KUBE_ENDS_SO,
     KUBE_ENDS_SO},
    {"stopped, how many is not known", {.there = 2, .stopped = true}, false, KUBE_GOES_ON, KUBE_GOES_ON},
};

static void pods_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        enum kube_verdict ended = kube_verdict_ended(&verdicts[i].s, verdicts[i].well);
        enum kube_verdict lost = kube_verdict_lost(&verdicts[i].s);
        if (ended != verdicts[i].ended || lost != verdicts[i].lost)
            fail_msg("%s: %d %d", verdicts[i].what, (int)ended, (int)lost);
    }
}

static const struct {
    const char *what;
    struct kube_standing s; /* with that end */
    bool taken, hopes;
} taken[] = {
    {"the only one", {.workers = 1, .over = 1}, true, false},
    {"one of two, and the other goes on", {.workers = 2, .there = 1, .over = 1}, true, true},
    {"one of two, and nobody has told of the other", {.workers = 2, .over = 1}, true, true},
    {"of how many is not known", {.over = 1}, true, true},
    {"both", {.workers = 2, .over = 2}, true, false},
    {"stopped", {.workers = 2, .over = 1, .stopped = true}, true, false},
    {"of its own fault", {.workers = 2, .there = 1, .over = 1}, false, false},
};

static void who_was_taken_away_tells_of_another(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (kube_verdict_hopes(&taken[i].s, taken[i].taken) != taken[i].hopes) fail_msg("%s", taken[i].what);
}

static const struct {
    const char *what;
    struct kube_standing s;
    enum failure failure;
    enum reason reason;
    const char *message;
} causes[] = {
    {"left to itself", {0}, FAILURE_OOM, REASON_OOM, "so"},
    {"stopped", {.stopped = true}, FAILURE_ERROR, REASON_CANCELLED, "was stopped"},
    {"late, by us", {.stopped = true, .expired = true}, FAILURE_TIMEOUT, REASON_TIMEOUT, "ran longer than its timeout"},
    {"late, by another", {.late = true}, FAILURE_TIMEOUT, REASON_TIMEOUT, "ran longer than its timeout"},
    {"stopped while it was late", {.stopped = true, .late = true}, FAILURE_ERROR, REASON_CANCELLED, "was stopped"},
    {"taken back", {.taken_back = true}, FAILURE_INFRA, REASON_PREEMPTED, "gave way: Kueue has suspended its Job"},
    {"taken back unseen",
     {.taken_back = true, .unseen = true},
     FAILURE_INFRA,
     REASON_PREEMPTED,
     "gave way: its Job was changed more than once while no server looked, as Kueue does when it takes one back and "
     "runs "
     "it again"},
    {"stopped, and taken back", {.stopped = true, .taken_back = true}, FAILURE_ERROR, REASON_CANCELLED, "was stopped"},
};

static void causes_are_told(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        struct task_result r = {.failure = FAILURE_OOM, .reason = REASON_OOM, .message = STR("so")};
        kube_verdict_cause(&causes[i].s, &a, &r);
        if (r.failure != causes[i].failure || r.reason != causes[i].reason || !str_is(r.message, causes[i].message))
            fail_msg("%s: %d %d %.*s", causes[i].what, (int)r.failure, (int)r.reason, STR_ARG(r.message));
    }
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pods_end),
                                       cmocka_unit_test(who_was_taken_away_tells_of_another),
                                       cmocka_unit_test(causes_are_told)};
    return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}
