/* Advisory locks of the session, apart from those of shards and migrations by their first number. */
#include "engine/store/turns.h"

#include "engine/os/log.h"

bool turn_take(struct conn *c, struct str key, struct err *err)
{
    struct arena a;
    struct params p;
    arena_init(&a, 0);
    params_init(&p, &a);
    params_str(&p, key);
    RESULT_AUTO locked = NULL;
    bool ok = conn_query(c, Q_TURN_TAKE, &p, &locked, err);
    arena_free(&a);
    return ok;
}

void turn_end(struct conn *c)
{
    struct err err;
    if (conn_do(c, "SELECT pg_advisory_unlock_all()", &err)) return;
    conn_drop(c);
    log_err(LEVEL_DEBUG, "a turn ends with its session", &err);
}
