/* What all commands share: saying errors, reading files, noticing Ctrl-C. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "engine/base/caret.h"
#include "engine/os/fs.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

void cli_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* a second Ctrl-C ends the process, whatever it is doing */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

bool cli_connect(struct cli *cli, struct err *err)
{
    if (cli->client) return true;
    if (!settings_resolve(cli->arena, cli->args, &cli->settings, err) ||
        !client_open(cli->arena, &cli->settings, &cli->client, err))
        return false;
    client_file_project(cli->client, cli->file_project);
    return true;
}

struct client *cli_client(struct cli *cli, int *code)
{
    struct err err;
    if (!cli_connect(cli, &err)) *code = cli_fail(cli, &err);
    return cli->client;
}

int cli_exit_of(enum err_code code)
{
    switch (code) {
    case ERR_NONE: return CLI_OK;
    case ERR_INVALID:
    case ERR_SYNTAX:
    case ERR_TOO_LARGE:
    case ERR_MEDIA_TYPE:
    case ERR_NOT_ACCEPTABLE:
    case ERR_METHOD:
    case ERR_RANGE:
    case ERR_HEADERS_TOO_LARGE:
    case ERR_LIMIT: return CLI_INVALID;
    case ERR_UNAUTHENTICATED:
    case ERR_FORBIDDEN: return CLI_AUTH;
    case ERR_NOT_FOUND:
    case ERR_GONE: return CLI_NOT_FOUND;
    case ERR_CONFLICT:
    case ERR_STALE:
    case ERR_PRECONDITION: return CLI_CONFLICT;
    case ERR_TIMEOUT:
    case ERR_TOO_MANY:
    case ERR_UNAVAILABLE: return CLI_UNAVAILABLE;
    case ERR_INTERNAL:
    case ERR_IO:
    case ERR_SPACE:
    case ERR_CODE_COUNT: break;
    }
    return CLI_RUN_FAILED;
}

static void put(FILE *stream, const struct buf *b)
{
    if (b->n) fwrite(b->p, 1, b->n, stream);
    fflush(stream);
}

static void error_text(struct cli *cli, struct buf *out, const struct err *err)
{
    term_style(out, cli->err.color, STYLE_RED);
    buf_c(out, "error: ");
    term_style_end(out, cli->err.color, STYLE_RED);
    if (err->path[0]) {
        term_text(out, str_of(err->path), 0);
        buf_c(out, ": ");
    }
    term_text(out, str_of(err->message), 0);
    buf_char(out, '\n');
    if (!err->hint[0]) return;
    buf_c(out, "  hint: ");
    term_text(out, str_of(err->hint), 0);
    buf_char(out, '\n');
}

int cli_fail(struct cli *cli, const struct err *err)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    if (cli_interrupted()) return CLI_INTERRUPTED;
    error_text(cli, &out, err);
    put(stderr, &out);
    return cli_exit_of(err->code);
}

int cli_fail_in(struct cli *cli, const struct err_list *errors, const char *file, struct str source)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    if (cli_interrupted()) return CLI_INTERRUPTED;
    if (!errors->n) return CLI_OK;
    for (size_t i = 0; i < errors->n; i++) {
        if (errors->items[i].at.line)
            caret_render(&out, &errors->items[i], file, source);
        else
            error_text(cli, &out, &errors->items[i]);
    }
    if (errors->total > errors->n) buf_c(&out, "… and more errors\n");
    put(stderr, &out);
    return cli_exit_of(errors->items[0].code);
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
    struct err err;
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(&err, ERR_INVALID, "%s", text);
    cli_fail(cli, &err);
    return CLI_USAGE;
}

void cli_note(struct cli *cli, const char *fmt, ...)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    char text[2000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (cli->quiet) return;
    term_text(&out, str_of(text), 0);
    buf_char(&out, '\n');
    put(stderr, &out);
}

bool cli_print(const struct buf *b, struct err *err)
{
    bool ok = !b->n || fwrite(b->p, 1, b->n, stdout) == b->n;
    ok = fflush(stdout) == 0 && ok;
    return ok || err_set(err, ERR_IO, "cannot write to standard output: %s", strerror(errno));
}

bool cli_read_file(struct arena *a, const char *path, size_t limit, struct str *out, struct err *err)
{
    BUF_AUTO text;
    buf_init(&text, limit + 1);
    if (strcmp(path, "-") != 0) {
        if (!fs_read(path, limit, &text, err)) return false;
        *out = arena_str(a, buf_view(&text));
        return true;
    }
    char piece[65536];
    for (ssize_t n; (n = read(STDIN_FILENO, piece, sizeof piece)) != 0;) {
        if (n < 0 && errno == EINTR && !interrupted) continue;
        if (n < 0) return err_set(err, ERR_IO, "cannot read standard input: %s", strerror(errno));
        buf_add(&text, piece, (size_t)n);
        if (text.n > limit || text.over)
            return err_set(err, ERR_TOO_LARGE, "standard input is longer than %zu bytes", limit);
    }
    *out = arena_str(a, buf_view(&text));
    return true;
}
