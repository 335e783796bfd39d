/* Tokens of steps: what a running attempt may present to the API. Not stored: run, task, attempt and when the run
 * was made, signed with the installation's key (HMAC-SHA-256, RFC 2104). Whether the attempt is still the current one
 * is the reader's business.
 */
#ifndef MILLRACE_OS_STEP_TOKEN_H
#define MILLRACE_OS_STEP_TOKEN_H

#include "engine/base/arena.h"

#define STEP_TOKEN_PREFIX "mrs1."

struct step_claim {
    int64_t run;
    uint32_t task, attempt;
    int64_t made_us; /* when the run was: its number may be given again, see scheduler/executor.h */
};

/* "mrs1.<run>.<task>.<attempt>.<made>.<hex>" */
struct str step_token_make(struct arena *a, struct str key, struct step_claim claim);
/* False when it is not such a token or the signature does not fit; takes the same time wherever it differs. */
bool step_token_read(struct str token, struct str key, struct step_claim *out);

#endif
