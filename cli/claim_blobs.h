/* Which artifact store outside of the store's folder belongs to which database: the same as claim.h, for S3. There the
 * object `store.id` below the prefix holds the identity of the database's store. The database remembers where its
 * artifacts are, so that they are not looked for in vain. */
#ifndef MILLRACE_CLI_CLAIM_BLOBS_H
#define MILLRACE_CLI_CLAIM_BLOBS_H

#include "engine/blob/store.h"
#include "engine/store/db.h"

#define CLAIM_PLACE_SETTING "artifact_store"

enum claim_lack {
    CLAIM_REFUSED,
    CLAIM_AWAY,      /* the place does not answer: it may later */
    CLAIM_KNOWN_AWAY /* the same, of a place that the database has had: most likely it still has */
};

/* Of a server that starts, after claim_store: ERR_CONFLICT when the place is another database's, or lacks the artifacts
 * that this one has. Also when it is the disk. lack: why it failed, for whoever asks again, and is to know soon; NULL =
 * nobody does. */
MUST_CHECK bool claim_blobs(struct db *db, const struct store_config *cfg, enum claim_lack *lack, struct err *err);
/* Of a restore that begins: ERR_CONFLICT when the place is in use, but by a restore of the same backup. */
MUST_CHECK bool claim_blobs_restoring(const struct store_config *cfg, struct str backup, struct err *err);
/* Of one that ends, after claim_restored. A crash between the two is mended by the next server that starts. */
MUST_CHECK bool claim_blobs_restored(struct db *db, const struct store_config *cfg, struct err *err);

#endif
