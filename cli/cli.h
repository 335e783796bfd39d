/* What every command gets: where the server is, how to show things, and the codes it may end with. One command runs per
 * process. */
#ifndef MILLRACE_CLI_CLI_H
#define MILLRACE_CLI_CLI_H

#include <stdio.h>

#include "cli/args.h"
#include "cli/config.h"
#include "cli/term.h"

/* Exit codes: scripts depend on them. Name, number, and the words of the documentation. */
#define CLI_EXITS(X)                                                                                                   \
    X(CLI_OK, 0, "done; the run succeeded")                                                                            \
    X(CLI_RUN_FAILED, 1, "the run failed, or something unexpected happened")                                           \
    X(CLI_USAGE, 2, "the command line is wrong")                                                                       \
    X(CLI_INVALID, 3, "the input is wrong: a file, a parameter")                                                       \
    X(CLI_NOT_FOUND, 4, "no such thing")                                                                               \
    X(CLI_AUTH, 5, "no token, a wrong token, or its role does not suffice")                                            \
    X(CLI_UNAVAILABLE, 6, "the server or its database cannot be reached")                                              \
    X(CLI_CONFLICT, 7, "the thing is in another state than the command needs")                                         \
    X(CLI_CANCELLED, 8, "the run was cancelled")                                                                       \
    X(CLI_DIFFERS, 9, "diff: apply would change something")                                                            \
    X(CLI_INTERRUPTED, 130, "interrupted; a run that was watched goes on")

enum cli_exit {
#define X(id, number, text) id = number,
    CLI_EXITS(X)
#undef X
};

enum out_format { OUT_TABLE, OUT_JSON, OUT_YAML, OUT_DOT, OUT_MERMAID };

struct client;
struct cli {
    struct arena *arena; /* of the command: freed at its end */
    const struct args *args;
    struct settings settings; /* once there is a client */
    struct term out, err;     /* of stdout and stderr */
    enum out_format format;
    bool quiet;
    bool direct;                               /* artifacts go to the store itself, where there is a link */
    struct client *client;                     /* made by cli_connect() */
    void (*sends)(void *ctx, const char *url); /* told where bytes go; NULL = nobody asks */
    void *sends_ctx;
    const char *file_project; /* what the headers of the file at hand say; NULL = nothing */
};

/* The client to the configured server, made when it is first asked for: what needs no server needs no settings. */
MUST_CHECK bool cli_connect(struct cli *cli, struct err *err);
/* The same; NULL with the error said. */
struct client *cli_client(struct cli *cli, int *code);

/* Says an error on stderr, in the compiler's style when it has a position and `source` is not empty, and gives the exit
 * code it means. */
int cli_fail(struct cli *cli, const struct err *err);
int cli_fail_in(struct cli *cli, const struct err_list *errors, const char *file, struct str source);
int cli_exit_of(enum err_code code);
__attribute__((format(printf, 2, 3))) int cli_usage(struct cli *cli, const char *fmt, ...); /* says it; CLI_USAGE */
__attribute__((format(printf, 2, 3))) void cli_note(struct cli *cli, const char *fmt, ...); /* to stderr unless quiet */
MUST_CHECK bool cli_print(const struct buf *b, struct err *err);                            /* to stdout */

/* A whole file (or "-": standard input), at most `limit` bytes. */
MUST_CHECK bool cli_read_file(struct arena *a, const char *path, size_t limit, struct str *out, struct err *err);

/* Set by SIGINT or SIGTERM; long waits look at it. cli_catch_interrupts() once before the first such wait. */
void cli_catch_interrupts(void);
bool cli_interrupted(void);

#endif
