/* Projects: the walls between tenants. Names are unique, every row of the store names its project. */
#ifndef MILLRACE_STORE_PROJECTS_H
#define MILLRACE_STORE_PROJECTS_H

#include "engine/store/db.h"

/* On whose behalf something is written: the first parameters of every create. */
struct scope {
    int64_t project_id;
    struct str actor; /* name of the token, or of the user; becomes created_by */
};

struct project {
    int64_t id, created_us;
    struct str name, created_by;
};

/* Strings of all results live in the arena. ERR_NOT_FOUND, with a hint that names near ones. */
MUST_CHECK bool projects_get(struct conn *c, struct str name, struct arena *a, struct project *out, struct err *err);
MUST_CHECK bool projects_get_id(struct conn *c, int64_t id, struct arena *a, struct project *out, struct err *err);
/* ERR_CONFLICT when it exists. */
MUST_CHECK bool projects_create(struct conn *c, struct str name, struct str actor, struct arena *a, struct project *out,
                                struct err *err);
/* By name, those after `after`. */
MUST_CHECK bool projects_list(struct conn *c, struct str after, uint32_t limit, struct arena *a, struct project **out,
                              size_t *n, struct err *err);

#endif
