/* Jobs without a pod: the Job controller tells why in events only, such as a quota that is used up or a service account
 * that is not there. Events are hints: nothing is decided by them but what is said.
 *
 * Of a Job that anybody but Kueue has suspended nobody tells, and what events told before is over.
 *
 * A Job that has ended had a pod, and one that is gone may have had: the watch of pods may lag behind the one of Jobs,
 * or be cut off. So the server is asked before an end is told without one. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

#define AGAIN_US 500000 /* between two questions for one pod */

static void say(struct kube_attempt *a, struct str why)
{
    size_t at;
    kube_waits_for(a, "its pod cannot be created: %.*s", STR_ARG(why));
    /* A quota is waited for however long that takes, but not by some of several, who hold what they have. */
    kube_hangs(a, kube_has_pod(a) || !str_find(why, STR("exceeded quota"), &at));
}

bool kube_is_podless(const struct kube_attempt *a)
{
    return a->phase == KUBE_CREATED && kube_lacks_pod(a) && a->job_uid[0] != '\0' && !a->job_ended && !a->suspended;
}

/* The Job controller may only be busy; but not for as long as a start may take. */
static void unreadable(struct kube_attempt *a, struct str said)
{
    bool waits = kube_is_podless(a) && !a->held_by_kueue && os_mono_us() - a->created_us > KUBE_ASK_US;
    if (!waits || kube_pods_trouble(a->owner) != NULL) return;
    kube_waits_for(a, "its pod has not been created, and " KUBE_UNREADABLE, STR_ARG(said));
    kube_hangs(a, true);
}

static void told(struct kube *k, const struct kube_answer *answer, struct arena *turn)
{
    const struct value *events = kube_items(turn, answer);
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        if (answer->outcome == KUBE_REFUSED) unreadable(a, answer->message);
        if (events == NULL || !kube_is_podless(a)) continue;
        struct str why = kube_text(kube_newest_event(events, a->job_uid, NULL), "message");
        if (why.n > 0) say(a, why);
    }
}

void kube_ask_why(struct kube *k)
{
    kube_ask(k, &k->podless, told,
             "/api/v1/namespaces/%.*s/events?fieldSelector=involvedObject.kind%%3DJob%%2Creason%%3DFailedCreate"
             "&limit=" KUBE_ASKED_MOST,
             STR_ARG(k->cfg.namespace));
}

/* However long that takes: whoever has suspended it may resume it. */
void kube_suspended(struct kube_attempt *a)
{
    if (a->kill_wanted) return; /* it may have been us */
    kube_waits_for(a,
                   "its Job is suspended, and not by Millrace: by somebody, or by what suspends Jobs in this cluster; "
                   "kubectl -n %.*s patch job %s -p '{\"spec\":{\"suspend\":false}}' resumes it",
                   STR_ARG(a->owner->cfg.namespace), a->name);
    kube_hangs(a, false);
}

/* ---- a pod that nobody told of ---- */

static bool may_have_begun(const struct kube_attempt *a)
{
    return a->heard_us != 0 || a->manifest.n == 0; /* or before this server was there */
}

/* For want of a pod, which nobody has. */
static void end_podless(struct kube_attempt *a)
{
    if (a->job_ended)
        kube_end_by_job(a);
    else if (kube_left_pod(a))
        kube_end_left(a, STR(KUBE_JOB_LOST));
    else if (a->expired || a->retaken || a->retaken_unseen)
        kube_end_by_loss(a, STR(""));
    else if (a->kill_wanted)
        kube_end(a, FAILURE_ERROR, REASON_CANCELLED, may_have_begun(a) ? STR("was stopped") : STR(NEVER_BEGAN));
    else if (a->requeue && a->held_by_kueue)
        kube_requeued(a);
    else
        kube_end(a, FAILURE_INFRA, REASON_INFRA, STR(KUBE_JOB_LOST));
}

static bool is_over(const struct kube_attempt *a)
{
    if (a->phase != KUBE_CREATED || !kube_lacks_pod(a)) return false;
    bool none_comes = !a->job_there && kube_standing(a).there == 0;
    return a->job_ended || none_comes || (!kube_has_pod(a) && (a->retaken || a->retaken_unseen));
}

void kube_ask_pod_hear(struct kube_attempt *a, const struct value *items)
{
    if (a->phase != KUBE_CREATED || !kube_lacks_pod(a)) return;
    for (size_t i = 0; i < items->u.list.n; i++)
        kube_hear_pod(a->owner, KUBE_PRESENT, &items->u.list.items[i]);
    if (is_over(a)) end_podless(a);
}

static void found(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    struct arena m;
    a->question = NULL;
    arena_init(&m, 0);
    const struct value *items = kube_items(&m, answer);
    if (items != NULL)
        kube_ask_pod_hear(a, items);
    else if (answer->outcome == KUBE_REFUSED && a->phase == KUBE_CREATED && !a->job_there)
        kube_waits_for(a, "its Job is gone, and whether its pod is cannot be read; Kubernetes says: %.*s",
                       STR_ARG(answer->message));
    arena_free(&m);
}

void kube_ask_pod(struct kube_attempt *a)
{
    char path[512];
    bool soon = a->looked_us != 0 && os_mono_us() - a->looked_us < AGAIN_US;
    bool by_uid = a->job_uid[0] != '\0';
    if (a->question != NULL || a->name[0] == '\0' || soon) return;
    snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/pods?labelSelector=batch.kubernetes.io%%2F%s%%3D%s",
             STR_ARG(a->owner->cfg.namespace), by_uid ? "controller-uid" : "job-name", by_uid ? a->job_uid : a->name);
    const struct kube_request req = {.method = "GET",
                                     .path = str_of(path),
                                     .priority = a->job_there ? KUBE_IDLE : KUBE_URGENT,
                                     .done = found,
                                     .ctx = a};
    a->looked_us = os_mono_us();
    a->question = kube_request(a->owner->client, &req);
}
