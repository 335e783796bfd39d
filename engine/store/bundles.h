/* Code bundles: packed pipeline folders, known by digest within a project. The bytes are the blob of the same digest.
 */
#ifndef MILLRACE_STORE_BUNDLES_H
#define MILLRACE_STORE_BUNDLES_H

#include "engine/store/projects.h"

struct bundle_rec {
    struct str digest, created_by;
    int64_t size, created_us;
    int32_t entries;
};

struct bundle_made {
    struct str digest, code; /* the latter: of what steps read, see bundle_stats */
    int64_t size;
    int32_t entries;
};

MUST_CHECK bool bundles_put(struct conn *c, const struct scope *scope, const struct bundle_made *made, struct err *err);
MUST_CHECK bool bundles_get(struct conn *c, int64_t project_id, struct str digest, struct arena *a,
                            struct bundle_rec *out, struct err *err);

#endif
