/* What goes with a Job, and is gone with it: the Service by which several workers find each other, and the Secret with
 * what the server gives to them. Each is made when the Job is there, as only then there is an owner to name; until then
 * its pods wait for it. A step that needs neither costs no request. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"

#define RETRY_US 1000000
#define AGAIN_US (30 * (int64_t)1000000)

static bool has_workers(const struct kube_attempt *a)
{
    return a->workers > 1;
}

static void write_service(const struct kube_attempt *a, struct buf *out)
{
    kube_service_json(str_of(a->name), str_of(a->job_uid), a->owner->cfg.instance, a->id, out);
}

static bool has_secrets(const struct kube_attempt *a)
{
    return a->n_secrets > 0;
}

static const struct kind {
    const char *collection;
    enum kube_refused refused;
    bool (*needed)(const struct kube_attempt *a);
    void (*write)(const struct kube_attempt *a, struct buf *out);
    int64_t again_us; /* so often it is asked for anew once it is there; 0 = never */
} kinds[KUBE_BELONGINGS] = {
    /* Somebody may delete it while workers look for each other. A watch would cost more than asking for it anew now and
     * then, which is harmless while it is there. */
    [KUBE_SERVICE] = {"services", KUBE_REFUSED_SERVICE, has_workers, write_service, AGAIN_US},
    [KUBE_SECRET] = {"secrets", KUBE_REFUSED_SECRET, has_secrets, kube_secret_json, 0},
};

static const struct kind *kind_of(const struct kube_belonging *b)
{
    return &kinds[b - b->of->belongings];
}

/* It was refused. True: the attempt waits until it is taken, and says why; else it has ended. */
static bool lacks(struct kube_attempt *a, enum kube_refused what, const struct kube_answer *answer)
{
    struct str text;
    struct arena turn;
    arena_init(&turn, 0);
    bool waits = kube_refusal(what, answer->status, answer->message, &turn, &text) != KUBE_BLAME_STEP;
    if (waits) {
        kube_waits(a, text);
        kube_hangs(a, false); /* its pods hang on that alone */
        a->lacks = true;
    } else {
        kube_delete(a);
        kube_end(a, FAILURE_INVALID, REASON_INVALID, text);
    }
    arena_free(&turn);
    return waits;
}

static void lacks_no_more(struct kube_attempt *a)
{
    if (a->lacks) kube_waits(a, STR(""));
    a->lacks = false;
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
    if (a->phase != KUBE_CREATED) return;
    if (b->there)
        lacks_no_more(a);
    else if (answer->outcome != KUBE_REFUSED || lacks(a, kind->refused, answer))
        b->retry_us = os_mono_us() + RETRY_US;
}

static void create(struct kube_belonging *b)
{
    char path[512];
    struct kube_attempt *a = b->of;
    const struct kind *kind = kind_of(b);
    bool again = b->there && b->retry_us != 0 && os_mono_us() >= b->retry_us;
    if (b->there && !again) return;
    b->retry_us = 0;
    if (!kind->needed(a) || b->call != NULL || a->phase != KUBE_CREATED || a->kill_wanted || a->deleted ||
        a->job_uid[0] == '\0')
        return;
    BUF_AUTO body;
    buf_init(&body, 0);
    kind->write(a, &body);
    snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/%s", STR_ARG(a->owner->cfg.namespace), kind->collection);
    const struct kube_request req = {.method = "POST",
                                     .path = str_of(path),
                                     .body = buf_view(&body),
                                     .priority = b->there ? KUBE_IDLE : KUBE_URGENT,
                                     .tries = 1,
                                     .done = created,
                                     .ctx = b};
    b->call = kube_request(a->owner->client, &req);
}

void kube_belongings_create(struct kube_attempt *a)
{
    for (int i = 0; i < KUBE_BELONGINGS; i++) {
        a->belongings[i].of = a;
        create(&a->belongings[i]);
    }
}

void kube_belongings_tick(struct kube_attempt *a, int64_t now)
{
    for (int i = 0; i < KUBE_BELONGINGS; i++)
        if (a->belongings[i].retry_us != 0 && now >= a->belongings[i].retry_us) create(&a->belongings[i]);
}

void kube_belongings_drop(struct kube_attempt *a)
{
    for (int i = 0; i < KUBE_BELONGINGS; i++)
        kube_cancel(a->owner->client, a->belongings[i].call);
}
