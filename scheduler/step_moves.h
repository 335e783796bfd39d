/* What is to be moved for a step that runs elsewhere, and what came of it, as texts: the plan that goes with the step,
 * and the manifest that comes back. Pure.
 *
 * Both are JSON. A plan: {"version": 1, "bundle": DIGEST, "inputs": [{"path", "digest", "folder"} or {"path", "text"}],
 * "outputs": [{"name", "path", "artifact": TYPE} or {"name", "path", "param": TYPE}, perhaps "optional"],
 * "uploadMs": N}. A manifest: {"outputs": {…}, "artifacts": [{"name", "type", "digest", "size", "metadata"}]}, or
 * {"failed": "output", "timeout" or "infra", "message"}. What does not fit into a termination message is kept as a
 * blob: {"manifest": DIGEST}. */
#ifndef MILLRACE_SCHEDULER_STEP_MOVES_H
#define MILLRACE_SCHEDULER_STEP_MOVES_H

#include "engine/base/buf.h"
#include "engine/base/value.h"
#include "scheduler/step_left.h"

#define STEP_MOVES_COMMAND "__companion" /* of millrace, in the pod: see cli/companion.c */

/* What they write to their logs: that all is well so far, and behind what is not. */
#define STEP_MOVES_WAITS "waiting for the step to end"
#define STEP_MOVES_AGAIN "; trying again"

/* How `fetch` exits when another try would end the same. */
#define STEP_MOVES_WRONG 3

/* Variables of its environment: a folder of blobs that pods share, and how many bytes that may have. */
#define STEP_MOVES_CACHE "MILLRACE_CACHE"
#define STEP_MOVES_CACHE_BYTES "MILLRACE_CACHE_BYTES"

struct step_moves {
    struct str bundle;                 /* empty = none */
    const struct launch_input *inputs; /* with paths beneath the working directory, i.e. that of the code's root */
    size_t n_inputs;
    const struct step_output *outputs;
    size_t n_outputs;
    int64_t upload_ms; /* in which they must be kept; 0 = any time */
};

void step_moves_write(const struct step_moves *m, struct buf *out);
/* Slices of the value. ERR_INVALID names the member. */
MUST_CHECK bool step_moves_read(struct arena *a, const struct value *v, struct step_moves *out, struct err *err);

void step_left_write(const struct step_left *l, struct buf *out);
/* Of a plan's outputs: each of them that is not optional is there, of its kind, and no other. */
MUST_CHECK bool step_left_parse(struct arena *a, const struct value *v, const struct step_output *outputs,
                                size_t n_outputs, struct step_left *out, struct err *err);

#endif
