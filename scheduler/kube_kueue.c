/* A Job that Kueue holds is suspended, and its Workload says why (https://kueue.sigs.k8s.io/docs/concepts/workload/).
 * It is taken back when its queue is declared otherwise meanwhile. */
#include "scheduler/kube_inner.h"

#define ELSEWHERE "to another LocalQueue now, or to none"
#define NO_WORKLOAD "it has not taken notice of the suspended Job; does it run?"

static const char *const versions[] = {"v1beta2", "v1beta1"}; /* of its API, whichever the cluster has */

static bool is_held(const struct kube_attempt *a)
{
    return kube_is_podless(a) && a->held_by_kueue;
}

/* Of its queue's LocalQueue, which may be mistyped. */
static const char *cure(struct str why)
{
    size_t at;
    bool missing = str_starts(why, "LocalQueue ") && str_find(why, STR("doesn't exist"), &at);
    return missing ? "; make it, or let the queue name another: millrace queue apply" : "";
}

static void say_held(struct kube_attempt *a, struct str why)
{
    if (!a->requeue) kube_waits_for(a, "waits for Kueue: %.*s%s", STR_ARG(why), cure(why));
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

/* ---- taking back ---- */

void kube_requeued(struct kube_attempt *a)
{
    kube_end(a, FAILURE_INFRA, REASON_PREEMPTED, STR("gave way: its queue hands over " ELSEWHERE));
}

static void refused(struct kube_attempt *a, const struct kube_answer *answer)
{
    if (answer->status != 409) kube_not_deleted(a, "Job", answer); /* else it has been written since */
    a->requeue_us = kube_again_us(++a->tries);
}

static void deleted(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    a->call = NULL;
    a->dismissed &= answer->outcome == KUBE_DONE;
    if (answer->outcome == KUBE_DONE || answer->status == 404)
        kube_gone(a);
    else if (a->kill_wanted || a->phase == KUBE_FORGOTTEN) /* that came meanwhile */
        kube_delete(a);
    else
        refused(a, answer);
}

/* Not at all unless it is as it was told last, suspended: Kueue may be about to let it run. Else it is looked at again
 * in a second. One that is refused, and surely not there, would come to be where it is not to go any more. */
void kube_requeue(struct kube_attempt *a, int64_t now)
{
    bool begun = kube_has_pod(a) || a->retaken_unseen;
    if (a->kill_wanted || a->call != NULL || now < a->requeue_us) return;
    if (a->phase == KUBE_CREATING && !a->unsure) {
        kube_requeued(a);
    } else if (is_held(a) && a->job_there && !begun) {
        if (a->tries == 0) kube_waits_for(a, "is taken back from Kueue: its queue hands over " ELSEWHERE);
        kube_delete_job(a, a->job_version, KUBE_NORMAL, deleted);
    }
}
