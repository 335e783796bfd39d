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

/* Of a server that starts: ERR_CONFLICT when the database remembers another store, or the store another database. The
 * first to come makes the identity; the folder must exist, and have blobs of a database that has some. */
MUST_CHECK bool claim_store(struct db *db, struct str store_dir, struct err *err);
/* Of a restore that begins: ERR_CONFLICT when the folder has been a store already, unless it was left by a restore of
 * the same backup that failed. backup: tells backups apart. */
MUST_CHECK bool claim_restoring(struct str store_dir, struct str backup, struct err *err);
/* Of one that ends: whatever the backup said, the store that it was restored into is the database's own now. */
MUST_CHECK bool claim_restored(struct db *db, struct str store_dir, struct err *err);

#endif
