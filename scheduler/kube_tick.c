/* What time brings to attempts, once a second: another try, a look where nothing is heard, an end where it is over. */
#include "engine/kube/budget.h"
#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"
#include "scheduler/kube_late.h"

#define SECOND_US 1000000
#define RETRY_FIRST_US (SECOND_US / 2)
#define RETRY_MOST_US (15 * SECOND_US)   /* and half of that more or less: many who wait for a quota come one by one */
#define PODLESS_US (5 * SECOND_US)       /* a Job without a pod for so long is asked why */
#define JOB_SETTLES_US (3 * SECOND_US)   /* for the pod of a Job that has ended to be told of */
#define KILLED_MOST_US (120 * SECOND_US) /* beyond the grace: a node that is away never says that it stopped */

int64_t kube_again_us(uint32_t tries)
{
    return os_mono_us() + kube_pause_us(tries, RETRY_FIRST_US, RETRY_MOST_US, os_random_u64());
}

void kube_later(struct kube_attempt *a)
{
    a->retry_us = kube_again_us(++a->tries);
}

static void give_up(struct kube_attempt *a)
{
    struct str why =
        arena_printf(&a->arena, "could not start, and was given up: %.*s", STR_ARG(str_of(kube_waits_why(a))));
    kube_end(a, FAILURE_ERROR, REASON_ERROR, why);
}

static void without_pod(struct kube_attempt *a, int64_t now)
{
    int64_t since = now - a->created_us;
    if (a->job_ended && since > JOB_SETTLES_US)
        kube_ask_pod(a);
    else if (!a->job_ended && a->held_by_kueue)
        kube_ask_kueue(a->owner);
    else if (!a->job_ended && a->suspended)
        kube_suspended(a);
    else if (!a->job_ended && since > PODLESS_US)
        kube_ask_why(a->owner);
}

static bool begins(const struct kube_attempt *a, int64_t now)
{
    if (a->phase == KUBE_CREATING) return true;
    if (a->phase != KUBE_CREATED || a->job_ended || now - a->created_us >= KUBE_BEGINS_MOST_US) return false;
    return kube_lacks_pod(a) || a->stage < KUBE_STAGE_RUNNING;
}

static void look_around(struct kube *k)
{
    struct kube_garbage g = {.most = k->cfg.lying_most};
    int64_t now = os_mono_us();
    for (const struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        g.refused |= (a->phase == KUBE_CREATING && a->tries > 0) ||
                     (a->phase == KUBE_CREATED && kube_belongings_lack(a) != NULL);
        g.lying += a->phase == KUBE_FORGOTTEN;
        g.starting |= begins(a, now);
    }
    k->garbage = g;
}

/* A pod has one grace, which is the outputs': at its deadline a step that does not listen would have all of that more.
 * So it is stopped by us, with its own grace; the pod's deadline is for when no server is there. That it is expired is
 * recorded by its end: until then its Job stays, for whoever comes when this server is killed meanwhile. */
static void expire(struct kube_attempt *a)
{
    a->expired = a->kill_wanted = a->hurry = a->keeps_job = true;
    a->killed_us = os_mono_us();
    a->grace_ms = a->soft_ms;
    kube_delete(a);
}

static bool is_late(const struct kube_attempt *a, int64_t now)
{
    return a->collects && a->timeout_ms > 0 && !a->kill_wanted && kube_ranks_late(a, now);
}

/* The next attempt is to be alone: Kueue, that takes the pods, may let the Job make others at any moment. So it goes,
 * too, and what there is of pods has ended first. */
static void give_back(struct kube_attempt *a)
{
    if (!kube_has_pod(a)) {
        kube_ask_pod(a);
        return;
    }
    a->hurry = true;
    a->grace_ms = a->soft_ms;
    if (a->retry_us == 0) kube_delete(a);
}

/* A kubelet that had begun to end a pod when it was to be stopped sooner leaves it all of its first grace. */
static bool gave_up_on(const struct kube_attempt *a, int64_t now)
{
    return now - a->killed_us > KILLED_MOST_US + a->grace_ms * 1000 && !kube_ranks_going(a, now);
}

static void unconfirmed(struct kube_attempt *a)
{
    bool others = a->phase == KUBE_STOPPING || !kube_has_pod(a);
    if (a->phase != KUBE_STOPPING) {
        a->result = (struct task_result){.exit_code = -1, .log_bytes = a->log.bytes};
        kube_cause(a, &a->result);
        a->phase = KUBE_STOPPING; /* in vain, so far */
    }
    a->result.message = arena_printf(&a->arena, "%.*s; %s", STR_ARG(a->result.message),
                                     others ? "that all its pods have ended since has not been confirmed"
                                            : "its node has not confirmed its end");
    kube_tell(a);
}

/* The rest of its pods will not come any more, whether those end well that there are. */
static bool is_orphaned(const struct kube_attempt *a)
{
    bool ours = a->kill_wanted || a->dismissed;
    return !a->job_there && !ours && kube_lacks_pod(a) && kube_left_pod(a);
}

static void tick_attempt(struct kube *k, struct kube_attempt *a)
{
    int64_t now = os_mono_us();
    if (a->retry_us != 0 && now >= a->retry_us && a->call == NULL) {
        switch (a->phase) {
        case KUBE_HELD: kube_holder_ask(a); break;
        case KUBE_CREATING: kube_create(a); break;
        case KUBE_SEEN:
        case KUBE_CREATED:
        case KUBE_DRAINING:
        case KUBE_STOPPING:
        case KUBE_TOLD:
        case KUBE_FORGOTTEN: kube_delete(a); break;
        }
    }
    kube_belongings_tick(a, now);
    if (a->phase == KUBE_CREATED && a->stage == KUBE_STAGE_RUNNING &&
        now - a->heard_us > kube_follow_after_us(k->late_us))
        kube_log_follow(a);
    if (a->phase == KUBE_CREATED && a->job_there && kube_lacks_pod(a)) without_pod(a, now);
    if (a->phase == KUBE_CREATED && !a->job_there && kube_lacks_pod(a) && kube_standing(a).there == 0) kube_ask_pod(a);
    kube_untold_tick(a, now);
    kube_silence_tick(a);
    if (a->phase == KUBE_CREATED) kube_waits_tick(a, now);
    if (a->phase == KUBE_CREATED) kube_mover_tick(a, now);
    if (a->phase == KUBE_DRAINING) kube_outputs_tick(a, now);
    if (a->phase == KUBE_DRAINING && !a->drained) kube_log_tick(a);
    if (a->phase == KUBE_CREATED && a->hangs_us != 0 && now - a->hangs_us > k->cfg.start_ms * 1000) give_up(a);
    if (a->phase == KUBE_CREATED && !kube_helper_tick(a, now)) give_up(a);
    if (a->phase == KUBE_CREATED && is_late(a, now)) expire(a);
    kube_ranks_tick(a, now);
    if (a->requeue) kube_requeue(a, now);
    if (a->phase == KUBE_CREATED && (a->retaken || a->retaken_unseen)) give_back(a);
    if (a->phase == KUBE_CREATED && a->kill_wanted && gave_up_on(a, now)) unconfirmed(a);
    if (a->phase == KUBE_CREATED && is_orphaned(a)) kube_end_left(a, STR(KUBE_JOB_LOST));
    if (a->phase == KUBE_STOPPING) kube_ranks_stopped(a);
    if (a->phase == KUBE_STOPPING && gave_up_on(a, now)) unconfirmed(a);
}

void kube_tick(struct kube *k)
{
    look_around(k);
    if (kube_pods_trouble(k) == NULL) k->watched_us = os_mono_us();
    kube_each(k, tick_attempt);
    kube_templates_tick(k, os_mono_us());
    kube_strays_tick(k);
    k->ticked_us = os_mono_us();
}
