/* If-Match on what changes one thing: the change is made only if the thing still is what the client saw. */
#ifndef MILLRACE_API_PRECONDITION_H
#define MILLRACE_API_PRECONDITION_H

#include "api/routes.h"

/* The route that shows what this one changes: "GET /runs/{run}" for "POST /runs/{run}:cancel"; NULL = none does. */
const struct route *precondition_shown(const struct route *route);

/* True where there is no such condition, or it holds; ERR_PRECONDITION otherwise. The entity tag is that of the answer
 * to GET of the thing, without ?fields=. Pipelines have tags of their own, and look themselves. */
MUST_CHECK bool precondition_check(struct request *rq, struct err *err);

#endif
