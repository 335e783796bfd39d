/* The placer: decides who of those that wait for GPUs, or in a queue, may start (engine/place), one at a time for each
 * domain, by a lease. A thread of its own with a connection of its own; it meets the owners of runs in the database
 * (engine/store/placing.h) and knows the nodes by a source. Every server whose executor has such a source has one; all
 * but one stand by. */
#ifndef MILLRACE_SCHEDULER_PLACER_H
#define MILLRACE_SCHEDULER_PLACER_H

#include "scheduler/placer_source.h"

struct placer;

struct placer_config {
    struct str dsn;
    const char *owner;           /* for people */
    struct placer_source source; /* closed with the placer */
    int64_t poll_ms;             /* how long an unheard change may go unseen; 0 = 1000 */
    int64_t stuck_ms;            /* a placer that has said nothing for so long is put an end to; 0 = 10000 */
    int64_t sweep_ms;            /* how often it looks for what nobody tells the end of; 0 = 30000 */
};

MUST_CHECK bool placer_start(const struct placer_config *cfg, struct placer **out, struct err *err);
void placer_stop(struct placer *p); /* NULL is fine */

#endif
