/* What GET would answer now is made, and thrown away but for its tag. See precondition.h. */
#include "api/precondition.h"

#include <string.h>

#include "api/routes.h"
#include "engine/store/turns.h"

const struct route *precondition_shown(const struct route *route)
{
    struct str pattern = str_of(route->pattern);
    const char *last = strrchr(route->pattern, '/'), *action = strstr(last, "}:");
    if (action) pattern = str_sub(pattern, 0, (size_t)(action - route->pattern) + 1);
    if (strcmp(route->method, "GET") == 0 || last[1] != '{') return NULL;
    for (size_t i = 0; i < n_routes; i++)
        if (strcmp(routes[i].method, "GET") == 0 && str_is(pattern, routes[i].pattern)) return &routes[i];
    return NULL;
}

static bool holds(struct request *rq, const struct route *shown, const char *match, char tag[RESPONSE_TAG],
                  struct err *err)
{
    rq->res.whole = true;
    bool ok = shown->handler(rq, err) && response_settle(rq, err);
    if (ok) response_tag(rq, tag);
    response_free(rq);
    response_init(rq);
    if (!ok || strcmp(match, "*") == 0 || strstr(match, tag + 2)) return ok;
    err_set(err, ERR_PRECONDITION, "it is not any more what it was: its ETag is %s", tag);
    err_path(err, "If-Match");
    return err_hint(err, "look at it again with GET, then send If-Match with its ETag");
}

/* Of several with the same tag, each looks only when the one before has done what it does. */
bool precondition_check(struct request *rq, struct err *err)
{
    const char *match = request_header(rq, "If-Match");
    const struct route *shown = match ? precondition_shown(rq->route) : NULL;
    if (!shown || strstr(rq->route->pattern, "{pipeline}")) return true;
    char tag[RESPONSE_TAG];
    struct conn *c;
    if (!holds(rq, shown, match, tag, err)) return false;
    if (strcmp(match, "*") == 0) return true;
    if (!request_db(rq, &c, err)) return false;
    rq->turn = true; /* also if the answer is lost: it may have been given all the same */
    if (!turn_take(c, str_of(tag), err)) return false;
    return holds(rq, shown, match, tag, err);
}
