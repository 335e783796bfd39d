/* What a step without a process needs done outside: HTTP calls, look-ups of the cache and of imported artifacts. Done
 * by worker threads, since each may block; their answers are heard in the scheduler's turn. Repeating a chore is
 * harmless: an HTTP step sends its attempt as Idempotency-Key. */
#ifndef MILLRACE_SCHEDULER_CHORES_H
#define MILLRACE_SCHEDULER_CHORES_H

#include "scheduler/core.h"

MUST_CHECK bool chores_new(const struct scheduler_config *cfg, struct chores **out, struct err *err);
void chores_free(struct chores *c); /* gives up what is under way */
#define CHORES_FDS 2
void chores_fds(const struct chores *c, int fds[CHORES_FDS]); /* readable while answers may be there */

void chores_http(struct chores *owner, struct scheduler *s, struct live *l, const struct effect *e);
void chores_import(struct chores *owner, struct scheduler *s, struct live *l, const struct effect *e);
void chores_cache(struct chores *owner, struct scheduler *s, struct live *l, const struct effect *e);

/* Hands the answers that are there to their runs. */
void chores_hear(struct chores *owner, struct scheduler *s);

#endif
