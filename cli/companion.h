/* The hidden command that runs in pods beside a step's own container: see companion.c. */
#ifndef MILLRACE_CLI_COMPANION_H
#define MILLRACE_CLI_COMPANION_H

#include "scheduler/step_moves.h"

#define COMPANION_COMMAND STEP_MOVES_COMMAND

int cmd_companion(int argc, char **argv);

#endif
