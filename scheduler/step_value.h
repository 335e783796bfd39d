/* What a step wrote as the value of an output that is a param. Pure. */
#ifndef MILLRACE_SCHEDULER_STEP_VALUE_H
#define MILLRACE_SCHEDULER_STEP_VALUE_H

#include "engine/flow/plan.h"

/* Without the line end that most programs put behind what they write. */
struct str step_text(struct str written);

/* The text, which is UTF-8, as a value of the declared type. False: *why says what is wrong with it, as in "its output
 * 'n' does not hold a whole number". `depth` of lists and maps; 0 = the default. */
MUST_CHECK bool step_value(struct arena *a, enum param_type type, struct str text, size_t depth, struct value *out,
                           const char **why);

#endif
