/* The queue for GPUs: queue, queue apply, queue delete, gpus. */
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "engine/base/jsonw.h"
#include "engine/base/units.h"
#include "engine/os/clock.h"

#define FILE_MAX ((size_t)8 << 20)

/* ---- apply ---- */

static bool send_file(struct cli *cli, struct client *client, const char *path, struct str source, bool dry,
                      struct value *answer, struct err_list *errors, struct err *err)
{
    BUF_AUTO body;
    struct jsonw w;
    buf_init(&body, 0);
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    jsonw_kv_str(&w, "source", source);
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return err_set(err, ERR_TOO_LARGE, "%s is too long", path);
    return client_post(client, cli->arena, dry ? "/api/v1/queues?dry_run=true" : "/api/v1/queues", buf_view(&body),
                       answer, errors, err);
}

int cmd_queue_apply(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {
        {"KIND", false, 0}, {"NAME", false, 8}, {"CHANGE", false, 0}, {"FILE", false, 12}};
    struct value_list_builder all;
    struct table table;
    int code, first = CLI_OK;
    bool dry = args_has(args, "dry-run");
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    value_list_begin(&all, cli->arena);
    table_begin(&table, cli->arena, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < args->n_words && !first; i++) {
        struct err err = {0};
        struct err_list errors;
        struct str source;
        struct value answer;
        size_t n;
        err_list_init(&errors, cli->arena);
        if (!cli_read_file(cli->arena, args->words[i], FILE_MAX, &source, &err)) return cli_fail(cli, &err);
        if (!send_file(cli, client, args->words[i], source, dry, &answer, &errors, &err)) {
            first = errors.n ? cli_fail_in(cli, &errors, args->words[i], source) : cli_fail(cli, &err);
            continue;
        }
        const struct value *items = field_list(&answer, "items", &n);
        for (size_t k = 0; k < n; k++) {
            struct str action = field_str(&items[k], "action");
            value_list_push(&all, items[k]);
            bool same = str_is(action, "unchanged");
            table_cell(&table, field_str(&items[k], "kind"), STYLE_PLAIN_TEXT);
            table_cell(&table, field_str(&items[k], "name"), STYLE_PLAIN_TEXT);
            table_cell(&table, dry && !same ? arena_printf(cli->arena, "would be %.*s", STR_ARG(action)) : action,
                       same ? STYLE_DIM : STYLE_GREEN);
            table_cell_c(&table, args->words[i]);
        }
    }
    struct value list = value_list_end(&all);
    code = list.u.list.n ? show(cli, &table, &list) : CLI_OK;
    return first ? first : code;
}

/* NAME, queue/NAME or flavor/NAME. */
int cmd_queue_delete(struct cli *cli, const struct args *args)
{
    int first = CLI_OK, code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    for (size_t i = 0; i < args->n_words; i++) {
        struct err err;
        struct client_reply reply;
        struct str name = str_of(args->words[i]);
        bool flavor = str_starts(name, "flavor/");
        size_t from = flavor ? 7 : str_starts(name, "queue/") ? 6 : 0;
        const char *path =
            client_path(cli->arena, flavor ? "/api/v1/flavors/%s" : "/api/v1/queues/%s", args->words[i] + from);
        struct client_request request = {.method = "DELETE", .path = path, .repeatable = true};
        if (client_send(client, cli->arena, &request, &reply, NULL, &err)) {
            cli_note(cli, "%s/%s is deleted", flavor ? "flavor" : "queue", args->words[i] + from);
            continue;
        }
        code = cli_fail(cli, &err);
        if (!first) first = code;
    }
    return first;
}

/* ---- queues ---- */

static struct str number(struct arena *a, const struct value *v)
{
    return v ? value_text(a, v) : STR("");
}

static struct str amount(struct arena *a, struct str of, const struct value *v)
{
    char text[32];
    if (!v) return STR("∞");
    if (!str_is(of, "memory") || v->type != VALUE_INT) return number(a, v);
    return arena_printf(a, "%s", units_bytes_text(v->u.i, text));
}

/* "h100 3/16, cpu 12/∞" */
static struct str uses(struct arena *a, const struct value *queue)
{
    size_t n;
    const struct value *list = field_list(queue, "use", &n);
    struct str out = STR("");
    for (size_t i = 0; i < n; i++) {
        struct str of = field_str(&list[i], "of");
        struct str used = amount(a, of, value_get(&list[i], "used")),
                   most = amount(a, of, value_get(&list[i], "nominal"));
        out = arena_printf(a, "%.*s%s%.*s %.*s/%.*s", STR_ARG(out), i ? ", " : "", STR_ARG(of), STR_ARG(used),
                           STR_ARG(most));
    }
    struct str handed = number(a, value_get(queue, "handed"));
    if (handed.n) out = arena_printf(a, "%.*s%s%.*s handed over", STR_ARG(out), out.n ? ", " : "", STR_ARG(handed));
    return out;
}

static int show_queues(struct cli *cli, struct client *client)
{
    static const struct column columns[] = {
        {"QUEUE", false, 8}, {"COHORT", false, 6}, {"WAITING", true, 0}, {"RUNNING", true, 0}, {"USED", false, 12}};
    struct arena *a = cli->arena;
    struct value v;
    struct err err;
    struct table table;
    if (!client_get(client, a, "/api/v1/queues", &v, &err)) return cli_fail(cli, &err);
    struct pages pages = {&v, 1, 0};
    struct value list = pages_join(a, &pages, 0);
    table_begin(&table, a, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < list.u.list.n; i++) {
        const struct value *q = &list.u.list.items[i];
        struct str kueue = field_str(q, "kueue");
        table_cell(&table, field_str(q, "name"), STYLE_PLAIN_TEXT);
        table_cell(&table, kueue.n ? arena_printf(a, "kueue: %.*s", STR_ARG(kueue)) : field_str(q, "cohort"),
                   STYLE_PLAIN_TEXT);
        table_cell(&table, number(a, value_get(q, "waiting")), STYLE_PLAIN_TEXT);
        table_cell(&table, number(a, value_get(q, "running")), STYLE_PLAIN_TEXT);
        table_cell(&table, uses(a, q), STYLE_PLAIN_TEXT);
    }
    return show(cli, &table, &list);
}

static int show_works(struct cli *cli, struct client *client, const char *name)
{
    static const struct column columns[] = {{"#", true, 0},       {"RUN", true, 0},      {"STEP", false, 8},
                                            {"STATE", false, 0},  {"PRIORITY", true, 0}, {"GPUS", true, 0},
                                            {"FLAVOR", false, 6}, {"SINCE", false, 0},   {"WHY", false, 16}};
    struct arena *a = cli->arena;
    struct value v;
    struct err err;
    struct table table;
    size_t n;
    if (!client_get(client, a, client_path(a, "/api/v1/queues/%s", name), &v, &err)) return cli_fail(cli, &err);
    const struct value *works = field_list(&v, "works", &n);
    table_begin(&table, a, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < n; i++) {
        const struct value *k = &works[i];
        bool waits = str_is(field_str(k, "state"), "waits"), handed = str_is(field_str(k, "state"), "handed");
        struct str run = number(a, value_get(k, "run")), why = field_str(k, "waitingFor");
        if (handed) why = arena_printf(a, "Kueue decides: millrace get %.*s", STR_ARG(run));
        int64_t since = time_parse(field_str(k, waits ? "submittedAt" : "admittedAt"));
        table_cell(&table, number(a, value_get(k, "position")), STYLE_PLAIN_TEXT);
        table_cell(&table, run, STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(k, "path"), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(k, "state"), waits || handed ? STYLE_YELLOW : STYLE_GREEN);
        table_cell(&table, number(a, value_get(k, "priority")), STYLE_PLAIN_TEXT);
        table_cell(&table, number(a, value_get(k, "gpus")), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(k, "flavor"), STYLE_PLAIN_TEXT);
        table_cell(&table, age_text(a, since, os_now_us()), STYLE_PLAIN_TEXT);
        table_cell(&table, why, STYLE_PLAIN_TEXT);
    }
    return show(cli, &table, &v);
}

int cmd_queue(struct cli *cli, const struct args *args)
{
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    return args->n_words ? show_works(cli, client, args_word(args, 0)) : show_queues(cli, client);
}

/* ---- gpus ---- */

static struct str holders(struct arena *a, const struct value *node, struct str flavor)
{
    size_t n;
    const struct value *steps = field_list(node, "steps", &n);
    struct str out = STR("");
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(field_str(&steps[i], "flavor"), flavor)) continue;
        struct str run = number(a, value_get(&steps[i], "run")), path = field_str(&steps[i], "path");
        out = arena_printf(a, "%.*s%s%.*s/%.*s", STR_ARG(out), out.n ? ", " : "", STR_ARG(run), STR_ARG(path));
    }
    return out;
}

static size_t gpu_rows(struct table *t, struct arena *a, const struct value *node)
{
    size_t n;
    const struct value *gpus = field_list(node, "gpus", &n);
    for (size_t i = 0; i < n; i++) {
        struct str flavor = field_str(&gpus[i], "flavor");
        table_cell(t, field_str(node, "name"), STYLE_PLAIN_TEXT);
        table_cell(t, flavor, STYLE_PLAIN_TEXT);
        struct str resource = field_str(&gpus[i], "resource");
        table_cell(t, resource.n ? resource : field_str(&gpus[i], "deviceClass"), STYLE_PLAIN_TEXT);
        table_cell(t, number(a, value_get(&gpus[i], "total")), STYLE_PLAIN_TEXT);
        table_cell(t, number(a, value_get(&gpus[i], "used")), STYLE_PLAIN_TEXT);
        table_cell(t, number(a, value_get(&gpus[i], "others")), STYLE_PLAIN_TEXT);
        table_cell(t, field_bool(node, "schedulable") ? holders(a, node, flavor) : STR("(not schedulable)"),
                   STYLE_PLAIN_TEXT);
    }
    return n;
}

int cmd_gpus(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {{"NODE", false, 8},  {"FLAVOR", false, 6}, {"RESOURCE", false, 8},
                                            {"GPUS", true, 0},   {"USED", true, 0},    {"OTHERS", true, 0},
                                            {"STEPS", false, 12}};
    struct value v;
    struct err err;
    struct table table;
    size_t n, known = 0, notes = 0;
    int code;
    (void)args;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!client_get(client, cli->arena, "/api/v1/gpus", &v, &err)) return cli_fail(cli, &err);
    const struct value *nodes = field_list(&v, "items", &n);
    table_begin(&table, cli->arena, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < n; i++)
        known += gpu_rows(&table, cli->arena, &nodes[i]);
    const struct value *domains = field_list(&v, "domains", &n);
    for (size_t i = 0; i < n; i++)
        if (field_str(&domains[i], "trouble").n) {
            cli_note(cli, "note: %.*s", STR_ARG(field_str(&domains[i], "trouble")));
            notes++;
        }
    if (known + notes == 0)
        cli_note(cli,
                 "note: no GPUs are known: a machine's are once its server has looked, a cluster's once a step asks "
                 "for one, both where a flavor fits them");
    return show(cli, &table, &v);
}
