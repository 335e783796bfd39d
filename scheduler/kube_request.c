/* From what the scheduler asks to the Job of the attempt. */
#include <stdio.h>
#include <string.h>

#include "scheduler/kube_inner.h"
#include "scheduler/kube_pin.h"
#include "scheduler/step_env.h"
#include "scheduler/step_moves.h"

#define MANIFEST_MAX (1 << 20)
#define MASTER_PORT "29500"

/* Paths of the pod. */
static struct str full_path(struct arena *m, const struct launch_spec *spec, struct str path)
{
    return arena_printf(m, KUBE_WORKDIR "/%.*s", STR_ARG(step_beneath(m, spec, path)));
}

static bool of_secret(struct kube_attempt *a, const struct exec_request *req, const struct launch_env *e,
                      struct kube_variable *out, struct err *err)
{
    struct str rest = e->secret.name;
    if (e->secret.source != SECRET_KUBERNETES) return kube_secret_take(a, req, e, out, err);
    *out = (struct kube_variable){.name = e->name};
    if (!str_split(&rest, '/', &out->secret) || out->secret.n == 0 || rest.n == 0) {
        err_set(err, ERR_INVALID, "a Secret of the cluster is named NAME/KEY");
        return err_path(err, "env.%.*s", STR_ARG(e->name));
    }
    out->key = rest;
    return true;
}

/* Ours, and what the step declares instead or besides. */
static bool environment(struct kube_attempt *a, const struct exec_request *req, struct kube_job *job, struct err *err)
{
    const struct launch_spec *spec = &req->spec;
    struct step_vars vars = {.arena = &a->arena};
    step_vars_own(&vars, req, str_of(a->name), STR(KUBE_WORKDIR));
    for (size_t i = 0; i < spec->n_env; i++)
        step_vars_put(&vars, spec->env[i].name, spec->env[i].value);
    struct kube_variable *all = arena_array(&a->arena, struct kube_variable, vars.n + 1);
    for (size_t i = 0; i < vars.n; i++)
        all[i] = (struct kube_variable){.name = vars.items[i].name, .value = vars.items[i].value};
    for (size_t i = 0; i < spec->n_env; i++)
        for (size_t k = 0; spec->env[i].secret.source != SECRET_NONE && k < vars.n; k++)
            if (str_eq(all[k].name, spec->env[i].name) && !of_secret(a, req, &spec->env[i], &all[k], err)) return false;
    job->env = all;
    job->n_env = vars.n;
    return true;
}

static bool declared(const struct kube_job *job, const char *name)
{
    for (size_t i = 0; i < job->n_env; i++)
        if (str_is(job->env[i].name, name)) return true;
    return false;
}

/* What PyTorch, torchrun (PET_…) and their like read, unless the step says otherwise. Each worker is a node of its own;
 * without torchrun a process of its own.
 * https://pytorch.org/docs/stable/elastic/run.html */
static void rendezvous(struct arena *m, struct kube_job *job)
{
    const struct str rank = STR("metadata.annotations['" KUBE_LABEL_RANK "']");
    struct str count = arena_printf(m, "%u", job->workers),
               master = arena_printf(m, "%.*s-0.%.*s", STR_ARG(job->name), STR_ARG(job->name));
    uint32_t gpus = job->resources.gpu_count;
    const struct kube_variable all[] = {
        {.name = STR("MASTER_ADDR"), .value = master},
        {.name = STR("MASTER_PORT"), .value = STR(MASTER_PORT)},
        {.name = STR("WORLD_SIZE"), .value = count},
        {.name = STR("RANK"), .field = rank},
        {.name = STR("LOCAL_RANK"), .value = STR("0")},
        {.name = STR("LOCAL_WORLD_SIZE"), .value = STR("1")},
        {.name = STR("NODE_RANK"), .field = rank},
        {.name = STR("PET_NNODES"), .value = count},
        {.name = STR("PET_NPROC_PER_NODE"), .value = arena_printf(m, "%u", gpus > 0 ? gpus : 1)},
        {.name = STR("PET_NODE_RANK"), .field = rank},
        {.name = STR("PET_MASTER_ADDR"), .value = master},
        {.name = STR("PET_MASTER_PORT"), .value = STR(MASTER_PORT)},
        {.name = STR("PET_RDZV_ID"), .value = job->name},
        {.name = STR("PET_RDZV_ENDPOINT"), .value = arena_printf(m, "%.*s:" MASTER_PORT, STR_ARG(master))},
    };
    size_t most = sizeof all / sizeof *all, n = job->n_env;
    struct kube_variable *env = arena_array(m, struct kube_variable, n + most);
    if (n > 0) memcpy(env, job->env, n * sizeof *env);
    for (size_t i = 0; i < most; i++)
        if (!declared(job, all[i].name.p)) env[n++] = all[i];
    job->env = env;
    job->n_env = n;
}

/* ---- files ---- */

/* What a pod is told by annotations has a limit. */
static bool texts_fit(size_t bytes, struct err *err)
{
    if (bytes <= KUBE_FILES_MAX) return true;
    err_set(err, ERR_LIMIT, "its script and inputs are %zu bytes together, a pod takes %zu", bytes, KUBE_FILES_MAX);
    return err_hint(err, "put the script into the pipeline's folder, or make the inputs artifacts");
}

/* Texts are files by themselves, unless the folder that they are in is to be written to. */
static bool place_files(struct kube_attempt *a, const struct launch_spec *spec, struct kube_job *job, struct err *err)
{
    struct arena *m = &a->arena;
    struct kube_file *files = arena_array(m, struct kube_file, spec->n_inputs + 1);
    size_t n = 0, bytes = spec->script.n + job->moves.n;
    for (size_t i = 0; i < spec->n_inputs && !job->fetches; i++) {
        const struct launch_input *in = &spec->inputs[i];
        bytes += in->text.n;
        files[n++] = (struct kube_file){.path = full_path(m, spec, in->path), .text = in->text};
    }
    if (spec->script.n > 0)
        files[n++] =
            (struct kube_file){.path = full_path(m, spec, STR(LAUNCH_SCRIPT)), .text = spec->script, .program = true};
    job->files = files;
    job->n_files = n;
    return texts_fit(bytes, err);
}

/* ---- what is moved ---- */

/* A param comes back as the termination message of the step's own container. */
static void want_outputs(struct kube_attempt *a, const struct launch_spec *spec)
{
    a->outputs = step_outputs_of(&a->arena, spec);
    a->n_outputs = spec->node->n_outputs;
    a->collects = a->n_outputs > 1 || (a->n_outputs == 1 && a->outputs[0].kind == IO_ARTIFACT);
}

/* An image's own program brings its own code. Where nothing is moved, the submission was told that it stays away. */
static bool takes_code(const struct kube *k, const struct exec_request *req)
{
    return req->bundle_digest.n > 0 && req->spec.node->verb != VERB_IMAGE && k->cfg.companion.n > 0 &&
           req->api_url.n > 0;
}

static bool fetches(const struct kube *k, const struct exec_request *req)
{
    bool any = takes_code(k, req);
    for (size_t i = 0; i < req->spec.n_inputs; i++)
        any |= req->spec.inputs[i].artifact;
    return any;
}

/* A folder that an output lies in must be there before the step's container is: only who runs before it can make it. */
static bool makes_folders(const struct kube_attempt *a)
{
    bool any = false;
    size_t at;
    for (size_t i = 0; a->collects && i < a->n_outputs; i++)
        any |= str_find(a->outputs[i].path, STR("/"), &at);
    return any;
}

static bool can_move(const struct kube *k, const struct exec_request *req, struct err *err)
{
    if (k->cfg.companion.n == 0) {
        err_set(err, ERR_INVALID,
                "code, artifacts and several outputs are moved by Millrace's own image, and the server "
                "knows none");
        return err_hint(err, "start the server with --kube-companion");
    }
    if (req->api_url.n > 0 && req->token.n > 0) return true;
    err_set(err, ERR_INVALID,
            "code, artifacts and several outputs come from the API, and the server does not know how "
            "pods reach it");
    return err_hint(err, "start the server with --api-url");
}

static bool plan_moves(struct kube *k, struct kube_attempt *a, const struct exec_request *req, struct kube_job *job,
                       struct err *err)
{
    const struct launch_spec *spec = &req->spec;
    struct arena *m = &a->arena;
    job->fetches = fetches(k, req) || makes_folders(a);
    job->collects = a->collects;
    if (!job->fetches && !job->collects) return true;
    if (!can_move(k, req, err)) return false;
    struct launch_input *inputs = arena_array(m, struct launch_input, spec->n_inputs + 1);
    for (size_t i = 0; i < spec->n_inputs; i++) {
        inputs[i] = spec->inputs[i];
        inputs[i].path = step_beneath(m, spec, inputs[i].path);
    }
    const struct step_moves moves = {.bundle = takes_code(k, req) ? req->bundle_digest : STR(""),
                                     .inputs = inputs,
                                     .n_inputs = job->fetches ? spec->n_inputs : 0,
                                     .outputs = a->outputs,
                                     .n_outputs = a->n_outputs,
                                     .upload_ms = job->upload_ms};
    BUF_AUTO text;
    buf_init(&text, 0);
    step_moves_write(&moves, &text);
    job->moves = arena_str(m, buf_view(&text));
    job->companion = k->cfg.companion;
    job->companion_cpu_milli = k->cfg.companion_cpu_milli;
    job->companion_memory_bytes = k->cfg.companion_memory_bytes;
    job->node_cache = k->cfg.node_cache;
    job->node_cache_bytes = k->cfg.node_cache_bytes;
    job->api_url = req->api_url;
    job->token = req->token;
    return true;
}

static void command_line(const struct launch_spec *spec, struct kube_job *job)
{
    size_t n = spec->node->verb == VERB_IMAGE ? spec->n_command : spec->n_argv;
    job->command = spec->argv;
    job->n_command = n;
    job->args = spec->argv + n;
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

static uint32_t workers_of(const struct launch_spec *spec)
{
    return spec->node->workers > 1 ? spec->node->workers : 1;
}

void kube_expect(struct kube *k, struct kube_attempt *a, const struct exec_request *req)
{
    char name[KUBE_JOB_NAME];
    kube_job_name(k->cfg.instance, req->step, req->id, name);
    kube_name_job(a, name);
    want_outputs(a, &req->spec);
    a->timeout_ms = req->timeout_ms;
    a->soft_ms = req->grace_ms;
    a->memory_bound = retry_memory_bound(&req->spec.node->retry, req->resources.memory_bytes);
    a->workers = workers_of(&req->spec);
    a->gang = a->workers > 1;
    /* Whoever was to make its Secret may have been killed before; what cannot be had any more, the kubelet waits for.
     */
    for (size_t i = 0; i < req->spec.n_env; i++) {
        struct kube_variable ignored;
        struct err why;
        const struct launch_env *e = &req->spec.env[i];
        if (e->secret.source == SECRET_NONE || e->secret.source == SECRET_KUBERNETES) continue;
        if (!kube_secret_take(a, req, e, &ignored, &why)) a->n_secrets = 0;
    }
    struct kube_job job = {.resources = req->resources};
    struct err ignored; /* it was read when the Job was made */
    if (kube_pin_apply(&a->arena, req->pin, &job, &ignored)) kube_template_want(a, &job.claim);
    kube_ranks_settle(a);
}

/* What the API server and its database take of one object, with room for what they add. */
static bool fits(const struct buf *manifest, struct err *err)
{
    if (manifest->n <= MANIFEST_MAX) return true;
    err_set(err, ERR_LIMIT, "its Job is %zu bytes long, a cluster takes %d", manifest->n, MANIFEST_MAX);
    return err_hint(err, "shorten its arguments, variables and inputs");
}

bool kube_prepare(struct kube *k, struct kube_attempt *a, const struct exec_request *req, struct err *err)
{
    const struct launch_spec *spec = &req->spec;
    struct arena *m = &a->arena;
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
        .upload_ms = spec->node->upload_ms > 0 ? spec->node->upload_ms : KUBE_UPLOAD_MS,
        .cluster = spec->node->cluster,
        .workers = workers_of(spec),
    };
    a->workers = job.workers;
    a->gang = a->workers > 1;
    a->timeout_ms = req->timeout_ms;
    a->soft_ms = req->grace_ms;
    a->memory_bound = retry_memory_bound(&req->spec.node->retry, req->resources.memory_bytes);
    want_outputs(a, spec);
    if (!kube_pin_apply(m, req->pin, &job, err)) return false;
    kube_template_want(a, &job.claim);
    if (!choose_image(k, spec, &job, err) || !plan_moves(k, a, req, &job, err) || !place_files(a, spec, &job, err) ||
        !environment(a, req, &job, err))
        return false;
    if (job.workers > 1) rendezvous(m, &job);
    if (a->n_outputs == 1 && !a->collects) job.message_path = full_path(m, spec, spec->node->outputs[0].path);
    command_line(spec, &job);
    BUF_AUTO text;
    buf_init(&text, 0);
    kube_job_json(&job, &text);
    if (!fits(&text, err)) return false;
    a->manifest = arena_str(m, buf_view(&text));
    return true;
}
