/* Who asks, and may they? Bearer tokens with roles; steps' own tokens; Host and Origin against web pages that a browser
 * was lured to. */
#ifndef MILLRACE_API_AUTH_H
#define MILLRACE_API_AUTH_H

#include "api/request.h"
#include "engine/store/projects.h"

/* Host names the server, Origin is its own: else a foreign page may be steering a browser (DNS rebinding). */
MUST_CHECK bool auth_guard(const struct request *rq, struct err *err);
/* Fills rq->who from the bearer token, and holds it against the route's role. */
MUST_CHECK bool auth_check(struct request *rq, struct err *err);
/* For what needs more than the route's role says. */
MUST_CHECK bool auth_role(const struct request *rq, enum role least, const char *what, struct err *err);

/* The project the request is about: ?project=, else `named` (of a document), else the token's, else "default". */
MUST_CHECK bool auth_project(struct request *rq, struct str named, struct scope *out, struct str *name,
                             struct err *err);

/* At start: the key of step tokens, and an administrator's token in <data>/token (0600) when that is missing. */
MUST_CHECK bool auth_start(struct api *api, struct err *err);
/* A new random token: "mr_" and 43 characters. */
#define AUTH_TOKEN_TEXT 48
void auth_token_make(char out[AUTH_TOKEN_TEXT]);

#endif
