/* What an ended step left in its working directory: its outputs, checked and kept. The same on this machine and in a
 * pod. The files are another's: everything is opened beneath the working directory, regular files and folders only. */
#ifndef MILLRACE_SCHEDULER_STEP_LEFT_H
#define MILLRACE_SCHEDULER_STEP_LEFT_H

#include "engine/base/mask.h"
#include "engine/os/digest.h"
#include "scheduler/executor.h"

struct step_output { /* to be read at the end */
    struct str name, type, path;
    enum io_kind kind;
    enum param_type param;
    bool optional;
};

/* Copied from the node's into the arena, with paths as the attempt has them. */
const struct step_output *step_outputs_of(struct arena *a, const struct launch_spec *spec);

/* Keeps all that the descriptor yields from its offset on. What can never be kept is ERR_INVALID, ERR_TOO_LARGE or
 * ERR_CONFLICT; everything else is nobody's fault. */
typedef bool step_keep(void *ctx, int fd, char digest[DIGEST_TEXT], int64_t *size, struct err *err);

struct step_reader {
    struct arena *arena;
    const char *workdir;
    const struct step_output *outputs;
    size_t n_outputs;
    const struct mask *mask; /* what may be in no param and in no artifact's metadata */
    step_keep *keep;
    void *ctx;
};

struct step_left {
    struct task_result result; /* ok and outputs; or failure, reason, message */
    struct exec_output *artifacts;
    size_t n_artifacts;
};

struct exec_output *step_artifacts_copy(struct arena *a, const struct exec_output *items, size_t n);

/* Of a step that has succeeded so far. In the reader's arena. */
void step_left_read(const struct step_reader *r, struct step_left *out);

#endif
