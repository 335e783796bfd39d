/* apply, diff and validate: from files to the server, or to nothing but their problems. */
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/show.h"
#include "engine/base/jsonw.h"

struct applying {
    struct cli *cli;
    const struct args *args;
    struct client *client;
    bool dry, differs;
    struct value_list_builder items;
    struct table table;
};

static const struct column apply_columns[] = {
    {"PIPELINE", false, 8}, {"VERSION", true, 0}, {"CHANGE", false, 0}, {"FILE", false, 12}};

static enum style style_of_action(struct str action)
{
    return str_is(action, "created") ? STYLE_GREEN : str_is(action, "updated") ? STYLE_YELLOW : STYLE_DIM;
}

static void keep_items(struct applying *k, const struct file *f, const struct value *answer)
{
    size_t n;
    const struct value *items = field_list(answer, "items", &n);
    for (size_t i = 0; i < n; i++) {
        struct str action = field_str(&items[i], "action");
        k->differs = k->differs || !str_is(action, "unchanged");
        value_list_push(&k->items, items[i]);
        table_cell(&k->table, field_str(&items[i], "name"), STYLE_PLAIN_TEXT);
        table_cell(&k->table, value_text(k->cli->arena, value_get(&items[i], "version")), STYLE_PLAIN_TEXT);
        table_cell(&k->table, action, style_of_action(action));
        table_cell_c(&k->table, f->path);
    }
}

/* A folder that is not sent: what its steps run is known by the digest alone, but sub-pipelines are part of the plan.
 */
static void write_parts(struct jsonw *w, const struct file *f)
{
    jsonw_key(w, "files");
    jsonw_object(w);
    for (size_t i = 0; i < f->n_parts; i++)
        if (f->parts[i].text.p) jsonw_kv_str(w, f->parts[i].name, f->parts[i].text);
    jsonw_object_end(w);
}

/* One file to the server. False: *code says what it means, the errors are in the list (or in *err when they are not
 * about the file). */
static bool send_file(struct applying *k, struct file *f, struct err_list *errors, struct err *err)
{
    struct cli *cli = k->cli;
    const char *digest;
    BUF_AUTO body;
    struct jsonw w;
    buf_init(&body, 0);
    bool ok = k->dry ? file_look_at_code(cli, k->args, f, &digest, err) : file_send_code(cli, k->args, f, &digest, err);
    if (!ok) return false;
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    jsonw_kv_str(&w, "source", f->source);
    jsonw_kv_cstr(&w, "bundle", digest);
    if (k->dry && digest) write_parts(&w, f);
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return err_set(err, ERR_TOO_LARGE, "%s is too long", f->path);
    const char *path =
        client_project(k->client, cli->arena, k->dry ? "/api/v1/pipelines?dry_run=true" : "/api/v1/pipelines");
    struct value answer;
    if (!client_post(k->client, cli->arena, path, buf_view(&body), &answer, errors, err)) return false;
    keep_items(k, f, &answer);
    return true;
}

static void print_diffs(struct applying *k, const struct value *list, struct buf *out)
{
    for (size_t i = 0; i < list->u.list.n; i++) {
        struct str diff = field_str(&list->u.list.items[i], "diff"), line;
        while (diff.n && str_split(&diff, '\n', &line)) {
            enum style style = str_starts(line, "+")   ? STYLE_GREEN
                               : str_starts(line, "-") ? STYLE_RED
                               : str_starts(line, "@") ? STYLE_CYAN
                                                       : STYLE_PLAIN_TEXT;
            term_style(out, k->cli->out.color, style);
            term_text(out, line, 0);
            term_style_end(out, k->cli->out.color, style);
            buf_char(out, '\n');
        }
    }
}

static int show_applied(struct applying *k)
{
    struct value list = value_list_end(&k->items);
    if (k->dry && k->cli->format == OUT_TABLE) {
        struct err err;
        BUF_AUTO out;
        buf_init(&out, 0);
        print_diffs(k, &list, &out);
        if (!cli_print(&out, &err)) return cli_fail(k->cli, &err);
    }
    return list.u.list.n ? show(k->cli, &k->table, &list) : CLI_OK;
}

/* Files may use each other's pipelines, in any order: what fails because another is not there yet is tried again after
 * the others. */
static int send_all(struct applying *k, struct files *files)
{
    struct cli *cli = k->cli;
    bool *done = arena_array(cli->arena, bool, files->n);
    int code = CLI_OK;
    for (size_t left = files->n, before = left + 1; left && left < before;) {
        before = left;
        code = CLI_OK;
        for (size_t i = 0; i < files->n; i++) {
            struct err_list errors;
            struct err err = {0};
            err_list_init(&errors, cli->arena);
            if (done[i]) continue;
            if (send_file(k, &files->items[i], &errors, &err)) {
                done[i] = true;
                left--;
                continue;
            }
            bool about_file = errors.n && (err.code == ERR_INVALID || err.code == ERR_SYNTAX || err.code == ERR_LIMIT ||
                                           err.code == ERR_NOT_FOUND);
            if (!about_file) return cli_fail(cli, &err);
            bool last = left == 1 || k->dry;
            if (last) code = file_fail(cli, &files->items[i], &errors);
            if (last) done[i] = true, left--;
            if (!last) code = CLI_INVALID;
        }
    }
    for (size_t i = 0; i < files->n; i++) { /* no progress any more: now their errors are final */
        struct err_list errors;
        struct err err = {0};
        err_list_init(&errors, cli->arena);
        if (done[i]) continue;
        if (send_file(k, &files->items[i], &errors, &err)) continue;
        code = errors.n ? file_fail(cli, &files->items[i], &errors) : cli_fail(cli, &err);
    }
    return code;
}

static bool same_file(const struct file *a, const struct file *b)
{
    struct stat x, y;
    if (strcmp(a->path, b->path) == 0) return true;
    return stat(a->path, &x) == 0 && stat(b->path, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool same_pipeline(const struct file *a, const struct file *b, struct str *name)
{
    for (size_t i = 0; i < a->n_docs; i++)
        for (size_t k = 0; k < b->n_docs; k++) {
            if (!str_eq(a->docs[i].name, b->docs[k].name) || !str_eq(a->docs[i].project, b->docs[k].project)) continue;
            *name = a->docs[i].name;
            return true;
        }
    return false;
}

/* Two compiled files of one pipeline would replace each other with every apply. */
static bool all_different(const struct files *files, struct err *err)
{
    struct str name;
    for (size_t i = 1; i < files->n; i++)
        for (size_t k = 0; k < i; k++) {
            const struct file *a = &files->items[k], *b = &files->items[i];
            if (!same_pipeline(a, b, &name) || same_file(a, b)) continue;
            err_set(err, ERR_INVALID, "%s and %s both hold the pipeline '%.*s'", a->path, b->path, STR_ARG(name));
            return err_hint(err, "give one of them another name, or leave it out: each would replace the other");
        }
    return true;
}

static int apply(struct cli *cli, const struct args *args, bool dry)
{
    struct applying k = {.cli = cli, .args = args, .dry = dry};
    struct files files;
    struct err err;
    int code, first = CLI_OK;
    if (!files_collect(cli, args, &files, &err)) return cli_fail(cli, &err);
    k.client = cli_client(cli, &code);
    if (!k.client) return code;
    /* All of them are compiled here before anything is sent: a mistake in the last one leaves the first ones unapplied,
     * too. */
    for (size_t i = 0; i < files.n; i++) {
        struct err_list errors;
        err_list_init(&errors, cli->arena);
        if (file_compile(cli, &files.items[i], &files, &errors)) continue;
        code = file_fail(cli, &files.items[i], &errors);
        if (!first) first = code;
    }
    if (first) return first;
    if (!all_different(&files, &err)) return cli_fail(cli, &err);
    value_list_begin(&k.items, cli->arena);
    table_begin(&k.table, cli->arena, apply_columns, sizeof apply_columns / sizeof *apply_columns);
    first = send_all(&k, &files);
    code = show_applied(&k);
    if (dry && k.differs && !code) code = CLI_DIFFERS;
    return first ? first : code;
}

int cmd_apply(struct cli *cli, const struct args *args)
{
    return apply(cli, args, false);
}

int cmd_diff(struct cli *cli, const struct args *args)
{
    return apply(cli, args, true);
}

/* ---- validate ---- */

static size_t steps_of(const struct plan *p)
{
    return p ? p->graphs[0].n_nodes : 0;
}

static struct value problem_value(struct arena *a, const struct file *f, const struct err *e)
{
    struct value_map_builder map;
    value_map_begin(&map, a);
    value_map_put(&map, STR("file"), value_string(e->file ? e->file->name : str_of(f->path)));
    if (e->file) value_map_put(&map, STR("usedBy"), value_string(e->file->used_by));
    value_map_put(&map, STR("line"), value_int(e->at.line));
    value_map_put(&map, STR("column"), value_int(e->at.col));
    value_map_put(&map, STR("code"), value_string(str_of(err_name(e->code))));
    value_map_put(&map, STR("path"), value_string(arena_str(a, str_of(e->path))));
    value_map_put(&map, STR("message"), value_string(arena_str(a, str_of(e->message))));
    value_map_put(&map, STR("hint"), value_string(arena_str(a, str_of(e->hint))));
    return value_map_end(&map);
}

static void validate_file(struct cli *cli, struct file *f, const struct files *all, struct table *table,
                          struct value_list_builder *problems, int *first)
{
    struct err_list errors;
    err_list_init(&errors, cli->arena);
    if (!file_compile(cli, f, all, &errors)) {
        if (cli->format == OUT_TABLE) {
            int code = file_fail(cli, f, &errors);
            if (!*first) *first = code;
        }
        for (size_t i = 0; i < errors.n; i++)
            value_list_push(problems, problem_value(cli->arena, f, &errors.items[i]));
        if (!*first) *first = CLI_INVALID;
        return;
    }
    for (size_t i = 0; i < f->n_docs; i++) {
        table_cell_c(table, f->path);
        table_cell(table, f->docs[i].name, STYLE_PLAIN_TEXT);
        table_cell(table, arena_printf(cli->arena, "%zu", steps_of(f->docs[i].plan)), STYLE_PLAIN_TEXT);
        table_cell(table, STR("valid"), STYLE_GREEN);
    }
}

int cmd_validate(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {
        {"FILE", false, 16}, {"PIPELINE", false, 8}, {"STEPS", true, 0}, {"RESULT", false, 0}};
    struct files files;
    struct err err;
    struct table table;
    struct value_list_builder problems;
    int first = CLI_OK;
    if (!files_collect(cli, args, &files, &err)) return cli_fail(cli, &err);
    table_begin(&table, cli->arena, columns, sizeof columns / sizeof *columns);
    value_list_begin(&problems, cli->arena);
    for (size_t i = 0; i < files.n; i++)
        validate_file(cli, &files.items[i], &files, &table, &problems, &first);
    if (!all_different(&files, &err)) cli_note(cli, "note: %s: they cannot be applied together", err.message);
    struct value list = value_list_end(&problems);
    if (cli->format == OUT_TABLE && !table.n_rows) return first;
    int code = show(cli, &table, &list);
    return first ? first : code;
}
