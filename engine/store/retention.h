/* What goes with time: runs past their keep, answers, unfinished uploads, and code, plans and blobs that nothing refers
 * to any more.
 *
 * Blobs are found by mark and sweep over the database: one goes that no artifact, use, bundle or upload of its project
 * has, and that no stored plan or run names (names.h). One younger than the grace, or of an unfinished upload, is never
 * swept; one that is put again between mark and sweep survives, since the sweep looks again with the row locked. Its
 * file goes after the last project's row has gone, and only when it is old too (disk_sweep): so a put that is under
 * way, file first and row second, keeps its file. */
#ifndef MILLRACE_STORE_RETENTION_H
#define MILLRACE_STORE_RETENTION_H

#include "engine/store/projects.h"

struct retention {
    int64_t runs_us;    /* finished runs are kept that long; 0 = for ever */
    int64_t blobs_us;   /* blobs without reference; 0 = one day */
    int64_t uploads_us; /* untouched uploads; 0 = one day */
    int64_t answers_us; /* of Idempotency-Keys; 0 = one day */
    uint32_t batch;     /* rows a transaction; 0 = 200 */
    /* Each may be NULL; false ends the round. The blob's is to be disk_sweep with the same grace: a file that was just
     * put again stays. */
    bool (*delete_blob)(void *ctx, struct str digest, struct err *err);
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
/* Of these digests, those that no project knows: files that a crash left behind. To be given to disk_sweep. */
MUST_CHECK bool retention_unknown(struct conn *c, const struct str *digests, size_t n, struct arena *a,
                                  struct str **out, size_t *n_out, struct err *err);
/* Of these runs, those that are in no record: their files are what a crash left of a deletion. */
MUST_CHECK bool retention_unknown_runs(struct conn *c, const int64_t *ids, size_t n, struct arena *a, int64_t **out,
                                       size_t *n_out, struct err *err);

#endif
