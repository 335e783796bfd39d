/* From the command line to the parts of a request. */
#ifndef MILLRACE_CLI_REQUEST_H
#define MILLRACE_CLI_REQUEST_H

#include "cli/cli.h"
#include "engine/base/value.h"

/* -p and --params-file as one map: what is given by -p wins. A value that reads as JSON other than a bare word stays so
 * typed ([1,2], {"a":1}); everything else is text, which the server turns into the parameter's type. */
MUST_CHECK bool request_params(struct cli *cli, const struct args *args, struct value *out, struct err *err);
MUST_CHECK bool request_labels(struct cli *cli, const struct args *args, struct value *out, struct err *err);

const char *request_key(struct arena *a); /* a new idempotency key */

/* "/api/v1/runs/17:cancel" from the word "17"; -1, or the exit code when it is no number. */
int request_run_path(struct cli *cli, const char *word, const char *behind, const char **out);

#endif
