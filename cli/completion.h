/* Completion: the shells' scripts are small and ask the program itself, which looks into the command table. */
#ifndef MILLRACE_CLI_COMPLETION_H
#define MILLRACE_CLI_COMPLETION_H

#include "cli/commands.h"
#include "engine/base/buf.h"

/* Names that only the server knows; may write nothing. One "name\tdescription" a line. */
typedef void completion_source(void *ctx, struct buf *out, enum word_kind kind, const char *word_before);

/* The candidates for the last of `words` (may be empty text), those behind `millrace`: a line each,
 * "candidate\tdescription", and ":files" or ":folders" when the shell should offer those too. */
void completion_candidates(struct buf *out, int n, char *const *words, completion_source *source, void *ctx);

/* The script for a shell; NULL for an unknown one. */
const char *completion_script(const char *shell);

#endif
