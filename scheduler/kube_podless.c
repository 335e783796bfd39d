/* Jobs without a pod: the Job controller tells why in events only, such as a quota that is used up or a service account
 * that is not there. Events are hints: nothing is decided by them but what is said.
 *
 * Of a Job that anybody but Kueue has suspended nobody tells, and what events told before is over.
 *
 * A Job that has ended had a pod: a watch of pods that lags behind the one of Jobs may have missed it, so the server is
 * asked before an end is told without one. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

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

static void found(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    struct arena m;
    a->question = NULL;
    if (answer->outcome != KUBE_DONE || a->phase != KUBE_CREATED || !kube_lacks_pod(a)) return;
    arena_init(&m, 0);
    const struct value *items = kube_items(&m, answer);
    for (size_t i = 0; items != NULL && i < items->u.list.n; i++)
        kube_hear_pod(a->owner, KUBE_PRESENT, &items->u.list.items[i]);
    if (items != NULL && a->phase == KUBE_CREATED && kube_lacks_pod(a) && a->job_ended) kube_end_by_job(a);
    arena_free(&m);
}

void kube_ask_pod(struct kube_attempt *a)
{
    char path[512];
    if (a->question != NULL || a->job_uid[0] == '\0') return;
    snprintf(path, sizeof path,
             "/api/v1/namespaces/%.*s/pods?labelSelector=batch.kubernetes.io%%2Fcontroller-uid%%3D%s",
             STR_ARG(a->owner->cfg.namespace), a->job_uid);
    const struct kube_request req = {
        .method = "GET", .path = str_of(path), .priority = KUBE_IDLE, .done = found, .ctx = a};
    a->looked_us = os_mono_us();
    a->question = kube_request(a->owner->client, &req);
}
