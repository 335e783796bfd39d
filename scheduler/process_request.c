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

static void own_variables(struct process *p, struct attempt *a, const struct exec_request *req, struct step_vars *env)
{
    struct arena *m = &a->arena;
    step_vars_put(env, STR("PATH"), p->cfg.step_path);
    step_vars_put(env, STR("HOME"), str_of(a->workdir));
    step_vars_put(env, STR("TMPDIR"), arena_printf(m, "%s/.tmp", a->workdir));
    step_vars_put(env, STR("LANG"), STR("C.UTF-8"));
    step_vars_own(env, req, str_of(a->name), str_of(a->workdir));
    step_vars_put(env, STR("MILLRACE_CHECKPOINT_DIR"), str_of(a->checkpoint));
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
                               struct step_vars *env, struct err *err)
{
    for (size_t i = 0; i < req->spec.n_env; i++) {
        const struct launch_env *e = &req->spec.env[i];
        struct str value = e->value;
        if (e->secret.source != SECRET_NONE && !give_secret(p, a, req->project, e, &value, err)) return false;
        step_vars_put(env, e->name, value);
    }
    return true;
}

/* As the kernel takes them. */
static const struct str *lines_of(const struct step_vars *env)
{
    struct str *lines = arena_array(env->arena, struct str, env->n + 1);
    for (size_t i = 0; i < env->n; i++)
        lines[i] = arena_printf(env->arena, "%.*s=%.*s", STR_ARG(env->items[i].name), STR_ARG(env->items[i].value));
    return lines;
}

static bool place_inputs(struct process *p, struct attempt *a, const struct launch_spec *spec,
                         struct launcher_request *out, struct err *err)
{
    struct arena *m = &a->arena;
    struct launcher_file *files = arena_array(m, struct launcher_file, spec->n_inputs + 1);
    struct launch_input *fetched = arena_array(m, struct launch_input, spec->n_inputs + 1);
    size_t n = 0;
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct launch_input *in = &spec->inputs[i];
        struct launcher_file *f = &files[n++];
        f->to = step_beneath(m, spec, in->path);
        if (!in->artifact) {
            f->text = arena_str(m, in->text);
            continue;
        }
        char path[FS_PATH_MAX];
        if (in->folder) { /* a packed folder is unpacked beside the code bundles, once for all who use it */
            if (!bundle_tree_path(p->cfg.store_dir, in->digest, path, err)) return false;
        } else if (!store_path_later(p->blobs, in->digest, path, err)) {
            return false;
        }
        if (in->folder || store_is_remote(p->blobs))
            fetched[a->n_fetched++] = (struct launch_input){
                .name = arena_str(m, in->name), .digest = arena_str(m, in->digest), .folder = in->folder};
        f->from = arena_str(m, str_of(path));
    }
    if (spec->script.n > 0)
        files[n++] = (struct launcher_file){
            .to = step_beneath(m, spec, STR(LAUNCH_SCRIPT)), .text = arena_str(m, spec->script), .mode = 0755};
    out->files = files;
    out->n_files = n;
    a->fetched = fetched;
    return true;
}

static void want_outputs(struct attempt *a, const struct launch_spec *spec)
{
    a->wanted = step_outputs_of(&a->arena, spec);
    a->n_wanted = spec->node->n_outputs;
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
static bool fits_exec(const struct exec_request *req, const struct step_vars *env, struct err *err)
{
    const struct launch_spec *spec = &req->spec;
    long room = sysconf(_SC_ARG_MAX);
    size_t most = room > 0 && room < EXEC_MOST ? (size_t)room : EXEC_MOST, total = EXEC_RESERVE, longest = 0;
    struct str name = STR("");
    for (size_t i = 0; i < spec->n_argv; i++)
        total += spec->argv[i].n + 1 + sizeof(char *);
    for (size_t i = 0; i < env->n; i++) {
        size_t n = env->items[i].name.n + 1 + env->items[i].value.n;
        total += n + 1 + sizeof(char *);
        if (n <= longest) continue;
        longest = n;
        name = env->items[i].name;
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

static void want_limits(const struct process *p, struct attempt *a, const struct exec_request *req)
{
    a->memory_bytes = req->resources.memory_bytes > 0 ? req->resources.memory_bytes : p->cfg.step_memory_bytes;
    a->timeout_ms = req->timeout_ms;
    if (req->spec.node != NULL) a->memory_bound = retry_memory_bound(&req->spec.node->retry, a->memory_bytes);
}

void process_expect(struct process *p, struct attempt *a, const struct exec_request *req)
{
    const struct launch_spec *spec = &req->spec;
    want_outputs(a, spec);
    want_limits(p, a, req);
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
    struct step_vars env = {.arena = m};
    struct str note = {"", 0};
    struct str *folders = arena_array(m, struct str, spec->node->n_outputs + 2);
    size_t n_folders = 2;
    struct str checkpoint = checkpoint_of(p, a, req);
    want_outputs(a, spec);
    want_limits(p, a, req);
    a->checkpoint = checkpoint.p;
    own_variables(p, a, req, &env);
    if (!declared_variables(p, a, req, &env, err) || !process_gpus(p, a, req, &env, &note, err) ||
        !fits_exec(req, &env, err) || !place_inputs(p, a, spec, out, err) ||
        !place_code(p, a, req->bundle_digest, out, err))
        return false;
    folders[0] = STR(".tmp");
    folders[1] = checkpoint;
    for (size_t i = 0; i < a->n_wanted; i++) { /* a step may write its outputs at once */
        const char *slash = strrchr(a->wanted[i].path.p, '/');
        if (slash)
            folders[n_folders++] = arena_str(m, str_sub(a->wanted[i].path, 0, (size_t)(slash - a->wanted[i].path.p)));
    }
    *out = (struct launcher_request){
        .name = str_of(a->name),
        .argv = copy_strs(m, spec->argv, spec->n_argv),
        .n_argv = spec->n_argv,
        .env = lines_of(&env),
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
        .memory_bytes = a->memory_bytes,
        .log_max_bytes = p->cfg.step_log_bytes,
        .timeout_ms = a->timeout_ms,
        .grace_ms = req->grace_ms,
        .note = note,
    };
    a->request = out;
    return true;
}

void process_prepare(struct job *job)
{
    struct attempt *a = (struct attempt *)(void *)job;
    struct process *p = a->owner;
    if (a->bundle.n > 0 && !bundle_install(p->blobs, p->cfg.store_dir, a->bundle, NULL, &a->prepare_error)) return;
    for (size_t i = 0; i < a->n_fetched; i++) {
        const struct launch_input *in = &a->fetched[i];
        struct err why = {0};
        char path[FS_PATH_MAX];
        if (in->folder ? bundle_install(p->blobs, p->cfg.store_dir, in->digest, &bundle_of_artifact, &why)
                       : store_path(p->blobs, in->digest, path, &why))
            continue;
        err_set(&a->prepare_error, why.code, "inputs.%.*s: %s", STR_ARG(in->name), why.message);
        return;
    }
}
