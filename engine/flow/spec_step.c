/* Reading a step: its one verb decides which fields may stand beside it. */
#include "engine/flow/spec_step.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/map.h"

/* Variants of a step, as bits for the table below. */
enum {
    IS_RUN = 1 << VERB_RUN,
    IS_SCRIPT = 1 << VERB_SCRIPT,
    IS_IMAGE = 1 << VERB_IMAGE,
    IS_PIPELINE = 1 << VERB_PIPELINE,
    IS_EXPR = 1 << VERB_EXPR,
    IS_HTTP = 1 << VERB_HTTP,
    IS_WAIT = 1 << VERB_WAIT,
    IS_APPROVAL = 1 << VERB_APPROVAL,
    IS_IMPORT = 1 << VERB_IMPORT,
    IS_LATER = 1 << 20,
    IS_PROCESS = IS_RUN | IS_SCRIPT | IS_IMAGE,
    IS_WORK = IS_PROCESS | IS_HTTP | IS_IMPORT, /* can fail of its own */
};

/* Verbs stand first; `image` is one only when no other is there. */
static const struct {
    const char *name;
    unsigned bit;
    enum verb verb;
} verbs[] = {
    {"run", IS_RUN, VERB_RUN},
    {"script", IS_SCRIPT, VERB_SCRIPT},
    {"pipeline", IS_PIPELINE, VERB_PIPELINE},
    {"expr", IS_EXPR, VERB_EXPR},
    {"http", IS_HTTP, VERB_HTTP},
    {"wait", IS_WAIT, VERB_WAIT},
    {"approval", IS_APPROVAL, VERB_APPROVAL},
    {"import", IS_IMPORT, VERB_IMPORT},
    {"build", IS_LATER, VERB_NOOP},
    {"register", IS_LATER, VERB_NOOP},
    {"promote", IS_LATER, VERB_NOOP},
};

/* Who takes up a plan may refuse these, and then says where they stand. */
static void read_queue(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *n = &((struct spec_step *)out)->node;
    n->queue_at = v->at;
    spec_name(s, at, v, &n->queue);
}

static void read_workers(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *n = &((struct spec_step *)out)->node;
    n->workers_at = v->at;
    spec_workers(s, at, v, &n->workers);
}

#define IN(member) offsetof(struct spec_step, member)
static const struct spec_field fields[] = {
    {"run", spec_run, 0, IS_RUN, false},
    {"script", spec_script, 0, IS_SCRIPT, false},
    {"pipeline", spec_pipeline, 0, IS_PIPELINE, false},
    {"expr", spec_value, 0, IS_EXPR, false},
    {"http", spec_http, 0, IS_HTTP, false},
    {"wait", spec_wait, 0, IS_WAIT, false},
    {"approval", spec_approval, 0, IS_APPROVAL, false},
    {"import", spec_import, 0, IS_IMPORT, false},
    {"build", spec_later, 0, IS_LATER, false},
    {"register", spec_later, 0, IS_LATER, false},
    {"promote", spec_later, 0, IS_LATER, false},
    {"needs", spec_any, IN(needs), 0, false},
    {"when", spec_when, 0, 0, false},
    {"foreach", spec_foreach, 0, 0, false},
    {"parallelism", spec_positive, IN(node.parallelism), 0, false},
    {"rule", spec_rule, IN(node.rule), 0, false},
    {"after", spec_after, IN(node.after), 0, false},
    {"retry", spec_retry, IN(node.retry), IS_WORK | IS_PIPELINE, false},
    {"timeout", spec_duration, IN(node.timeout_ms), IS_WORK | IS_PIPELINE, false},
    {"uploadTimeout", spec_upload, IN(node.upload_ms), IS_PROCESS, false},
    {"image", spec_image, 0, IS_PROCESS, false},
    {"command", spec_any, IN(command), IS_IMAGE, false},
    {"args", spec_any, IN(args), IS_IMAGE, false},
    {"interpreter", spec_strs, IN(interpreter), IS_SCRIPT, false},
    {"env", spec_env, IN(env), IS_PROCESS, false},
    {"workdir", spec_path_in, IN(node.workdir), IS_PROCESS, false},
    {"inputs", spec_inputs, IN(inputs), IS_PROCESS, false},
    {"params", spec_inputs, IN(inputs), IS_PIPELINE, false},
    {"outputs", spec_outputs, IN(outputs), IS_PROCESS, false},
    {"resources", spec_resources, IN(node.resources), IS_PROCESS, false},
    {"cache", spec_cache, IN(node.cache), IS_PROCESS, false},
    {"workers", read_workers, 0, IS_PROCESS, false},
    {"queue", read_queue, 0, IS_PROCESS, false},
    {"priority", spec_int32, IN(node.priority), 0, false},
    {"nodeSelector", spec_any, IN(cluster[CLUSTER_NODE_SELECTOR]), IS_PROCESS, false},
    {"tolerations", spec_any, IN(cluster[CLUSTER_TOLERATIONS]), IS_PROCESS, false},
    {"labels", spec_any, IN(cluster[CLUSTER_LABELS]), IS_PROCESS, false},
    {"annotations", spec_any, IN(cluster[CLUSTER_ANNOTATIONS]), IS_PROCESS, false},
    {"volumes", spec_any, IN(cluster[CLUSTER_VOLUMES]), IS_PROCESS, false},
    {"serviceAccountName", spec_any, IN(cluster[CLUSTER_SERVICE_ACCOUNT]), IS_PROCESS, false},
    {"affinity", spec_any, IN(cluster[CLUSTER_AFFINITY]), IS_PROCESS, false},
    {"securityContext", spec_any, IN(cluster[CLUSTER_SECURITY]), IS_PROCESS, false},
    {"imagePullSecrets", spec_any, IN(cluster[CLUSTER_PULL_SECRETS]), IS_PROCESS, false},
    {"imagePullPolicy", spec_any, IN(cluster[CLUSTER_PULL_POLICY]), IS_PROCESS, false},
    {"envFrom", spec_any, IN(cluster[CLUSTER_ENV_FROM]), IS_PROCESS, false},
    {"hostIPC", spec_any, IN(cluster[CLUSTER_HOST_IPC]), IS_PROCESS, false},
    {"hostNetwork", spec_any, IN(cluster[CLUSTER_HOST_NETWORK]), IS_PROCESS, false},
    {"runtimeClassName", spec_any, IN(cluster[CLUSTER_RUNTIME_CLASS]), IS_PROCESS, false},
    {"priorityClassName", spec_any, IN(cluster[CLUSTER_PRIORITY_CLASS]), IS_PROCESS, false},
    {"pod", spec_any, IN(cluster[CLUSTER_POD]), IS_PROCESS, false},
    {"description", spec_str, IN(node.name), 0, false}, /* for readers of the file; the name is set afterwards */
};

static const struct spec_field default_fields[] = {
    {"image", spec_image, 0, 0, false},
    {"interpreter", spec_strs, IN(interpreter), 0, false},
    {"env", spec_env, IN(env), 0, false},
    {"workdir", spec_path_in, IN(node.workdir), 0, false},
    {"resources", spec_resources, IN(node.resources), 0, false},
    {"retry", spec_retry, IN(node.retry), 0, false},
    {"timeout", spec_duration, IN(node.timeout_ms), 0, false},
    {"uploadTimeout", spec_upload, IN(node.upload_ms), 0, false},
    {"cache", spec_cache, IN(node.cache), 0, false},
    {"queue", read_queue, 0, 0, false},
    {"priority", spec_int32, IN(node.priority), 0, false},
    {"nodeSelector", spec_any, IN(cluster[CLUSTER_NODE_SELECTOR]), 0, false},
    {"tolerations", spec_any, IN(cluster[CLUSTER_TOLERATIONS]), 0, false},
    {"labels", spec_any, IN(cluster[CLUSTER_LABELS]), 0, false},
    {"annotations", spec_any, IN(cluster[CLUSTER_ANNOTATIONS]), 0, false},
    {"volumes", spec_any, IN(cluster[CLUSTER_VOLUMES]), 0, false},
    {"serviceAccountName", spec_any, IN(cluster[CLUSTER_SERVICE_ACCOUNT]), 0, false},
    {"affinity", spec_any, IN(cluster[CLUSTER_AFFINITY]), 0, false},
    {"securityContext", spec_any, IN(cluster[CLUSTER_SECURITY]), 0, false},
    {"imagePullSecrets", spec_any, IN(cluster[CLUSTER_PULL_SECRETS]), 0, false},
    {"imagePullPolicy", spec_any, IN(cluster[CLUSTER_PULL_POLICY]), 0, false},
    {"envFrom", spec_any, IN(cluster[CLUSTER_ENV_FROM]), 0, false},
    {"hostIPC", spec_any, IN(cluster[CLUSTER_HOST_IPC]), 0, false},
    {"hostNetwork", spec_any, IN(cluster[CLUSTER_HOST_NETWORK]), 0, false},
    {"runtimeClassName", spec_any, IN(cluster[CLUSTER_RUNTIME_CLASS]), 0, false},
    {"priorityClassName", spec_any, IN(cluster[CLUSTER_PRIORITY_CLASS]), 0, false},
    {"pod", spec_any, IN(cluster[CLUSTER_POD]), 0, false},
};

void spec_builtin_defaults(struct spec_step *out)
{
    *out = (struct spec_step){.node = {.retry = {.base_ms = 1000,
                                                 .max_ms = 300000,
                                                 .factor = 2,
                                                 .jitter = 0.1,
                                                 .on = FAILURE_ERROR | FAILURE_OOM | FAILURE_TIMEOUT}}};
}

void spec_defaults(struct spec *s, const struct spec_at *at, const struct value *v, struct spec_step *out)
{
    s->defaults = true;
    spec_fields(s, at, v, default_fields, SPEC_COUNT(default_fields), 0, "defaults", out);
    out->node.cluster = spec_cluster(s, at, out, NULL);
    s->n_default = out->env.n + spec_cluster_parts(out->node.cluster);
    s->defaults = false;
}

/* Which verb: exactly one of them, or an image alone. */
static bool find_verb(struct spec *s, const struct spec_at *at, const struct value *v, unsigned *bit, enum verb *verb)
{
    char found[160] = "";
    size_t n = 0, used = 0;
    for (size_t i = 0; i < SPEC_COUNT(verbs); i++) {
        if (!value_get(v, verbs[i].name)) continue;
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%s", n++ ? ", " : "", verbs[i].name);
        *bit = verbs[i].bit;
        *verb = verbs[i].verb;
    }
    for (size_t i = 0; i < SPEC_COUNT(verbs) && n == 0; i++) {
        if (!spec_misspelled(v, fields, SPEC_COUNT(fields), verbs[i].name)) continue;
        n = 1;
        *bit = verbs[i].bit;
        *verb = verbs[i].verb;
    }
    if (n == 1) return true;
    if (n > 1) {
        err_hint(spec_error(s, at, v, "a step has one verb, this one has %zu: %s", n, found), "make it %zu steps", n);
        return false;
    }
    *bit = IS_IMAGE;
    *verb = VERB_IMAGE;
    if (value_get(v, "image")) return true;
    err_hint(spec_error(s, at, v, "the step has no verb"),
             "one of: run, script, image, pipeline, expr, http, wait, approval, import");
    return false;
}

static void finish_command(struct spec *s, const struct spec_at *at, struct spec_step *step)
{
    const struct value *parts[] = {step->command, step->args};
    const char *names[] = {"command", "args"};
    struct node *node = &step->node;
    for (size_t i = 0; i < 2; i++) {
        struct spec_at here = {at, str_of(names[i]), SIZE_MAX, {0, 0}};
        struct spec_step one = {.in_exit = false};
        if (!parts[i]) continue;
        if (parts[i]->type != VALUE_LIST) {
            spec_expected(s, &here, parts[i], "a list of arguments");
            continue;
        }
        spec_run(s, &here, parts[i], &one);
        struct expr_template *all = arena_array(s->arena, struct expr_template, node->n_argv + one.node.n_argv);
        if (node->n_argv) memcpy(all, node->argv, node->n_argv * sizeof *all);
        if (one.node.n_argv) memcpy(all + node->n_argv, one.node.argv, one.node.n_argv * sizeof *all);
        node->argv = all;
        node->n_argv += one.node.n_argv;
        if (i == 0) node->n_command = one.node.n_argv;
    }
}

static void check_paths(struct spec *s, const struct spec_at *at, const struct value *v, const struct spec_step *step)
{
    MAP_AUTO paths;
    map_init(&paths, s->env->seed);
    for (size_t i = 0; i < step->outputs.n && !err_list_full(s->errors); i++) {
        const struct output *o = &step->outputs.items[i];
        uint64_t first;
        if (o->path.n == 0) continue;
        if (!map_get(&paths, o->path, &first)) {
            map_put(&paths, o->path, i, NULL);
            continue;
        }
        struct spec_at outputs = {at, str_of("outputs"), SIZE_MAX, {0, 0}},
                       here = {&outputs, o->name, SIZE_MAX, {0, 0}};
        spec_error(s, &here, value_find(value_get(v, "outputs"), here.key), "the path '%.*s' is that of '%.*s', too",
                   STR_ARG(o->path), STR_ARG(step->outputs.items[first].name));
    }
}

/* MILLRACE_INPUT_NAME and MILLRACE_OUTPUT_NAME: two names of one variable would hide each other. */
static void check_variables(struct spec *s, const struct spec_at *at, const struct value *v, const char *field)
{
    const struct value *map = value_get(v, field);
    MAP_AUTO seen;
    map_init(&seen, s->env->seed);
    for (size_t i = 0; map && map->type == VALUE_MAP && i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        uint64_t first;
        struct str name = plan_variable(s->arena, e->key);
        if (!map_get(&seen, name, &first)) {
            map_put(&seen, name, i, NULL);
            continue;
        }
        struct spec_at fields_at = {at, str_of(field), SIZE_MAX, {0, 0}},
                       here = {&fields_at, e->key, SIZE_MAX, e->key_at};
        spec_error(s, &here, NULL, "the name is that of '%.*s', too, in the variable MILLRACE_%s_%.*s",
                   STR_ARG(map->u.map.entries[first].key), str_is(fields_at.key, "inputs") ? "INPUT" : "OUTPUT",
                   STR_ARG(name));
    }
}

/* Each item of a loop's outputs has entries of its own, which would hide an output of that name. */
static void check_loop_outputs(struct spec *s, const struct spec_at *at, const struct value *v,
                               const struct spec_step *step)
{
    for (size_t i = 0; step->node.loop && i < step->outputs.n; i++) {
        struct str name = step->outputs.items[i].name;
        if (!str_is(name, "item") && !str_is(name, "index") && !str_is(name, "status")) continue;
        struct spec_at outputs = {at, str_of("outputs"), SIZE_MAX, {0, 0}}, here = {&outputs, name, SIZE_MAX, {0, 0}};
        spec_error(s, &here, value_find(value_get(v, "outputs"), name),
                   "in a loop '%.*s' is what the engine tells of each item: name the output otherwise", STR_ARG(name));
    }
}

/* What came from the defaults and means nothing for this verb goes. */
static void drop_defaults(struct spec_step *step, unsigned bit)
{
    struct node *node = &step->node;
    if (!(bit & IS_PROCESS)) {
        node->image = node->workdir = node->queue = (struct str){"", 0};
        node->resources = (struct resources){0};
        node->cache = (struct cache_policy){0};
        node->cluster = NULL;
        node->upload_ms = 0;
        step->env.n = 0;
        node->retry.memory_factor = 0;
        node->retry.memory_most = 0;
    }
    if (!(bit & IS_SCRIPT)) step->interpreter.n = 0;
    if (!(bit & IS_WORK)) {
        struct spec_step none;
        spec_builtin_defaults(&none);
        node->timeout_ms = 0;
        node->retry = none.node.retry; /* a sub-pipeline's steps have their own */
    }
}

static void finish(struct spec *s, const struct spec_at *at, const struct value *v, const struct spec_step *defaults,
                   unsigned bit, struct spec_step *step)
{
    struct node *node = &step->node;
    if (str_is(node->workdir, ".")) node->workdir = (struct str){"", 0};
    finish_command(s, at, step);
    check_paths(s, at, v, step);
    check_variables(s, at, v, "inputs");
    check_variables(s, at, v, "outputs");
    check_loop_outputs(s, at, v, step);
    if (bit == 0 || (bit & IS_PROCESS)) node->cluster = spec_cluster(s, at, step, defaults->node.cluster);
    spec_pod_collected(s, at, node->cluster, step->outputs.items, step->outputs.n);
    if (bit) spec_check_memory(s, at, v, node, (bit & IS_PROCESS) != 0);
    if (bit == IS_SCRIPT && !value_get(v, "interpreter")) spec_shebang(s, step);
    if (bit == IS_SCRIPT && step->interpreter.n == 0) {
        step->interpreter.items = arena_new(s->arena, struct str);
        step->interpreter.items[0] = STR("/bin/sh");
        step->interpreter.n = 1;
    }
    if (bit == IS_SCRIPT && step->interpreter.items[0].n == 0) {
        struct spec_at here = {at, str_of("interpreter"), SIZE_MAX, {0, 0}};
        spec_error(s, &here, value_get(v, "interpreter"), "the interpreter is empty");
    }
    if (node->parallelism && !node->loop) {
        struct spec_at here = {at, str_of("parallelism"), SIZE_MAX, {0, 0}};
        spec_error(s, &here, value_get(v, "parallelism"), "only a step with foreach has a parallelism");
    }
    node->inputs = step->inputs.items;
    node->n_inputs = step->inputs.n;
    node->outputs = step->outputs.items;
    node->n_outputs = step->outputs.n;
    node->env = step->env.items;
    node->n_env = step->env.n;
    node->interpreter = step->interpreter.items;
    node->n_interpreter = step->interpreter.n;
    if (bit & (IS_HTTP | IS_APPROVAL | IS_IMPORT)) node->outputs = spec_verb_outputs(node->verb, &node->n_outputs);
}

/* Each step has the entries of the defaults, in the plan as well: few bytes could make it huge. */
static bool take_defaults(struct spec *s, const struct spec_at *at, const struct value *v)
{
    s->repeated += s->n_default;
    if (s->repeated <= SPEC_MAX_REPEATED) return true;
    err_hint(spec_error(s, at, v, "the defaults have %llu variables, labels and such: too many for so many steps",
                        (unsigned long long)s->n_default),
             "all steps together may take %d of them", SPEC_MAX_REPEATED);
    return false;
}

bool spec_step(struct spec *s, const struct spec_at *at, const struct value *v, const struct spec_step *defaults,
               bool in_exit, struct spec_step *out)
{
    unsigned bit = 0;
    enum verb verb = VERB_NOOP;
    *out = *defaults;
    memset(out->cluster, 0, sizeof out->cluster);
    out->in_exit = in_exit;
    if (v->type != VALUE_MAP) {
        spec_expected(s, at, v, "a step");
        return false;
    }
    if (!take_defaults(s, at, v)) return false;
    *out = *defaults;
    memset(out->cluster, 0, sizeof out->cluster);
    out->in_exit = in_exit;
    bool known = find_verb(s, at, v, &bit, &verb); /* if not, any field may stand here */
    if (!known) bit = 0;
    out->node.verb = verb;
    out->node.at = v->at;
    if (known) drop_defaults(out, bit);
    char what[40] = "a step with only an image";
    for (size_t i = 0; i < SPEC_COUNT(verbs); i++) {
        if (verbs[i].bit == bit) snprintf(what, sizeof what, "a step with '%s'", verbs[i].name);
    }
    spec_fields(s, at, v, fields, SPEC_COUNT(fields), bit, what, out);
    const struct value *after = value_get(v, "after");
    struct spec_at after_at = {at, str_of("after"), SIZE_MAX, {0, 0}};
    if (after && !in_exit) spec_error(s, &after_at, after, "only steps of onExit say after what they come");
    if (in_exit && out->node.after == AFTER_NONE) out->node.after = AFTER_ALWAYS;
    finish(s, at, v, defaults, bit, out);
    return known;
}
