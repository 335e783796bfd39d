/* Who has the name of an attempt's Job, where the server says that somebody has and no watch has told of it, where
 * it is to be deleted and was never seen, or where the watches tell of none that was recorded as running: our own, made
 * by a creation whose answer was lost, or somebody else's, which is let be. It is asked for as a list of one: that
 * needs no right that a watch does not. */
#include <stdio.h>

#include "scheduler/kube_inner.h"

enum kube_holder kube_holder_of(const struct value *items, struct str instance, const char *uid)
{
    const struct value *job = value_item(items, 0);
    if (job == NULL) return KUBE_NOBODY;
    const struct value *labels = value_get(value_get(job, "metadata"), "labels");
    bool ours = str_eq(value_get_text(labels, KUBE_LABEL_INSTANCE), instance);
    ours |= uid[0] != '\0' && str_is(kube_text(job, "metadata.uid"), uid);
    return ours ? KUBE_OURS : KUBE_STRANGER;
}

/* A watch may have been quicker. */
static void is_ours(struct kube_attempt *a, struct str uid)
{
    if (a->job_uid[0] == '\0') {
        snprintf(a->job_uid, sizeof a->job_uid, "%.*s", STR_ARG(uid));
        a->job_there = true;
        a->deleted = false;
    }
    kube_begun(a);
    if (a->kill_wanted || a->phase == KUBE_FORGOTTEN) kube_delete(a);
}

void kube_holder_hear(struct kube_attempt *a, const struct value *items)
{
    const struct kube_config *cfg = &a->owner->cfg;
    enum kube_holder who = kube_holder_of(items, cfg->instance, a->pods_job);
    if (who == KUBE_OURS || a->job_uid[0] != '\0') {
        is_ours(a, kube_text(value_item(items, 0), "metadata.uid"));
    } else if (a->phase == KUBE_HELD) {
        kube_nowhere(a);
    } else if (a->phase != KUBE_CREATING) {
        kube_gone(a);
    } else if (a->kill_wanted) {
        kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR(NEVER_BEGAN));
    } else {
        if (who == KUBE_STRANGER)
            kube_waits_for(
                a,
                "its Job cannot be created; the namespace %.*s has a Job %s that is not Millrace's: it lacks "
                "the label " KUBE_LABEL_INSTANCE "=%.*s. Delete it, or give it that label if it is this "
                "step's; until then it is tried again",
                STR_ARG(cfg->namespace), a->name, STR_ARG(cfg->instance));
        kube_later(a);
    }
}

static void told(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    struct arena turn;
    a->call = NULL;
    arena_init(&turn, 0);
    const struct value *items = kube_items(&turn, answer);
    if (items != NULL) {
        kube_holder_hear(a, items);
    } else {
        if (a->phase == KUBE_CREATING || a->phase == KUBE_HELD)
            kube_waits_for(a, "waits for the API server: %.*s", STR_ARG(answer->message));
        kube_later(a);
    }
    arena_free(&turn);
}

void kube_holder_ask(struct kube_attempt *a)
{
    char path[512];
    snprintf(path, sizeof path, "/apis/batch/v1/namespaces/%.*s/jobs?fieldSelector=metadata.name%%3D%s",
             STR_ARG(a->owner->cfg.namespace), a->name);
    const struct kube_request req = {.method = "GET",
                                     .path = str_of(path),
                                     .priority = a->phase == KUBE_FORGOTTEN ? KUBE_IDLE
                                                 : a->kill_wanted           ? KUBE_URGENT
                                                                            : KUBE_NORMAL,
                                     .done = told,
                                     .ctx = a};
    a->call = kube_request(a->owner->client, &req);
}
