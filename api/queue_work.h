/* A step of the queue for GPUs as it is shown: who waits, or has something. */
#ifndef MILLRACE_API_QUEUE_WORK_H
#define MILLRACE_API_QUEUE_WORK_H

#include "api/emit.h"
#include "engine/store/queues.h"

void queue_work_write(const struct emit *e, const struct queue_work *k);
/* Thousandths as a number, whole where it is. */
void queue_number(const struct emit *e, const char *key, int64_t thousandths);

#endif
