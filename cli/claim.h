/* Which store belongs to which database. A store is the folder of blobs, bundles, logs and checkpoints; what the
 * database knows of them is in one store only, so all servers of a database must use the same. Each store has an
 * identity in its file `store.id`, which moves and is copied with the folder, and the database remembers the one that
 * is its own. */
#ifndef MILLRACE_CLI_CLAIM_H
#define MILLRACE_CLI_CLAIM_H

#include "engine/store/db.h"

#define CLAIM_FILE "store.id"
#define CLAIM_RESTORING "store.restoring"
#define CLAIM_SETTING "store_id"
#define CLAIM_INSTANCE_SETTING "instance" /* by it an installation knows what is its own on a cluster */

/* Of a server that starts: ERR_CONFLICT when the database remembers another store, or the store another database. The
 * first to come makes the identity; the folder must exist, and have blobs of a database that has some. */
MUST_CHECK bool claim_store(struct db *db, struct str store_dir, struct err *err);
/* Of a restore that begins: ERR_CONFLICT when the folder has been a store already, unless it was left by a restore of
 * the same backup that failed. backup: tells backups apart. */
MUST_CHECK bool claim_restoring(struct str store_dir, struct str backup, struct err *err);
/* Of one that ends: whatever the backup said, the store that it was restored into is the database's own now, and the
 * installation is another than the one that was saved. That one may still run, or have left steps that do, and gave
 * numbers to runs which will be given again: so the name and the key of step tokens are made anew by the first server.
 * Until this has been done no server can start, since the store is not the database's. *former, in the arena: the name
 * until now; empty = it had none. */
MUST_CHECK bool claim_restored(struct db *db, struct str store_dir, struct arena *a, struct str *former,
                               struct err *err);

#endif
