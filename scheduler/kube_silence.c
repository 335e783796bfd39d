/* Pods that do not start, and whose status does not say why: of a volume that cannot be mounted, a sandbox that cannot
 * be made, or a claim for devices that cannot be made, or not be readied on the node, only events tell; of one that is
 * not there, or of a scheduler or a kubelet that does not run, nothing does.
 * https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-has-network */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

#define SILENT_US 5000000   /* a pod that says nothing for so long is asked about */
#define UNTAKEN_US 10000000 /* a kubelet that runs has taken a pod by then */

/* Of the warnings about a pod, those that say why it does not start, as long as its sandbox is not there. */
static const char *const telling[] = {"FailedMount",
                                      "FailedAttachVolume",
                                      "FailedMapVolume",
                                      "FailedCreatePodContainer", /* its cgroup */
                                      "FailedPrepareDynamicResources",
                                      "FailedCreatePodSandBox",
                                      "FailedPodSandBoxStatus",
                                      "NetworkNotReady",
                                      "FailedResourceClaimCreation"};

/* Kubernetes' own passes over a pod without a word until its claims are there; others may let it queue up for long. */
#define DEFAULT_SCHEDULER "default-scheduler"

static void set(struct kube_silence *s, struct str why, bool hangs)
{
    free(s->why);
    s->why = strndup(why.p, why.n);
    if (s->why == NULL) abort();
    s->hangs = hangs;
}

static void keep_claims(struct kube_silence *s, const struct kube_pod *pod)
{
    struct arena m;
    arena_init(&m, 0);
    struct str claims = kube_pod_claims(pod, &m);
    s->claims = claims.n > 0 ? strndup(claims.p, claims.n) : NULL;
    arena_free(&m);
}

void kube_silence_hear(struct kube_silence *s, const struct kube_pod *pod, enum kube_hope hope)
{
    bool placing = pod->stage == KUBE_STAGE_PLACING;
    if (hope != KUBE_SILENCE || placing != s->placing || pod->taken != s->taken) kube_silence_drop(s);
    if (hope != KUBE_SILENCE) return;
    s->placing = placing;
    s->taken = pod->taken;
    if (s->since_us == 0) s->since_us = os_mono_us();
    snprintf(s->uid, sizeof s->uid, "%.*s", STR_ARG(pod->uid));
    snprintf(s->scheduler, sizeof s->scheduler, "%.*s", STR_ARG(pod->scheduler));
    snprintf(s->node, sizeof s->node, "%.*s", STR_ARG(pod->node));
    if (s->claims == NULL && placing) keep_claims(s, pod);
}

void kube_silence_drop(struct kube_silence *s)
{
    free(s->why);
    free(s->claims);
    *s = (struct kube_silence){0};
}

/* Each pod of an attempt that is silent. */
static void each(struct kube_attempt *a, void (*fn)(struct kube_attempt *, struct kube_rank *, const void *),
                 const void *ctx)
{
    if (a->phase != KUBE_CREATED) return;
    for (uint32_t i = 0; i < a->n_ranks; i++)
        if (a->ranks[i].silence.since_us != 0) fn(a, &a->ranks[i], ctx);
}

static void say(struct kube_attempt *a, struct kube_rank *r, struct str why, bool hangs)
{
    struct kube_silence *s = &r->silence;
    if (s->why != NULL && str_is(why, s->why) && hangs == s->hangs) return;
    set(s, why, hangs);
    kube_silence_told(a, r);
}

static bool is_due(const struct kube_silence *s)
{
    return os_mono_us() - s->since_us > SILENT_US;
}

/* ---- events ---- */

static bool tells(struct str reason)
{
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
        if (str_is(reason, telling[i])) return true;
    return false;
}

static void explain(struct kube_attempt *a, struct kube_rank *r, const void *ctx)
{
    struct kube_silence *s = &r->silence;
    struct arena m;
    if (!is_due(s)) return;
    const struct value *last = kube_newest_event(ctx, s->uid, tells);
    if (last == NULL) return;
    s->told = true;
    arena_init(&m, 0);
    say(a, r,
        arena_printf(&m, "its pod does not start; Kubernetes says: %.*s: %.*s", STR_ARG(kube_text(last, "reason")),
                     STR_ARG(str_trim(kube_text(last, "message")))),
        true);
    arena_free(&m);
}

static void unreadable(struct kube_attempt *a, struct kube_rank *r, const void *ctx)
{
    const struct kube_silence *s = &r->silence;
    const struct kube_answer *answer = ctx;
    struct arena m;
    if (s->placing || !s->taken || !is_due(s)) return;
    arena_init(&m, 0);
    say(a, r, arena_printf(&m, "its pod does not start, and " KUBE_UNREADABLE, STR_ARG(answer->message)), true);
    arena_free(&m);
}

static void answered(struct kube *k, const struct kube_answer *answer, struct arena *turn)
{
    const struct value *events = kube_items(turn, answer);
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        if (answer->outcome == KUBE_REFUSED) each(a, unreadable, answer);
        if (events != NULL) each(a, explain, events);
    }
}

static void ask(struct kube *k)
{
    kube_ask(k, &k->silent, answered,
             "/api/v1/namespaces/%.*s/events?fieldSelector=involvedObject.kind%%3DPod%%2Ctype%%3DWarning"
             "&limit=" KUBE_ASKED_MOST,
             STR_ARG(k->cfg.namespace));
}

/* ---- time ---- */

/* One that is only slow, or lets pods queue up before it looks at them, is waited for. */
static void look_for_a_scheduler(struct kube_attempt *a, struct kube_rank *r, struct arena *m)
{
    const struct kube_silence *s = &r->silence;
    if (s->claims == NULL)
        say(a, r, arena_printf(m, "no scheduler has looked at its pod yet: it is '%s' that it asks for", s->scheduler),
            false);
    else
        say(a, r,
            arena_printf(m,
                         "its pod is not placed, and nothing says why: '%s', the scheduler that it asks for, may pass "
                         "over it until what it claims is there: %s",
                         s->scheduler, s->claims),
            strcmp(s->scheduler, DEFAULT_SCHEDULER) == 0);
}

/* It may come back; if it does not, Kubernetes takes the pod away in some minutes. */
static void look_for_a_kubelet(struct kube_attempt *a, struct kube_rank *r, struct arena *m)
{
    const struct kube_silence *s = &r->silence;
    if (os_mono_us() - s->since_us <= UNTAKEN_US) return;
    say(a, r,
        arena_printf(m,
                     "node %s has taken no notice of its pod for more than %d s: its kubelet may be down, see kubectl "
                     "describe node %s",
                     s->node, UNTAKEN_US / 1000000, s->node),
        false);
}

static void look(struct kube_attempt *a, struct kube_rank *r, const void *ctx)
{
    const struct kube_silence *s = &r->silence;
    struct arena m;
    (void)ctx;
    if (!is_due(s)) return;
    if (!s->placing || s->claims != NULL) ask(a->owner);
    if (s->told) return;
    arena_init(&m, 0);
    if (s->placing)
        look_for_a_scheduler(a, r, &m);
    else if (!s->taken)
        look_for_a_kubelet(a, r, &m);
    arena_free(&m);
}

void kube_silence_tick(struct kube_attempt *a)
{
    each(a, look, NULL);
}
