/* What the launcher is to do for an attempt: its files, folders, environment and limits. And what is needed of all this
 * for one that is under way already. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/blob/bundle.h"
#include "engine/blob/logs.h"
#include "engine/os/log.h"
#include "engine/os/secret.h"
#include "scheduler/process_inner.h"

#define EXEC_MOST (6 << 20) /* whatever the stack's limit is */
#define EXEC_RESERVE ((size_t)8 << 10)

struct strings {
    struct arena *arena;
    struct str *items;
    size_t n, room;
};

static void push(struct strings *s, struct str item)
{
    if (s->n == s->room) {
        size_t room = s->room > 0 ? s->room * 2 : 16;
        s->items = arena_grow(s->arena, s->items, s->n * sizeof *s->items, room * sizeof *s->items);
        s->room = room;
    }
    s->items[s->n++] = item;
}

static struct str variable(struct arena *a, const char *prefix, struct str name, struct str value)
{
    return arena_printf(a, "%s%.*s=%.*s", prefix, STR_ARG(plan_variable(a, name)), STR_ARG(value));
}

static void own_variables(struct process *p, struct attempt *a, const struct exec_request *req, struct strings *env,
                          const char *checkpoint)
{
    struct arena *m = &a->arena;
    push(env, arena_printf(m, "PATH=%.*s", STR_ARG(p->cfg.step_path)));
    push(env, arena_printf(m, "HOME=%s", a->workdir));
    push(env, arena_printf(m, "TMPDIR=%s/.tmp", a->workdir));
    push(env, STR("LANG=C.UTF-8"));
    push(env, arena_printf(m, "MILLRACE_RUN=%lld", (long long)req->id.run));
    push(env, arena_printf(m, "MILLRACE_RUN_NAME=%.*s", STR_ARG(req->run_name)));
    push(env, arena_printf(m, "MILLRACE_PROJECT=%.*s", STR_ARG(req->project)));
    push(env, arena_printf(m, "MILLRACE_STEP=%.*s", STR_ARG(req->step)));
    push(env, arena_printf(m, "MILLRACE_TASK=%u", req->id.task));
    push(env, arena_printf(m, "MILLRACE_PATH=%.*s", STR_ARG(req->path)));
    push(env, arena_printf(m, "MILLRACE_ATTEMPT=%u", req->id.attempt));
    push(env, arena_printf(m, "MILLRACE_ATTEMPT_ID=%s", a->name));
    push(env, arena_printf(m, "MILLRACE_WORKDIR=%s", a->workdir));
    push(env, arena_printf(m, "MILLRACE_CHECKPOINT_DIR=%s", checkpoint));
    static const char *const urls[] = {"MILLRACE_API_URL", "MILLRACE_URL"}; /* clients read the second */
    for (size_t i = 0; req->api_url.n > 0 && i < sizeof urls / sizeof *urls; i++)
        push(env, arena_printf(m, "%s=%.*s", urls[i], STR_ARG(req->api_url)));
    if (req->token.n > 0) push(env, arena_printf(m, "MILLRACE_TOKEN=%.*s", STR_ARG(req->token)));
}

/* Paths are relative to where the step starts: the code's root, or the folder of `workdir` in it. */
static struct str beneath_start(struct arena *m, const struct launch_spec *spec, struct str path)
{
    if (spec->workdir.n == 0) return arena_str(m, path);
    return arena_printf(m, "%.*s/%.*s", STR_ARG(spec->workdir), STR_ARG(path));
}

/* In full, so that they hold wherever the step goes. A list of artifacts is known by its folder. */
static void path_variables(struct attempt *a, const struct launch_spec *spec, struct strings *env)
{
    struct arena *m = &a->arena;
    for (size_t i = 0; i < spec->n_inputs; i++) {
        struct str name = spec->inputs[i].name;
        if (i > 0 && str_eq(name, spec->inputs[i - 1].name)) continue;
        struct str path = beneath_start(m, spec, arena_printf(m, "inputs/%.*s", STR_ARG(name)));
        push(env, variable(m, "MILLRACE_INPUT_", name, arena_printf(m, "%s/%.*s", a->workdir, STR_ARG(path))));
    }
    for (size_t i = 0; i < a->n_wanted; i++) {
        struct str path = arena_printf(m, "%s/%.*s", a->workdir, STR_ARG(a->wanted[i].path));
        push(env, variable(m, "MILLRACE_OUTPUT_", a->wanted[i].name, path));
    }
}

/* What the step declares stands instead of ours: of two of one name each program takes another. */
static void push_declared(struct strings *env, struct str name, struct str line)
{
    for (size_t i = 0; i < env->n; i++) {
        if (!str_eq(str_sub(env->items[i], 0, name.n), name) || env->items[i].p[name.n] != '=') continue;
        env->items[i] = line;
        return;
    }
    push(env, line);
}

/* What it may show in its log is noted, to be covered there. */
static bool give_secret(struct process *p, struct attempt *a, struct str project, const struct launch_env *e,
                        struct str *out, struct err *err)
{
    a->secretive = true;
    a->secrets_of = arena_str(&a->arena, project);
    if (!launch_secret_here(&e->secret, err) ||
        !secret_fetch(p->cfg.secrets_dir, project, e->secret.name, &a->arena, out, err))
        return err_path(err, "env.%.*s", STR_ARG(e->name));
    struct err why = {0};
    if (!secret_given(p->cfg.secrets_dir, project, *out, &why) && !p->forgetful) {
        log_err(LEVEL_WARN, "logs may show secrets that change while their steps run", &why);
        p->forgetful = true;
    }
    mask_add(&a->mask, &a->arena, *out);
    return true;
}

static bool declared_variables(struct process *p, struct attempt *a, const struct exec_request *req,
                               struct strings *env, struct err *err)
{
    const struct launch_spec *spec = &req->spec;
    struct arena *m = &a->arena;
    path_variables(a, spec, env);
    for (size_t i = 0; i < spec->n_env; i++) {
        const struct launch_env *e = &spec->env[i];
        struct str value = e->value;
        if (e->secret.source != SECRET_NONE && !give_secret(p, a, req->project, e, &value, err)) return false;
        push_declared(env, e->name, arena_printf(m, "%.*s=%.*s", STR_ARG(e->name), STR_ARG(value)));
    }
    return true;
}

static bool place_inputs(struct process *p, struct attempt *a, const struct launch_spec *spec,
                         struct launcher_request *out, struct err *err)
{
    struct arena *m = &a->arena;
    struct launcher_file *files = arena_array(m, struct launcher_file, spec->n_inputs + 1);
    struct launch_input *folders = arena_array(m, struct launch_input, spec->n_inputs + 1);
    size_t n = 0;
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct launch_input *in = &spec->inputs[i];
        struct launcher_file *f = &files[n++];
        f->to = beneath_start(m, spec, in->path);
        if (!in->artifact) {
            f->text = arena_str(m, in->text);
            continue;
        }
        char path[FS_PATH_MAX];
        if (in->folder) { /* a packed folder is unpacked beside the code bundles, once for all who use it */
            if (!bundle_tree_path(p->cfg.store_dir, in->digest, path, err)) return false;
            folders[a->n_folders++] =
                (struct launch_input){.name = arena_str(m, in->name), .digest = arena_str(m, in->digest)};
        } else if (!disk_path(p->disk, in->digest, path, err)) {
            return false;
        }
        f->from = arena_str(m, str_of(path));
    }
    if (spec->script.n > 0)
        files[n++] = (struct launcher_file){
            .to = beneath_start(m, spec, STR(LAUNCH_SCRIPT)), .text = arena_str(m, spec->script), .mode = 0755};
    out->files = files;
    out->n_files = n;
    a->folders = folders;
    return true;
}

static void want_outputs(struct attempt *a, const struct launch_spec *spec)
{
    const struct node *n = spec->node;
    struct wanted *w = arena_array(&a->arena, struct wanted, n->n_outputs + 1);
    for (size_t i = 0; i < n->n_outputs; i++) {
        const struct output *o = &n->outputs[i];
        w[i] = (struct wanted){.name = arena_str(&a->arena, o->name),
                               .type = arena_str(&a->arena, o->artifact_type),
                               .path = beneath_start(&a->arena, spec, o->path),
                               .kind = o->kind,
                               .param = o->type,
                               .optional = o->optional};
    }
    a->wanted = w;
    a->n_wanted = n->n_outputs;
}

static const struct str *copy_strs(struct arena *m, const struct str *items, size_t n)
{
    struct str *copy = arena_array(m, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = arena_str(m, items[i]);
    return copy;
}

/* The kernel takes so much for arguments, variables and a pointer to each; the rest is for what the launcher and a
 * script's interpreter line add. What it would refuse can never start, so it is refused here, with its place. */
static bool fits_exec(const struct exec_request *req, const struct strings *env, struct err *err)
{
    const struct launch_spec *spec = &req->spec;
    long room = sysconf(_SC_ARG_MAX);
    size_t most = room > 0 && room < EXEC_MOST ? (size_t)room : EXEC_MOST, total = EXEC_RESERVE, longest = 0;
    struct str name = STR("");
    for (size_t i = 0; i < spec->n_argv; i++)
        total += spec->argv[i].n + 1 + sizeof(char *);
    for (size_t i = 0; i < env->n; i++) {
        size_t n = env->items[i].n;
        total += n + 1 + sizeof(char *);
        if (n <= longest) continue;
        longest = n;
        name = env->items[i];
        name.n = (size_t)((const char *)memchr(name.p, '=', n) - name.p);
    }
    if (longest > LAUNCH_MAX_ARG) {
        err_set(err, ERR_LIMIT, "the variable is %zu bytes long, a process takes at most %d", longest, LAUNCH_MAX_ARG);
        err_path(err, "steps.%.*s.env.%.*s", STR_ARG(req->step), STR_ARG(name));
    } else if (total > most) {
        err_set(err, ERR_LIMIT, "its arguments and variables are %zu bytes together, a process takes at most %zu",
                total - EXEC_RESERVE, most - EXEC_RESERVE);
        err_path(err, "steps.%.*s", STR_ARG(req->step));
    } else {
        return true;
    }
    return err_hint(err, "give long values by inputs: each is a file");
}

static bool place_code(struct process *p, struct attempt *a, struct str digest, struct launcher_request *out,
                       struct err *err)
{
    char path[FS_PATH_MAX];
    if (digest.n == 0) return true;
    if (!bundle_tree_path(p->cfg.store_dir, digest, path, err)) return false;
    a->bundle = arena_str(&a->arena, digest);
    out->tree = arena_str(&a->arena, str_of(path));
    return true;
}

static struct str checkpoint_of(const struct process *p, struct attempt *a, const struct exec_request *req)
{
    return arena_printf(&a->arena, "%.*s/checkpoints/%lld/%.*s", STR_ARG(p->cfg.store_dir), (long long)req->id.run,
                        STR_ARG(req->checkpoint));
}

void process_expect(struct process *p, struct attempt *a, const struct exec_request *req)
{
    const struct launch_spec *spec = &req->spec;
    want_outputs(a, spec);
    a->checkpoint = checkpoint_of(p, a, req).p;
    for (size_t i = 0; i < spec->n_env; i++) {
        struct err err = {0};
        struct str value; /* what it was given is known by secret_given, too, and its file may have another by now */
        if (spec->env[i].secret.source != SECRET_NONE)
            (void)give_secret(p, a, req->project, &spec->env[i], &value, &err);
    }
    for (size_t i = spec->n_env; i < spec->node->n_env; i++) { /* the spec could not be made */
        if (spec->node->env[i].secret.source == SECRET_NONE && !spec->node->env[i].secret_param) continue;
        a->secretive = true;
        a->secrets_of = arena_str(&a->arena, req->project);
    }
}

bool process_request(struct process *p, struct attempt *a, const struct exec_request *req, struct err *err)
{
    struct arena *m = &a->arena;
    const struct launch_spec *spec = &req->spec;
    struct launcher_request *out = arena_new(m, struct launcher_request);
    struct strings env = {.arena = m};
    struct str *folders = arena_array(m, struct str, spec->node->n_outputs + 2);
    size_t n_folders = 2;
    struct str checkpoint = checkpoint_of(p, a, req);
    want_outputs(a, spec);
    own_variables(p, a, req, &env, checkpoint.p);
    if (!declared_variables(p, a, req, &env, err) || !fits_exec(req, &env, err) ||
        !place_inputs(p, a, spec, out, err) || !place_code(p, a, req->bundle_digest, out, err))
        return false;
    folders[0] = STR(".tmp");
    folders[1] = checkpoint;
    a->checkpoint = checkpoint.p;
    for (size_t i = 0; i < a->n_wanted; i++) { /* a step may write its outputs at once */
        const char *slash = strrchr(a->wanted[i].path.p, '/');
        if (slash)
            folders[n_folders++] = arena_str(m, str_sub(a->wanted[i].path, 0, (size_t)(slash - a->wanted[i].path.p)));
    }
    *out = (struct launcher_request){
        .name = str_of(a->name),
        .argv = copy_strs(m, spec->argv, spec->n_argv),
        .n_argv = spec->n_argv,
        .env = env.items,
        .n_env = env.n,
        .uid = p->uid,
        .gid = p->gid,
        .workdir = str_of(a->workdir),
        .tree = out->tree,
        .cwd = arena_str(m, spec->workdir),
        .files = out->files,
        .n_files = out->n_files,
        .folders = folders,
        .n_folders = n_folders,
        .log = str_of(a->log),
        .memory_bytes = req->resources.memory_bytes > 0 ? req->resources.memory_bytes : p->cfg.step_memory_bytes,
        .log_max_bytes = p->cfg.step_log_bytes,
        .timeout_ms = req->timeout_ms,
        .grace_ms = req->grace_ms,
    };
    a->request = out;
    return true;
}

void process_prepare(struct job *job)
{
    struct attempt *a = (struct attempt *)(void *)job;
    struct process *p = a->owner;
    if (a->bundle.n > 0 && !bundle_install(p->disk, p->cfg.store_dir, a->bundle, NULL, &a->prepare_error)) return;
    for (size_t i = 0; i < a->n_folders; i++) {
        const struct launch_input *in = &a->folders[i];
        struct err why = {0};
        if (bundle_install(p->disk, p->cfg.store_dir, in->digest, &bundle_of_artifact, &why)) continue;
        err_set(&a->prepare_error, why.code, "inputs.%.*s: %s", STR_ARG(in->name), why.message);
        return;
    }
}
