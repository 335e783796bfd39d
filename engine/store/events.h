/* The history of a run, read. Sequence numbers start at 1 … and have no gaps, so a reader resumes by the last one it
 * saw. */
#ifndef MILLRACE_STORE_EVENTS_H
#define MILLRACE_STORE_EVENTS_H

#include "engine/store/runs.h"

struct event_rec {
    int32_t seq, kind; /* enum event_kind */
    int32_t task;      /* -1 = the run */
    int32_t attempt;
    int64_t at_us;
    struct str path;   /* of the task; empty for the run */
    struct str detail; /* JSON, may be empty */
};

/* In order, those after `after` (-1 = from the first). */
MUST_CHECK bool events_list(struct conn *c, int64_t run_id, int32_t after, uint32_t limit, struct arena *a,
                            struct event_rec **out, size_t *n, struct err *err);

#endif
