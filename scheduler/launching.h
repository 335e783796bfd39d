/* From a task of a live run to what its executor needs: the spec, the cache key, the request. */
#ifndef MILLRACE_SCHEDULER_LAUNCHING_H
#define MILLRACE_SCHEDULER_LAUNCHING_H

#include "scheduler/core.h"

/* All strings live in the turn's arena. One that is restored may run already, and always has a request: without what it
 * would take to launch it, if that can be had no more. */
MUST_CHECK bool launching_request(struct scheduler *s, struct live *l, struct attempt_id id, bool restored,
                                  struct exec_request *out, struct err *err);
/* "sha256:…" of everything that goes into the step. */
MUST_CHECK bool launching_cache_key(struct scheduler *s, struct live *l, uint32_t task, struct str *out,
                                    struct err *err);

#endif
