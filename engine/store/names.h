/* What a text names in full: sha256:… and artifact:NUMBER, wherever they stand in it. A run may import at any time what
 * its plan, its params or its steps' outputs name, so these names are kept beside it (tables plan_names, run_names) and
 * hold what they name, as long as the plan or the run is stored. */
#ifndef MILLRACE_STORE_NAMES_H
#define MILLRACE_STORE_NAMES_H

#include "engine/base/arena.h"
#include "engine/base/str.h"

/* The next one, within *rest, which moves behind it; false when there is no more. */
bool names_next(struct str *rest, struct str *out);
/* All of them; the same one may come twice. */
size_t names_all(struct str text, struct arena *a, struct str **out);

#endif
