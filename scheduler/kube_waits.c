/* Why attempts do not run yet, as it is told: what they wait for, what keeps anybody from hearing of them, and what a
 * container that is at work says. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

#define UNWATCHED_US 5000000 /* shorter ones are not worth a word about what runs */
#define EASED_US 30000000    /* a kubelet that was restarted says nothing for a moment of what a pod lacks */
#define AT_LEAST_US 30000000 /* that a server lets one hang of which another was told before */

void kube_news(struct kube_attempt *a)
{
    if (a->waits_changed) return;
    a->waits_changed = true;
    a->next_news = a->owner->news;
    a->owner->news = a;
}

void kube_waits(struct kube_attempt *a, struct str text)
{
    if (str_is(text, a->waits != NULL ? a->waits : "")) return;
    free(a->waits);
    a->waits = strndup(text.p, text.n);
    if (a->waits == NULL) abort();
    kube_news(a);
}

void kube_waits_for(struct kube_attempt *a, const char *fmt, ...)
{
    char *text;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0) abort();
    va_end(args);
    kube_waits(a, str_of(text));
    free(text);
}

void kube_hangs(struct kube_attempt *a, bool hangs)
{
    int64_t now = os_mono_us();
    if (hangs == (a->hangs_us != 0)) return;
    if (hangs) {
        a->hangs_us = a->hung_us != 0 && now - a->eased_us < EASED_US ? a->hung_us : now;
        return;
    }
    a->hung_us = a->hangs_us;
    a->eased_us = now;
    a->hangs_us = 0;
}

void kube_hung(struct kube_attempt *a, int64_t wall_us)
{
    int64_t now = os_mono_us(), most = a->owner->cfg.start_ms * 1000 - AT_LEAST_US;
    int64_t ago = wall_us > 0 ? os_now_us() - wall_us : 0;
    if (ago > most) ago = most;
    if (ago < 0) ago = 0;
    a->hung_us = now > ago ? now - ago : 1; /* this machine may be up for less long */
    a->eased_us = now;
}

/* What a pod says that lacks something is how it shows, and not why: a Secret is "not found", by a name of ours. */
const char *kube_waits_why(const struct kube_attempt *a)
{
    const char *lack = kube_belongings_lack(a);
    if (lack != NULL) return lack;
    return a->waits != NULL ? a->waits : "";
}

/* What keeps anybody from hearing of it, as far as it matters: of one that runs, once it may have ended long since. */
static const char *unheard(const struct kube_attempt *a, int64_t now)
{
    const struct kube *k = a->owner;
    const char *of_jobs = kube_watch_trouble(k->jobs), *of_pods = kube_pods_trouble(k);
    const char *trouble = of_pods != NULL ? of_pods : of_jobs;
    bool told = !kube_has_pod(a) || (a->stage == KUBE_STAGE_RUNNING && now - k->watched_us > UNWATCHED_US);
    return trouble != NULL && told ? trouble : "";
}

/* What a pod hangs on may be what it lacks: that is waited for, as its Job was. Without a watch nothing would be told
 * of it: it may have begun, whatever it hung on when it was heard of last. */
void kube_waits_tick(struct kube_attempt *a, int64_t now)
{
    const struct kube *k = a->owner;
    const char *trouble = unheard(a, now);
    if (kube_pods_trouble(k) != NULL && a->hangs_us != 0) a->hangs_us += now - k->ticked_us;
    if (a->hangs_us > now || (a->hangs_us != 0 && kube_belongings_lack(a) != NULL)) a->hangs_us = now;
    if (str_is(str_of(trouble), a->unwatched != NULL ? a->unwatched : "")) return;
    free(a->unwatched);
    a->unwatched = strdup(trouble);
    if (a->unwatched == NULL) abort();
    kube_news(a);
}

/* That it cannot be watched is no cause by itself. */
struct str kube_waits_text(const struct kube_attempt *a, struct arena *m)
{
    const char *why = kube_waits_why(a);
    struct str note = why[0] != '\0' ? kube_mover_note(a, m) : STR("");
    if (a->unwatched == NULL || a->unwatched[0] == '\0') return arena_printf(m, "%s%.*s", why, STR_ARG(note));
    const char *also = why[0] != '\0'                   ? "; and the cluster cannot be watched"
                       : a->stage == KUBE_STAGE_RUNNING ? "it may have ended since: the cluster cannot be watched"
                                                        : "waits for the cluster, which cannot be watched";
    return arena_printf(m, "%s%.*s%s; Kubernetes says: %s", why, STR_ARG(note), also, a->unwatched);
}

void kube_waits_quote(struct kube_attempt *a, const struct kube_pod *pod, const char *why, struct task_result *r)
{
    if (r->reason != REASON_TIMEOUT || kube_pod_began(pod) || why == NULL || why[0] == '\0') return;
    r->message = arena_printf(&a->arena, "%.*s: %s", STR_ARG(r->message), why);
}

void kube_waits_drop(struct kube_attempt *a)
{
    struct kube_attempt **at = &a->owner->news;
    while (*at != NULL && *at != a)
        at = &(*at)->next_news;
    if (*at != NULL) *at = a->next_news;
    free(a->waits);
    free(a->unwatched);
}
