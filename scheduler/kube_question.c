/* One question for all attempts: a server searches all objects of a kind in the namespace for such a list, however
 * little it asks for, and when many attempts wait, it is busy enough. So none of them asks for itself, and each
 * question is asked every five seconds at most. */
#include <stdarg.h>
#include <stdio.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

static void answered(void *ctx, const struct kube_answer *answer)
{
    struct kube_question *q = ctx;
    struct arena turn;
    q->call = NULL;
    q->answered_us = os_mono_us();
    arena_init(&turn, 0);
    q->told(q->owner, answer, &turn);
    arena_free(&turn);
}

void kube_ask(struct kube *k, struct kube_question *q,
              void (*told)(struct kube *k, const struct kube_answer *answer, struct arena *turn), const char *path, ...)
{
    char text[512];
    va_list args;
    if (q->call != NULL || os_mono_us() - q->answered_us < KUBE_ASK_US) return;
    va_start(args, path);
    vsnprintf(text, sizeof text, path, args);
    va_end(args);
    q->owner = k;
    q->told = told;
    const struct kube_request req = {
        .method = "GET", .path = str_of(text), .priority = KUBE_IDLE, .done = answered, .ctx = q};
    q->call = kube_request(k->client, &req);
}

const struct value *kube_newest_event(const struct value *events, const char *uid, bool (*tells)(struct str reason))
{
    const struct value *last = NULL;
    struct str newest = STR("");
    for (size_t i = 0; i < events->u.list.n; i++) {
        const struct value *e = &events->u.list.items[i];
        if (!str_is(kube_text(e, "involvedObject.uid"), uid)) continue;
        if (tells != NULL && !tells(kube_text(e, "reason"))) continue;
        struct str when = kube_text(e, "lastTimestamp"); /* RFC 3339 in UTC: in order as text */
        if (last != NULL && str_cmp(when, newest) < 0) continue;
        last = e;
        newest = when;
    }
    return last;
}
