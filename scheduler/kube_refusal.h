/* What an API server says that does not take a Job, or what goes with it. Pure.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/ */
#ifndef MILLRACE_SCHEDULER_KUBE_REFUSAL_H
#define MILLRACE_SCHEDULER_KUBE_REFUSAL_H

#include "engine/base/arena.h"

enum kube_blame {
    KUBE_BLAME_STEP,    /* it will not be taken, however often it is tried */
    KUBE_BLAME_CLUSTER, /* a quota may be free again, a right be given, a credential be renewed: it waits for that */
    KUBE_BLAME_ATTEMPT  /* the cluster lacks what it needs: the attempt ends, and others may be made. Of templates */
};

enum kube_refused {
    KUBE_REFUSED_JOB,
    KUBE_REFUSED_TEMPLATE, /* of its claims for devices */
    KUBE_REFUSED_SERVICE,  /* by which its workers find each other */
    KUBE_REFUSED_SECRET    /* with what the server gives to it */
};

/* Of an HTTP status and the message that came with it; `text`: what a user can act on, in the arena. */
enum kube_blame kube_refusal(enum kube_refused what, long status, struct str message, struct arena *a,
                             struct str *text);

#endif
