/* Tokens: list, create, delete. A token's secret is shown once, when it is made. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "engine/base/jsonw.h"
#include "engine/os/clock.h"

int cmd_token_list(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {{"ID", true, 0},       {"NAME", false, 8},    {"ROLE", false, 0},
                                            {"PROJECT", false, 0}, {"CREATED", false, 0}, {"EXPIRES", false, 0},
                                            {"BY", false, 4}};
    struct arena *a = cli->arena;
    struct value v;
    struct err err;
    struct table table;
    int code;
    (void)args;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!client_get(client, a, "/api/v1/tokens", &v, &err)) return cli_fail(cli, &err);
    struct pages pages = {&v, 1, 0};
    struct value list = pages_join(a, &pages, 0);
    table_begin(&table, a, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < list.u.list.n; i++) {
        const struct value *t = &list.u.list.items[i];
        struct str project = field_str(t, "project");
        table_cell(&table, value_text(a, value_get(t, "id")), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(t, "name"), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(t, "role"), STYLE_PLAIN_TEXT);
        table_cell(&table, project.n ? project : STR("(all)"), STYLE_PLAIN_TEXT);
        table_cell(&table, age_text(a, time_parse(field_str(t, "createdAt")), os_now_us()), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(t, "expiresAt"), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(t, "createdBy"), STYLE_PLAIN_TEXT);
    }
    return show(cli, &table, &list);
}

int cmd_token_create(struct cli *cli, const struct args *args)
{
    BUF_AUTO body;
    struct jsonw w;
    struct err err;
    struct client_reply reply;
    const char *role = args_get(args, "role");
    int code;
    struct client *client = cli_client(cli, &code);
    buf_init(&body, 0);
    if (!client) return code;
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "name", args_word(args, 0));
    jsonw_kv_cstr(&w, "role", role ? role : "viewer");
    jsonw_kv_cstr(&w, "project", args_get(args, "project")); /* only when said: a token is for all projects else */
    jsonw_kv_cstr(&w, "ttl", args_get(args, "expires"));
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return cli_usage(cli, "the name is too long");
    struct client_request request = {.method = "POST", .path = "/api/v1/tokens", .body = buf_view(&body)};
    if (!client_send(client, cli->arena, &request, &reply, NULL, &err)) return cli_fail(cli, &err);
    if (cli->format != OUT_TABLE) return show_value(cli, &reply.value);
    cli_note(cli, "this is shown only once:");
    printf("%.*s\n", STR_ARG(field_str(&reply.value, "token")));
    return CLI_OK;
}

int cmd_token_delete(struct cli *cli, const struct args *args)
{
    int first = CLI_OK, code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    for (size_t i = 0; i < args->n_words; i++) {
        struct err err;
        struct client_reply reply;
        const char *path = client_path(cli->arena, "/api/v1/tokens/%s", args->words[i]);
        struct client_request request = {.method = "DELETE", .path = path, .repeatable = true};
        if (client_send(client, cli->arena, &request, &reply, NULL, &err)) continue;
        code = cli_fail(cli, &err);
        if (!first) first = code;
    }
    return first;
}
