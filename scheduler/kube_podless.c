/* Jobs without a pod: the Job controller tells why in events only, such as a quota that is used up or a service account
 * that is not there. Events are hints: nothing is decided by them but what is said.
 *
 * A Job that Kueue holds is suspended, and its Workload says why (https://kueue.sigs.k8s.io/docs/concepts/workload/).
 * Of one that anybody else has suspended nobody tells, and what events told before is over.
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
    kube_hangs(a, !str_find(why, STR("exceeded quota"), &at));
}

static bool is_podless(const struct kube_attempt *a)
{
    return a->phase == KUBE_CREATED && kube_lacks_pod(a) && a->job_uid[0] != '\0' && !a->job_ended && !a->suspended;
}

/* The Job controller may only be busy; but not for as long as a start may take. */
static void unreadable(struct kube_attempt *a, struct str said)
{
    bool waits = is_podless(a) && !a->held_by_kueue && os_mono_us() - a->created_us > KUBE_ASK_US;
    if (!waits || kube_pods_trouble(a->owner) != NULL) return;
    kube_waits_for(a, "its pod has not been created, and " KUBE_UNREADABLE, STR_ARG(said));
    kube_hangs(a, true);
}

static void told(struct kube *k, const struct kube_answer *answer, struct arena *turn)
{
    const struct value *events = kube_items(turn, answer);
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        if (answer->outcome == KUBE_REFUSED) unreadable(a, answer->message);
        if (events == NULL || !is_podless(a)) continue;
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

/* ---- Kueue ---- */

#define NO_WORKLOAD "it has not taken notice of the suspended Job; does it run?"

static const char *const versions[] = {"v1beta2", "v1beta1"}; /* of its API, whichever the cluster has */

static bool is_held(const struct kube_attempt *a)
{
    return is_podless(a) && a->held_by_kueue;
}

static void say_held(struct kube_attempt *a, struct str why)
{
    kube_waits_for(a, "waits for Kueue: %.*s", STR_ARG(why));
}

/* The condition that is not met says why, and the one that was met last what it waits for. */
static struct str why_held(const struct value *workload)
{
    const struct value *list = value_get(value_get(workload, "status"), "conditions");
    struct str why = STR("it has not looked at it yet");
    for (size_t i = 0; list != NULL && list->type == VALUE_LIST && i < list->u.list.n; i++) {
        const struct value *c = &list->u.list.items[i];
        if (!str_is(kube_text(c, "type"), "QuotaReserved")) continue;
        why = str_is(kube_text(c, "status"), "True") ? STR("it has the quota, and is about to be admitted")
                                                     : kube_text(c, "message");
    }
    return why;
}

static bool owned_by(const struct value *object, const char *uid)
{
    const struct value *owners = value_get(value_get(object, "metadata"), "ownerReferences");
    for (size_t i = 0; owners != NULL && owners->type == VALUE_LIST && i < owners->u.list.n; i++)
        if (str_is(kube_text(&owners->u.list.items[i], "uid"), uid)) return true;
    return false;
}

static void say_workloads(struct kube *k, const struct value *items, bool all)
{
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        if (!is_held(a)) continue;
        size_t w = 0;
        while (w < items->u.list.n && !owned_by(&items->u.list.items[w], a->job_uid))
            w++;
        if (w < items->u.list.n || all)
            say_held(a, w < items->u.list.n ? why_held(&items->u.list.items[w]) : STR(NO_WORKLOAD));
    }
}

static void say_all_held(struct kube *k, struct str why)
{
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next)
        if (is_held(a)) say_held(a, why);
}

static void told_workloads(struct kube *k, const struct kube_answer *answer, struct arena *turn)
{
    struct value v;
    struct err ignored;
    if (answer->outcome == KUBE_DONE) {
        const struct value *items = kube_json(turn, answer->body, &v, &ignored) ? value_get(&v, "items") : NULL;
        if (items != NULL && items->type == VALUE_LIST)
            say_workloads(k, items, kube_text(&v, "metadata.continue").n == 0);
    } else if (answer->status == 404) {
        if (++k->kueue_version % (sizeof versions / sizeof *versions) == 0)
            say_all_held(k, STR("this cluster has none, or not in a version that is known; its Job is suspended"));
    } else if (answer->outcome == KUBE_REFUSED) {
        say_all_held(k, arena_printf(turn, "its Job is suspended; why cannot be read, since Kubernetes says: %.*s%s",
                                     STR_ARG(answer->message),
                                     answer->status == 403 ? "; see deploy/components/kueue" : ""));
    }
}

void kube_ask_kueue(struct kube *k)
{
    kube_ask(k, &k->held, told_workloads, "/apis/kueue.x-k8s.io/%s/namespaces/%.*s/workloads?limit=" KUBE_ASKED_MOST,
             versions[k->kueue_version % (sizeof versions / sizeof *versions)], STR_ARG(k->cfg.namespace));
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
