/* From a node to what an executor does: its inputs, arguments and environment with all expressions filled in. See
 * launch.h. */
#include "engine/flow/launch.h"

#include <string.h>

#include "engine/flow/params.h"

bool launch_is_digest(struct str text)
{
    static const char prefix[] = "sha256:";
    if (!str_starts(text, prefix)) return false;
    struct str hex = str_sub(text, sizeof prefix - 1, text.n);
    for (size_t i = 0; i < hex.n; i++) {
        char c = hex.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return hex.n == 64;
}

bool value_is_artifact(const struct value *v)
{
    const struct value *type = value_get(v, "artifact"), *digest = value_get(v, "digest");
    return type && type->type == VALUE_STRING && digest && digest->type == VALUE_STRING &&
           launch_is_digest(digest->u.s);
}

struct render {
    const struct node *node;
    const struct expr_env *env;
    struct arena *arena;
    struct err *err;
    struct expr_env with_inputs; /* env, and the root `inputs` on top of it */
    struct value inputs;
    struct launch_input *files;
    size_t n_files, room_files;
    struct str *argv;
    size_t n_argv, room_argv;
};

static bool blame(struct render *r, const char *field, struct str name)
{
    if (name.n) return err_path(r->err, "steps.%.*s.%s.%.*s", STR_ARG(r->node->name), field, STR_ARG(name));
    return err_path(r->err, "steps.%.*s.%s", STR_ARG(r->node->name), field);
}

/* ---- inputs ---- */

static bool lookup(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                   bool *absent, struct err *err)
{
    const struct render *r = ctx;
    if (!str_is(ref->root, "inputs")) return r->env->lookup(r->env->ctx, a, ref, out, used, absent, err);
    const struct value *found = ref->n ? value_find(&r->inputs, ref->fields[0]) : &r->inputs;
    *used = ref->n ? 1 : 0;
    *absent = !found;
    if (found) *out = *found;
    return true;
}

static struct launch_input *add_file(struct render *r, struct str name, struct str path)
{
    if (r->n_files == r->room_files) {
        size_t room = r->room_files ? r->room_files * 2 : 4;
        r->files = arena_grow(r->arena, r->files, r->n_files * sizeof *r->files, room * sizeof *r->files);
        r->room_files = room;
    }
    struct launch_input *file = &r->files[r->n_files++];
    *file = (struct launch_input){.name = name, .path = path};
    return file;
}

/* Puts the artifact among the files; in expressions it gets its `path`. */
static struct value add_artifact(struct render *r, struct str name, struct str path, const struct value *v)
{
    struct launch_input *file = add_file(r, name, path);
    const struct value *size = value_get(v, "size");
    const struct value *folder = value_get(v, "folder");
    file->artifact = true;
    file->folder = folder && folder->type == VALUE_BOOL && folder->u.b;
    file->digest = value_get(v, "digest")->u.s;
    file->size = size && size->type == VALUE_INT ? size->u.i : 0;
    struct value_map_builder map;
    value_map_begin(&map, r->arena);
    for (size_t i = 0; i < v->u.map.n; i++) {
        const struct value_entry *e = &v->u.map.entries[i];
        if (!str_is(e->key, "path")) value_map_put(&map, e->key, e->value);
    }
    value_map_put(&map, STR("path"), value_string(path));
    return value_map_end(&map);
}

static bool all_artifacts(const struct value *v)
{
    for (size_t i = 0; v->type == VALUE_LIST && i < v->u.list.n; i++) {
        if (!value_is_artifact(&v->u.list.items[i])) return false;
    }
    return v->type == VALUE_LIST && v->u.list.n > 0;
}

static bool add_input(struct render *r, struct str name, const struct value *v, struct value *seen)
{
    struct str path = arena_printf(r->arena, "inputs/%.*s", STR_ARG(name)), text;
    if (value_is_artifact(v)) {
        *seen = add_artifact(r, name, path, v);
        return true;
    }
    if (!all_artifacts(v)) {
        if (!expr_text(r->arena, v, &text, r->err)) return false;
        add_file(r, name, path)->text = text;
        *seen = *v;
        return true;
    }
    struct value_list_builder list;
    value_list_begin(&list, r->arena);
    for (size_t i = 0; i < v->u.list.n; i++) {
        struct str item = arena_printf(r->arena, "%.*s/%zu", STR_ARG(path), i);
        value_list_push(&list, add_artifact(r, name, item, &v->u.list.items[i]));
    }
    *seen = value_list_end(&list);
    return true;
}

static bool render_inputs(struct render *r)
{
    struct value_map_builder map;
    value_map_begin(&map, r->arena);
    for (size_t i = 0; i < r->node->n_inputs; i++) {
        const struct input *in = &r->node->inputs[i];
        struct value v, seen;
        struct err why;
        err_clear(&why);
        bool ok = expr_template_eval(&in->value, r->env, r->arena, &v, &why);
        if (in->optional && (ok ? v.type == VALUE_NULL : why.code == ERR_NOT_FOUND)) continue;
        if (!ok && r->err) *r->err = why;
        if (!ok || !add_input(r, in->name, &v, &seen)) return blame(r, "inputs", in->name);
        value_map_put(&map, in->name, seen);
    }
    r->inputs = value_map_end(&map);
    return true;
}

/* ---- arguments ---- */

/* A variable counts with its name. */
static bool fits(struct render *r, size_t n)
{
    if (n <= LAUNCH_MAX_ARG) return true;
    err_set(r->err, ERR_LIMIT, "the text is %zu bytes long, a process takes at most %d", n, LAUNCH_MAX_ARG);
    return err_hint(r->err, "give long values by inputs: each is a file");
}

static void push_arg(struct render *r, struct str s)
{
    if (r->n_argv == r->room_argv) {
        size_t room = r->room_argv ? r->room_argv * 2 : 8;
        r->argv = arena_grow(r->arena, r->argv, r->n_argv * sizeof *r->argv, room * sizeof *r->argv);
        r->room_argv = room;
    }
    r->argv[r->n_argv++] = s;
}

static bool push_value(struct render *r, const struct value *v)
{
    struct str text;
    if (!expr_text(r->arena, v, &text, r->err) || !fits(r, text.n)) return false;
    push_arg(r, text);
    return true;
}

static bool render_arg(struct render *r, const struct expr_template *t)
{
    struct value v;
    if (!expr_template_eval(t, &r->with_inputs, r->arena, &v, r->err)) return false;
    if (v.type != VALUE_LIST) return push_value(r, &v);
    for (size_t i = 0; i < v.u.list.n; i++) {
        if (!push_value(r, &v.u.list.items[i])) return false;
    }
    return true;
}

static bool render_line(struct render *r)
{
    struct str line;
    if (!expr_shell_eval(&r->node->line, &r->with_inputs, r->arena, &line, r->err) || !fits(r, line.n))
        return blame(r, "run", STR(""));
    push_arg(r, STR("/bin/sh"));
    push_arg(r, STR("-c"));
    push_arg(r, line);
    return true;
}

static bool render_argv(struct render *r, struct launch_spec *out)
{
    const struct node *n = r->node;
    if (n->verb == VERB_RUN && n->line.source.n) return render_line(r);
    for (size_t i = 0; n->verb == VERB_SCRIPT && i < n->n_interpreter; i++)
        push_arg(r, n->interpreter[i]);
    if (n->verb == VERB_SCRIPT) {
        push_arg(r, STR(LAUNCH_SCRIPT));
        out->script = n->script;
        return true;
    }
    for (size_t i = 0; i < n->n_argv; i++) {
        if (!render_arg(r, &n->argv[i]))
            return blame(r, n->verb == VERB_RUN ? "run" : i < n->n_command ? "command" : "args", STR(""));
        if (i + 1 == n->n_command) out->n_command = r->n_argv;
    }
    return true;
}

/* ---- environment ---- */

bool launch_secret(const struct env_var *var, const struct value *v, struct secret_ref *out)
{
    struct err none;
    return var->secret_param && v->type == VALUE_MAP && secret_read(v, out, &none);
}

bool launch_secret_here(const struct secret_ref *secret, struct err *err)
{
    if (secret->source != SECRET_KUBERNETES) return true;
    err_set(err, ERR_INVALID, "secrets of Kubernetes do not exist on this machine");
    return err_hint(err, "use {secret: {file: NAME}}");
}

static bool render_env(struct render *r, struct launch_spec *out)
{
    struct launch_env *env = arena_array(r->arena, struct launch_env, r->node->n_env);
    for (size_t i = 0; i < r->node->n_env; i++) {
        const struct env_var *var = &r->node->env[i];
        struct value v;
        env[i] = (struct launch_env){.name = var->name, .value = STR(""), .secret = var->secret};
        if (var->secret.source != SECRET_NONE) continue;
        if (!expr_template_eval(&var->value, &r->with_inputs, r->arena, &v, r->err)) return blame(r, "env", var->name);
        if (launch_secret(var, &v, &env[i].secret) || (var->secret_param && v.type == VALUE_NULL)) continue;
        if (!expr_text(r->arena, &v, &env[i].value, r->err) || !fits(r, var->name.n + 1 + env[i].value.n))
            return blame(r, "env", var->name);
    }
    out->env = env;
    out->n_env = r->node->n_env;
    return true;
}

bool launch_render(const struct node *node, const struct expr_env *env, struct arena *a, struct launch_spec *out,
                   struct err *err)
{
    struct render r = {.node = node, .env = env, .arena = a, .err = err};
    struct launch_spec spec = {.node = node, .workdir = node->workdir, .image = node->image};
    r.with_inputs = *env;
    r.with_inputs.ctx = &r;
    r.with_inputs.lookup = lookup;
    if (!render_inputs(&r) || !render_argv(&r, &spec) || !render_env(&r, &spec)) return false;
    spec.argv = r.argv;
    spec.n_argv = r.n_argv;
    spec.inputs = r.files;
    spec.n_inputs = r.n_files;
    *out = spec;
    return true;
}
