/* Compiling what a request brings, and finding the sub-pipelines it refers to. See source.h. */
#include "api/source.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/auth.h"
#include "engine/blob/bundle.h"
#include "engine/flow/compile.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/store/bundles.h"
#include "engine/store/pipelines.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"

bool source_problems(struct request *rq, struct err *err)
{
    err_list_sort(&rq->errors);
    if (rq->errors.n)
        *err = rq->errors.items[0];
    else
        err_set(err, ERR_INVALID, "the pipeline is not valid");
    return false;
}

bool source_read(struct request *rq, struct source *out, struct err *err)
{
    static const struct member members[] = {
        {"source", MEMBER_STRING, true}, {"bundle", MEMBER_STRING, false}, {"files", MEMBER_MAP, false}};
    enum body_kind kind;
    *out = (struct source){.bundle = {"", 0}};
    if (!request_body_kind(rq, &kind, err)) return false;
    if (kind == BODY_YAML) {
        out->text = rq->body;
        request_arg(rq, "bundle", &out->bundle);
        return true;
    }
    struct value body;
    if (!request_json(rq, &body, err) || !request_members(&body, members, 3, err)) return false;
    out->text = member_str(&body, "source");
    out->bundle = member_str(&body, "bundle");
    const struct value *files = value_get(&body, "files");
    for (size_t i = 0; files && files->type == VALUE_MAP && i < files->u.map.n; i++) {
        if (files->u.map.entries[i].value.type == VALUE_STRING) continue;
        err_set(err, ERR_INVALID, "a file is given by its text");
        return err_path(err, "files.%.*s", STR_ARG(str_sub(files->u.map.entries[i].key, 0, 80)));
    }
    if (files && files->type == VALUE_MAP) {
        struct value *copy = arena_new(rq->arena, struct value);
        *copy = *files;
        out->files = copy;
    }
    return true;
}

bool source_load_plan(struct arena *a, struct str json, const struct plan **out, struct err *err)
{
    struct value v;
    if (json_reload(a, json, &v, err) && plan_load(a, &v, out, err)) return true;
    err->code = ERR_INTERNAL; /* it was ours */
    return false;
}

bool source_check_bundle(struct request *rq, const struct scope *scope, struct str bundle, struct err *err)
{
    struct conn *c;
    struct bundle_rec rec;
    if (bundle.n == 0) return true;
    if (!digest_valid(bundle)) {
        err_set(err, ERR_INVALID, "the bundle must be named by its digest, not '%.*s'",
                STR_ARG(str_sub(bundle, 0, 80)));
        err_path(err, "bundle");
        return err_hint(err, "a digest is written sha256:<64 hex digits>");
    }
    if (!request_db(rq, &c, err)) return false;
    if (bundles_get(c, scope->project_id, bundle, rq->arena, &rec, err)) return true;
    if (err->code != ERR_NOT_FOUND) return false;
    err_set(err, ERR_INVALID, "the project has no bundle %.*s", STR_ARG(bundle));
    err_path(err, "bundle");
    return err_hint(err, "upload it, then POST /api/v1/bundles");
}

/* ---- compiling ---- */

struct compiler {
    struct request *rq;
    const struct scope *scope;
    const struct source *source;
    bool has_folder;           /* the bundle is there to read from */
    struct str file;           /* being compiled; empty = what the request brought */
    struct str text;           /* of it: positions are in it */
    const struct value *docs;  /* of this text */
    const struct plan **plans; /* beside docs: what has been compiled already; one may be referred to by all others */
    size_t n;
    bool *used;        /* of each document: another one refers to it; may be NULL */
    struct str folder; /* of the file within the bundle */
    const struct compile_chain *chain;
};

static bool resolve(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                    const struct plan **out, struct err_list *errors);

static struct pos locate(void *ctx, const struct value *scalar, struct pos inner)
{
    const struct compiler *k = ctx;
    return yaml_locate(k->text, scalar, inner);
}

static struct compile_env env_of(struct compiler *k)
{
    return (struct compile_env){
        .ctx = k, .pipeline = resolve, .locate = locate, .chain = k->chain, .seed = os_random_u64()};
}

/* "a/b" + "../c.yaml" = "a/c.yaml"; false when it leaves the bundle. */
static bool join_path(struct arena *a, struct str folder, struct str file, struct str *out)
{
    struct str rest = file, part;
    struct str parts[64];
    size_t n = 0;
    struct str head = folder;
    while (head.n && str_split(&head, '/', &part))
        if (part.n && n < 64) parts[n++] = part;
    while (str_split(&rest, '/', &part)) {
        if (part.n == 0 || str_is(part, ".")) continue;
        if (str_is(part, "..")) {
            if (n == 0) return false;
            n--;
        } else if (n < 64) {
            parts[n++] = part;
        }
    }
    *out = (struct str){"", 0};
    for (size_t i = 0; i < n; i++)
        *out = i ? arena_printf(a, "%.*s/%.*s", STR_ARG(*out), STR_ARG(parts[i])) : parts[i];
    return n > 0;
}

/* Among the files that came with the request; their names may be written like any path. */
static bool find_sent_file(const struct compiler *k, struct arena *a, struct str path, struct str *out)
{
    const struct value *files = k->source->files;
    for (size_t i = 0; files && i < files->u.map.n; i++) {
        struct str name;
        if (!join_path(a, (struct str){"", 0}, files->u.map.entries[i].key, &name) || !str_eq(name, path)) continue;
        *out = files->u.map.entries[i].value.u.s;
        return true;
    }
    return false;
}

static bool read_bundle_file(struct compiler *k, struct arena *a, struct str path, struct str *out, struct err *err)
{
    char tree[FS_PATH_MAX];
    if (find_sent_file(k, a, path, out)) return true;
    if (k->source->bundle.n > 0 && !k->has_folder) {
        err_set(err, ERR_INVALID, "the file '%.*s' is not known: its bundle is not here", STR_ARG(path));
        return err_hint(err, "send its text in files, or the folder as a bundle");
    }
    if (k->source->bundle.n == 0 || !k->rq->api->cfg.store_dir) {
        err_set(err, ERR_INVALID, "there is no file '%.*s': the request carries no folder", STR_ARG(path));
        return err_hint(err, "apply the sub-pipeline first and refer to it by name, or send the folder as a bundle");
    }
    struct str store = str_of(k->rq->api->cfg.store_dir);
    if (!bundle_install(k->rq->api->blobs, store, k->source->bundle, NULL, err) ||
        !bundle_tree_path(store, k->source->bundle, tree, err))
        return false;
    FD_AUTO dir = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FD_AUTO fd =
        dir < 0 || !fs_relative(path) ? -1 : fs_open_beneath(dir, arena_cstr(a, path), O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        err_set(err, ERR_INVALID, "the bundle has no file '%.*s'", STR_ARG(path));
        return err_hint(err, "paths are relative to the file that names them; .millraceignore may leave it out");
    }
    BUF_AUTO text;
    buf_init(&text, PLAN_MAX_SOURCE);
    ssize_t got;
    do {
        if (!buf_reserve(&text, 65536))
            return err_set(err, ERR_TOO_LARGE, "the file '%.*s' is too large", STR_ARG(path));
        got = read(fd, text.p + text.n, 65536);
        if (got > 0) text.n += (size_t)got;
    } while (got > 0);
    if (got < 0) return err_set(err, ERR_IO, "the file '%.*s' cannot be read", STR_ARG(path));
    *out = arena_str(a, buf_view(&text));
    return true;
}

static bool compile_file(struct compiler *k, struct arena *a, const struct plan **out, struct err_list *errors)
{
    struct value *docs;
    size_t n, before = errors->total;
    const struct plan *plan;
    if (!yaml_read(a, k->text, NULL, &docs, &n, errors)) return false;
    if (n == 0) {
        err_list_add(errors, ERR_INVALID, (struct pos){1, 1}, "the file holds no document");
        return false;
    }
    k->docs = docs;
    k->plans = arena_array(a, const struct plan *, n);
    k->n = n;
    struct compile_env env = env_of(k);
    if (!compile_pipeline(a, &docs[0], &env, &plan, errors) || errors->total != before) return false;
    *out = plan;
    return true;
}

static bool resolve_file(struct compiler *k, struct arena *a, const struct compile_ref *ref,
                         const struct compile_chain *chain, const struct plan **out, struct err_list *errors)
{
    struct compiler inner = *k;
    struct str path;
    struct err err;
    size_t before = errors->n;
    if (!join_path(a, k->folder, ref->text, &path)) {
        err_list_add(errors, ERR_INVALID, ref->at, "'%.*s' leads out of the folder", STR_ARG(ref->text));
        return false;
    }
    if (!read_bundle_file(k, a, path, &inner.text, &err)) {
        *err_list_next(errors) = err;
        return false;
    }
    inner.file = path;
    inner.used = NULL;
    inner.chain = chain;
    size_t slash = path.n;
    while (slash > 0 && path.p[slash - 1] != '/')
        slash--;
    inner.folder = str_sub(path, 0, slash ? slash - 1 : 0);
    if (compile_file(&inner, a, out, errors)) return true;
    compile_in_file(errors, before, ref, path, inner.text, k->file);
    return false;
}

/* Another document of the same text. That of a request is compiled for itself as well, and its problems are told then.
 */
static bool resolve_beside(struct compiler *k, struct arena *a, const struct value *doc, const struct compile_ref *ref,
                           const struct compile_chain *chain, const struct plan **out, struct err_list *errors)
{
    struct compiler inner = *k;
    struct err_list own;
    inner.chain = chain;
    err_list_init(&own, a);
    struct compile_env env = env_of(&inner);
    size_t before = errors->n;
    if (compile_pipeline(a, doc, &env, out, k->file.n ? errors : &own)) return true;
    if (k->file.n) compile_in_file(errors, before, ref, k->file, k->text, k->file);
    if (own.n == 0) return false;
    for (size_t i = 0; i < own.n; i++) {
        if (!compile_is_circle(&own.items[i])) continue;
        err_list_add(errors, ERR_INVALID, ref->at, "%s", own.items[i].message);
        return false;
    }
    struct err *e = err_list_add(errors, ERR_INVALID, ref->at, "the pipeline '%.*s' is not valid", STR_ARG(ref->text));
    struct str file = own.items[0].file ? own.items[0].file->name : STR("line ");
    err_hint(e, "%.*s%s%u: %s", STR_ARG(file), own.items[0].file ? ":" : "", own.items[0].at.line,
             own.items[0].message);
    return false;
}

static bool resolve_stored(struct compiler *k, struct arena *a, const struct compile_ref *ref, const struct plan **out,
                           struct err *err)
{
    struct conn *c;
    struct version_rec version;
    const struct plan *plan;
    if (!request_db(k->rq, &c, err)) return false;
    if (ref->version < 0 || ref->version > INT32_MAX) return err_set(err, ERR_INVALID, "there is no such version");
    if (!pipelines_version(c, k->scope->project_id, ref->text, (int32_t)ref->version, a, &version, err)) {
        if (err->code != ERR_NOT_FOUND) return false;
        err->code = ERR_INVALID;
        return err->hint[0] ? false : err_hint(err, COMPILE_HINT_APPLY);
    }
    if (!source_load_plan(a, version.plan, &plan, err)) return false;
    /* The pin: graphs of a loaded plan are ours alone. */
    ((struct graph *)(uintptr_t)plan->graphs)[0].version = version.version;
    *out = plan;
    return true;
}

static bool resolve(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                    const struct plan **out, struct err_list *errors)
{
    struct compiler *k = ctx;
    struct err err;
    if (ref->file) return resolve_file(k, a, ref, chain, out, errors);
    for (size_t i = 0; i < k->n && ref->version == 0; i++) {
        const struct value *name = value_get(&k->docs[i], "name");
        if (!name || name->type != VALUE_STRING || !str_eq(name->u.s, ref->text)) continue;
        if (k->used) k->used[i] = true;
        if (!k->plans[i] && !resolve_beside(k, a, &k->docs[i], ref, chain, &k->plans[i], errors)) return false;
        *out = k->plans[i];
        return true;
    }
    if (resolve_stored(k, a, ref, out, &err)) return true;
    *err_list_next(errors) = err;
    return false;
}

/* The lines of a document: from behind the "---" before it up to the one after. No scalar can hold such a line. */
static struct str document_text(struct str text, uint32_t line)
{
    size_t begin = 0, at = 0;
    uint32_t current = 1;
    while (at < text.n) {
        const char *newline = memchr(text.p + at, '\n', text.n - at);
        size_t end = newline ? (size_t)(newline - text.p) + 1 : text.n;
        struct str row = str_sub(text, at, end - at);
        if (str_starts(row, "---") && (row.n == 3 || row.p[3] == ' ' || row.p[3] == '\n' || row.p[3] == '\r')) {
            if (current > line) return str_sub(text, begin, at - begin);
            begin = str_trim(row).n == 3 ? end : at;
        }
        at = end;
        current++;
    }
    return str_sub(text, begin, text.n);
}

static bool fill_doc(struct request *rq, const struct value *value, struct source_doc *doc)
{
    BUF_AUTO json;
    buf_init(&json, PLAN_MAX_BYTES);
    plan_json(&json, doc->plan);
    if (json.over) {
        err_hint(err_list_add(&rq->errors, ERR_INVALID, value->at, "the plan that it makes is larger than %u MiB",
                              PLAN_MAX_BYTES >> 20),
                 "each step has what the defaults say, and each sub-pipeline is a part of the plan");
        return false;
    }
    struct err why = {0};
    if (!json_may_come(buf_view(&json), &why)) {
        err_hint(err_list_add(&rq->errors, ERR_INVALID, value->at, "the plan that it makes %s", why.message),
                 "let a step read long lists of small things from a file");
        return false;
    }
    doc->json = arena_str(rq->arena, buf_view(&json));
    struct digest_stream d;
    char digest[DIGEST_TEXT];
    digest_begin(&d);
    digest_add(&d, doc->text.p, doc->text.n);
    digest_add(&d, "", 1);
    digest_add(&d, doc->json.p, doc->json.n);
    digest_end(&d, digest);
    memcpy(doc->digest, digest, sizeof digest);
    return true;
}

static bool compile_doc(struct compiler *k, size_t i, struct source_doc *doc)
{
    struct request *rq = k->rq;
    const struct value *value = &k->docs[i];
    struct compile_env env = env_of(k);
    if (!k->plans[i] && !compile_pipeline(rq->arena, value, &env, &k->plans[i], &rq->errors)) return false;
    doc->plan = k->plans[i];
    doc->name = doc->plan->name;
    doc->text = document_text(k->text, value->at.line);
    return fill_doc(rq, value, doc);
}

static bool unique_names(struct request *rq, const struct value *values, const struct source_doc *docs, size_t n)
{
    bool ok = true;
    for (size_t i = 1; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            if (!str_eq(docs[i].name, docs[k].name)) continue;
            ok = false;
            struct err *e = err_list_add(&rq->errors, ERR_INVALID, values[i].at, "the file holds '%.*s' twice",
                                         STR_ARG(docs[i].name));
            err_hint(e, "the first is on line %u", values[k].at.line);
        }
    return ok;
}

/* What the headers say, before anything is compiled; empty when they are silent: then the request's counts, which is
 * not always "default". A wrong header is told by the compiler. */
static bool named_project(const struct value *docs, size_t n, struct str *out, struct pos *at, struct err *err)
{
    *out = STR("");
    for (size_t i = 0; i < n; i++) {
        const struct value *named = value_get(&docs[i], "project");
        if (!named || named->type != VALUE_STRING || str_eq(named->u.s, *out)) continue;
        if (out->n > 0) {
            err_set(err, ERR_INVALID, "the documents are of different projects");
            err_at(err, named->at, 0);
            return err_path(err, "project");
        }
        *out = named->u.s;
        *at = named->at;
    }
    return true;
}

/* *here: the project has the source's bundle, so that files of it may be read. */
static bool find_bundle(struct request *rq, const struct scope *scope, const struct source *source, bool *here,
                        struct err *err)
{
    *here = source_check_bundle(rq, scope, source->bundle, err) && source->bundle.n > 0;
    if (*here || source->bundle.n == 0) return true;
    if (!source->dry || err->code != ERR_INVALID || !digest_valid(source->bundle)) return false;
    err_clear(err);
    return true;
}

bool source_compile(struct request *rq, const struct source *source, struct scope *scope, struct str *project,
                    struct source_doc **docs, size_t *n, struct err *err)
{
    struct value *values;
    struct str named;
    struct pos named_at = {0, 0};
    struct yaml_limits limits = {.max_bytes = PLAN_MAX_SOURCE, .max_documents = SOURCE_MAX_DOCS};
    bool has_folder;
    if (!yaml_read(rq->arena, source->text, &limits, &values, n, &rq->errors)) return source_problems(rq, err);
    if (*n == 0) {
        err_set(err, ERR_INVALID, "the file is empty");
        return err_hint(err, "a pipeline begins with 'apiVersion: millrace/v1'");
    }
    if (!named_project(values, *n, &named, &named_at, err)) return false;
    if (!auth_project(rq, named, scope, project, err)) {
        if (named.n && strcmp(err->path, "project") == 0) err_at(err, named_at, 0);
        return false;
    }
    if (!find_bundle(rq, scope, source, &has_folder, err)) return false;
    struct compiler k = {.rq = rq,
                         .scope = scope,
                         .source = source,
                         .has_folder = has_folder,
                         .text = source->text,
                         .docs = values,
                         .n = *n,
                         .folder = {"", 0}};
    *docs = arena_array(rq->arena, struct source_doc, *n);
    k.plans = arena_array(rq->arena, const struct plan *, *n);
    bool ok = rq->errors.total == 0, *used = arena_array(rq->arena, bool, *n);
    for (size_t i = 0; i < *n && !err_list_full(&rq->errors); i++) {
        k.used = i == 0 ? used : NULL; /* what the first needs, directly or not */
        ok = compile_doc(&k, i, &(*docs)[i]) && ok;
        (*docs)[i].at = values[i].at;
    }
    for (size_t i = 0; i < *n; i++)
        (*docs)[i].used = used[i];
    if (ok) ok = unique_names(rq, values, *docs, *n);
    return ok || source_problems(rq, err);
}

bool source_one(const struct source_doc *docs, size_t n, struct err *err)
{
    for (size_t i = 1; i < n; i++) {
        if (docs[i].used) continue;
        err_set(err, ERR_INVALID, "the file holds '%.*s' and '%.*s': only one pipeline can be meant here",
                STR_ARG(docs[0].name), STR_ARG(docs[i].name));
        err_at(err, docs[i].at, 1);
        return err_hint(err, "send one, with the sub-pipelines it uses; or apply the file and name one");
    }
    return true;
}
