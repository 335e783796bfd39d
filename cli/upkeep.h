/* What the server does now and then beside its work: retention rounds over what runs leave behind, and over files that
 * a crash left without a record. A thread of its own. */
#ifndef MILLRACE_CLI_UPKEEP_H
#define MILLRACE_CLI_UPKEEP_H

#include "engine/blob/disk.h"
#include "engine/os/config.h"
#include "engine/store/db.h"

struct upkeep;
MUST_CHECK bool upkeep_start(struct db *db, const struct config *cfg, struct upkeep **out, struct err *err);
void upkeep_stop(struct upkeep *u); /* NULL is fine */

/* Removes the blobs that no project knows and that were put longer ago than older_us: a blob's file comes before its
 * row, and a crash in between leaves it. */
MUST_CHECK bool upkeep_sweep_strays(struct db *db, struct disk *disk, int64_t older_us, int64_t *swept,
                                    struct err *err);

#endif
