/* Jobs of attempts are deleted, and their pods with them: when an attempt is over, or is to end. Pods are deleted by
 * themselves where one of them is to end sooner than that, or goes on without its Job. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"

#define SECOND_US 1000000

#define OPTIONS "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\""

struct kube_call *kube_delete_pod(struct kube *k, const struct kube_deletion *d)
{
    char path[1024], grace[64] = "", body[256];
    snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/pods/%s", STR_ARG(k->cfg.namespace), d->pod);
    if (d->grace_ms >= 0)
        snprintf(grace, sizeof grace, ",\"gracePeriodSeconds\":%lld", (long long)((d->grace_ms + 999) / 1000));
    snprintf(body, sizeof body, OPTIONS "%s,\"preconditions\":{\"uid\":\"%s\"}}", grace, d->uid);
    const struct kube_request req = {.method = "DELETE",
                                     .path = str_of(path),
                                     .body = str_of(body),
                                     .priority = d->priority,
                                     .done = d->done,
                                     .ctx = d->ctx};
    return kube_request(k->client, &req);
}

bool kube_deleted(const struct kube_answer *answer)
{
    return answer->outcome == KUBE_DONE || answer->status == 404 || answer->status == 409;
}

void kube_gone(struct kube_attempt *a)
{
    a->job_there = false;
    a->deleted = true;
    if (a->phase == KUBE_FORGOTTEN && a->job_uid[0] != '\0' && !a->dismissed) kube_belongings_remove(a);
    if (a->phase == KUBE_FORGOTTEN || (a->phase == KUBE_SEEN && !kube_has_pod(a))) {
        kube_drop(a->owner, a);
        return;
    }
    /* Its pod, if there is one, says when it has ended. */
    if (a->phase != KUBE_CREATED) return;
    if (kube_has_pod(a)) {
        if (a->kill_wanted) kube_delete(a);
    } else {
        kube_cancel(a->owner->client, a->question); /* which may have been answered before */
        a->question = NULL;
        a->looked_us = 0;
        kube_ask_pod(a);
    }
}

/* What has ended is only untidy. */
void kube_not_deleted(struct kube_attempt *a, const char *what, const struct kube_answer *answer)
{
    if (answer->outcome != KUBE_REFUSED) return;
    if (a->tries == 0)
        log_warn("a deletion is refused", LOG_STR("kind", str_of(what)), LOG_STR("job", str_of(a->name)),
                 LOG_STR("message", answer->message));
    if (a->phase == KUBE_CREATED)
        kube_waits_for(a, "its %s cannot be deleted; Kubernetes says: %.*s", what, STR_ARG(answer->message));
}

static void deleted(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    a->call = NULL;
    a->dismissed &= answer->outcome == KUBE_DONE;
    if (kube_deleted(answer)) {
        kube_gone(a);
        return;
    }
    kube_not_deleted(a, "Job", answer);
    kube_later(a);
}

static void pod_told(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    a->call = NULL;
    if (answer->outcome != KUBE_DONE && answer->outcome != KUBE_REFUSED) {
        kube_later(a);
        return;
    }
    if (!kube_deleted(answer)) {
        kube_not_deleted(a, "pod", answer);
        a->keeps_job = false; /* its pod may go with it */
    }
    if (a->hurrying < a->n_ranks) a->ranks[a->hurrying].hurried = true;
    kube_delete(a);
}

/* A deleted Job leaves its pod the grace that it was made with: who wants it gone sooner tells it before. */
static bool tell_to_hurry(struct kube_attempt *a)
{
    a->hurrying = kube_rank_to_hurry(a);
    if (a->hurrying == UINT32_MAX) return false;
    const struct kube_rank *r = &a->ranks[a->hurrying];
    const struct kube_deletion d = {
        .pod = r->pod, .uid = r->uid, .grace_ms = a->grace_ms, .priority = KUBE_URGENT, .done = pod_told, .ctx = a};
    a->call = kube_delete_pod(a->owner, &d);
    return true;
}

static bool can_wait(const struct kube_attempt *a)
{
    if (a->phase != KUBE_FORGOTTEN || !a->ended || a->hurry) return false;
    return kube_may_lie(&a->owner->garbage, os_mono_us() - a->forgotten_us);
}

/* The pods go with it; without a policy they would be left behind. */
void kube_delete_job(struct kube_attempt *a, const char *version, enum kube_priority priority,
                     void (*done)(void *ctx, const struct kube_answer *answer))
{
    char path[512], body[384], as[KUBE_UID + 32] = "";
    snprintf(path, sizeof path, "/apis/batch/v1/namespaces/%.*s/jobs/%s", STR_ARG(a->owner->cfg.namespace), a->name);
    if (version[0] != '\0') snprintf(as, sizeof as, ",\"resourceVersion\":\"%s\"", version);
    snprintf(body, sizeof body, OPTIONS ",\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"%s\"%s}}",
             a->job_uid, as);
    const struct kube_request req = {
        .method = "DELETE", .path = str_of(path), .body = str_of(body), .priority = priority, .done = done, .ctx = a};
    a->dismissed = true;
    a->call = kube_request(a->owner->client, &req);
}

void kube_delete(struct kube_attempt *a)
{
    a->retry_us = 0;
    if (a->call != NULL || a->name[0] == '\0') return; /* without a name it would be all Jobs */
    if (can_wait(a)) {
        a->retry_us = os_mono_us() + SECOND_US;
        return;
    }
    if (a->hurry && tell_to_hurry(a)) return;
    if (a->deleted || (a->keeps_job && a->phase != KUBE_FORGOTTEN)) return;
    if (a->job_uid[0] == '\0') { /* another may have its name */
        kube_holder_ask(a);
        return;
    }
    kube_delete_job(a, "", a->phase == KUBE_FORGOTTEN ? KUBE_IDLE : KUBE_URGENT, deleted);
}
