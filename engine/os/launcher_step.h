/* One step's way from a request to exec: working directory, files, log, limits, user, session. */
#ifndef MILLRACE_OS_LAUNCHER_STEP_H
#define MILLRACE_OS_LAUNCHER_STEP_H

#include <sys/types.h>

#include "engine/os/launcher.h"
#include "engine/os/launcher_proc.h"

/* Forks; the child prepares everything and executes the command. Returns its pid, -1 with errno when there is none.
 * `cookie` is "NAME=value"; it and the mark say whose it is. *error_fd is where the child says why it could not execute
 * (launcher_step_error); the arena is for the call. */
pid_t launcher_step_start(const struct launcher_request *req, const char *cookie, struct proc_mark mark,
                          struct arena *a, int *error_fd);

/* What the launcher itself ignores, from its start on; steps do not. A journal that may not grow (SIGXFSZ) is an error
 * like a full disk. */
void launcher_signals(void (*handler)(int));

/* After the child has ended: the reason it gave, empty when it was executed; *infra when that is none of the step's
 * doing. Closes the descriptor. */
size_t launcher_step_error(int fd, char *out, size_t room, bool *infra);

#endif
