/* What there is: list, get, events, pipelines, projects, version. */
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/show.h"
#include "cli/tree.h"
#include "engine/os/clock.h"

/* A column of a list and where its text comes from. */
enum show_as { AS_TEXT, AS_STATE, AS_AGE, AS_SPAN };
struct field_column {
    struct column column;
    const char *key; /* of AS_SPAN: begins there, ends at endedAt or now */
    enum show_as as;
};

static void put_field(struct table *t, struct arena *a, const struct value *item, const struct field_column *f)
{
    struct str text = value_text(a, value_get(item, f->key));
    int64_t then = f->as == AS_AGE || f->as == AS_SPAN ? time_parse(text) : 0, now = os_now_us();
    int64_t ended = time_parse(field_str(item, "endedAt"));
    switch (f->as) {
    case AS_TEXT: table_cell(t, text, STYLE_PLAIN_TEXT); break;
    case AS_STATE: table_cell(t, text, style_of_state(text)); break;
    case AS_AGE: table_cell(t, age_text(a, then, now), STYLE_PLAIN_TEXT); break;
    case AS_SPAN: table_cell(t, then ? span_text(a, (ended ? ended : now) - then) : STR(""), STYLE_PLAIN_TEXT); break;
    }
}

/* Items as a table of these columns, or as they are. */
static int show_items(struct cli *cli, const struct value *list, const struct field_column *fields, size_t n)
{
    struct column *columns = arena_array(cli->arena, struct column, n);
    struct table table;
    for (size_t i = 0; i < n; i++)
        columns[i] = fields[i].column;
    table_begin(&table, cli->arena, columns, n);
    for (size_t i = 0; i < list->u.list.n; i++) {
        for (size_t c = 0; c < n; c++)
            put_field(&table, cli->arena, &list->u.list.items[i], &fields[c]);
    }
    return show(cli, &table, list);
}

static int list_of(struct cli *cli, const char *path, size_t limit, const struct field_column *fields, size_t n)
{
    struct pages pages;
    struct err err;
    if (!pages_fetch(cli, cli->arena, path, limit, &pages, &err)) return cli_fail(cli, &err);
    struct value list = pages_join(cli->arena, &pages, limit);
    return show_items(cli, &list, fields, n);
}

static void add_term(struct arena *a, struct str *filter, struct str term)
{
    *filter = filter->n ? arena_printf(a, "%.*s and %.*s", STR_ARG(*filter), STR_ARG(term)) : term;
}

/* A value as the filter's grammar quotes it. */
static struct str quoted(struct arena *a, const char *text)
{
    struct value v = value_string(str_of(text));
    BUF_AUTO out;
    buf_init(&out, 0);
    value_json(&out, &v, false);
    return arena_str(a, buf_view(&out));
}

static void add_states(struct arena *a, struct str *filter, const struct args *args)
{
    struct str states = STR("");
    const char *state;
    for (size_t at = 0; (state = args_next(args, "state", &at));)
        states = states.n ? arena_printf(a, "%.*s, %s", STR_ARG(states), state) : str_of(state);
    if (states.n) add_term(a, filter, arena_printf(a, "state in (%.*s)", STR_ARG(states)));
}

static bool build_filter(struct arena *a, const struct args *args, struct str *out, struct err *err)
{
    struct str filter = STR("");
    const char *text;
    add_states(a, &filter, args);
    if ((text = args_get(args, "pipeline")))
        add_term(a, &filter, arena_printf(a, "pipeline = %.*s", STR_ARG(quoted(a, text))));
    for (size_t at = 0; (text = args_next(args, "label", &at));) {
        const char *equals = strchr(text, '=');
        if (!equals) return err_set(err, ERR_INVALID, "--label wants KEY=VALUE, not '%s'", text);
        add_term(a, &filter,
                 arena_printf(a, "labels.%.*s = %.*s", (int)(equals - text), text, STR_ARG(quoted(a, equals + 1))));
    }
    if (args_has(args, "archived")) add_term(a, &filter, STR("archived in (true, false)")); /* unsaid: false */
    if ((text = args_get(args, "filter"))) add_term(a, &filter, str_of(text));
    *out = filter;
    return true;
}

int cmd_list(struct cli *cli, const struct args *args)
{
    static const struct field_column fields[] = {
        {{"RUN", true, 0}, "id", AS_TEXT},
        {{"PIPELINE", false, 8}, "pipeline", AS_TEXT},
        {{"NAME", false, 8}, "name", AS_TEXT},
        {{"STATE", false, 0}, "state", AS_STATE},
        {{"CREATED", false, 0}, "createdAt", AS_AGE},
        {{"TOOK", true, 0}, "startedAt", AS_SPAN},
        {{"MESSAGE", false, 10}, "message", AS_TEXT},
    };
    struct arena *a = cli->arena;
    struct err err;
    struct str filter;
    int64_t limit;
    int code;
    if (!args_int(args, "limit", 1, 1000000, 20, &limit, &err) || !build_filter(a, args, &filter, &err)) {
        cli_fail(cli, &err);
        return CLI_USAGE;
    }
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    const char *path = client_project(client, a, "/api/v1/runs"), *order = args_get(args, "order-by");
    if (filter.n) path = client_with(a, path, client_path(a, "filter=%s", arena_cstr(a, filter)));
    if (order) path = client_with(a, path, client_path(a, "order_by=%s", order));
    return list_of(cli, path, args_has(args, "all") ? 0 : (size_t)limit, fields, sizeof fields / sizeof *fields);
}

/* A run with the tree of its tasks; as JSON or YAML the run with a member `tasks`. */
static int get_run(struct cli *cli, const char *word)
{
    struct arena *a = cli->arena;
    const char *path;
    struct value run;
    struct pages pages;
    struct err err;
    int code = request_run_path(cli, word, "", &path);
    if (code >= 0) return code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!client_get(client, a, path, &run, &err) ||
        !pages_fetch(cli, a, arena_printf(a, "%s/tasks", path).p, 0, &pages, &err))
        return cli_fail(cli, &err);
    if (cli->format != OUT_TABLE) {
        struct value_map_builder map;
        value_map_begin(&map, a);
        for (size_t i = 0; i < run.u.map.n; i++)
            value_map_put(&map, run.u.map.entries[i].key, run.u.map.entries[i].value);
        value_map_put(&map, STR("tasks"), pages_join(a, &pages, 0));
        struct value whole = value_map_end(&map);
        return show_value(cli, &whole);
    }
    BUF_AUTO out;
    struct tree tree;
    buf_init(&out, 0);
    tree_load(a, &run, pages.items, pages.n, &tree);
    struct tree_view view = {.term = cli->out, .now_us = os_now_us()};
    view.term.height = 0; /* all of it: nothing moves here */
    view.term.tty = false;
    tree_render(&out, a, &tree, &view);
    static const char *const members[] = {"params", "labels", "outputs"};
    for (size_t m = 0; m < 3; m++) {
        const struct value *map = value_get(&run, members[m]);
        for (size_t i = 0; map && map->type == VALUE_MAP && i < map->u.map.n; i++) {
            buf_printf(&out, "%s.%.*s = ", members[m], STR_ARG(map->u.map.entries[i].key));
            term_text(&out, value_text(a, &map->u.map.entries[i].value), 0);
            buf_char(&out, '\n');
        }
    }
    return cli_print(&out, &err) ? CLI_OK : cli_fail(cli, &err);
}

static int get_pipeline(struct cli *cli, const char *name)
{
    struct value v;
    struct err err;
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    const char *path = client_project(client, cli->arena, client_path(cli->arena, "/api/v1/pipelines/%s", name));
    if (!client_get(client, cli->arena, path, &v, &err)) return cli_fail(cli, &err);
    if (cli->format != OUT_TABLE) return show_value(cli, &v);
    struct str source = field_str(&v, "source");
    BUF_AUTO out;
    buf_init(&out, 0);
    buf_printf(&out, "# version %lld of %lld, by %.*s, %.*s\n", (long long)field_int(&v, "version", 0),
               (long long)field_int(&v, "latestVersion", field_int(&v, "version", 0)),
               STR_ARG(field_str(&v, "createdBy")),
               STR_ARG(age_text(cli->arena, time_parse(field_str(&v, "createdAt")), os_now_us())));
    buf_str(&out, source);
    if (!str_ends(source, "\n")) buf_char(&out, '\n');
    return cli_print(&out, &err) ? CLI_OK : cli_fail(cli, &err);
}

int cmd_get(struct cli *cli, const struct args *args)
{
    const char *word = args_word(args, 0);
    if (str_starts(str_of(word), "pipeline/")) return get_pipeline(cli, word + 9);
    if (str_starts(str_of(word), "run/")) word += 4;
    return get_run(cli, word);
}

int cmd_events(struct cli *cli, const struct args *args)
{
    static const struct field_column fields[] = {
        {{"SEQ", true, 0}, "seq", AS_TEXT},         {{"AT", false, 0}, "at", AS_TEXT},
        {{"EVENT", false, 0}, "kind", AS_STATE},    {{"TASK", false, 8}, "path", AS_TEXT},
        {{"ATTEMPT", true, 0}, "attempt", AS_TEXT}, {{"DETAIL", false, 10}, "detail", AS_TEXT},
    };
    struct arena *a = cli->arena;
    struct value_list_builder list;
    const char *path;
    int code = request_run_path(cli, args_word(args, 0), "/events", &path);
    if (code >= 0) return code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    value_list_begin(&list, a);
    int64_t last = 0; /* this list is paged by its own sequence */
    for (size_t n = 1; n;) {
        struct value page;
        struct err err;
        if (!client_get(client, a, arena_printf(a, "%s?page_size=1000&after=%lld", path, (long long)last).p, &page,
                        &err))
            return cli_fail(cli, &err);
        const struct value *items = field_list(&page, "items", &n);
        for (size_t i = 0; i < n; i++) {
            value_list_push(&list, items[i]);
            last = field_int(&items[i], "seq", last);
        }
    }
    struct value all = value_list_end(&list);
    return show_items(cli, &all, fields, sizeof fields / sizeof *fields);
}

int cmd_pipelines(struct cli *cli, const struct args *args)
{
    static const struct field_column fields[] = {
        {{"PIPELINE", false, 8}, "name", AS_TEXT},
        {{"VERSION", true, 0}, "version", AS_TEXT},
        {{"UPDATED", false, 0}, "updatedAt", AS_AGE},
        {{"BY", false, 4}, "createdBy", AS_TEXT},
        {{"DESCRIPTION", false, 12}, "description", AS_TEXT},
    };
    static const struct field_column versions[] = {
        {{"VERSION", true, 0}, "version", AS_TEXT}, {{"CREATED", false, 0}, "createdAt", AS_AGE},
        {{"BY", false, 4}, "createdBy", AS_TEXT},   {{"PLAN", false, 14}, "planDigest", AS_TEXT},
        {{"CODE", false, 14}, "bundle", AS_TEXT},
    };
    const char *name = args_word(args, 0);
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!name)
        return list_of(cli, client_project(client, cli->arena, "/api/v1/pipelines"), 0, fields,
                       sizeof fields / sizeof *fields);
    const char *path =
        client_project(client, cli->arena, client_path(cli->arena, "/api/v1/pipelines/%s/versions", name));
    return list_of(cli, path, 0, versions, sizeof versions / sizeof *versions);
}

int cmd_projects(struct cli *cli, const struct args *args)
{
    static const struct field_column fields[] = {{{"PROJECT", false, 0}, "name", AS_TEXT},
                                                 {{"CREATED", false, 0}, "createdAt", AS_AGE},
                                                 {{"BY", false, 4}, "createdBy", AS_TEXT}};
    struct value v;
    struct err err;
    int code;
    struct client *client = cli_client(cli, &code);
    (void)args;
    if (!client) return code;
    if (!client_get(client, cli->arena, "/api/v1/projects", &v, &err)) return cli_fail(cli, &err);
    struct pages pages = {&v, 1, 0};
    struct value list = pages_join(cli->arena, &pages, 0);
    return show_items(cli, &list, fields, sizeof fields / sizeof *fields);
}

int cmd_version(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {{"PROGRAM", false, 0}, {"VERSION", false, 0}};
    struct client_reply reply;
    struct client_request request = {.path = "/api/v1/version", .timeout_ms = 2000, .once = true};
    struct err err;
    struct table table;
    struct value_map_builder map;
    (void)args;
    struct value server = value_null();
    if (cli_connect(cli, &err) && client_send(cli->client, cli->arena, &request, &reply, NULL, &err))
        server = value_string(field_str(&reply.value, "version"));
    else if (err.code != ERR_UNAVAILABLE)
        cli_note(cli, "note: %s", err.message);
    table_begin(&table, cli->arena, columns, 2);
    table_cell_c(&table, "millrace");
    table_cell_c(&table, MILLRACE_VERSION);
    table_cell_c(&table, "server");
    table_cell(&table, server.type == VALUE_NULL ? STR("not reached") : server.u.s, STYLE_PLAIN_TEXT);
    value_map_begin(&map, cli->arena);
    value_map_put(&map, STR("version"), value_string(STR(MILLRACE_VERSION)));
    value_map_put(&map, STR("server"), server);
    struct value v = value_map_end(&map);
    return show(cli, &table, &v);
}
