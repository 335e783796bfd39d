/* millrace: finds the command, and ends with the command's exit code. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/output.h"

static bool read_format(const struct args *args, enum out_format *out, struct err *err)
{
    static const char *const names[] = {
        [OUT_TABLE] = "table", [OUT_JSON] = "json", [OUT_YAML] = "yaml", [OUT_DOT] = "dot", [OUT_MERMAID] = "mermaid"};
    const char *asked = args_get(args, "output"), *formats = args->command->formats;
    if (!asked) return true;
    if (!formats) return err_set(err, ERR_INVALID, "%s takes no -o", args->command->name);
    struct str rest = str_of(formats), piece;
    while (str_split(&rest, '|', &piece)) {
        if (!str_is(piece, asked)) continue;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (strcmp(names[i], asked) == 0) *out = (enum out_format)i;
        }
        return true;
    }
    err_set(err, ERR_INVALID, "--output cannot be '%s'", asked);
    return err_hint(err, "one of: %s", formats);
}

/* -h, no command, or a wrong command line: -1 when the command is to be run after all. */
static int answer_help(struct cli *cli, const struct args *args)
{
    BUF_AUTO out;
    struct err err;
    buf_init(&out, 0);
    if (args->command && !args_has(args, "help")) return -1;
    if (args->command)
        help_command(&out, args->command);
    else
        help_overview(&out);
    if (!args->command && !args_has(args, "help")) { /* just `millrace` */
        fwrite(out.p, 1, out.n, stderr);
        return CLI_USAGE;
    }
    return cli_print(&out, &err) ? CLI_OK : cli_fail(cli, &err);
}

static int usage_error(struct cli *cli, const struct err *err, const struct cli_command *c)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    cli_fail(cli, err);
    if (c) help_usage(&out, c);
    if (out.n) fwrite(out.p, 1, out.n, stderr);
    return CLI_USAGE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct args args;
    struct err err = {0};
    int used = 0;
    const struct cli_command *first = command_find(argc, argv, &used);
    if (!args_parse(cli->arena, argc, argv, &args, &err)) return usage_error(cli, &err, first);
    cli->quiet = args_has(&args, "quiet");
    term_look(&cli->out, stdout, !args_has(&args, "no-color"));
    term_look(&cli->err, stderr, !args_has(&args, "no-color"));
    int code = answer_help(cli, &args);
    if (code >= 0) return code;
    if (args.command->exec_raw) {
        err_set(&err, ERR_INVALID, "%s must be the first word", args.command->name);
        return usage_error(cli, &err, args.command);
    }
    if (!read_format(&args, &cli->format, &err)) return usage_error(cli, &err, args.command);
    cli->args = &args;
    return args.command->exec(cli, &args);
}

int main(int argc, char **argv)
{
    /* The server and its launcher set up their process themselves: nothing of ours may be in the way of their children.
     */
    int used = 0;
    const struct cli_command *raw = command_find(argc - 1, argv + 1, &used);
    if (raw && raw->exec_raw) return raw->exec_raw(argc - used, argv + used);

    setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of characters only */
    signal(SIGPIPE, SIG_IGN);
    struct arena arena;
    arena_init(&arena, 1u << 30);
    struct cli cli = {.arena = &arena};
    term_look(&cli.err, stderr, true);
    int code = run(&cli, argc - 1, argv + 1);
    client_close(cli.client);
    arena_free(&arena);
    return code;
}
