/* Following a run to its end: a live tree on a terminal, one line per change elsewhere. */
#ifndef MILLRACE_CLI_WATCH_H
#define MILLRACE_CLI_WATCH_H

#include "cli/cli.h"

/* Returns the exit code that the run's end means. Ctrl-C ends the following only, and says how to go on and how to
 * cancel. With -o json|yaml the progress goes to stderr and the run to stdout. */
int watch_run(struct cli *cli, int64_t run);

int watch_exit(struct str state); /* of an ended run */

#endif
