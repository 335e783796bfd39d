/* What is done to runs that exist: cancel, pause, resume, approve, reject, archive, delete. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/show.h"
#include "engine/base/jsonw.h"

/* The same POST for each run named; goes on after a failure, and ends with the first failure's code. */
static int each_run(struct cli *cli, const struct args *args, const char *action, struct str body, const char *done)
{
    int first = CLI_OK;
    for (size_t i = 0; i < args->n_words; i++) {
        const char *path;
        struct err err;
        int code = request_run_path(cli, args->words[i], action, &path);
        if (code >= 0) return code;
        struct client *client = cli_client(cli, &code);
        if (!client) return code;
        if (client_post(client, cli->arena, path, body, NULL, NULL, &err)) {
            cli_note(cli, "run %s %s", args->words[i], done);
            continue;
        }
        code = cli_fail(cli, &err);
        if (!first) first = code;
    }
    return first;
}

int cmd_cancel(struct cli *cli, const struct args *args)
{
    BUF_AUTO body;
    struct jsonw w;
    buf_init(&body, 0);
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "grace", args_get(args, "grace"));
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return cli_usage(cli, "the request is too long");
    return each_run(cli, args, ":cancel", buf_view(&body), "is being cancelled");
}

int cmd_pause(struct cli *cli, const struct args *args)
{
    return each_run(cli, args, ":pause", STR(""), "is paused: what runs goes on, nothing new starts");
}

int cmd_resume(struct cli *cli, const struct args *args)
{
    return each_run(cli, args, ":resume", STR(""), "goes on");
}

int cmd_archive(struct cli *cli, const struct args *args)
{
    return each_run(cli, args, ":archive", STR(""), "is archived");
}

int cmd_unarchive(struct cli *cli, const struct args *args)
{
    return each_run(cli, args, ":unarchive", STR(""), "is listed again");
}

static int decide(struct cli *cli, const struct args *args, bool approved)
{
    BUF_AUTO body;
    struct jsonw w;
    struct err err;
    const char *run = args_word(args, 0), *step = args_word(args, 1), *path;
    int code = request_run_path(cli, run, "", &path);
    buf_init(&body, 0);
    if (code >= 0) return code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    jsonw_kv_bool(&w, "approved", approved);
    jsonw_kv_cstr(&w, "comment", args_get(args, "comment"));
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return cli_usage(cli, "the comment is too long");
    path = arena_printf(cli->arena, "%s/tasks/%s:approve", path, client_path(cli->arena, "%s", step)).p;
    if (!client_post(client, cli->arena, path, buf_view(&body), NULL, NULL, &err)) return cli_fail(cli, &err);
    cli_note(cli, "%s of run %s is %s", step, run, approved ? "approved" : "rejected");
    return CLI_OK;
}

int cmd_approve(struct cli *cli, const struct args *args)
{
    return decide(cli, args, true);
}

int cmd_reject(struct cli *cli, const struct args *args)
{
    return decide(cli, args, false);
}

static bool sure(struct cli *cli, const struct args *args)
{
    char answer[16];
    if (args_has(args, "yes") || !isatty(STDIN_FILENO) || !cli->err.tty) return true;
    fprintf(stderr, "Delete %s%s? [y/N] ", args->words[0], args->n_words > 1 ? " and others" : "");
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int cmd_delete(struct cli *cli, const struct args *args)
{
    int first = CLI_OK, code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!sure(cli, args)) return CLI_OK;
    for (size_t i = 0; i < args->n_words; i++) {
        const char *word = args->words[i], *path;
        struct err err;
        struct client_reply reply;
        if (str_starts(str_of(word), "pipeline/"))
            path = client_project(client, cli->arena, client_path(cli->arena, "/api/v1/pipelines/%s", word + 9));
        else if ((code = request_run_path(cli, word, "", &path)) >= 0)
            return code;
        struct client_request request = {.method = "DELETE", .path = path, .repeatable = true};
        if (client_send(client, cli->arena, &request, &reply, NULL, &err)) {
            cli_note(cli, "%s%s is deleted", strchr(word, '/') ? "" : "run ", word);
            continue;
        }
        code = cli_fail(cli, &err);
        if (!first) first = code;
    }
    return first;
}
