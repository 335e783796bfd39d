/* The index of what steps wrote: which bytes of an attempt's log there are. The bytes themselves are in blob storage
 * (engine/blob/logs.h). */
#ifndef MILLRACE_STORE_LOGS_H
#define MILLRACE_STORE_LOGS_H

#include "engine/store/projects.h"

struct log_chunk {
    int64_t run_id, start, at_us;
    int32_t task, attempt, seq, length;
};

/* A chunk known already is left as it is. */
MUST_CHECK bool logs_add(struct conn *c, const struct scope *scope, const struct log_chunk *chunk, struct err *err);
/* Bytes known of the attempt's log, and whether the attempt has ended, so that no more will come. */
MUST_CHECK bool logs_size(struct conn *c, int64_t run_id, int32_t task, int32_t attempt, int64_t *bytes, bool *ended,
                          struct err *err);
/* Chunks that hold bytes at or after `from`, in order. */
MUST_CHECK bool logs_list(struct conn *c, int64_t run_id, int32_t task, int32_t attempt, int64_t from, uint32_t limit,
                          struct arena *a, struct log_chunk **out, size_t *n, struct err *err);

#endif
