/* Whether a plan's steps could ever run in the queue for GPUs. */
#ifndef MILLRACE_API_QUEUE_CHECK_H
#define MILLRACE_API_QUEUE_CHECK_H

#include "api/emit.h"
#include "engine/flow/plan_rules.h"
#include "engine/store/queues.h"

/* What there is of queues; of a request. */
struct queue_view {
    struct queue_docs docs;
    struct placer_seen *seen;
    size_t n_seen;
    bool decides; /* the plan has steps that go through the queue, where it is to run */
};
MUST_CHECK bool queue_view_read(struct request *rq, const struct plan *plan, const struct plan_offer *offer,
                                struct queue_view *out, struct err *err);
/* By what is declared, and by the nodes that placers saw: one of their domains must be able to run it all. As long as
 * none saw any, by the former alone. Problems go to rq->errors, and *fits becomes false. */
MUST_CHECK bool queue_check(struct request *rq, const struct plan *plan, const struct plan_offer *offer,
                            const struct queue_view *view, bool *fits, struct err *err);

#endif
