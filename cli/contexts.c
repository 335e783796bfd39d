/* `millrace config`: the user's contexts. No command shows a token. */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/show.h"

static struct value text_value(const char *text)
{
    return text ? value_string(str_of(text)) : value_null();
}

int cmd_config_list(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {
        {"CURRENT", false, 0}, {"NAME", false, 0}, {"SERVER", false, 16}, {"PROJECT", false, 0}, {"TOKEN", false, 12}};
    (void)args;
    struct contexts contexts;
    struct err err;
    if (!contexts_load(cli->arena, &contexts, &err)) return cli_fail(cli, &err);
    struct table table;
    struct value_list_builder list;
    table_begin(&table, cli->arena, columns, 5);
    value_list_begin(&list, cli->arena);
    for (size_t i = 0; i < contexts.n; i++) {
        const struct context *c = &contexts.items[i];
        bool current = contexts.current && strcmp(contexts.current, c->name) == 0;
        const char *token = c->token ? "in the configuration file" : c->token_file;
        table_cell_c(&table, current ? "*" : "");
        table_cell_c(&table, c->name);
        table_cell_c(&table, c->server);
        table_cell_c(&table, c->project);
        table_cell_c(&table, token);
        struct value_map_builder map;
        value_map_begin(&map, cli->arena);
        value_map_put(&map, STR("name"), text_value(c->name));
        value_map_put(&map, STR("current"), value_bool(current));
        value_map_put(&map, STR("server"), text_value(c->server));
        value_map_put(&map, STR("project"), text_value(c->project));
        value_map_put(&map, STR("token"), text_value(token));
        value_list_push(&list, value_map_end(&map));
    }
    struct value v = value_list_end(&list);
    return show(cli, &table, &v);
}

int cmd_config_show(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {{"SETTING", false, 0}, {"VALUE", false, 16}};
    struct settings settings, *s = &settings;
    struct contexts contexts;
    struct err err, why;
    if (!contexts_load(cli->arena, &contexts, &err) || !settings_resolve(cli->arena, args, s, &err))
        return cli_fail(cli, &err);
    const char *token = !settings_token(cli->arena, s, &why) ? why.message
                                                             : arena_printf(cli->arena, "%s%s",
                                                                            s->token         ? "from "
                                                                            : s->token_place ? "none in "
                                                                                             : "none",
                                                                            s->token_place ? s->token_place : "")
                                                                   .p;
    const struct {
        const char *name, *value;
    } rows[] = {{"file", contexts.path},
                {"context", s->context},
                {"server", s->server},
                {"project", s->project ? s->project : "default, or what a file says"},
                {"token", token}};
    struct table table;
    struct value_map_builder map;
    table_begin(&table, cli->arena, columns, 2);
    value_map_begin(&map, cli->arena);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        table_cell_c(&table, rows[i].name);
        table_cell_c(&table, rows[i].value);
        value_map_put(&map, str_of(rows[i].name), text_value(rows[i].value));
    }
    struct value v = value_map_end(&map);
    return show(cli, &table, &v);
}

static int save(struct cli *cli, const struct contexts *contexts)
{
    struct err err;
    return contexts_save(cli->arena, contexts, &err) ? CLI_OK : cli_fail(cli, &err);
}

/* Where a command is called from later must not matter. */
static const char *absolute(struct arena *a, const char *path)
{
    char cwd[PATH_MAX];
    if (path[0] == '/' || !getcwd(cwd, sizeof cwd)) return path;
    return arena_printf(a, "%s/%s", cwd, path).p;
}

int cmd_config_set(struct cli *cli, const struct args *args)
{
    struct contexts contexts;
    struct err err;
    const char *name = args_word(args, 0), *url = args_get(args, "url"), *token = args_get(args, "token-from");
    const char *project = args_get(args, "default-project");
    if (!contexts_load(cli->arena, &contexts, &err)) return cli_fail(cli, &err);
    if (!*name) return cli_usage(cli, "a context needs a name");
    struct context *c = contexts_add(cli->arena, &contexts, name);
    if (url && !str_starts(str_of(url), "http://") && !str_starts(str_of(url), "https://"))
        return cli_usage(cli, "--url must begin with http:// or https://");
    if (url) c->server = url;
    if (token) c->token_file = absolute(cli->arena, token), c->token = NULL;
    if (project) c->project = project;
    if (!contexts.current) contexts.current = name;
    return save(cli, &contexts);
}

static int unknown(struct cli *cli, const struct contexts *contexts, const char *name)
{
    struct err err;
    struct str *names = arena_array(cli->arena, struct str, contexts->n + 1);
    for (size_t i = 0; i < contexts->n; i++)
        names[i] = str_of(contexts->items[i].name);
    struct str near = suggest(str_of(name), names, contexts->n);
    err_set(&err, ERR_NOT_FOUND, "no context named '%s' in %s", name, contexts->path);
    if (near.n) err_hint(&err, "did you mean '%.*s'?", STR_ARG(near));
    return cli_fail(cli, &err);
}

int cmd_config_use(struct cli *cli, const struct args *args)
{
    struct contexts contexts;
    struct err err;
    if (!contexts_load(cli->arena, &contexts, &err)) return cli_fail(cli, &err);
    if (!contexts_find(&contexts, args_word(args, 0))) return unknown(cli, &contexts, args_word(args, 0));
    contexts.current = args_word(args, 0);
    return save(cli, &contexts);
}

int cmd_config_delete(struct cli *cli, const struct args *args)
{
    struct contexts contexts;
    struct err err;
    if (!contexts_load(cli->arena, &contexts, &err)) return cli_fail(cli, &err);
    if (!contexts_remove(&contexts, args_word(args, 0))) return unknown(cli, &contexts, args_word(args, 0));
    return save(cli, &contexts);
}
