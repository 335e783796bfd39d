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
