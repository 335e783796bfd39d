/* Which folder of secrets the servers of a store use. Each of them shows what any of them gave to a step, covered by
 * the secrets that it knows, so all must use the same folder; and so must a backup, which copies what steps wrote. The
 * store remembers it in its file `store.secrets`. */
#ifndef MILLRACE_CLI_SECRETS_H
#define MILLRACE_CLI_SECRETS_H

#include "engine/base/arena.h"
#include "engine/base/err.h"

#define SECRETS_FILE "store.secrets"
#define SECRETS_FOLDER "secrets" /* in the store, unless --secrets-dir says otherwise */

/* Of a server that starts: ERR_CONFLICT when others run with another folder; where none does, this one is remembered
 * from now on. *held stays open as long as the server runs. */
MUST_CHECK bool secrets_hold(struct str store_dir, struct str secrets_dir, int *held, struct err *err);
/* The folder that the store remembers, in the arena; ERR_NOT_FOUND when no server has said it yet. */
MUST_CHECK bool secrets_remembered(struct str store_dir, struct arena *a, struct str *out, struct err *err);
/* Is it the one in the store? */
bool secrets_in_store(struct str store_dir, struct str secrets_dir);

#endif
