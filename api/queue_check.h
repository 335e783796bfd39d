/* Whether a plan's steps could ever run in the queue for GPUs; and a step of it as it is shown. */
#ifndef MILLRACE_API_QUEUE_CHECK_H
#define MILLRACE_API_QUEUE_CHECK_H

#include "api/emit.h"
#include "engine/flow/plan.h"
#include "engine/store/queues.h"

/* By what is declared, and by the nodes that placers saw last; as long as none saw any, by the former alone. Problems
 * go to rq->errors, and *fits becomes false. */
MUST_CHECK bool queue_check(struct request *rq, const struct plan *plan, bool ignore_gpu, bool *fits, struct err *err);

/* Thousandths as a number, whole where it is. */
void queue_number(const struct emit *e, const char *key, int64_t thousandths);
void queue_work_write(const struct emit *e, const struct queue_work *k);

#endif
