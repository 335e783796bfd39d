/* Compiling pipeline files without a server: see files.h. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/files.h"
#include "cli/output.h"
#include "engine/flow/compile.h"
#include "engine/text/yaml.h"

struct compiling {
    struct cli *cli;
    const char *path; /* of the file whose document it is */
    struct str source;
    const struct files *beside;
    struct file *top; /* the one that is compiled: its parts are noted; NULL = none are */
};

static struct pos locate(void *ctx, const struct value *scalar, struct pos inner)
{
    return yaml_locate(((struct compiling *)ctx)->source, scalar, inner);
}

static bool resolve(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                    const struct plan **out, struct err_list *errors);

/* The document named `name` (empty = the first) of a text; *there is whether it holds one. */
static bool compile_named(const struct compiling *in, struct str name, const struct compile_chain *chain,
                          const struct plan **out, bool *there, struct err_list *errors)
{
    struct arena *a = in->cli->arena;
    struct value *docs = NULL;
    size_t n = 0, before = errors->total;
    struct err_list none;
    struct compiling inner = *in;
    struct compile_env env = {.ctx = &inner, .pipeline = resolve, .locate = locate, .chain = chain};
    err_list_init(&none, a);
    *there = !name.n;
    if (!yaml_read(a, in->source, NULL, &docs, &n, name.n ? &none : errors)) return false;
    for (size_t i = 0; i < n; i++) {
        if (name.n && !str_eq(field_str(&docs[i], "name"), name)) continue;
        if (name.n && !str_is(field_str(&docs[i], "kind"), "Pipeline")) continue;
        *there = true;
        return compile_pipeline(a, &docs[i], &env, out, errors) && errors->total == before;
    }
    if (!name.n) err_list_add(errors, ERR_INVALID, (struct pos){1, 1}, "the file holds no document");
    return false;
}

/* What is wrong with another one of the files given is told with that one, and here only that it is wrong; unless it is
 * not certain, or a circle, in which no file is more wrong than another. */
static bool fail_elsewhere(const struct compile_ref *ref, const struct file *f, const struct err_list *found,
                           struct err_list *errors)
{
    size_t wrong = 0;
    for (size_t i = 0; i < found->n; i++)
        wrong += found->items[i].code != ERR_UNAVAILABLE;
    if (wrong == 0) *err_list_next(errors) = found->items[0];
    if (wrong == 0) return false;
    struct err *e = err_list_next(errors);
    for (size_t i = 0; i < found->n; i++)
        if (compile_is_circle(&found->items[i])) return err_set(e, ERR_INVALID, "%s", found->items[i].message);
    err_set(e, ERR_INVALID, "the pipeline '%.*s' is not valid", STR_ARG(ref->text));
    return err_hint(e, "see %s", f->path);
}

/* `path` is a sub-pipeline's file: a part, if it lies in the folder of the file that is compiled. */
static void note_part(struct compiling *in, const char *path)
{
    struct file *f = in->top;
    const char *slash = f ? strrchr(f->path, '/') : NULL;
    size_t n = slash ? (size_t)(slash - f->path) + 1 : 0, size = sizeof *f->parts;
    if (!f || strncmp(path, f->path, n) != 0) return;
    for (size_t i = 0; i < f->n_parts; i++)
        if (strcmp(f->parts[i].name, path + n) == 0) return;
    f->parts = arena_grow(in->cli->arena, f->parts, f->n_parts * size, (f->n_parts + 1) * size);
    f->parts[f->n_parts++] = (struct file_part){.name = path + n};
}

static bool resolve_file(struct compiling *in, const struct compile_ref *ref, const struct compile_chain *chain,
                         const struct plan **out, struct err_list *errors)
{
    struct arena *a = in->cli->arena;
    const char *slash = strrchr(in->path, '/');
    struct str folder = slash ? (struct str){in->path, (size_t)(slash - in->path) + 1} : STR("");
    struct compiling inner = {.cli = in->cli, .beside = in->beside, .top = in->top};
    inner.path = arena_printf(a, "%.*s%.*s", STR_ARG(folder), STR_ARG(ref->text)).p;
    note_part(in, inner.path);
    bool there;
    struct err_list found;
    struct err err;
    err_list_init(&found, a);
    if (!cli_read_file(a, inner.path, PLAN_MAX_SOURCE, &inner.source, &err)) {
        *err_list_next(errors) = err;
        return false;
    }
    if (compile_named(&inner, STR(""), chain, out, &there, &found)) return true;
    compile_in_file(&found, 0, ref, str_of(inner.path), inner.source, str_of(in->path));
    for (size_t i = 0; in->beside && i < in->beside->n; i++)
        if (strcmp(in->beside->items[i].path, inner.path) == 0)
            return fail_elsewhere(ref, &in->beside->items[i], &found, errors);
    for (size_t i = 0; i < found.n; i++)
        *err_list_next(errors) = found.items[i];
    return false;
}

/* An applied pipeline's plan, if the server can be asked. */
static bool ask_server(struct compiling *in, const struct compile_ref *ref, const struct plan **out, struct err *err)
{
    struct cli *cli = in->cli;
    if (!cli_connect(cli, err)) {
        err->code = ERR_UNAVAILABLE;
        return false;
    }
    struct client *client = cli->client;
    const char *name = arena_cstr(cli->arena, ref->text);
    const char *path =
        ref->version ? client_path(cli->arena, "/api/v1/pipelines/%s/versions/%lld", name, (long long)ref->version)
                     : client_path(cli->arena, "/api/v1/pipelines/%s", name);
    struct client_request request = {
        .path = client_project(client, cli->arena, path), .timeout_ms = 3000, .once = true};
    struct client_reply reply;
    if (!client_send(client, cli->arena, &request, &reply, NULL, err)) return false;
    const struct value *plan = value_get(&reply.value, "plan");
    if (plan) return plan_load(cli->arena, plan, out, err);
    return err_set(err, ERR_UNAVAILABLE, "the server told no plan");
}

static bool resolve_name(struct compiling *in, const struct compile_ref *ref, const struct compile_chain *chain,
                         const struct plan **out, struct err_list *errors)
{
    for (size_t i = 0; !ref->version && in->beside && i < in->beside->n; i++) {
        const struct file *f = &in->beside->items[i];
        struct compiling inner = {
            .cli = in->cli, .path = f->path, .source = f->source, .beside = in->beside, .top = in->top};
        struct err_list own;
        bool there = false;
        err_list_init(&own, in->cli->arena);
        if (compile_named(&inner, ref->text, chain, out, &there, &own)) return true;
        compile_in_file(&own, 0, ref, str_of(f->path), f->source, str_of(in->path));
        if (there) return fail_elsewhere(ref, f, &own, errors);
    }
    bool there = false;
    size_t before = errors->n;
    if (compile_named(in, ref->text, chain, out, &there, errors)) return true;
    compile_in_file(errors, before, ref, str_of(in->path), in->source, str_of(in->path));
    if (there) return false;
    struct err why = {0};
    if (ask_server(in, ref, out, &why)) return true;
    if (why.code == ERR_NOT_FOUND && !why.hint[0]) err_hint(&why, COMPILE_HINT_APPLY);
    if (why.code == ERR_NOT_FOUND) {
        *err_list_next(errors) = why;
        return false;
    }
    /* Cannot be known here: file_compile() makes a note of it, not an error. */
    struct err *e = err_list_next(errors);
    err_set(e, ERR_UNAVAILABLE, "pipeline '%.*s' is not among these files, and no server could be asked",
            STR_ARG(ref->text));
    err_hint(e, "what refers to its outputs was not checked");
    return false;
}

static bool resolve(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                    const struct plan **out, struct err_list *errors)
{
    struct compiling *in = ctx;
    (void)a; /* everything of a command lives in its one arena */
    return ref->file ? resolve_file(in, ref, chain, out, errors) : resolve_name(in, ref, chain, out, errors);
}

/* What only a server would know is said as a note, and is no error. */
static void note_unknown(struct cli *cli, const struct file *f, struct err_list *errors)
{
    size_t n = 0;
    for (size_t i = 0; i < errors->n; i++) {
        struct err *e = &errors->items[i];
        struct str file = e->file ? e->file->name : str_of(f->path);
        if (e->code == ERR_UNAVAILABLE)
            cli_note(cli, "note: %.*s:%u: %s: %s", STR_ARG(file), e->at.line, e->path, e->message);
        else
            errors->items[n++] = *e;
    }
    errors->total -= errors->n - n;
    errors->n = n;
}

/* What the file's headers name is the project of all that is asked for its sake. */
static void take_project(struct cli *cli, const struct value *docs, size_t n)
{
    cli->file_project = NULL;
    for (size_t i = 0; i < n && !cli->file_project; i++) {
        struct str named = field_str(&docs[i], "project");
        if (named.n > 0) cli->file_project = arena_cstr(cli->arena, named);
    }
    if (cli->client) client_file_project(cli->client, cli->file_project);
}

bool file_compile(struct cli *cli, struct file *f, const struct files *beside, struct err_list *errors)
{
    struct arena *a = cli->arena;
    struct compiling in = {.cli = cli, .path = f->path, .source = f->source, .top = f};
    const char *slash = strrchr(f->path, '/');
    struct compile_env env = {
        .ctx = &in, .pipeline = resolve, .locate = locate, .file = str_of(slash ? slash + 1 : f->path)};
    struct files own = {f, 1};
    struct value *docs = NULL;
    size_t n = 0;
    in.beside = beside ? beside : &own;
    if (!yaml_read(a, f->source, NULL, &docs, &n, errors)) return false;
    if (!n) {
        struct err *e = err_list_add(errors, ERR_INVALID, (struct pos){1, 1}, "the file holds no document");
        err_hint(e, "a pipeline begins with `apiVersion: millrace/v1`");
        return false;
    }
    take_project(cli, docs, n);
    f->docs = arena_array(a, struct file_doc, n);
    for (size_t i = 0; i < n; i++) {
        const struct plan *plan;
        struct str name = field_str(&docs[i], "name");
        if (name.n == 0) name = STR("(without a name)");
        f->names = f->n_all++ ? arena_printf(a, "%.*s, %.*s", STR_ARG(f->names), STR_ARG(name)) : name;
        if (!compile_pipeline(a, &docs[i], &env, &plan, errors)) continue;
        f->docs[f->n_docs++] = (struct file_doc){.name = plan->name, .project = plan->project, .plan = plan};
    }
    err_list_sort(errors);
    note_unknown(cli, f, errors);
    return !errors->n;
}
