/* The environment of a step, as far as it is the same wherever it runs. */
#ifndef MILLRACE_SCHEDULER_STEP_ENV_H
#define MILLRACE_SCHEDULER_STEP_ENV_H

#include "scheduler/executor.h"

struct step_var {
    struct str name, value;
};
struct step_vars { /* in the order they came; each name once */
    struct arena *arena;
    struct step_var *items;
    size_t n, room;
};

/* Both are kept as they are. What comes later stands instead of what was there: of two of one name each program takes
 * another. */
void step_vars_put(struct step_vars *v, struct str name, struct str value);

/* MILLRACE_RUN and its like, the paths of inputs and outputs, and where the API is. `attempt`: its name, once and for
 * all servers; `workdir`: absolute. */
void step_vars_own(struct step_vars *v, const struct exec_request *req, struct str attempt, struct str workdir);

/* Paths are relative to where the step starts: the code's root, or the folder of `workdir` in it. In the arena. */
struct str step_beneath(struct arena *a, const struct launch_spec *spec, struct str path);

#endif
