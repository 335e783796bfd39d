/* Jobs of attempts are created, until that is sure. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"
#include "scheduler/kube_refusal.h"

static void refused(struct kube_attempt *a, const struct kube_answer *answer)
{
    struct str text;
    struct arena turn;
    arena_init(&turn, 0);
    if (kube_refusal(KUBE_REFUSED_JOB, answer->status, answer->message, &turn, &text) == KUBE_BLAME_STEP) {
        kube_end(a, FAILURE_INVALID, REASON_INVALID, text);
    } else {
        kube_waits(a, text);
        kube_later(a);
    }
    arena_free(&turn);
}

static void there_is(struct kube_attempt *a)
{
    a->phase = KUBE_CREATED;
    a->created_us = os_mono_us();
    a->retry_us = 0; /* of its creation: from now on it would be its deletion */
    kube_waits(a, STR(""));
    a->tries = 0;
}

void kube_begun(struct kube_attempt *a)
{
    if (a->phase == KUBE_HELD || a->phase == KUBE_CREATING) there_is(a);
}

/* Its pod may be told of before it is. */
static void learn_uid(struct kube_attempt *a, struct str job)
{
    struct value v;
    struct err ignored;
    struct arena turn;
    arena_init(&turn, 0);
    if (kube_json(&turn, job, &v, &ignored))
        snprintf(a->job_uid, sizeof a->job_uid, "%.*s", STR_ARG(kube_text(&v, "metadata.uid")));
    arena_free(&turn);
}

static void created(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    a->call = NULL;
    bool creating = a->phase == KUBE_CREATING, there = answer->outcome == KUBE_DONE;
    if (str_is(answer->reason, "AlreadyExists") && a->job_uid[0] == '\0') {
        kube_holder_ask(a);
        return;
    }
    there |= str_is(answer->reason, "AlreadyExists");
    there |= !creating && a->phase != KUBE_FORGOTTEN; /* a watch was quicker */
    if (answer->outcome == KUBE_UNKNOWN) a->unsure = true;
    if (!there && creating && a->kill_wanted && !a->unsure) {
        kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR(NEVER_BEGAN));
        return;
    }
    if (!there && creating && a->kill_wanted && answer->outcome == KUBE_REFUSED) { /* what came of another try? */
        kube_holder_ask(a);
        return;
    }
    if (!there && creating && answer->outcome == KUBE_REFUSED) {
        refused(a, answer);
        return;
    }
    if (!there) { /* not carried out, or nobody knows: the name makes another try, or its deletion, harmless */
        kube_waits_for(a, "waits for the API server: %.*s", STR_ARG(answer->message));
        kube_later(a);
        return;
    }
    a->job_there = true;
    a->deleted = false;
    if (answer->outcome == KUBE_DONE && a->job_uid[0] == '\0') learn_uid(a, answer->body);
    if (creating) there_is(a);
    if (a->kill_wanted || a->phase == KUBE_FORGOTTEN) kube_delete(a);
}

/* One that is to be stopped is created only to be sure whether it was before: it must not begin. */
static struct str manifest_of(const struct kube_attempt *a, struct buf *room)
{
    size_t at;
    if (!a->kill_wanted || !str_find(a->manifest, STR(KUBE_JOB_SPEC), &at)) return a->manifest;
    at += sizeof KUBE_JOB_SPEC - 1;
    if (str_starts(str_sub(a->manifest, at, a->manifest.n), "\"suspend\"")) return a->manifest; /* Kueue's */
    buf_str(room, str_sub(a->manifest, 0, at));
    buf_c(room, "\"suspend\":true,");
    buf_str(room, str_sub(a->manifest, at, a->manifest.n));
    return buf_view(room);
}

void kube_create(struct kube_attempt *a)
{
    char path[512];
    BUF_AUTO room;
    buf_init(&room, 0);
    snprintf(path, sizeof path, "/apis/batch/v1/namespaces/%.*s/jobs?fieldValidation=Strict",
             STR_ARG(a->owner->cfg.namespace));
    a->retry_us = 0;
    if (a->unsure && kube_left_pod(a)) { /* it was, and its Job is gone since */
        kube_belongings_remove(a);
        a->deleted = true;
        kube_end_left(a, STR(KUBE_JOB_LOST));
        return;
    }
    if (a->call != NULL || (!a->unsure && !kube_template_ready(a, os_mono_us()))) return;
    const struct kube_request req = {.method = "POST",
                                     .path = str_of(path),
                                     .body = manifest_of(a, &room),
                                     .priority = KUBE_NORMAL,
                                     .tries = 1,
                                     .done = created,
                                     .ctx = a};
    a->call = kube_request(a->owner->client, &req);
}
