/* One request at a time of those that stand on the same ground. */
#ifndef MILLRACE_STORE_TURNS_H
#define MILLRACE_STORE_TURNS_H

#include "engine/store/db.h"

/* Waits until nobody else has the turn for `key`, on any server of the database; ERR_UNAVAILABLE after ten seconds.
 * Goes with the connection, should that be lost. */
MUST_CHECK bool turn_take(struct conn *c, struct str key, struct err *err);
/* Of all keys that this connection has. */
void turn_end(struct conn *c);

#endif
