/* Bytes of a file as an answer: ranges (RFC 9110, one at a time), entity tags, HEAD. Streamed, never whole in memory.
 */
#ifndef MILLRACE_API_FILES_H
#define MILLRACE_API_FILES_H

#include "api/request.h"
#include "engine/blob/store.h"

/* Is a member or part of the path called `digest` one? */
MUST_CHECK bool files_digest(struct str digest, struct err *err);

struct file_answer {
    int fd;
    struct store_blob *blob; /* instead of fd; NULL = none */
    int64_t size;
    const char *type;
    struct str etag; /* strong, without quotes; empty = none */
    struct str name; /* of the attachment; empty = shown in place */
};

MUST_CHECK bool files_send(struct request *rq, const struct file_answer *f, struct err *err);

/* "bytes=a-b", "bytes=a-", "bytes=-n" against a size. *partial = false when there is no (or an unreadable) Range: all
 * of it. ERR_RANGE when nothing of it exists; the answer then carries Content-Range. */
MUST_CHECK bool files_range(struct request *rq, int64_t size, int64_t *from, int64_t *n, bool *partial,
                            struct err *err);

#endif
