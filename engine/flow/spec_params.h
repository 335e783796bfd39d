/* Reading declarations: params, inputs, outputs, env. */
#ifndef MILLRACE_FLOW_SPEC_PARAMS_H
#define MILLRACE_FLOW_SPEC_PARAMS_H

#include "engine/flow/spec.h"

struct spec_param_list {
    struct param *items;
    size_t n;
};
struct spec_input_list {
    struct input *items;
    size_t n;
};
struct spec_output_list {
    struct output *items;
    size_t n;
};
struct spec_env_list {
    struct env_var *items;
    size_t n, inherited; /* of the defaults: the first ones, in their order */
};

void spec_params(struct spec *s, const struct spec_at *at, const struct value *v, void *out);  /* spec_param_list */
void spec_inputs(struct spec *s, const struct spec_at *at, const struct value *v, void *out);  /* spec_input_list */
void spec_outputs(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* spec_output_list */
void spec_env(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* spec_env_list, added to */
void spec_headers(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* the same, of HTTP */

#endif
