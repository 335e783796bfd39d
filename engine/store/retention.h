/* What goes with time: runs past their keep, answers, unfinished uploads, and blobs that nothing refers to any more.
 *
 * Blobs are found by mark and sweep over the database. A blob younger than the grace, or of an unfinished upload, is
 * never swept; one that is put again between mark and sweep survives, since the row is locked and checked anew in the
 * sweep's transaction, and its file goes only after the last project's row of the digest has gone, under the same lock
 * that blobs_put takes. */
#ifndef MILLRACE_STORE_RETENTION_H
#define MILLRACE_STORE_RETENTION_H

#include "engine/store/projects.h"

struct retention {
    int64_t runs_us;    /* finished runs are kept that long; 0 = for ever */
    int64_t blobs_us;   /* blobs without reference; 0 = one day */
    int64_t uploads_us; /* untouched uploads; 0 = one day */
    int64_t answers_us; /* of Idempotency-Keys; 0 = one day */
    uint32_t batch;     /* rows a transaction; 0 = 200 */
    /* Called with the lock held, so that nobody can take the digest up meanwhile. False = keep the row and go on. */
    bool (*delete_blob)(void *ctx, struct str digest, struct err *err);
    bool (*delete_bundle)(void *ctx, struct str digest, struct err *err); /* its unpacked tree */
    bool (*delete_upload)(void *ctx, struct str id, struct err *err);
    bool (*delete_run)(void *ctx, int64_t run_id, struct err *err); /* logs, checkpoints */
    void *ctx;
};
struct retention_result {
    int64_t runs, blobs, blob_bytes, uploads, answers;
};

/* One round over everything; takes as long as it takes, in small transactions. One at a time in an installation: when
 * another works, it returns at once with nothing done. */
MUST_CHECK bool retention_round(struct db *db, const struct retention *r, struct retention_result *out,
                                struct err *err);
/* Holds rounds off (a backup copies blobs): a lease that must be kept until retention_release. */
MUST_CHECK bool retention_hold(struct conn *c, struct err *err);
void retention_release(struct conn *c);

#endif
