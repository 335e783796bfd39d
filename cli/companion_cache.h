/* Blobs on a node, for all pods there: a folder of files named by the digest, which the companions share. A file
 * appears whole; what was not used for longest goes when there is more than the bound. Nothing is believed: who takes a
 * file verifies it. */
#ifndef MILLRACE_CLI_COMPANION_CACHE_H
#define MILLRACE_CLI_COMPANION_CACHE_H

#include "engine/base/err.h"

/* Appends the blob to the file `to`; false when it is not there, or damaged (then `to` is as it was). */
bool companion_cache_take(const char *folder, struct str digest, int to);
/* Keeps what the file holds from its start; best effort. bytes: the bound of the whole folder. */
void companion_cache_keep(const char *folder, struct str digest, int from, int64_t bytes);

#endif
