/* A Job without a pod: the Job controller tells why in events only, such as a quota that is used up or a service
 * account that is not there. Events are hints: nothing is decided by them but what is said. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

static void told(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    struct value v;
    struct arena m;
    size_t at;
    a->question = NULL;
    if (answer->outcome != KUBE_DONE || a->phase != KUBE_CREATED || !kube_lacks_pod(a)) return;
    arena_init(&m, 0);
    struct err ignored;
    const struct value *items = kube_json(&m, answer->body, &v, &ignored) ? value_get(&v, "items") : NULL;
    struct str said = STR(""), newest = STR("");
    for (size_t i = 0; items != NULL && items->type == VALUE_LIST && i < items->u.list.n; i++) {
        const struct value *e = &items->u.list.items[i];
        struct str when = kube_text(e, "lastTimestamp"); /* RFC 3339 in UTC: in order as text */
        if (!str_is(kube_text(e, "type"), "Warning") || (said.n > 0 && str_cmp(when, newest) < 0)) continue;
        said = kube_text(e, "message");
        newest = when;
    }
    if (said.n > 0) {
        kube_waits(a, arena_printf(&m, "its pod cannot be created: %.*s", STR_ARG(said)));
        kube_hangs(a, !str_find(said, STR("exceeded quota"), &at));
    }
    arena_free(&m);
}

void kube_ask_why(struct kube_attempt *a)
{
    char path[512];
    if (a->question != NULL || a->job_uid[0] == '\0') return;
    a->looked_us = os_mono_us();
    snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/events?fieldSelector=involvedObject.uid%%3D%s&limit=50",
             STR_ARG(a->owner->cfg.namespace), a->job_uid);
    const struct kube_request req = {
        .method = "GET", .path = str_of(path), .priority = KUBE_IDLE, .done = told, .ctx = a};
    a->question = kube_request(a->owner->client, &req);
}
