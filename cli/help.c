/* Help from the table: see help.h. */
#include "cli/help.h"

#include <string.h>

#include "cli/cli.h"
#include "engine/os/config.h"

static void pad(struct buf *out, size_t used, size_t width)
{
    do
        buf_char(out, ' ');
    while (++used < width);
}

static const char *group_before(size_t i)
{
    while (i-- > 0) {
        if (commands[i].group) return commands[i].group;
    }
    return "";
}

void help_overview(struct buf *out)
{
    buf_c(out, "Millrace runs machine-learning pipelines.\n\nUsage: millrace COMMAND [OPTIONS] [ARGUMENTS]\n");
    for (size_t i = 0; i < n_commands; i++) {
        const struct cli_command *c = &commands[i];
        if (!c->group) continue;
        if (strcmp(c->group, group_before(i)) != 0) buf_printf(out, "\n%s:\n", c->group);
        buf_printf(out, "  %s", c->name);
        pad(out, strlen(c->name), 16);
        buf_printf(out, "%s\n", c->summary);
    }
    buf_c(out, "\n`millrace help COMMAND` tells more about one of them.\n\nExit codes:\n");
#define X(id, number, text) buf_printf(out, "  %-4d%s\n", number, text);
    CLI_EXITS(X)
#undef X
}

void help_usage(struct buf *out, const struct cli_command *c)
{
    buf_printf(out, "Usage: millrace %s%s%s%s\n", c->name, c->options ? " [OPTIONS]" : "", *c->words ? " " : "",
               c->words);
}

/* A command's -o names its own formats; a command without a result has none. */
static const char *choices_of(const struct cli_command *c, const struct option *o)
{
    return strcmp(o->name, "output") == 0 ? (c ? c->formats : NULL) : o->choices;
}

static bool applies(const struct cli_command *c, const struct option *o)
{
    bool remote = c->role != NULL || strcmp(c->group ? c->group : "", "Set-up") == 0;
    if (strcmp(o->name, "output") == 0) return c->formats != NULL;
    bool of_server = strcmp(o->name, "server") == 0 || strcmp(o->name, "token-file") == 0 ||
                     strcmp(o->name, "project") == 0 || strcmp(o->name, "context") == 0;
    return remote || !of_server;
}

static void option_text(struct buf *out, const struct option *o)
{
    if (o->letter) buf_printf(out, "-%c, ", o->letter);
    buf_printf(out, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
}

static void option_lines(struct buf *out, const struct cli_command *c, const struct option *list)
{
    for (const struct option *o = list; o && o->name; o++) {
        if (!applies(c, o)) continue;
        BUF_AUTO left;
        buf_init(&left, 0);
        if (!o->letter) buf_c(&left, "    ");
        option_text(&left, o);
        buf_printf(out, "  %s", left.p);
        pad(out, left.n, 32);
        const char *choices = choices_of(c, o);
        buf_printf(out, "%s%s%s%s\n", o->summary, choices ? ": " : "", choices ? choices : "",
                   o->many ? "; may be repeated" : "");
    }
}

void help_command(struct buf *out, const struct cli_command *c)
{
    help_usage(out, c);
    buf_printf(out, "\n%c%s.\n", c->summary[0] - 'a' + 'A', c->summary + 1);
    if (c->details) buf_printf(out, "\n%s\n", c->details);
    if (c->exec_raw == cmd_serve) { /* its options are those of the configuration */
        buf_c(out, "\nOptions:\n");
        config_help(out);
        return;
    }
    if (c->options) {
        buf_c(out, "\nOptions:\n");
        option_lines(out, c, c->options);
    }
    buf_c(out, "\nCommon options:\n");
    option_lines(out, c, global_options);
    if (c->role) buf_printf(out, "\nThe token's role must be at least: %s\n", c->role);
}

static void markdown_options(struct buf *out, const struct cli_command *c)
{
    for (const struct option *o = c->options; o && o->name; o++) {
        if (o == c->options) buf_c(out, "\n| option | meaning |\n|---|---|\n");
        buf_c(out, "| `");
        option_text(out, o);
        buf_printf(out, "` | %s%s%s |\n", o->summary, o->choices ? ": " : "", o->choices ? "one of its words" : "");
    }
}

void help_markdown(struct buf *out)
{
    buf_c(out, "# Commands\n\nMade from the command table by `millrace help --markdown`.\n");
    for (size_t i = 0; i < n_commands; i++) {
        const struct cli_command *c = &commands[i];
        if (!c->group) continue;
        if (strcmp(c->group, group_before(i)) != 0) buf_printf(out, "\n## %s\n", c->group);
        buf_printf(out, "\n### millrace %s\n\n`millrace %s%s%s` – %s.", c->name, c->name, *c->words ? " " : "",
                   c->words, c->summary);
        if (c->role) buf_printf(out, " Role: %s.", c->role);
        if (c->formats) buf_printf(out, " Shows `-o %s`.", c->formats);
        buf_char(out, '\n');
        if (c->details) buf_printf(out, "\n```\n%s\n```\n", c->details);
        markdown_options(out, c);
        if (c->exec_raw != cmd_serve) continue;
        buf_char(out, '\n');
        config_markdown(out);
    }
    buf_c(out, "\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
#define X(id, number, text) buf_printf(out, "| %d | %s |\n", number, text);
    CLI_EXITS(X)
#undef X
}

int cmd_help(struct cli *cli, const struct args *args)
{
    BUF_AUTO out;
    struct err err;
    buf_init(&out, 0);
    char *words[2] = {NULL, NULL};
    int used = 0;
    for (size_t i = 0; i < args->n_words; i++)
        words[i] = arena_cstr(cli->arena, str_of(args->words[i]));
    const struct cli_command *c = command_find((int)args->n_words, words, &used);
    if (args_has(args, "markdown")) {
        help_markdown(&out);
    } else if (!args->n_words) {
        help_overview(&out);
    } else if (c) {
        help_command(&out, c);
    } else {
        struct str near = command_suggest(cli->arena, words[0], words[1]);
        err_set(&err, ERR_INVALID, "unknown command '%s'", words[0]);
        if (near.n) err_hint(&err, "did you mean '%.*s'?", STR_ARG(near));
        cli_fail(cli, &err);
        return CLI_USAGE;
    }
    return cli_print(&out, &err) ? CLI_OK : cli_fail(cli, &err);
}
