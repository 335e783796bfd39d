/* What the server does now and then beside its work: retention rounds over what runs leave behind. A thread of its own.
 */
#ifndef MILLRACE_CLI_UPKEEP_H
#define MILLRACE_CLI_UPKEEP_H

#include "engine/os/config.h"
#include "engine/store/db.h"

struct upkeep;
MUST_CHECK bool upkeep_start(struct db *db, const struct config *cfg, struct upkeep **out, struct err *err);
void upkeep_stop(struct upkeep *u); /* NULL is fine */

#endif
