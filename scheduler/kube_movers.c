/* Containers of Millrace's own that bring a step's code and inputs, or keep its outputs, and take long over it: what is
 * wrong – an API or a store that cannot be reached from the pod – they say in their logs and nowhere else, until they
 * give up. So the last line of such a log is asked for now and then, and stands behind the attempt's note. Who is quick
 * is not asked: a step costs no request more. It is a note: a server that starts anew asks anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"
#include "scheduler/kube_words.h"

#define QUICK_US ((int64_t)8 * 1000000) /* who has done its work by then is not asked */
#define AGAIN_US ((int64_t)10 * 1000000)
#define ANSWER_MS 5000 /* by a kubelet, which may be away */
#define ASKED_MOST 4   /* at once, of all attempts: what waits for it must not cost what others do */

void kube_mover_hear(struct kube_helped *h, const struct kube_pod *pod)
{
    const char *mover = NULL;
    if (pod->fetching && pod->stage == KUBE_STAGE_STARTING) mover = KUBE_FETCH;
    if (pod->collecting && pod->has_exit && pod->stage == KUBE_STAGE_RUNNING) mover = KUBE_COLLECT;
    bool same = mover != NULL && h->mover != NULL && strcmp(mover, h->mover) == 0;
    if (!same) h->moves_us = mover != NULL ? os_mono_us() : 0;
    h->mover = mover;
}

void kube_mover_drop(struct kube_attempt *a)
{
    struct kube_said *s = &a->words;
    if (s->call != NULL) a->owner->asked_movers--;
    kube_cancel(a->owner->client, s->call);
    free(s->text);
    *s = (struct kube_said){0};
}

static void answered(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    struct kube_said *s = &a->words;
    struct arena turn;
    s->call = NULL;
    a->owner->asked_movers--;
    if (answer->outcome != KUBE_DONE) return; /* one that has just begun has no log yet */
    arena_init(&turn, 0);
    struct str said = kube_words(answer->body, &turn);
    if (!str_is(said, s->text != NULL ? s->text : "")) {
        free(s->text);
        s->text = strndup(said.p, said.n);
        if (s->text == NULL) abort();
        kube_news(a);
    }
    arena_free(&turn);
}

static void ask(struct kube_attempt *a, const char *pod, int64_t now)
{
    char path[1024];
    struct kube_said *s = &a->words;
    snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/pods/%s/log?container=%s&tailLines=1&limitBytes=4096",
             STR_ARG(a->owner->cfg.namespace), pod, s->mover);
    const struct kube_request req = {.method = "GET",
                                     .path = str_of(path),
                                     .priority = KUBE_IDLE,
                                     .tries = 1,
                                     .timeout_ms = ANSWER_MS,
                                     .done = answered,
                                     .ctx = a};
    s->asked_us = now;
    s->call = kube_request(a->owner->client, &req);
    a->owner->asked_movers++;
}

/* Of several workers the first at which one is at work. */
static const struct kube_helped *at_work(const struct kube_attempt *a, const char **pod)
{
    for (uint32_t i = 0; i < a->n_ranks; i++) {
        const struct kube_rank *r = &a->ranks[i];
        *pod = r->pod;
        if (!r->ended && r->uid[0] != '\0' && r->helped.mover != NULL) return &r->helped;
    }
    return NULL;
}

void kube_mover_tick(struct kube_attempt *a, int64_t now)
{
    const char *pod;
    const struct kube_helped *h = at_work(a, &pod);
    struct kube_said *s = &a->words;
    if (s->since_us != (h != NULL ? h->moves_us : 0)) { /* another, or none any more */
        bool told = s->text != NULL;
        kube_mover_drop(a);
        if (told) kube_news(a);
    }
    if (h == NULL) return;
    s->mover = h->mover;
    s->since_us = h->moves_us;
    bool due = now - s->since_us >= QUICK_US && now - s->asked_us >= AGAIN_US;
    if (due && s->call == NULL && a->owner->asked_movers < ASKED_MOST) ask(a, pod, now);
}

struct str kube_mover_note(const struct kube_attempt *a, struct arena *m)
{
    const struct kube_said *s = &a->words;
    if (s->text == NULL || s->text[0] == '\0') return STR("");
    return arena_printf(m, "; its container %s says: %s", s->mover, s->text);
}

void kube_mover_quote(struct kube_attempt *a)
{
    bool begun = a->running_us != 0 || a->result.exit_code >= 0;
    if (a->result.ok || a->result.failure != FAILURE_TIMEOUT || begun) return;
    a->result.message =
        arena_printf(&a->arena, "%.*s%.*s", STR_ARG(a->result.message), STR_ARG(kube_mover_note(a, &a->arena)));
}
