/* From a request to its answer: guard, route, token, query, body, handler, problem. Knows nothing of sockets. */
#ifndef MILLRACE_API_DISPATCH_H
#define MILLRACE_API_DISPATCH_H

#include "api/request.h"

/* The caller has filled api, arena, wire, method, path, query, headers, content_length, http11, health_only; the rest
 * is zero. Returns the status. rq->res.close tells that the connection must end. */
int dispatch(struct request *rq);

#endif
