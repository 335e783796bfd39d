/* From what the scheduler asks to the Job of the attempt. */
#include <stdio.h>
#include <string.h>

#include "scheduler/kube_inner.h"

#define SCRIPT_FILE KUBE_FILES "/script"

struct variables {
    struct arena *arena;
    struct kube_variable *items;
    size_t n, room;
};

/* What the step declares stands instead of ours. */
static void push(struct variables *v, const struct kube_variable *one)
{
    for (size_t i = 0; i < v->n; i++)
        if (str_eq(v->items[i].name, one->name)) {
            v->items[i] = *one;
            return;
        }
    if (v->n == v->room) {
        size_t room = v->room > 0 ? v->room * 2 : 32;
        v->items = arena_grow(v->arena, v->items, v->n * sizeof *v->items, room * sizeof *v->items);
        v->room = room;
    }
    v->items[v->n++] = *one;
}

static void put(struct variables *v, struct str name, struct str value)
{
    push(v, &(struct kube_variable){.name = name, .value = value});
}

static void put_number(struct variables *v, struct str name, int64_t n)
{
    put(v, name, arena_printf(v->arena, "%lld", (long long)n));
}

static void own_variables(struct variables *v, const struct kube_attempt *a, const struct exec_request *req)
{
    put_number(v, STR("MILLRACE_RUN"), req->id.run);
    put(v, STR("MILLRACE_RUN_NAME"), req->run_name);
    put(v, STR("MILLRACE_PROJECT"), req->project);
    put(v, STR("MILLRACE_STEP"), req->step);
    put_number(v, STR("MILLRACE_TASK"), req->id.task);
    put(v, STR("MILLRACE_PATH"), req->path);
    put_number(v, STR("MILLRACE_ATTEMPT"), req->id.attempt);
    put(v, STR("MILLRACE_ATTEMPT_ID"), str_of(a->name));
    put(v, STR("MILLRACE_WORKDIR"), STR(KUBE_WORKDIR));
    if (req->api_url.n > 0) {
        put(v, STR("MILLRACE_API_URL"), req->api_url);
        put(v, STR("MILLRACE_URL"), req->api_url); /* clients read this one */
    }
    if (req->token.n > 0) put(v, STR("MILLRACE_TOKEN"), req->token);
}

/* Paths are relative to where the step starts. */
static struct str full_path(struct arena *m, const struct launch_spec *spec, struct str path)
{
    bool root = spec->workdir.n == 0;
    return arena_printf(m, KUBE_WORKDIR "%s%.*s/%.*s", root ? "" : "/", STR_ARG(spec->workdir), STR_ARG(path));
}

static bool declared_variables(struct variables *v, const struct launch_spec *spec, struct err *err)
{
    for (size_t i = 0; i < spec->n_env; i++) {
        const struct launch_env *e = &spec->env[i];
        struct kube_variable one = {.name = e->name, .value = e->value};
        if (e->secret.source == SECRET_KUBERNETES) {
            struct str rest = e->secret.name;
            if (!str_split(&rest, '/', &one.secret) || rest.n == 0) {
                err_set(err, ERR_INVALID, "a Secret of the cluster is named NAME/KEY");
                return err_path(err, "env.%.*s", STR_ARG(e->name));
            }
            one.key = rest;
        } else if (e->secret.source != SECRET_NONE) {
            err_set(err, ERR_INVALID, "a step on a cluster cannot have a secret of the server");
            err_path(err, "env.%.*s", STR_ARG(e->name));
            return err_hint(err, "make it a Secret of the cluster, and name it: {secret: {kubernetes: NAME/KEY}}");
        }
        push(v, &one);
    }
    return true;
}

/* ---- files ---- */

static bool place_files(struct kube_attempt *a, const struct launch_spec *spec, struct variables *v,
                        struct kube_job *job, struct err *err)
{
    struct arena *m = &a->arena;
    struct kube_file *files = arena_array(m, struct kube_file, spec->n_inputs + 1);
    size_t n = 0, bytes = spec->script.n;
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct launch_input *in = &spec->inputs[i];
        struct str path = full_path(m, spec, in->path), name = plan_variable(m, in->name);
        if (in->artifact) {
            err_set(err, ERR_INVALID, "artifacts do not reach steps on a cluster yet");
            return err_path(err, "inputs.%.*s", STR_ARG(in->name));
        }
        bytes += in->text.n;
        files[n++] = (struct kube_file){.path = path, .text = in->text};
        put(v, arena_printf(m, "MILLRACE_INPUT_%.*s", STR_ARG(name)), path);
    }
    if (spec->script.n > 0)
        files[n++] = (struct kube_file){.path = STR(SCRIPT_FILE), .text = spec->script, .program = true};
    if (bytes > KUBE_FILES_MAX) {
        err_set(err, ERR_LIMIT, "its script and inputs are %zu bytes together, a pod takes %zu", bytes, KUBE_FILES_MAX);
        return err_hint(err, "put the script into the pipeline's folder, or make the inputs artifacts");
    }
    job->files = files;
    job->n_files = n;
    return true;
}

static bool want_output(struct kube_attempt *a, const struct launch_spec *spec, struct variables *v,
                        struct kube_job *job, struct err *err)
{
    const struct node *n = spec->node;
    struct arena *m = &a->arena;
    if (n->n_outputs == 0) return true;
    const struct output *o = &n->outputs[0];
    if (n->n_outputs > 1 || o->kind != IO_PARAM) {
        err_set(err, ERR_INVALID, "a step on a cluster can have one output yet, a param");
        return err_path(err, "outputs");
    }
    struct str name = plan_variable(m, o->name);
    a->output = (struct kube_output){arena_str(m, o->name), o->type, o->optional};
    job->message_path = full_path(m, spec, o->path);
    put(v, arena_printf(m, "MILLRACE_OUTPUT_%.*s", STR_ARG(name)), job->message_path);
    return true;
}

/* The command line with the script where it is. */
static void command_line(struct arena *m, const struct launch_spec *spec, struct kube_job *job)
{
    struct str *argv = arena_array(m, struct str, spec->n_argv + 1);
    for (size_t i = 0; i < spec->n_argv; i++)
        argv[i] = spec->script.n > 0 && str_is(spec->argv[i], LAUNCH_SCRIPT) ? STR(SCRIPT_FILE) : spec->argv[i];
    size_t n = spec->node->verb == VERB_IMAGE ? spec->n_command : spec->n_argv;
    job->command = argv;
    job->n_command = n;
    job->args = argv + n;
    job->n_args = spec->n_argv - n;
}

static bool choose_image(struct kube *k, const struct launch_spec *spec, struct kube_job *job, struct err *err)
{
    job->image = spec->image.n > 0 ? spec->image : k->cfg.image;
    if (job->image.n > 0) return true;
    err_set(err, ERR_INVALID, "a step on a cluster needs an image");
    err_path(err, "image");
    return err_hint(err, "name one in the step or in the pipeline's defaults, or start the server with --kube-image");
}

bool kube_prepare(struct kube *k, struct kube_attempt *a, const struct exec_request *req, struct err *err)
{
    const struct launch_spec *spec = &req->spec;
    struct arena *m = &a->arena;
    struct variables env = {.arena = m};
    kube_job_name(k->cfg.instance, req->step, req->id, a->name);
    struct kube_job job = {
        .id = req->id,
        .name = str_of(a->name),
        .namespace = k->cfg.namespace,
        .instance = k->cfg.instance,
        .project = req->project,
        .run_name = req->run_name,
        .step = req->step,
        .path = req->path,
        .pull_policy = k->cfg.pull_policy,
        .own_workdir = spec->node->verb == VERB_IMAGE && spec->n_inputs == 0 && spec->node->n_outputs == 0,
        .cwd = spec->workdir,
        .resources = req->resources,
        .gpu_resource = k->cfg.gpu_resource,
        .timeout_ms = req->timeout_ms,
        .grace_ms = req->grace_ms,
        .cluster = spec->node->cluster,
    };
    own_variables(&env, a, req);
    if (!choose_image(k, spec, &job, err) || !place_files(a, spec, &env, &job, err) ||
        !want_output(a, spec, &env, &job, err) || !declared_variables(&env, spec, err))
        return false;
    command_line(m, spec, &job);
    job.env = env.items;
    job.n_env = env.n;
    BUF_AUTO text;
    buf_init(&text, 0);
    kube_job_json(&job, &text);
    a->manifest = arena_str(m, buf_view(&text));
    return true;
}
