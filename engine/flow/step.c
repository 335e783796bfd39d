/* One task's rules: what each event does in each state. A table says which way an event goes, a few guards say how far;
 * nothing here knows of other tasks, of time but what it is told, or of memory. */
#include "engine/flow/run.h"

#define INFRA_BASE_MS 250
#define INFRA_MAX_MS 30000
#define DELAY_MAX_MS ((int64_t)10 * 365 * 24 * 3600 * 1000)

/* What an event means in a state. The zero is "refused", so that a forgotten pair does nothing. */
enum move {
    NO,
    BEGIN, /* an attempt starts */
    WAIT,  /* an attempt starts that only waits */
    DONE,  /* succeeded */
    BAD,   /* failed: another attempt or the end, see failed() */
    LOST,  /* the same, not the step's fault */
    AGAIN, /* may start again */
    STOP,  /* cancelled, once what runs has stopped */
    GONE,  /* cancelled */
    PASS,  /* skipped */
    RENEW  /* as if it had never started; attempts keep counting */
};

static const unsigned char moves[TASK_STATE_COUNT][STEP_EVENT_COUNT] = {
    /*                  START  WAIT  OK    FAIL  LOST  DUE    CANCEL STOPPED SKIP  RESET */
    [TASK_REFUSED] = {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
    [TASK_PENDING] = {NO, NO, NO, NO, NO, NO, STOP, NO, PASS, NO},
    [TASK_READY] = {BEGIN, WAIT, DONE, BAD, NO, NO, STOP, NO, PASS, NO},
    [TASK_WAITING] = {NO, NO, DONE, BAD, NO, NO, STOP, NO, NO, NO},
    [TASK_BACKOFF] = {NO, NO, NO, NO, NO, AGAIN, STOP, NO, NO, NO},
    [TASK_RUNNING] = {NO, NO, DONE, BAD, LOST, NO, STOP, NO, NO, NO},
    [TASK_STOPPING] = {NO, NO, DONE, GONE, GONE, NO, STOP, GONE, NO, NO},
    [TASK_SUCCEEDED] = {NO, NO, NO, NO, NO, NO, NO, NO, NO, RENEW},
    [TASK_FAILED] = {NO, NO, NO, NO, NO, NO, NO, NO, NO, RENEW},
    [TASK_SKIPPED] = {NO, NO, NO, NO, NO, NO, NO, NO, NO, RENEW},
    [TASK_CANCELLED] = {NO, NO, NO, NO, NO, NO, NO, NO, NO, RENEW},
};

static double delay(double base, double factor, double max, uint32_t n)
{
    double d = base;
    for (uint32_t i = 1; i < n && d < max && factor > 1; i++)
        d *= factor;
    return d < max ? d : max;
}

int64_t retry_delay_ms(const struct retry *retry, uint32_t n, double random)
{
    double max = retry->max_ms > 0 && retry->max_ms < DELAY_MAX_MS ? (double)retry->max_ms : (double)DELAY_MAX_MS;
    double d = delay(retry->base_ms > 0 ? (double)retry->base_ms : 0, retry->factor, max, n);
    d *= 1 + retry->jitter * (2 * random - 1);
    if (!(d > 0)) return 0; /* a NaN as well */
    return (int64_t)(d < max ? d : max);
}

int64_t retry_memory(const struct retry *retry, int64_t first, int64_t before, int64_t most)
{
    if (retry->memory_factor <= 1 || first <= 0) return before;
    double bound = retry->memory_most > 0 ? (double)retry->memory_most : (double)first * RETRY_MEMORY_MOST;
    double d = (double)before * retry->memory_factor;
    if (most > 0 && bound > (double)most) bound = (double)most;
    if (d > bound) d = bound;
    return d > (double)before ? (int64_t)d : before;
}

const char *retry_memory_bound(const struct retry *retry, int64_t memory)
{
    bool most = retry->memory_factor > 1 && retry->memory_most > 0 && memory >= retry->memory_most;
    return most ? "retry.memory.max" : "resources.memory";
}

static int64_t infra_delay_ms(uint32_t n, double random)
{
    return (int64_t)(delay(INFRA_BASE_MS, 2, INFRA_MAX_MS, n) * (0.5 + random / 2));
}

static enum reason reason_of(enum failure f)
{
    static const struct {
        enum failure failure;
        enum reason reason;
    } table[] = {{FAILURE_INVALID, REASON_INVALID},
                 {FAILURE_INFRA, REASON_INFRA},
                 {FAILURE_OOM, REASON_OOM},
                 {FAILURE_TIMEOUT, REASON_TIMEOUT}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if ((unsigned)f & table[i].failure) return table[i].reason;
    return REASON_ERROR;
}

static bool wants_retry(const struct retry *retry, enum failure f, int32_t exit_code, uint32_t failures)
{
    if (failures >= retry->limit || (f & FAILURE_INVALID) || !(retry->on & (unsigned)f)) return false;
    if (f != FAILURE_ERROR || retry->n_exit_codes == 0) return true;
    for (size_t i = 0; i < retry->n_exit_codes; i++)
        if (retry->exit_codes[i] == exit_code) return true;
    return false;
}

static void failed(struct step_decision *d, const struct step_snapshot *s, const struct retry *retry,
                   const struct step_input *in, bool lost)
{
    enum failure f = lost ? FAILURE_INFRA : in->failure;
    if (f == FAILURE_NONE) f = FAILURE_ERROR;
    d->reason = in->reason != REASON_NONE ? in->reason : reason_of(f);
    bool free_of_charge = (f & FAILURE_INFRA) && !(f & FAILURE_INVALID);
    bool again;
    int64_t wait_ms = 0;
    if (free_of_charge && d->reason == REASON_PREEMPTED) { /* however often: each time somebody else got on */
        again = true;
    } else if (free_of_charge) {
        again = s->free_failures < RETRY_FREE_MAX;
        d->free_failures = again ? s->free_failures + 1 : s->free_failures;
        if (again) wait_ms = infra_delay_ms(d->free_failures, in->random);
    } else {
        again = wants_retry(retry, f, in->exit_code, s->failures);
        d->failures = s->failures + 1;
        if (again) wait_ms = retry_delay_ms(retry, d->failures, in->random);
    }
    d->state = again ? TASK_BACKOFF : TASK_FAILED;
    if (again) d->due_us = in->now_us + wait_ms * 1000;
}

static void begun(struct step_decision *d, enum task_state state, const struct step_input *in)
{
    d->state = state;
    d->attempt++;
    d->reason = in->reason;
    d->launch = state == TASK_RUNNING;
}

struct step_decision step_decide(const struct step_snapshot *s, const struct retry *retry, const struct step_input *in)
{
    struct step_decision d = {.state = TASK_REFUSED,
                              .reason = in->reason,
                              .attempt = s->attempt,
                              .failures = s->failures,
                              .free_failures = s->free_failures};
    if ((unsigned)s->state >= TASK_STATE_COUNT || (unsigned)in->event >= STEP_EVENT_COUNT) return d;
    switch ((enum move)moves[s->state][in->event]) {
    case NO: break;
    case BEGIN: begun(&d, TASK_RUNNING, in); break;
    case WAIT: begun(&d, TASK_WAITING, in); break;
    case DONE: d.state = TASK_SUCCEEDED; break;
    case BAD: failed(&d, s, retry, in, false); break;
    case LOST: failed(&d, s, retry, in, true); break;
    case AGAIN: d.state = TASK_READY; break;
    case STOP:
        d.state = s->has_executor ? TASK_STOPPING : TASK_CANCELLED;
        d.kill = s->has_executor;
        if (d.reason == REASON_NONE) d.reason = REASON_CANCELLED;
        break;
    case GONE:
        d.state = TASK_CANCELLED;
        if (in->event != STEP_STOPPED || d.reason == REASON_NONE) d.reason = REASON_CANCELLED;
        break;
    case PASS: d.state = TASK_SKIPPED; break;
    case RENEW:
        d.state = TASK_PENDING;
        d.failures = d.free_failures = 0;
        break;
    }
    return d;
}
