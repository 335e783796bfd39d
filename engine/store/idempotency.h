/* Answers to creates that carried an Idempotency-Key, kept for a day: the same request again gets the same answer.
 *
 * In one transaction: idempotency_begin, the create, idempotency_store. A second request with the key waits in begin
 * for the first's commit. */
#ifndef MILLRACE_STORE_IDEMPOTENCY_H
#define MILLRACE_STORE_IDEMPOTENCY_H

#include "engine/store/projects.h"

struct stored_answer {
    int32_t status;
    struct str location, body;
};

/* *found: the answer is in *out, and nothing is to be done. ERR_CONFLICT when the key came with another request. Needs
 * a transaction. */
MUST_CHECK bool idempotency_begin(struct conn *c, const struct scope *scope, struct str key, struct str request_hash,
                                  struct arena *a, bool *found, struct stored_answer *out, struct err *err);
MUST_CHECK bool idempotency_store(struct conn *c, const struct scope *scope, struct str key, struct str request_hash,
                                  const struct stored_answer *answer, struct err *err);

#endif
