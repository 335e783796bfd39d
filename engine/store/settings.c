/* Settings of the installation. */
#include "engine/store/settings.h"

bool settings_get_or_make(struct conn *c, struct str key, struct str made, struct arena *a, struct str *out,
                          struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_str(&p, key);
    params_str(&p, made);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_SETTING_GET_OR_MAKE, &p, &res, err)) return false;
    *out = row_copy(res, 0, 0, a);
    return true;
}

static bool value_of(struct conn *c, enum query_id q, struct str key, struct arena *a, struct str *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_str(&p, key);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, q, &p, &res, err)) return false;
    *out = PQntuples(res) > 0 ? row_copy(res, 0, 0, a) : STR("");
    return true;
}

bool settings_get(struct conn *c, struct str key, struct arena *a, struct str *out, struct err *err)
{
    return value_of(c, Q_SETTING_GET, key, a, out, err);
}

bool settings_take(struct conn *c, struct str key, struct arena *a, struct str *out, struct err *err)
{
    return value_of(c, Q_SETTING_TAKE, key, a, out, err);
}

bool settings_put(struct conn *c, struct str key, struct str value, struct err *err)
{
    struct arena a;
    struct params p;
    arena_init(&a, 0);
    params_init(&p, &a);
    params_str(&p, key);
    params_str(&p, value);
    bool ok = conn_exec(c, Q_SETTING_PUT, &p, NULL, err);
    arena_free(&a);
    return ok;
}
