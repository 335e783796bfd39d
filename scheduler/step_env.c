/* See step_env.h. */
#include "scheduler/step_env.h"

void step_vars_put(struct step_vars *v, struct str name, struct str value)
{
    for (size_t i = 0; i < v->n; i++)
        if (str_eq(v->items[i].name, name)) {
            v->items[i].value = value;
            return;
        }
    if (v->n == v->room) {
        size_t room = v->room > 0 ? v->room * 2 : 32;
        v->items = arena_grow(v->arena, v->items, v->n * sizeof *v->items, room * sizeof *v->items);
        v->room = room;
    }
    v->items[v->n++] = (struct step_var){name, value};
}

struct str step_beneath(struct arena *a, const struct launch_spec *spec, struct str path)
{
    if (spec->workdir.n == 0) return arena_str(a, path);
    return arena_printf(a, "%.*s/%.*s", STR_ARG(spec->workdir), STR_ARG(path));
}

/* In full, so that they hold wherever the step goes. A list of artifacts is known by its folder. */
static void put_path(struct step_vars *v, const struct launch_spec *spec, const char *prefix, struct str name,
                     struct str workdir, struct str path)
{
    struct arena *m = v->arena;
    step_vars_put(v, arena_printf(m, "%s%.*s", prefix, STR_ARG(plan_variable(m, name))),
                  arena_printf(m, "%.*s/%.*s", STR_ARG(workdir), STR_ARG(step_beneath(m, spec, path))));
}

void step_vars_own(struct step_vars *v, const struct exec_request *req, struct str attempt, struct str workdir)
{
    struct arena *m = v->arena;
    const struct launch_spec *spec = &req->spec;
    step_vars_put(v, STR("MILLRACE_RUN"), arena_printf(m, "%lld", (long long)req->id.run));
    step_vars_put(v, STR("MILLRACE_RUN_NAME"), arena_str(m, req->run_name));
    step_vars_put(v, STR("MILLRACE_PROJECT"), arena_str(m, req->project));
    step_vars_put(v, STR("MILLRACE_STEP"), arena_str(m, req->step));
    step_vars_put(v, STR("MILLRACE_TASK"), arena_printf(m, "%u", req->id.task));
    step_vars_put(v, STR("MILLRACE_PATH"), arena_str(m, req->path));
    step_vars_put(v, STR("MILLRACE_ATTEMPT"), arena_printf(m, "%u", req->id.attempt));
    step_vars_put(v, STR("MILLRACE_ATTEMPT_ID"), attempt);
    step_vars_put(v, STR("MILLRACE_WORKDIR"), workdir);
    if (req->api_url.n > 0) {
        step_vars_put(v, STR("MILLRACE_API_URL"), arena_str(m, req->api_url));
        step_vars_put(v, STR("MILLRACE_URL"), arena_str(m, req->api_url)); /* clients read this one */
    }
    if (req->token.n > 0) step_vars_put(v, STR("MILLRACE_TOKEN"), arena_str(m, req->token));
    for (size_t i = 0; i < spec->n_inputs; i++) {
        struct str name = spec->inputs[i].name;
        put_path(v, spec, "MILLRACE_INPUT_", name, workdir, arena_printf(m, "inputs/%.*s", STR_ARG(name)));
    }
    for (size_t i = 0; i < spec->node->n_outputs; i++)
        put_path(v, spec, "MILLRACE_OUTPUT_", spec->node->outputs[i].name, workdir, spec->node->outputs[i].path);
}
