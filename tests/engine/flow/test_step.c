/* Every state and every event: against a table written by hand, and against laws that hold for all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/flow/run.h"

static const char *const event_names[STEP_EVENT_COUNT] = {"start", "wait",   "ok",      "fail", "lost",
                                                          "due",   "cancel", "stopped", "skip", "reset"};

/* What comes out, with a retry left and without an executor behind it; "" = refused. */
static const struct {
    enum task_state from;
    const char *to[STEP_EVENT_COUNT];
} table[] = {
    /*                 start      wait       ok           fail       lost       due      cancel       stopped      skip
       reset */
    {TASK_REFUSED, {"", "", "", "", "", "", "", "", "", ""}},
    {TASK_PENDING, {"", "", "", "", "", "", "cancelled", "", "skipped", ""}},
    {TASK_READY, {"running", "waiting", "succeeded", "backoff", "", "", "cancelled", "", "skipped", ""}},
    {TASK_WAITING, {"", "", "succeeded", "backoff", "", "", "cancelled", "", "", ""}},
    {TASK_BACKOFF, {"", "", "", "", "", "ready", "cancelled", "", "", ""}},
    {TASK_RUNNING, {"", "", "succeeded", "backoff", "backoff", "", "cancelled", "", "", ""}},
    {TASK_STOPPING, {"", "", "succeeded", "cancelled", "cancelled", "", "cancelled", "cancelled", "", ""}},
    {TASK_SUCCEEDED, {"", "", "", "", "", "", "", "", "", "pending"}},
    {TASK_FAILED, {"", "", "", "", "", "", "", "", "", "pending"}},
    {TASK_SKIPPED, {"", "", "", "", "", "", "", "", "", "pending"}},
    {TASK_CANCELLED, {"", "", "", "", "", "", "", "", "", "pending"}},
};

static const struct retry twice = {.limit = 2, .base_ms = 100, .factor = 2, .on = FAILURE_ERROR | FAILURE_OOM};

static void every_pair(void **state)
{
    (void)state;
    assert_int_equal(sizeof table / sizeof table[0], TASK_STATE_COUNT);
    for (size_t i = 0; i < TASK_STATE_COUNT; i++) {
        for (int e = 0; e < STEP_EVENT_COUNT; e++) {
            struct step_snapshot s = {.state = table[i].from, .attempt = 1};
            struct step_input in = {.event = (enum step_event)e, .exit_code = -1, .now_us = 5000};
            struct step_decision d = step_decide(&s, &twice, &in);
            const char *want = table[i].to[e];
            const char *got = d.state == TASK_REFUSED ? "" : task_state_name(d.state);
            if (strcmp(want, got) != 0)
                fail_msg("%s + %s gives '%s', not '%s'", task_state_name(s.state), event_names[e], got, want);
        }
    }
}

struct law {
    struct step_snapshot s;
    struct step_input in;
    struct step_decision d;
    const struct retry *retry;
};

static const char *broken(const struct law *l)
{
    bool refused = l->d.state == TASK_REFUSED;
    bool terminal = task_state_terminal(l->s.state);
    if (terminal && !refused && l->in.event != STEP_RESET) return "a terminal state was left";
    if (terminal && !refused && l->d.state != TASK_PENDING) return "a reset does not lead to pending";
    if (l->d.attempt < l->s.attempt || l->d.attempt > l->s.attempt + 1) return "attempts do not count up by one";
    bool begins = l->in.event == STEP_START || l->in.event == STEP_WAIT;
    if (!refused && (l->d.attempt != l->s.attempt) != begins) return "an attempt counts without a start";
    if (refused && (l->d.launch || l->d.kill)) return "a refused event has effects";
    if (refused && (l->d.failures != l->s.failures || l->d.free_failures != l->s.free_failures))
        return "a refused event counts";
    if (l->d.launch != (!refused && l->d.state == TASK_RUNNING)) return "launches without running, or the reverse";
    if (l->d.kill && l->d.state != TASK_STOPPING) return "kills without stopping";
    if (l->d.kill && !l->s.has_executor) return "kills what does not run";
    if (l->d.state == TASK_BACKOFF && l->d.due_us < l->in.now_us) return "backs off into the past";
    if (l->d.state == TASK_BACKOFF && l->d.free_failures == l->s.free_failures && l->d.failures > l->retry->limit)
        return "more failures than the limit, and again";
    if (l->d.free_failures > RETRY_FREE_MAX) return "too many free retries";
    if (l->d.state == TASK_BACKOFF && (l->in.failure & FAILURE_INVALID) && l->in.event == STEP_FAIL)
        return "retries what cannot work";
    if (l->d.state == TASK_SUCCEEDED && l->in.event != STEP_OK) return "succeeds without success";
    if (l->d.state == TASK_FAILED && l->d.reason == REASON_NONE) return "fails without a reason";
    if (l->d.state == TASK_CANCELLED && l->d.reason == REASON_NONE) return "is cancelled without a reason";
    return NULL;
}

static void laws(void **state)
{
    (void)state;
    static const struct retry kinds[] = {
        {0},
        {.limit = 3, .base_ms = 10, .factor = 3, .jitter = 0.5, .max_ms = 1000, .on = 0xff},
        {.limit = 1, .on = FAILURE_TIMEOUT}};
    static const enum failure failures[] = {FAILURE_NONE,    FAILURE_ERROR, FAILURE_OOM,
                                            FAILURE_TIMEOUT, FAILURE_INFRA, FAILURE_INVALID};
    for (int st = 0; st < TASK_STATE_COUNT; st++)
        for (int e = 0; e < STEP_EVENT_COUNT; e++)
            for (uint32_t counts = 0; counts < 5 * 12 * 2; counts++)
                for (size_t f = 0; f < 6; f++)
                    for (size_t k = 0; k < 3; k++) {
                        struct law l = {
                            .s = {.state = (enum task_state)st,
                                  .attempt = counts,
                                  .failures = counts % 5,
                                  .free_failures = counts / 5 % 12 > RETRY_FREE_MAX ? RETRY_FREE_MAX : counts / 5 % 12,
                                  .has_executor = counts >= 60},
                            .in = {.event = (enum step_event)e,
                                   .failure = failures[f],
                                   .exit_code = 1,
                                   .now_us = 1000,
                                   .random = counts % 7 / 7.0},
                            .retry = &kinds[k]};
                        l.d = step_decide(&l.s, l.retry, &l.in);
                        const char *what = broken(&l);
                        if (what)
                            fail_msg("%s + %s (failures %u, free %u, failure %d): %s", task_state_name(l.s.state),
                                     event_names[e], l.s.failures, l.s.free_failures, (int)failures[f], what);
                    }
}

/* From every state some events lead to an end: nothing is a trap. */
static void no_trap(void **state)
{
    (void)state;
    bool ends[TASK_STATE_COUNT] = {false};
    for (int st = 1; st < TASK_STATE_COUNT; st++)
        ends[st] = task_state_terminal((enum task_state)st);
    for (int round = 0; round < TASK_STATE_COUNT; round++)
        for (int st = 1; st < TASK_STATE_COUNT; st++)
            for (int e = 0; e < STEP_EVENT_COUNT; e++) {
                struct step_snapshot s = {.state = (enum task_state)st, .has_executor = true};
                struct step_input in = {.event = (enum step_event)e};
                struct step_decision d = step_decide(&s, &twice, &in);
                if (d.state != TASK_REFUSED && ends[d.state]) ends[st] = true;
            }
    for (int st = 1; st < TASK_STATE_COUNT; st++)
        if (!ends[st]) fail_msg("no way leads from %s to an end", task_state_name((enum task_state)st));
}

static const int32_t codes[] = {75, 137};
static const struct {
    const char *name;
    struct retry retry;
    uint32_t failures, free_failures;
    enum step_event event;
    enum failure failure;
    int32_t exit_code;
    enum task_state want;
    enum reason reason;
} failing[] = {
    {"no retry", {0}, 0, 0, STEP_FAIL, FAILURE_ERROR, 1, TASK_FAILED, REASON_ERROR},
    {"first of two", {.limit = 2, .on = FAILURE_ERROR}, 0, 0, STEP_FAIL, FAILURE_ERROR, 1, TASK_BACKOFF, REASON_ERROR},
    {"second of two", {.limit = 2, .on = FAILURE_ERROR}, 1, 0, STEP_FAIL, FAILURE_ERROR, 1, TASK_BACKOFF, REASON_ERROR},
    {"none left", {.limit = 2, .on = FAILURE_ERROR}, 2, 0, STEP_FAIL, FAILURE_ERROR, 1, TASK_FAILED, REASON_ERROR},
    {"not for this", {.limit = 2, .on = FAILURE_OOM}, 0, 0, STEP_FAIL, FAILURE_ERROR, 1, TASK_FAILED, REASON_ERROR},
    {"for memory", {.limit = 2, .on = FAILURE_OOM}, 0, 0, STEP_FAIL, FAILURE_OOM, 137, TASK_BACKOFF, REASON_OOM},
    {"for time",
     {.limit = 2, .on = FAILURE_TIMEOUT},
     0,
     0,
     STEP_FAIL,
     FAILURE_TIMEOUT,
     -1,
     TASK_BACKOFF,
     REASON_TIMEOUT},
    {"exit code named",
     {.limit = 1, .on = FAILURE_ERROR, .exit_codes = codes, .n_exit_codes = 2},
     0,
     0,
     STEP_FAIL,
     FAILURE_ERROR,
     75,
     TASK_BACKOFF,
     REASON_ERROR},
    {"another exit code",
     {.limit = 1, .on = FAILURE_ERROR, .exit_codes = codes, .n_exit_codes = 2},
     0,
     0,
     STEP_FAIL,
     FAILURE_ERROR,
     1,
     TASK_FAILED,
     REASON_ERROR},
    {"invalid", {.limit = 9, .on = 0xff}, 0, 0, STEP_FAIL, FAILURE_INVALID, -1, TASK_FAILED, REASON_INVALID},
    {"infrastructure is free", {0}, 0, 0, STEP_FAIL, FAILURE_INFRA, -1, TASK_BACKOFF, REASON_INFRA},
    {"the tenth is free", {0}, 0, 9, STEP_LOST, FAILURE_NONE, -1, TASK_BACKOFF, REASON_INFRA},
    {"the eleventh is not", {0}, 0, 10, STEP_LOST, FAILURE_NONE, -1, TASK_FAILED, REASON_INFRA},
};

static void failures_and_retries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++) {
        struct step_snapshot s = {.state = TASK_RUNNING,
                                  .attempt = 1,
                                  .failures = failing[i].failures,
                                  .free_failures = failing[i].free_failures,
                                  .has_executor = true};
        struct step_input in = {
            .event = failing[i].event, .failure = failing[i].failure, .exit_code = failing[i].exit_code};
        struct step_decision d = step_decide(&s, &failing[i].retry, &in);
        if (d.state != failing[i].want || d.reason != failing[i].reason)
            fail_msg("%s: %s (%s)", failing[i].name, task_state_name(d.state), reason_name(d.reason));
    }
}

static const struct {
    const char *name;
    struct retry retry;
    uint32_t n;
    double random;
    int64_t want;
} delays[] = {
    {"base", {.base_ms = 100, .factor = 2}, 1, 0.5, 100},
    {"doubled", {.base_ms = 100, .factor = 2}, 4, 0.5, 800},
    {"capped", {.base_ms = 100, .factor = 2, .max_ms = 500}, 4, 0.5, 500},
    {"constant", {.base_ms = 100, .factor = 1}, 9, 0.5, 100},
    {"jitter low", {.base_ms = 1000, .factor = 1, .jitter = 0.2}, 1, 0, 800},
    {"jitter high", {.base_ms = 1000, .factor = 1, .jitter = 0.2}, 1, 1, 1200},
    {"jitter stays under max", {.base_ms = 1000, .factor = 1, .jitter = 0.2, .max_ms = 1000}, 1, 1, 1000},
    {"zero", {0}, 3, 0.5, 0},
    {"very often", {.base_ms = 1000, .factor = 10}, UINT32_MAX, 0.5, (int64_t)10 * 365 * 24 * 3600 * 1000},
};

static void back_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        int64_t got = retry_delay_ms(&delays[i].retry, delays[i].n, delays[i].random);
        if (got < delays[i].want - 1 || got > delays[i].want) /* the products are in floating point */
            fail_msg("%s: %lld ms, not %lld", delays[i].name, (long long)got, (long long)delays[i].want);
    }
}

#define GI ((int64_t)1 << 30)

static void memory_grows_within_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct retry retry;
        int64_t first, before, most, want;
    } rows[] = {
        {"not asked for", {0}, GI, GI, 0, GI},
        {"twice", {.memory_factor = 2}, GI, GI, 0, 2 * GI},
        {"again", {.memory_factor = 2}, GI, 2 * GI, 0, 4 * GI},
        {"by half", {.memory_factor = 1.5}, GI, GI, 0, GI + GI / 2},
        {"eight times at most", {.memory_factor = 10}, GI, GI, 0, 8 * GI},
        {"as far as was said", {.memory_factor = 2, .memory_most = 3 * GI}, GI, 2 * GI, 0, 3 * GI},
        {"further than eight times", {.memory_factor = 2, .memory_most = 64 * GI}, GI, 8 * GI, 0, 16 * GI},
        {"there already", {.memory_factor = 2, .memory_most = 3 * GI}, GI, 3 * GI, 0, 3 * GI},
        {"what the machine has", {.memory_factor = 4}, GI, GI, 3 * GI, 3 * GI},
        {"a smaller machine", {.memory_factor = 4}, GI, 4 * GI, 2 * GI, 4 * GI},
        {"any machine", {.memory_factor = 4}, GI, GI, INT64_MAX, 4 * GI},
        {"no memory said", {.memory_factor = 2}, 0, 0, 0, 0},
        {"a factor of one", {.memory_factor = 1}, GI, GI, 0, GI},
        {"no overflow", {.memory_factor = 100, .memory_most = INT64_MAX}, GI, INT64_MAX / 2, GI, INT64_MAX / 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t got = retry_memory(&rows[i].retry, rows[i].first, rows[i].before, rows[i].most);
        if (got != rows[i].want) fail_msg("%s: %lld, not %lld", rows[i].name, (long long)got, (long long)rows[i].want);
    }
}

static void what_bounds_memory_is_named(void **state)
{
    (void)state;
    const struct retry none = {0}, grows = {.memory_factor = 2}, most = {.memory_factor = 2, .memory_most = 3 * GI};
    assert_string_equal(retry_memory_bound(&none, GI), "resources.memory");
    assert_string_equal(retry_memory_bound(&grows, 8 * GI), "resources.memory");
    assert_string_equal(retry_memory_bound(&most, 2 * GI), "resources.memory");
    assert_string_equal(retry_memory_bound(&most, 3 * GI), "retry.memory.max");
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(task_state_name(TASK_BACKOFF), "backoff");
    assert_string_equal(task_state_name((enum task_state)99), "refused");
    assert_string_equal(run_state_name(RUN_CANCELLING), "cancelling");
    assert_string_equal(reason_name(REASON_OOM), "OutOfMemory");
    assert_string_equal(event_kind_name(EVENT_TASK_RESET), "task.reset");
    assert_string_equal(event_kind_name(12345), "none");
    assert_string_equal(command_name(COMMAND_APPROVE), "approve");
    assert_true(run_state_terminal(RUN_FAILED));
    assert_false(run_state_terminal(RUN_PAUSED));
}

/* However often somebody else goes first: nothing is counted, and there is no pause. */
static void giving_way_is_free(void **state)
{
    (void)state;
    struct step_snapshot s = {.state = TASK_RUNNING, .attempt = 1, .failures = 2, .free_failures = RETRY_FREE_MAX};
    const struct step_input in = {.event = STEP_FAIL,
                                  .failure = FAILURE_INFRA,
                                  .reason = REASON_PREEMPTED,
                                  .exit_code = -1,
                                  .now_us = 5000,
                                  .random = 0.9};
    struct step_decision d = step_decide(&s, &twice, &in);
    assert_int_equal(d.state, TASK_BACKOFF);
    assert_int_equal(d.due_us, 5000);
    assert_int_equal(d.failures, 2);
    assert_int_equal(d.free_failures, RETRY_FREE_MAX);
    assert_int_equal(d.reason, REASON_PREEMPTED);
    s.state = TASK_STOPPING; /* but who is cancelled does not come back */
    assert_int_equal(step_decide(&s, &twice, &in).state, TASK_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair),
        cmocka_unit_test(laws),
        cmocka_unit_test(no_trap),
        cmocka_unit_test(failures_and_retries),
        cmocka_unit_test(back_off),
        cmocka_unit_test(memory_grows_within_bounds),
        cmocka_unit_test(what_bounds_memory_is_named),
        cmocka_unit_test(names),
        cmocka_unit_test(giving_way_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
