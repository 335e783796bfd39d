/* What watches do not tell. Of a Job that was told of before anybody knew whose it is, what it says is asked for once.
 *
 * And there are objects of which a watch tells that they are gone, and that are there: somebody has taken off the label
 * by which they are watched. What is deleted with a grace says so itself; whatever else goes while its attempt has not
 * ended is asked for by its name, and if it is there, every few seconds, until it has gone or is watched again. Its
 * label is not put back: the right to do that is one to change whatever runs there. It is asked for as a list of one,
 * which needs no right that a watch does not. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"

#define EVERY_US ((int64_t)5 * 1000000)

struct kube_untold {
    struct kube_attempt *of;
    bool job; /* else a pod */
    bool said;
    char name[KUBE_POD_NAME], uid[KUBE_UID];
    int64_t asked_us;
    struct kube_call *call;
    struct kube_untold *next;
};

static void drop(struct kube_untold **at)
{
    struct kube_untold *u = *at;
    *at = u->next;
    kube_cancel(u->of->owner->client, u->call);
    free(u);
}

static struct kube_untold **untold_at(struct kube_attempt *a, struct str uid)
{
    struct kube_untold **at = &a->untold;
    while (*at != NULL && !str_is(uid, (*at)->uid))
        at = &(*at)->next;
    return at;
}

static void hear(struct kube_untold *u, enum kube_change change, const struct value *object)
{
    (u->job ? kube_hear_job : kube_hear_pod)(u->of->owner, change, object);
}

/* As a watch tells of one that went with a grace: that is believed. */
static void is_gone(struct kube_untold *u)
{
    struct value object;
    struct err ignored;
    struct arena turn;
    arena_init(&turn, 0);
    struct str text = arena_printf(&turn,
                                   "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\","
                                   "\"deletionTimestamp\":\"1970-01-02T00:00:00Z\"}}",
                                   u->name, u->uid);
    if (kube_json(&turn, text, &object, &ignored)) hear(u, KUBE_DELETED, &object);
    arena_free(&turn);
}

static bool is_watched(const struct kube_attempt *a, const struct value *object)
{
    const struct value *labels = value_get(value_get(object, "metadata"), "labels");
    return str_eq(value_get_text(labels, KUBE_LABEL_INSTANCE), a->owner->cfg.instance);
}

static void is_there(struct kube_untold *u, const struct value *object)
{
    if (!u->said)
        log_warn("somebody has taken off the label by which this is watched: it is asked for now and then",
                 LOG_CSTR("kind", u->job ? "Job" : "pod"), LOG_CSTR("name", u->name),
                 LOG_CSTR("label", KUBE_LABEL_INSTANCE));
    u->said = true;
    hear(u, KUBE_PRESENT, object);
}

void kube_untold_hear(struct kube_attempt *a, const char *uid, const struct value *items)
{
    struct kube_untold **at = untold_at(a, str_of(uid)), *u = *at;
    const struct value *object = value_item(items, 0);
    if (u == NULL || a->phase != KUBE_CREATED) return;
    bool there = object != NULL && str_is(kube_text(object, "metadata.uid"), uid);
    if (there && !is_watched(a, object)) {
        is_there(u, object);
        return;
    }
    if (!there)
        is_gone(u); /* which leaves the attempt: it was asked for */
    else if (u->job)
        hear(u, KUBE_PRESENT, object); /* of a pod its watch may have told more since */
    drop(untold_at(a, str_of(u->uid)));
}

static void answered(void *ctx, const struct kube_answer *answer)
{
    struct kube_untold *u = ctx;
    struct arena turn;
    u->call = NULL;
    arena_init(&turn, 0);
    const struct value *items = kube_items(&turn, answer);
    if (items != NULL) kube_untold_hear(u->of, u->uid, items);
    arena_free(&turn);
}

static void ask(struct kube_untold *u)
{
    char path[512];
    snprintf(path, sizeof path, "%s/namespaces/%.*s/%s?fieldSelector=metadata.name%%3D%s",
             u->job ? "/apis/batch/v1" : "/api/v1", STR_ARG(u->of->owner->cfg.namespace), u->job ? "jobs" : "pods",
             u->name);
    const struct kube_request req = {.method = "GET", .path = str_of(path), .done = answered, .ctx = u};
    u->asked_us = os_mono_us();
    u->call = kube_request(u->of->owner->client, &req);
}

static void ask_for(struct kube_attempt *a, bool job, struct str name, struct str uid)
{
    struct kube_untold **at = untold_at(a, uid), *u = *at;
    if (u == NULL) u = *at = calloc(1, sizeof *u);
    if (u == NULL) abort();
    u->of = a;
    u->job = job;
    snprintf(u->name, sizeof u->name, "%.*s", STR_ARG(name));
    snprintf(u->uid, sizeof u->uid, "%.*s", STR_ARG(uid));
    kube_cancel(a->owner->client, u->call); /* which may be answered with what was before */
    ask(u);
}

bool kube_untold(struct kube_attempt *a, bool job, const struct kube_pod *object)
{
    bool ours =
        job && (a->deleted || a->kill_wanted || a->dismissed); /* a Job has no grace: it goes as we have wanted */
    if (object->deleting || object->stage == KUBE_STAGE_ENDED || ours || a->phase != KUBE_CREATED) return false;
    ask_for(a, job, object->name, object->uid);
    return true;
}

void kube_untold_job(struct kube_attempt *a)
{
    ask_for(a, true, str_of(a->name), str_of(a->job_uid));
}

void kube_untold_tick(struct kube_attempt *a, int64_t now)
{
    for (struct kube_untold *u = a->untold; u != NULL && a->phase == KUBE_CREATED; u = u->next)
        if (u->call == NULL && now - u->asked_us > EVERY_US) ask(u);
}

void kube_untold_drop(struct kube_attempt *a)
{
    while (a->untold != NULL)
        drop(&a->untold);
}
