/* The templates of claims (kube_claim.h) that attempts need: made before the first Job that names one, shared by all,
 * taken away when no Job has named it for a while.
 *
 * Nothing of them is kept anywhere else: what there is, is what was made here, what Jobs name, and what is found by
 * looking, at the start and now and then; so none is left behind, whenever a server was killed. Two servers may look
 * after the same one. Whoever has seen no Job with it for IDLE_US deletes it, and whoever has seen none for TRUST_US
 * makes sure before the next that it is there: in between each hears of the other's Jobs. Should one be missing all the
 * same, its pods stay without a node, which is looked into. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"
#include "scheduler/kube_refusal.h"

#define SECOND_US 1000000
#define IDLE_US (20 * SECOND_US)
#define TRUST_US (8 * SECOND_US)
#define RETRY_US (2 * SECOND_US)
#define PLACED_AFTER_US (10 * SECOND_US) /* by then a pod has a node, or something is missing */
#define CHECK_EVERY_US (30 * SECOND_US)
#define SEEK_SOON_US (60 * SECOND_US)
#define SEEK_AGAIN_US (600 * SECOND_US) /* another server may have died before the Job of its template was there */
#define HASH 24

struct kube_template {
    struct kube *owner;
    char name[KUBE_TEMPLATE_NAME];
    char *body;             /* NULL = only others needed it so far */
    bool there;             /* as far as is known */
    struct kube_call *call; /* creation or deletion */
    int64_t used_us;        /* when an attempt with it was seen last */
    int64_t checked_us;     /* when it was made, or made sure of, last */
    int64_t retry_us;       /* of its creation; 0 = none */
    struct kube_template *next;
};

static struct kube_template *named(struct kube *k, struct str name)
{
    struct kube_template *t = k->templates;
    while (t != NULL && !str_is(name, t->name))
        t = t->next;
    if (t != NULL || name.n >= sizeof t->name) return t;
    t = calloc(1, sizeof *t);
    if (t == NULL) abort();
    t->owner = k;
    memcpy(t->name, name.p, name.n);
    t->used_us = os_mono_us();
    t->next = k->templates;
    k->templates = t;
    kube_timer(k);
    return t;
}

static void release(struct kube_template *t)
{
    kube_cancel(t->owner->client, t->call);
    free(t->body);
    free(t);
}

static void drop(struct kube_template *t)
{
    struct kube *k = t->owner;
    struct kube_template **at = &k->templates;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    release(t);
    kube_timer(k);
}

static bool waits_for(const struct kube_attempt *a, const struct kube_template *t)
{
    return a->template == t && a->phase == KUBE_CREATING && a->call == NULL && a->retry_us == 0 && !a->unsure;
}

/* ---- made ---- */

static void go_on(struct kube_template *t)
{
    const struct kube *k = t->owner;
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next)
        if (waits_for(a, t)) kube_create(a);
}

static void not_made(struct kube_template *t, const struct kube_answer *answer)
{
    const struct kube *k = t->owner;
    enum kube_blame blame = KUBE_BLAME_CLUSTER;
    struct arena turn;
    struct str text;
    arena_init(&turn, 0);
    if (answer->outcome == KUBE_REFUSED)
        blame = kube_refusal(KUBE_REFUSED_TEMPLATE, answer->status, answer->message, &turn, &text);
    else
        text = arena_printf(&turn, "waits for the API server: %.*s", STR_ARG(answer->message));
    bool invalid = blame == KUBE_BLAME_STEP;
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        if (!waits_for(a, t)) continue;
        if (blame == KUBE_BLAME_CLUSTER)
            kube_waits(a, text);
        else
            kube_end(a, invalid ? FAILURE_INVALID : FAILURE_INFRA, invalid ? REASON_INVALID : REASON_INFRA, text);
    }
    if (blame == KUBE_BLAME_CLUSTER) t->retry_us = os_mono_us() + RETRY_US;
    arena_free(&turn);
}

static void made(void *ctx, const struct kube_answer *answer)
{
    struct kube_template *t = ctx;
    t->call = NULL;
    t->there = answer->outcome == KUBE_DONE || str_is(answer->reason, "AlreadyExists");
    if (!t->there) {
        not_made(t, answer);
        return;
    }
    t->used_us = t->checked_us = os_mono_us();
    go_on(t);
}

static struct str path_of(const struct kube_template *t, char *room, size_t n, bool one)
{
    snprintf(room, n, KUBE_TEMPLATES "%s%s", STR_ARG(t->owner->cfg.namespace), one ? "/" : "?fieldValidation=Strict",
             one ? t->name : "");
    return str_of(room);
}

static void make(struct kube_template *t)
{
    char path[512];
    t->retry_us = 0;
    if (t->call != NULL || t->body == NULL) return;
    const struct kube_request req = {.method = "POST",
                                     .path = path_of(t, path, sizeof path, false),
                                     .body = str_of(t->body),
                                     .tries = 1,
                                     .done = made,
                                     .ctx = t};
    t->checked_us = os_mono_us();
    t->call = kube_request(t->owner->client, &req);
}

void kube_template_want(struct kube_attempt *a, const struct kube_claim *claim)
{
    char name[KUBE_TEMPLATE_NAME];
    if (claim->device_class.n == 0) return;
    kube_claim_template_name(claim, a->owner->cfg.instance, name);
    a->template = named(a->owner, str_of(name));
    if (a->template->body != NULL) return;
    BUF_AUTO text;
    buf_init(&text, 0);
    kube_claim_template_json(claim, a->owner->cfg.instance, &text);
    a->template->body = strndup(text.p, text.n);
    if (a->template->body == NULL) abort();
}

bool kube_template_ready(struct kube_attempt *a, int64_t now)
{
    struct kube_template *t = a->template;
    if (t == NULL) return true;
    bool trusted = t->there && t->call == NULL && now - t->used_us < TRUST_US;
    t->used_us = now;
    if (!trusted && t->retry_us == 0) make(t);
    return trusted;
}

/* ---- what others made ---- */

/* As kube_claim_template_name() makes them: nothing that a step names itself is ours to delete. */
static bool is_ours(struct str name)
{
    bool ours = name.n == sizeof KUBE_CLAIM + HASH && str_starts(name, KUBE_CLAIM "-");
    for (size_t i = sizeof KUBE_CLAIM; ours && i < name.n; i++)
        ours = hex_digit(name.p[i]) >= 0;
    return ours;
}

void kube_template_hear(struct kube_attempt *a, const struct value *job)
{
    const struct value *spec = value_get(value_get(value_get(job, "spec"), "template"), "spec");
    const struct value *list = value_get(spec, "resourceClaims");
    for (size_t i = 0; a->template == NULL && list != NULL && list->type == VALUE_LIST && i < list->u.list.n; i++) {
        struct str name = kube_text(&list->u.list.items[i], "resourceClaimTemplateName");
        if (is_ours(name)) a->template = named(a->owner, name);
    }
}

static void found(void *ctx, const struct kube_answer *answer)
{
    struct kube *k = ctx;
    struct arena turn;
    k->seeking = NULL;
    k->sought = answer->outcome == KUBE_DONE || answer->outcome == KUBE_REFUSED; /* who may not look made none */
    arena_init(&turn, 0);
    const struct value *list = kube_items(&turn, answer);
    for (size_t i = 0; list != NULL && i < list->u.list.n; i++) {
        struct str name = kube_text(&list->u.list.items[i], "metadata.name");
        if (is_ours(name)) named(k, name)->there = true;
    }
    arena_free(&turn);
}

void kube_templates_seek(struct kube *k)
{
    char path[700];
    snprintf(path, sizeof path, KUBE_TEMPLATES "?limit=500&labelSelector=millrace.dev%%2Finstance%%3D%.*s",
             STR_ARG(k->cfg.namespace), STR_ARG(k->cfg.instance));
    const struct kube_request req = {
        .method = "GET", .path = str_of(path), .priority = KUBE_IDLE, .done = found, .ctx = k};
    k->sought_us = os_mono_us();
    k->seeking = kube_request(k->client, &req);
}

/* ---- what time brings ---- */

static bool has_users(const struct kube_template *t)
{
    const struct kube *k = t->owner;
    for (const struct kube_attempt *a = k->first; a != NULL; a = a->next)
        if (a->template == t) return true;
    return false;
}

static void deleted(void *ctx, const struct kube_answer *answer)
{
    struct kube_template *t = ctx;
    t->call = NULL;
    t->there = answer->outcome != KUBE_DONE && answer->status != 404;
    if (has_users(t)) { /* they came meanwhile */
        t->there = false;
        go_on(t);
    } else if (t->there) {
        t->used_us = os_mono_us(); /* again, a while later */
    } else {
        drop(t);
    }
}

static void take_away(struct kube_template *t)
{
    char path[512];
    const struct kube_request req = {.method = "DELETE",
                                     .path = path_of(t, path, sizeof path, true),
                                     .priority = KUBE_IDLE,
                                     .done = deleted,
                                     .ctx = t};
    t->call = kube_request(t->owner->client, &req);
}

/* A pod without a claim gets no node. */
static bool lacks_node(const struct kube_attempt *a, int64_t now)
{
    bool lacks = false;
    for (uint32_t i = 0; i < a->n_ranks; i++)
        lacks |= a->ranks[i].uid[0] != '\0' && a->ranks[i].stage == KUBE_STAGE_PLACING;
    return lacks && a->phase == KUBE_CREATED && now - a->created_us > PLACED_AFTER_US;
}

void kube_templates_tick(struct kube *k, int64_t now)
{
    if (k->seeking == NULL && now - k->sought_us > (k->sought ? SEEK_AGAIN_US : SEEK_SOON_US)) kube_templates_seek(k);
    for (const struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        if (a->template == NULL) continue;
        a->template->used_us = now;
        if (lacks_node(a, now) && now - a->template->checked_us > CHECK_EVERY_US) make(a->template);
    }
    for (struct kube_template *t = k->templates, *next; t != NULL; t = next) {
        next = t->next;
        if (t->call != NULL) continue;
        if (now - t->used_us > IDLE_US)
            take_away(t);
        else if (t->retry_us != 0 && now >= t->retry_us)
            make(t);
    }
}

void kube_templates_drop(struct kube *k)
{
    kube_cancel(k->client, k->seeking);
    for (struct kube_template *t = k->templates, *next; t != NULL; t = next) {
        next = t->next;
        release(t);
    }
    k->templates = NULL;
}
