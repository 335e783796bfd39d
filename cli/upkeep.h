/* What the server does now and then beside its work: retention rounds over what runs leave behind, and over files that
 * a crash left without a record. A thread of its own. */
#ifndef MILLRACE_CLI_UPKEEP_H
#define MILLRACE_CLI_UPKEEP_H

#include "engine/blob/store.h"
#include "engine/os/config.h"
#include "engine/store/db.h"

struct upkeep;
MUST_CHECK bool upkeep_start(struct db *db, const struct config *cfg, struct upkeep **out, struct err *err);
void upkeep_stop(struct upkeep *u); /* NULL is fine */

struct upkeep_swept {
    int64_t blobs, runs;
};
/* Removes what a crash left, and nothing has touched for older_us: blobs that no project knows (a blob's file comes
 * before its row), files of runs that are in no record (a deleted run's row goes before its files), what was half
 * written or half unpacked. */
MUST_CHECK bool upkeep_sweep_strays(struct db *db, struct blob_store *blobs, struct str store_dir, int64_t older_us,
                                    struct upkeep_swept *swept, struct err *err);

#endif
