/* Help texts, all made from the table of commands. Pure. */
#ifndef MILLRACE_CLI_HELP_H
#define MILLRACE_CLI_HELP_H

#include "cli/commands.h"
#include "engine/base/buf.h"

void help_overview(struct buf *out);
void help_command(struct buf *out, const struct cli_command *c);
void help_usage(struct buf *out, const struct cli_command *c); /* the one line */
void help_markdown(struct buf *out);                           /* the whole reference */

#endif
