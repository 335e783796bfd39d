/* Settings of the installation that all its servers share: its identity, the key of step tokens. */
#ifndef MILLRACE_STORE_SETTINGS_H
#define MILLRACE_STORE_SETTINGS_H

#include "engine/store/db.h"

/* The value of the key; when there is none, `made` becomes it, and whoever came first wins. */
MUST_CHECK bool settings_get_or_make(struct conn *c, struct str key, struct str made, struct arena *a, struct str *out,
                                     struct err *err);

#endif
