/* Following a run to its end: a live tree on a terminal, one line per change elsewhere. */
#ifndef MILLRACE_CLI_WATCH_H
#define MILLRACE_CLI_WATCH_H

#include "cli/cli.h"
#include "cli/tree.h"

/* Returns the exit code that the run's end means. Ctrl-C ends the following only, and says how to go on and how to
 * cancel. With -o json|yaml the progress goes to stderr and the run to stdout. */
/* `known` (may be NULL): what is not told again. */
int watch_run(struct cli *cli, int64_t run, const struct tree *known);
/* The run's tasks as they are now, before what is to be followed happens to them. */
MUST_CHECK bool watch_look(struct cli *cli, int64_t run, struct tree *out, struct err *err);

int watch_exit(struct str state); /* of an ended run */

#endif
