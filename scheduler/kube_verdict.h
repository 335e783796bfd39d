/* What the ends of its pods, and their loss, mean for an attempt. Pure. All or nothing: of several workers the first
 * that fails is how the attempt has ended, and it has ended well when each of them has. */
#ifndef MILLRACE_SCHEDULER_KUBE_VERDICT_H
#define MILLRACE_SCHEDULER_KUBE_VERDICT_H

#include "engine/flow/run.h"

struct kube_standing {
    uint32_t workers;      /* that it has; 0 = that is not known yet */
    uint32_t there, well;  /* pods that go on; that have ended well */
    uint32_t over;         /* that have ended in any way */
    bool stopped, expired; /* somebody wants it to end; since it has run longer than it may */
    bool late;             /* somebody else has stopped it for that, who may have been killed since */
    bool taken_back;       /* by Kueue */
    bool unseen;           /* if it was, that is inferred: no server saw it happen */
    int64_t timeout_ms;
};

enum kube_verdict {
    KUBE_GOES_ON,
    KUBE_ENDS_SO,  /* badly, by this */
    KUBE_ENDS_WELL /* as rank 0 has */
};

/* One of its pods has ended, and counts as that. */
enum kube_verdict kube_verdict_ended(const struct kube_standing *s, bool well);
/* One that has ended badly was `taken` away. Kubernetes does that with all others when one has failed: there is hope to
 * hear in a moment of the one whose fault it is. */
bool kube_verdict_hopes(const struct kube_standing *s, bool taken);
/* One that had not ended is gone. */
enum kube_verdict kube_verdict_lost(const struct kube_standing *s);

/* Why it has ended badly, if that was not left to itself; else `r` stays as it is. */
void kube_verdict_cause(const struct kube_standing *s, struct arena *a, struct task_result *r);

#endif
