/* Every route there is, in one const table; the dispatcher, the answer to a wrong method, and the test that holds
 * api/openapi.yaml against it all read it. */
#ifndef MILLRACE_API_ROUTES_H
#define MILLRACE_API_ROUTES_H

#include "api/request.h"

enum route_body {
    ROUTE_EMPTY,    /* takes no body */
    ROUTE_JSON,     /* a JSON object */
    ROUTE_OPTIONAL, /* a JSON object, or nothing */
    ROUTE_SOURCE,   /* JSON, or YAML text */
    ROUTE_BYTES     /* read by the handler, piece by piece */
};

/* Builds the answer in rq->res; false = err (and rq->errors) become a problem. */
typedef bool route_handler(struct request *rq, struct err *err);

struct route {
    const char *method;
    const char *pattern; /* {…} stands for one part of the path, also before an :action */
    enum role role;
    bool step;       /* a step's own token may call it, for its own run (the first {…}) */
    bool idempotent; /* a create: honours Idempotency-Key, runs in one transaction */
    enum route_body body;
    const char *query; /* known query parameters, blank-separated; "name=a,b" takes a list of these words alone */
    route_handler *handler;
    const char *summary;
};

extern const struct route routes[];
extern const size_t n_routes;

const char *role_name(enum role r);
bool role_parse(struct str name, enum role *out);

/* Finds the route of rq->method and rq->path and fills rq->route and rq->segments. ERR_NOT_FOUND, or ERR_METHOD with an
 * Allow header on the answer. HEAD finds the route of GET. */
MUST_CHECK bool route_find(struct request *rq, struct err *err);

#endif
