/* What an API server says that does not take a Job, or the template of its claims. Pure.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/ */
#ifndef MILLRACE_SCHEDULER_KUBE_REFUSAL_H
#define MILLRACE_SCHEDULER_KUBE_REFUSAL_H

#include "engine/base/arena.h"

enum kube_blame {
    KUBE_BLAME_STEP,    /* it will not be taken, however often it is tried */
    KUBE_BLAME_CLUSTER, /* a quota may be free again, a right be given, a credential be renewed: it waits for that */
    KUBE_BLAME_ATTEMPT  /* the cluster lacks what it needs: the attempt ends, and others may be made. Not of a Job */
};

/* Of an HTTP status and the message that came with it; `text`: what a user can act on, in the arena. */
enum kube_blame kube_refusal(long status, struct str message, struct arena *a, struct str *text);
enum kube_blame kube_refusal_of_template(long status, struct str message, struct arena *a, struct str *text);

#endif
