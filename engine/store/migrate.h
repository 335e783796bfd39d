/* Brings a database to the schema of this binary. Migrations are embedded, numbered without gaps and never change once
 * released: a checksum per applied one proves it. Several servers may start at once (an advisory lock lets one work);
 * an older binary refuses a newer schema. */
#ifndef MILLRACE_STORE_MIGRATE_H
#define MILLRACE_STORE_MIGRATE_H

#include "engine/store/db.h"

/* Each migration in a transaction of its own; *applied (may be NULL) = how many ran now. */
MUST_CHECK bool migrate_run(struct db *db, uint32_t *applied, struct err *err);
/* The same for a list of one's own, which ends with a NULL name: for tests. */
struct embedded;
MUST_CHECK bool migrate_list(struct db *db, const struct embedded *list, uint32_t *applied, struct err *err);
uint32_t migrate_latest(void); /* the number this binary brings */

#endif
