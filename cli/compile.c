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
                    const struct plan **out, struct err *err);

/* The document named `name` (empty = the first) of a text. */
static bool compile_named(const struct compiling *in, struct str name, const struct compile_chain *chain,
                          const struct plan **out, bool *there, struct err *err)
{
    struct arena *a = in->cli->arena;
    struct value *docs = NULL;
    size_t n = 0;
    struct err_list errors;
    struct compiling inner = *in;
    struct compile_env env = {.ctx = &inner, .pipeline = resolve, .locate = locate, .chain = chain};
    err_list_init(&errors, a);
    *there = false;
    if (!yaml_parse(a, in->source, NULL, &docs, &n, &errors)) {
        *there = !name.n;
        *err = errors.items[0];
        return err_path(err, "%s:%u", in->path, errors.items[0].at.line);
    }
    for (size_t i = 0; i < n; i++) {
        if (name.n && !str_eq(field_str(&docs[i], "name"), name)) continue;
        if (name.n && !str_is(field_str(&docs[i], "kind"), "Pipeline")) continue;
        *there = true;
        if (compile_pipeline(a, &docs[i], &env, out, &errors)) return true;
        *err = errors.items[0];
        return err_path(err, "%s:%u", in->path, errors.items[0].at.line);
    }
    return err_set(err, ERR_NOT_FOUND, "no pipeline in %s", in->path);
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
                         const struct plan **out, struct err *err)
{
    struct arena *a = in->cli->arena;
    const char *slash = strrchr(in->path, '/');
    struct str folder = slash ? (struct str){in->path, (size_t)(slash - in->path) + 1} : STR("");
    if (str_starts(ref->text, "/"))
        return err_set(err, ERR_INVALID, "a sub-pipeline's file is named relative to this one");
    struct compiling inner = {.cli = in->cli, .beside = in->beside, .top = in->top};
    inner.path = arena_printf(a, "%.*s%.*s", STR_ARG(folder), STR_ARG(ref->text)).p;
    note_part(in, inner.path);
    bool there;
    return cli_read_file(a, inner.path, PLAN_MAX_SOURCE, &inner.source, err) &&
           compile_named(&inner, STR(""), chain, out, &there, err);
}

/* An applied pipeline's source, if the server can be asked. */
static bool ask_server(struct compiling *in, const struct compile_ref *ref, struct str *source, struct err *err)
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
    *source = field_str(&reply.value, "source");
    return true;
}

static bool resolve_name(struct compiling *in, const struct compile_ref *ref, const struct compile_chain *chain,
                         const struct plan **out, struct err *err)
{
    bool there = false;
    for (size_t i = 0; !ref->version && in->beside && i < in->beside->n; i++) {
        const struct file *f = &in->beside->items[i];
        struct compiling inner = {
            .cli = in->cli, .path = f->path, .source = f->source, .beside = in->beside, .top = in->top};
        if (compile_named(&inner, ref->text, chain, out, &there, err)) return true;
        if (there) return false;
    }
    struct compiling inner = {.cli = in->cli, .beside = in->beside};
    inner.path = arena_printf(in->cli->arena, "%.*s", STR_ARG(ref->text)).p;
    struct err why = {0};
    if (ask_server(in, ref, &inner.source, &why)) return compile_named(&inner, ref->text, chain, out, &there, err);
    if (why.code == ERR_NOT_FOUND) {
        *err = why;
        return false;
    }
    /* Cannot be known here: file_compile() makes a note of it, not an error. */
    err_set(err, ERR_UNAVAILABLE, "pipeline '%.*s' is not among these files, and no server could be asked",
            STR_ARG(ref->text));
    return err_hint(err, "what refers to its outputs was not checked");
}

static bool resolve(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                    const struct plan **out, struct err *err)
{
    struct compiling *in = ctx;
    (void)a; /* everything of a command lives in its one arena */
    return ref->file ? resolve_file(in, ref, chain, out, err) : resolve_name(in, ref, chain, out, err);
}

/* Only places that a server would know are in the list: said as notes, and the list is empty. */
static bool only_unknown(struct cli *cli, struct err_list *errors)
{
    for (size_t i = 0; i < errors->n; i++) {
        if (errors->items[i].code != ERR_UNAVAILABLE) return false;
    }
    for (size_t i = 0; i < errors->n; i++)
        cli_note(cli, "note: %s: %s", errors->items[i].path, errors->items[i].message);
    errors->n = errors->total = 0;
    return true;
}

bool file_compile(struct cli *cli, struct file *f, const struct files *beside, struct err_list *errors)
{
    struct arena *a = cli->arena;
    struct compiling in = {.cli = cli, .path = f->path, .source = f->source, .top = f};
    struct compile_env env = {.ctx = &in, .pipeline = resolve, .locate = locate};
    struct files own = {f, 1};
    struct value *docs = NULL;
    size_t n = 0;
    in.beside = beside ? beside : &own;
    if (!yaml_parse(a, f->source, NULL, &docs, &n, errors)) return false;
    if (!n) {
        struct err *e = err_list_add(errors, ERR_INVALID, (struct pos){1, 1}, "the file holds no document");
        err_hint(e, "a pipeline begins with `apiVersion: millrace/v1`");
        return false;
    }
    f->docs = arena_array(a, struct file_doc, n);
    for (size_t i = 0; i < n; i++) {
        enum kind kind;
        struct file_doc doc = {0};
        size_t before = errors->n;
        if (!compile_header(&docs[i], &env, &kind, &doc.name, &doc.project, errors)) continue;
        f->names = f->n_all++ ? arena_printf(a, "%.*s, %.*s", STR_ARG(f->names), STR_ARG(doc.name)) : doc.name;
        if (compile_pipeline(a, &docs[i], &env, &doc.plan, errors) && errors->n == before) f->docs[f->n_docs++] = doc;
    }
    err_list_sort(errors);
    return !errors->n || only_unknown(cli, errors);
}
