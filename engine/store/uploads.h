/* Uploads. The offset is the size of the partial file (engine/blob/disk.h), so that it is true after any
 * crash. */
#ifndef MILLRACE_STORE_UPLOADS_H
#define MILLRACE_STORE_UPLOADS_H

#include "engine/store/projects.h"

struct upload_rec {
    struct str id, digest, created_by;
    int64_t project_id, size, created_us, touched_us;
};

/* Makes an id; an unfinished upload of the same digest by the same project is taken up again instead. */
MUST_CHECK bool uploads_create(struct conn *c, const struct scope *scope, struct str digest, int64_t size,
                               struct arena *a, struct upload_rec *out, struct err *err);
MUST_CHECK bool uploads_get(struct conn *c, int64_t project_id, struct str id, struct arena *a, struct upload_rec *out,
                            struct err *err);
MUST_CHECK bool uploads_touch(struct conn *c, struct str id, struct err *err);
/* The bytes are verified and in place: the blob is the project's. The upload is kept like an unfinished one, for others
 * who were sending the same bytes and are still to learn that they are there. */
MUST_CHECK bool uploads_finish(struct conn *c, const struct scope *scope, struct str id, struct str digest,
                               int64_t size, struct err *err);
MUST_CHECK bool uploads_delete(struct conn *c, int64_t project_id, struct str id, struct err *err);

#endif
