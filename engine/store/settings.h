/* Settings of the installation that all its servers share: its name, the identity of its store, the key of step
 * tokens. */
#ifndef MILLRACE_STORE_SETTINGS_H
#define MILLRACE_STORE_SETTINGS_H

#include "engine/store/db.h"

/* The value of the key; when there is none, `made` becomes it, and whoever came first wins. */
MUST_CHECK bool settings_get_or_make(struct conn *c, struct str key, struct str made, struct arena *a, struct str *out,
                                     struct err *err);
/* Empty when there is none. */
MUST_CHECK bool settings_get(struct conn *c, struct str key, struct arena *a, struct str *out, struct err *err);
/* The same, and then there is none. */
MUST_CHECK bool settings_take(struct conn *c, struct str key, struct arena *a, struct str *out, struct err *err);
MUST_CHECK bool settings_put(struct conn *c, struct str key, struct str value, struct err *err);

#endif
