/* Results in the form that -o asks for. */
#ifndef MILLRACE_CLI_SHOW_H
#define MILLRACE_CLI_SHOW_H

#include "cli/cli.h"
#include "cli/output.h"

/* The table, or the value as JSON or YAML. Returns the exit code. */
int show(struct cli *cli, const struct table *table, const struct value *v);
/* The value as JSON or YAML; nothing when a table was asked for. */
int show_value(struct cli *cli, const struct value *v);

/* All pages of a list, at most `limit` items (0 = all): `path` gets page_size and page_token. The pages themselves are
 * kept. */
struct pages {
    struct value *items; /* answers, in order */
    size_t n, total;     /* of pages, of items in them */
};
MUST_CHECK bool pages_fetch(struct cli *cli, struct arena *a, const char *path, size_t limit, struct pages *out,
                            struct err *err);
/* All their items in one list value. */
struct value pages_join(struct arena *a, const struct pages *pages, size_t limit);

#endif
