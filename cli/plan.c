/* plan: the steps and their order, as a table, JSON or a drawing. A file needs no server. */
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/show.h"
#include "engine/flow/draw.h"
#include "engine/text/json.h"

static struct str names_of(struct arena *a, const struct graph *g, const struct node *node)
{
    struct str text = STR("");
    for (uint32_t i = 0; i < node->n_deps; i++) {
        struct str name = g->nodes[node->deps[i]].name;
        text = arena_printf(a, "%.*s%s%.*s", STR_ARG(text), text.n ? ", " : "", STR_ARG(name));
    }
    return text;
}

static struct str remarks(struct arena *a, const struct node *node)
{
    struct str text = STR("");
    static const char *const after[] = {
        [AFTER_SUCCESS] = "onExit: success", [AFTER_FAILURE] = "onExit: failure", [AFTER_ALWAYS] = "onExit: always"};
    if (node->after != AFTER_NONE) text = str_of(after[node->after]);
    if (node->when_source.n)
        text = arena_printf(a, "%.*s%swhen %.*s", STR_ARG(text), text.n ? ", " : "", STR_ARG(node->when_source));
    if (node->loop)
        text = arena_printf(a, "%.*s%sforeach %.*s", STR_ARG(text), text.n ? ", " : "", STR_ARG(node->foreach.source));
    if (node->rule != RULE_ALL_SUCCEEDED)
        text = arena_printf(a, "%.*s%s%s", STR_ARG(text), text.n ? ", " : "", rule_name(node->rule));
    return text;
}

static void fill(struct cli *cli, struct table *t, const struct plan *p, uint32_t number, const char *prefix,
                 unsigned depth)
{
    const struct graph *g = &p->graphs[number];
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct node *node = &g->nodes[i];
        struct str name = arena_printf(cli->arena, "%s%.*s", prefix, STR_ARG(node->name));
        table_cell(t, name, STYLE_PLAIN_TEXT);
        table_cell_c(t, verb_name(node->verb));
        table_cell(t, names_of(cli->arena, g, node), STYLE_PLAIN_TEXT);
        table_cell(t, remarks(cli->arena, node), STYLE_DIM);
        if (node->verb == VERB_PIPELINE && depth < PLAN_MAX_DEPTH)
            fill(cli, t, p, node->graph, arena_printf(cli->arena, "%.*s.", STR_ARG(name)).p, depth + 1);
    }
}

static int show_plan(struct cli *cli, const struct plan *p)
{
    static const struct column columns[] = {
        {"STEP", false, 8}, {"VERB", false, 0}, {"AFTER", false, 10}, {"REMARKS", false, 10}};
    struct err err;
    struct table table;
    BUF_AUTO out;
    buf_init(&out, 1u << 30);
    if (cli->format == OUT_DOT) {
        draw_dot(&out, p);
    } else if (cli->format == OUT_MERMAID) {
        draw_mermaid(&out, p);
    } else if (cli->format != OUT_TABLE) {
        struct value v;
        plan_json(&out, p);
        struct str text = arena_str(cli->arena, buf_view(&out));
        return json_parse(cli->arena, text, 0, &v, &err) ? show_value(cli, &v) : cli_fail(cli, &err);
    } else {
        table_begin(&table, cli->arena, columns, sizeof columns / sizeof *columns);
        fill(cli, &table, p, 0, "", 0);
        table_print(&out, &table, &cli->out);
    }
    return cli_print(&out, &err) ? CLI_OK : cli_fail(cli, &err);
}

static int of_file(struct cli *cli, const char *path)
{
    struct file f = {0};
    struct err err;
    struct err_list errors;
    err_list_init(&errors, cli->arena);
    if (!file_read(cli, path, &f, &err)) return cli_fail(cli, &err);
    if (!file_compile(cli, &f, NULL, &errors)) return file_fail(cli, &f, &errors);
    if (!file_single(&f, &err)) return cli_fail(cli, &err);
    if (!f.n_docs) {
        err_set(&err, ERR_UNAVAILABLE, "%s uses a pipeline that only the server knows", path);
        return cli_fail(cli, &err);
    }
    return show_plan(cli, f.docs[0].plan);
}

int cmd_plan(struct cli *cli, const struct args *args)
{
    struct err err;
    struct value v;
    int64_t version;
    int code;
    const char *name = args_word(args, 0), *path;
    const struct plan *p;
    if (!file_meant(cli, name, &path, &err)) return cli_fail(cli, &err);
    if (path) return of_file(cli, path);
    if (!args_int(args, "version", 1, INT32_MAX, 0, &version, &err)) return cli_fail(cli, &err), CLI_USAGE;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!version) {
        path = client_project(client, cli->arena, client_path(cli->arena, "/api/v1/pipelines/%s", name));
        if (!client_get(client, cli->arena, path, &v, &err)) return cli_fail(cli, &err);
        version = field_int(&v, "version", 1);
    }
    path = client_path(cli->arena, "/api/v1/pipelines/%s/versions/%lld", name, (long long)version);
    path = client_project(client, cli->arena, path);
    if (!client_get(client, cli->arena, path, &v, &err)) return cli_fail(cli, &err);
    const struct value *json = value_get(&v, "plan");
    if (!json) return cli_usage(cli, "the server did not send the plan of %s", name);
    if (!plan_load(cli->arena, json, &p, &err)) return cli_fail(cli, &err);
    return show_plan(cli, p);
}
