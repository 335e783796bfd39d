/* What goes with a Job, and is gone with it: the Service by which several workers find each other, and the Secret with
 * what the server gives to them. Each is made when the Job is there, as only then there is an owner to name. Until then
 * its pods wait for the Secret, but not for the Service: see kube_service.h. A step that needs neither costs no
 * request.
 *
 * Where others have deleted the Job they may have told Kubernetes to leave its orphans, which say nothing of their
 * owner any more: then each is deleted by its name when the attempt is over. One stays for ever whose Job went so while
 * no server was there, if the last one was killed between the record of the attempt's end and this; or if it had the
 * attempt in hand only to stop it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"

#define AGAIN_US (30 * (int64_t)1000000)

static bool has_workers(const struct kube_attempt *a)
{
    return a->workers > 1;
}

static struct str name_of_service(const struct kube_attempt *a)
{
    return has_workers(a) ? str_of(a->name) : STR("");
}

static void write_service(const struct kube_attempt *a, struct buf *out)
{
    kube_service_json(str_of(a->name), str_of(a->job_uid), a->owner->cfg.instance, a->id, out);
}

static bool has_secrets(const struct kube_attempt *a)
{
    return a->n_secrets > 0;
}

/* Also of one whose values cannot be had any more. */
static struct str name_of_secret(const struct kube_attempt *a)
{
    return a->secret_name;
}

static const struct kind {
    const char *collection;
    enum kube_refused refused;
    bool (*needed)(const struct kube_attempt *a);
    struct str (*name)(const struct kube_attempt *a); /* empty = it never had one */
    void (*write)(const struct kube_attempt *a, struct buf *out);
    int64_t again_us; /* so often it is asked for anew once it is there; 0 = never */
} kinds[KUBE_BELONGINGS] = {
    /* Somebody may delete it while workers look for each other. A watch would cost more than asking for it anew now and
     * then, which is harmless while it is there. */
    [KUBE_SERVICE] = {"services", KUBE_REFUSED_SERVICE, has_workers, name_of_service, write_service, AGAIN_US},
    [KUBE_SECRET] = {"secrets", KUBE_REFUSED_SECRET, has_secrets, name_of_secret, kube_secret_json, 0},
};

static const struct kind *kind_of(const struct kube_belonging *b)
{
    return &kinds[b - b->of->belongings];
}

static void say(struct kube_belonging *b, struct str why)
{
    if (b->why != NULL && str_is(why, b->why)) return;
    free(b->why);
    b->why = strndup(why.p, why.n);
    if (b->why == NULL) abort();
    kube_news(b->of);
}

static void lacks_no_more(struct kube_belonging *b)
{
    if (b->why == NULL) return;
    free(b->why);
    b->why = NULL;
    if (b == &b->of->belongings[KUBE_SECRET]) kube_hangs(b->of, false); /* its node says so when it looks again */
    kube_news(b->of);
}

/* Else it may have been made, or an API server that is away knows it. */
static bool denies(const struct kube_answer *answer)
{
    return answer->outcome == KUBE_REFUSED || answer->status == 500;
}

/* Nobody has it yet. True: the attempt waits until it is taken, and says why; else it has ended. */
static bool lacks(struct kube_belonging *b, const struct kube_answer *answer)
{
    struct str text;
    struct arena turn;
    struct kube_attempt *a = b->of;
    enum kube_blame blame = KUBE_BLAME_CLUSTER;
    arena_init(&turn, 0);
    b->denied = denies(answer);
    if (answer->outcome == KUBE_REFUSED)
        blame = kube_refusal(kind_of(b)->refused, answer->status, answer->message, &turn, &text);
    else
        text = arena_printf(&turn, "waits for the API server: %.*s", STR_ARG(answer->message));
    if (blame == KUBE_BLAME_STEP) {
        kube_delete(a);
        kube_end(a, FAILURE_INVALID, REASON_INVALID, text);
    } else {
        say(b, text);
    }
    arena_free(&turn);
    return blame != KUBE_BLAME_STEP;
}

/* Of pods that have ended badly: whether they had it. */
static void learn_late(struct kube_belonging *b, const struct kube_answer *answer)
{
    struct kube_attempt *a = b->of;
    bool made = answer->outcome == KUBE_DONE;
    if (made && !b->denied) say(b, STR("nobody had made it"));
    if (b->there)
        b->denied = made;
    else if (denies(answer))
        (void)lacks(b, answer);
    if (a->phase == KUBE_DRAINING && a->drained) kube_drained(a);
}

static void created(void *ctx, const struct kube_answer *answer)
{
    struct kube_belonging *b = ctx;
    struct kube_attempt *a = b->of;
    const struct kind *kind = kind_of(b);
    bool was_there = b->there;
    b->call = NULL;
    b->there |= answer->outcome == KUBE_DONE || str_is(answer->reason, "AlreadyExists");
    if (b->there && kind->again_us > 0) b->retry_us = os_mono_us() + kind->again_us;
    if (was_there && answer->outcome == KUBE_DONE)
        log_info("what somebody deleted of a Job was made again", LOG_CSTR("kind", kind->collection),
                 LOG_STR("job", str_of(a->name)));
    if (a->phase == KUBE_DRAINING && !was_there) learn_late(b, answer);
    if (a->phase != KUBE_CREATED) return;
    b->tries = b->there ? 0 : b->tries + 1;
    if (b->there)
        lacks_no_more(b);
    else if (lacks(b, answer))
        b->retry_us = kube_again_us(b->tries);
}

static void create(struct kube_belonging *b, enum kube_phase phase)
{
    char path[512];
    struct kube_attempt *a = b->of;
    const struct kind *kind = kind_of(b);
    bool again = b->there && b->retry_us != 0 && os_mono_us() >= b->retry_us;
    if (b->there && !again) return;
    b->retry_us = 0;
    if (!kind->needed(a) || b->call != NULL || a->phase != phase || a->kill_wanted || a->deleted ||
        a->job_uid[0] == '\0')
        return;
    BUF_AUTO body;
    buf_init(&body, 0);
    kind->write(a, &body);
    snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/%s", STR_ARG(a->owner->cfg.namespace), kind->collection);
    const struct kube_request req = {.method = "POST",
                                     .path = str_of(path),
                                     .body = buf_view(&body),
                                     .priority = b->there       ? KUBE_IDLE
                                                 : b->tries > 0 ? KUBE_NORMAL
                                                                : KUBE_URGENT,
                                     .tries = 1,
                                     .done = created,
                                     .ctx = b};
    b->call = kube_request(a->owner->client, &req);
}

void kube_belongings_create(struct kube_attempt *a)
{
    for (int i = 0; i < KUBE_BELONGINGS; i++) {
        a->belongings[i].of = a;
        create(&a->belongings[i], KUBE_CREATED);
    }
}

void kube_belongings_tick(struct kube_attempt *a, int64_t now)
{
    for (int i = 0; i < KUBE_BELONGINGS; i++)
        if (a->belongings[i].retry_us != 0 && now >= a->belongings[i].retry_us) create(&a->belongings[i], KUBE_CREATED);
}

static void removed(void *ctx, const struct kube_answer *answer)
{
    (void)ctx;
    if (!kube_deleted(answer))
        log_warn("what belonged to a Job that others have deleted stays: may the server's account delete it there, as "
                 "deploy/components lets it?",
                 LOG_STR("message", answer->message));
}

void kube_belongings_remove(const struct kube_attempt *a)
{
    char path[1024];
    for (int i = 0; i < KUBE_BELONGINGS; i++) {
        struct str name = kinds[i].name(a);
        if (name.n == 0) continue; /* it would be all of them */
        snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/%s/%.*s", STR_ARG(a->owner->cfg.namespace),
                 kinds[i].collection, STR_ARG(name));
        const struct kube_request req = {
            .method = "DELETE", .path = str_of(path), .priority = KUBE_IDLE, .done = removed, .ctx = a->owner};
        kube_request(a->owner->client, &req);
    }
}

void kube_belongings_drop(struct kube_attempt *a)
{
    for (int i = 0; i < KUBE_BELONGINGS; i++) {
        kube_cancel(a->owner->client, a->belongings[i].call);
        free(a->belongings[i].why);
    }
}

void kube_belongings_late(struct kube_attempt *a)
{
    struct kube_belonging *service = &a->belongings[KUBE_SERVICE];
    service->of = a;
    if (!a->result.ok && !service->there) create(service, KUBE_DRAINING);
}

bool kube_belongings_asked(const struct kube_attempt *a)
{
    const struct kube_belonging *service = &a->belongings[KUBE_SERVICE];
    return !a->result.ok && !service->there && service->call != NULL;
}

const char *kube_belongings_denied(const struct kube_attempt *a)
{
    const struct kube_belonging *service = &a->belongings[KUBE_SERVICE];
    return service->denied ? service->why : NULL;
}

/* Without its Secret it cannot begin; without its Service it does. */
const char *kube_belongings_lack(const struct kube_attempt *a)
{
    const char *secret = a->belongings[KUBE_SECRET].why;
    return secret != NULL ? secret : a->belongings[KUBE_SERVICE].why;
}
