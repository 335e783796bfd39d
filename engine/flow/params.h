/* Params of a pipeline: their declaration, and binding what a user gives to it. */
#ifndef MILLRACE_FLOW_PARAMS_H
#define MILLRACE_FLOW_PARAMS_H

#include "engine/flow/plan.h"

extern const char *const param_type_names[]; /* by enum param_type */
#define PARAM_TYPES 8

/* One value per param, in the order of declaration: given ones checked, and brought to their type (numbers and lists
 * also from strings, as a command line gives them), defaults for the rest, null for optional ones left out. `given` is
 * a map, or NULL for none. All problems are reported, with the path params.NAME. */
MUST_CHECK bool params_bind(struct arena *a, const struct param *params, size_t n, const struct value *given,
                            struct value *out_map, struct err_list *errors);

/* One value against one param; *out is of its type. Patterns spend of PARAMS_MAX_COST, which whoever checks many values
 * has for all of them together. */
#define PARAMS_MAX_COST (10 * EXPR_MAX_COST)
MUST_CHECK bool param_check(struct arena *a, const struct param *p, const struct value *v, uint64_t *spent,
                            struct value *out, struct err *err);

/* Whether a pattern can be used at all. */
MUST_CHECK bool param_pattern_check(struct arena *a, struct str pattern, uint64_t *spent, struct err *err);

/* {secret: {env: NAME}} and its like, read from a value. */
MUST_CHECK bool secret_read(const struct value *v, struct secret_ref *out, struct err *err);

#endif
