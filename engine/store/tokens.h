/* Tokens of people and machines. Only the SHA-256 of a token is kept. Tokens of steps are not here: they are signed
 * (settings.h). */
#ifndef MILLRACE_STORE_TOKENS_H
#define MILLRACE_STORE_TOKENS_H

#include "engine/os/digest.h"
#include "engine/store/projects.h"

struct token_rec {
    int64_t id, project_id, created_us, expires_us; /* project_id 0 = all, expires_us 0 = never */
    struct str name, role, project, created_by;
};

/* Of the bytes that came in; ERR_UNAUTHENTICATED when unknown or expired. */
MUST_CHECK bool tokens_find(struct conn *c, const unsigned char hash[DIGEST_BYTES], struct arena *a,
                            struct token_rec *out, struct err *err);
MUST_CHECK bool tokens_create(struct conn *c, const unsigned char hash[DIGEST_BYTES], const struct token_rec *token,
                              int64_t *id, struct err *err);
MUST_CHECK bool tokens_list(struct conn *c, int64_t after, uint32_t limit, struct arena *a, struct token_rec **out,
                            size_t *n, struct err *err);
/* ERR_CONFLICT for the last administrator's token of all projects: nobody could make another. */
MUST_CHECK bool tokens_delete(struct conn *c, int64_t id, struct err *err);
/* Administrators' tokens of all projects that are good now. */
MUST_CHECK bool tokens_admins(struct conn *c, int64_t *n, struct err *err);

#endif
