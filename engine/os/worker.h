/* Worker threads for what blocks: hashing, unpacking, HTTP calls. Jobs go in, and come back finished on an event
 * descriptor that a poll loop watches; the thread that hands them in is the one that takes them out. */
#ifndef MILLRACE_OS_WORKER_H
#define MILLRACE_OS_WORKER_H

#include "engine/base/err.h"

struct workers;

/* Embed it first in a structure of one's own; the pool never copies or frees it. */
struct job {
    void (*run)(struct job *job); /* in a worker thread */
    struct job *next;             /* the pool's */
};

MUST_CHECK bool workers_new(uint32_t threads, struct workers **out, struct err *err);
/* Waits for the jobs under way; those not begun and those not taken are handed to `drop`. */
void workers_free(struct workers *w, void (*drop)(struct job *job));
void workers_add(struct workers *w, struct job *job);
struct job *workers_take(struct workers *w); /* a finished job, in the order of their ends; NULL when none */
int workers_fd(const struct workers *w);     /* readable while there may be finished jobs */

#endif
