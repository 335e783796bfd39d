/* Starting runs: run, submit, clone; and retry, which may bring mended code. */
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/request.h"
#include "cli/show.h"
#include "cli/watch.h"
#include "engine/base/jsonw.h"

static const char *idempotency_header(struct cli *cli, const struct args *args)
{
    const char *given = args_get(args, "idempotency-key");
    return arena_printf(cli->arena, "Idempotency-Key: %s", given ? given : request_key(cli->arena)).p;
}

static bool write_resources(struct cli *cli, const struct args *args, struct jsonw *w)
{
    size_t at = 0;
    const char *list = args_next(args, "ignore-resources", &at);
    if (!list) return true;
    jsonw_key(w, "ignoreResources");
    jsonw_array(w);
    for (; list; list = args_next(args, "ignore-resources", &at)) {
        struct str rest = str_of(list), piece;
        while (str_split(&rest, ',', &piece)) {
            if (!str_is(piece, "gpu") && !str_is(piece, "cpu") && !str_is(piece, "memory"))
                return cli_usage(cli, "--ignore-resources knows gpu, cpu and memory, not '%.*s'", STR_ARG(piece)) ==
                       CLI_OK;
            jsonw_str(w, piece);
        }
    }
    jsonw_array_end(w);
    return true;
}

/* What run, submit and clone have in common; -1, or the exit code of what is wrong. */
static int write_options(struct cli *cli, const struct args *args, struct jsonw *w)
{
    struct value params, labels;
    struct err err;
    if (!request_params(cli, args, &params, &err) || !request_labels(cli, args, &labels, &err)) {
        int code = cli_fail(cli, &err);
        return err.code == ERR_INVALID && !err.path[0] ? CLI_USAGE : code;
    }
    if (args_has(args, "param") || args_has(args, "params-file")) {
        jsonw_key(w, "params");
        jsonw_value(w, &params);
    }
    if (labels.u.map.n) {
        jsonw_key(w, "labels");
        jsonw_value(w, &labels);
    }
    jsonw_kv_cstr(w, "name", args_get(args, "name"));
    return write_resources(cli, args, w) ? -1 : CLI_USAGE;
}

/* The file is compiled here first: what is wrong with it is said without a server, and its code is only packed when
 * some step needs it. */
static int write_file(struct cli *cli, const struct args *args, const char *path, struct file *f, struct jsonw *w)
{
    struct err err;
    struct err_list errors;
    const char *digest;
    err_list_init(&errors, cli->arena);
    if (!file_read(cli, path, f, &err)) return cli_fail(cli, &err);
    if (!file_compile(cli, f, NULL, &errors)) return file_fail(cli, f, &errors);
    if (!file_single(f, &err)) return cli_fail(cli, &err);
    if (!file_send_code(cli, args, f, &digest, &err)) return cli_fail(cli, &err);
    jsonw_kv_str(w, "source", f->source);
    jsonw_kv_cstr(w, "bundle", digest);
    return -1;
}

static int write_name(struct cli *cli, const struct args *args, struct jsonw *w)
{
    struct err err;
    int64_t version;
    const char *digest = NULL, *folder = args_get(args, "bundle");
    if (!args_int(args, "version", 1, INT32_MAX, 0, &version, &err)) return cli_fail(cli, &err), CLI_USAGE;
    if (folder && !bundle_send(cli, folder, &digest, &err)) return cli_fail(cli, &err);
    jsonw_kv_cstr(w, "pipeline", args_word(args, 0));
    if (version) jsonw_kv_int(w, "version", version);
    jsonw_kv_cstr(w, "bundle", digest);
    return -1;
}

/* The server speaks of the request's members, which are options here. */
static void name_options(struct err *err)
{
    size_t at;
    if (!str_find(str_of(err->hint), STR("in `from`"), &at)) return;
    err_hint(err, "name the step to begin with by --from STEP, or clone the run");
}

/* Sends the request; the run in *run, or the exit code. */
static int create(struct cli *cli, const char *path, struct str body, const char *header, const struct file *f,
                  struct value *run)
{
    int code;
    struct err err;
    struct err_list errors;
    struct client_reply reply;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    err_list_init(&errors, cli->arena);
    struct client_request request = {
        .method = "POST", .path = path, .body = body, .headers = {header}, .repeatable = true};
    if (client_send(client, cli->arena, &request, &reply, &errors, &err)) {
        *run = reply.value;
        return -1;
    }
    name_options(&err);
    for (size_t i = 0; i < errors.n; i++)
        name_options(&errors.items[i]);
    if (err.code == ERR_UNAUTHENTICATED || err.code == ERR_UNAVAILABLE || !errors.n) return cli_fail(cli, &err);
    return f && f->path ? file_fail(cli, f, &errors) : cli_fail_in(cli, &errors, "", STR(""));
}

static int submit(struct cli *cli, const struct args *args, struct value *run)
{
    BUF_AUTO body;
    struct jsonw w;
    struct file f = {0};
    int code;
    const char *path;
    struct err err;
    buf_init(&body, 0);
    if (!file_meant(cli, args_word(args, 0), &path, &err)) return cli_fail(cli, &err);
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    if ((code = write_options(cli, args, &w)) >= 0) return code;
    if ((code = path ? write_file(cli, args, path, &f, &w) : write_name(cli, args, &w)) >= 0) return code;
    jsonw_object_end(&w);
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!jsonw_end(&w)) return cli_usage(cli, "the request is too long");
    return create(cli, client_project(client, cli->arena, "/api/v1/runs"), buf_view(&body),
                  idempotency_header(cli, args), &f, run);
}

/* What the file says for other machines than this one, in one line. */
static void note_unused(struct cli *cli, const struct value *run)
{
    const struct value *options = value_get(run, "options"), *unused = options ? value_get(options, "unused") : NULL;
    BUF_AUTO words;
    buf_init(&words, 0);
    for (size_t i = 0; unused && unused->type == VALUE_LIST && i < unused->u.list.n; i++)
        if (unused->u.list.items[i].type == VALUE_STRING)
            buf_printf(&words, "%s%.*s", i ? ", " : "", STR_ARG(unused->u.list.items[i].u.s));
    if (words.n > 0) cli_note(cli, "ignored here: %s", words.p);
}

/* The id alone, or the whole run as JSON or YAML. */
static int print_run(struct cli *cli, const struct value *run)
{
    if (cli->format != OUT_TABLE) return show_value(cli, run);
    printf("%lld\n", (long long)field_int(run, "id", 0));
    return CLI_OK;
}

static int watch_or_print(struct cli *cli, const struct args *args, const struct value *run, bool watch)
{
    if (args_has(args, "watch")) watch = true;
    if (args_has(args, "detach")) watch = false;
    if (!watch) return print_run(cli, run);
    return watch_run(cli, field_int(run, "id", 0), NULL);
}

int cmd_run(struct cli *cli, const struct args *args)
{
    struct value run;
    cli_catch_interrupts();
    int code = submit(cli, args, &run);
    if (code < 0) note_unused(cli, &run);
    return code >= 0 ? code : watch_or_print(cli, args, &run, true);
}

int cmd_submit(struct cli *cli, const struct args *args)
{
    struct value run;
    int code = submit(cli, args, &run);
    if (code < 0) note_unused(cli, &run);
    return code >= 0 ? code : print_run(cli, &run);
}

int cmd_clone(struct cli *cli, const struct args *args)
{
    BUF_AUTO body;
    struct jsonw w;
    struct value run;
    const char *path;
    int code = request_run_path(cli, args_word(args, 0), ":clone", &path);
    buf_init(&body, 0);
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    if (code >= 0 || (code = write_options(cli, args, &w)) >= 0) return code;
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return cli_usage(cli, "the request is too long");
    code = create(cli, path, buf_view(&body), idempotency_header(cli, args), NULL, &run);
    return code >= 0 ? code : watch_or_print(cli, args, &run, false);
}

int cmd_retry(struct cli *cli, const struct args *args)
{
    BUF_AUTO body;
    struct jsonw w;
    struct err err;
    struct value run;
    struct tree before = {0};
    const char *path, *digest = NULL, *folder = args_get(args, "bundle");
    bool watch = args_has(args, "watch") && !args_has(args, "detach");
    int64_t number;
    int code = request_run_path(cli, args_word(args, 0), ":retry", &path);
    buf_init(&body, 0);
    if (code >= 0) return code;
    if (folder && !bundle_send(cli, folder, &digest, &err)) return cli_fail(cli, &err);
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "from", args_get(args, "from"));
    jsonw_kv_cstr(&w, "bundle", digest);
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return cli_usage(cli, "the request is too long");
    if (watch && str_int(str_of(args_word(args, 0)), &number) && !watch_look(cli, number, &before, &err))
        return cli_fail(cli, &err);
    if ((code = create(cli, path, buf_view(&body), NULL, NULL, &run)) >= 0) return code;
    cli_note(cli, "run %s runs again", args_word(args, 0));
    if (watch) return watch_run(cli, field_int(&run, "id", 0), &before);
    return cli->format != OUT_TABLE ? show_value(cli, &run) : CLI_OK;
}
