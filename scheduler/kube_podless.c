/* Jobs without a pod: the Job controller tells why in events only, such as a quota that is used up or a service account
 * that is not there. Events are hints: nothing is decided by them but what is said. A server searches all events of the
 * namespace for such a question, however little it asks for, so one question is asked for all Jobs, every five
 * seconds: when many Jobs wait for the Job controller, it is busy enough.
 *
 * A Job that has ended had a pod: a watch of pods that lags behind the one of Jobs may have missed it, so the server is
 * asked before an end is told without one. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

#define ASK_US 5000000
#define EVENTS_MOST 500 /* of those that the server has, any: Jobs of the rest say nothing yet */

static void say(struct kube_attempt *a, struct str why)
{
    size_t at;
    struct arena m;
    arena_init(&m, 0);
    kube_waits(a, arena_printf(&m, "its pod cannot be created: %.*s", STR_ARG(why)));
    kube_hangs(a, !str_find(why, STR("exceeded quota"), &at));
    arena_free(&m);
}

struct events {
    const struct value *items;
    size_t n;
};

static void explain(const struct events *events, struct kube_attempt *a)
{
    struct str said = STR(""), newest = STR("");
    for (size_t i = 0; i < events->n; i++) {
        const struct value *e = &events->items[i];
        if (!str_is(kube_text(e, "involvedObject.uid"), a->job_uid)) continue;
        struct str when = kube_text(e, "lastTimestamp"); /* RFC 3339 in UTC: in order as text */
        if (said.n > 0 && str_cmp(when, newest) < 0) continue;
        said = kube_text(e, "message");
        newest = when;
    }
    if (said.n > 0) say(a, said);
}

static bool is_podless(const struct kube_attempt *a)
{
    return a->phase == KUBE_CREATED && kube_lacks_pod(a) && a->job_uid[0] != '\0' && !a->job_ended;
}

static void told(void *ctx, const struct kube_answer *answer)
{
    struct kube *k = ctx;
    struct value v;
    struct arena m;
    struct err ignored;
    k->question = NULL;
    k->asked_us = os_mono_us();
    if (answer->outcome != KUBE_DONE) return;
    arena_init(&m, 0);
    const struct value *items = kube_json(&m, answer->body, &v, &ignored) ? value_get(&v, "items") : NULL;
    if (items != NULL && items->type == VALUE_LIST && items->u.list.n > 0) {
        const struct events events = {items->u.list.items, items->u.list.n};
        for (size_t i = 0; i < k->room; i++)
            for (struct kube_attempt *a = k->slots[i]; a != NULL; a = a->next)
                if (is_podless(a)) explain(&events, a);
    }
    arena_free(&m);
}

void kube_ask_why(struct kube *k)
{
    char path[512];
    if (k->question != NULL || os_mono_us() - k->asked_us < ASK_US) return;
    snprintf(path, sizeof path,
             "/api/v1/namespaces/%.*s/events?fieldSelector=involvedObject.kind%%3DJob%%2Creason%%3DFailedCreate"
             "&limit=%d",
             STR_ARG(k->cfg.namespace), EVENTS_MOST);
    const struct kube_request req = {
        .method = "GET", .path = str_of(path), .priority = KUBE_IDLE, .done = told, .ctx = k};
    k->question = kube_request(k->client, &req);
}

static void found(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    struct value v;
    struct arena m;
    struct err ignored;
    a->question = NULL;
    if (answer->outcome != KUBE_DONE || a->phase != KUBE_CREATED || !kube_lacks_pod(a)) return;
    arena_init(&m, 0);
    const struct value *items = kube_json(&m, answer->body, &v, &ignored) ? value_get(&v, "items") : NULL;
    for (size_t i = 0; items != NULL && items->type == VALUE_LIST && i < items->u.list.n; i++)
        kube_hear_pod(a->owner, KUBE_PRESENT, &items->u.list.items[i]);
    if (items != NULL && a->phase == KUBE_CREATED && kube_lacks_pod(a)) kube_end_by_job(a);
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
