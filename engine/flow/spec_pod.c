/* Reading `pod`: a part of a PodSpec, which is merged into the one that Millrace makes. What Millrace relies on is not
 * the step's to say there, and is refused with the key that says it; what it does not know is the API server's to
 * check.
 *
 * Whoever makes pods keeps to the names that are reserved here. */
#include "engine/flow/spec_kube.h"
#include "engine/flow/spec_step.h"

struct own { /* a field that is Millrace's */
    const char *name, *instead;
};

static const struct own of_pod[] = {
    {"restartPolicy", "further attempts are the step's 'retry'"},
    {"activeDeadlineSeconds", "write the step's 'timeout'"},
    {"terminationGracePeriodSeconds", "it is the server's --grace"},
    {"resources", "write the step's 'resources'"},
    {"nodeSelector", "write the step's 'nodeSelector': a queue adds to it"},
    {"nodeName", "write the step's 'nodeSelector'"},
    {"hostname", "the workers of a step find each other by it"},
    {"subdomain", "the workers of a step find each other by it"},
};

static const struct own of_step[] = {
    {"image", "write the step's 'image'"},
    {"command", "write the step's 'run', 'script' or 'command'"},
    {"args", "write the step's 'run', 'script' or 'args'"},
    {"workingDir", "write the step's 'workdir'"},
    {"restartPolicy", "further attempts are the step's 'retry'"},
    {"restartPolicyRules", "further attempts are the step's 'retry'"},
    {"terminationMessagePath", "outputs come back by it"},
    {"terminationMessagePolicy", "outputs come back by it"},
};

static const struct own of_resources[] = {
    {"cpu", "write resources.cpu in the step"},
    {"memory", "write resources.memory in the step"},
    {"ephemeral-storage", "write resources.storage in the step"},
};

#define STEP_CONTAINER "step"
#define OWN_PREFIX "millrace-" /* of containers and volumes; of the latter also these: */
static const char *const own_volumes[] = {"work", "moves", "shm"};
static const char *const own_volume_prefixes[] = {"files-", "volume-", OWN_PREFIX};

static void is_own(struct spec *s, const struct spec_at *at, struct str key, const char *instead)
{
    err_hint(spec_error(s, at, NULL, "'%.*s' is Millrace's to say", STR_ARG(str_sub(key, 0, 80))), "%s", instead);
}

/* Those fields of a map that are Millrace's. */
static void refuse(struct spec *s, const struct spec_at *at, const struct value *map, const struct own *own, size_t n)
{
    for (size_t i = 0; map->type == VALUE_MAP && i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        struct spec_at here = {at, e->key, SIZE_MAX, e->key_at};
        for (size_t k = 0; k < n; k++)
            if (str_is(e->key, own[k].name)) is_own(s, &here, e->key, own[k].instead);
    }
}

static struct str name_of(const struct value *item)
{
    const struct value *name = value_get(item, "name");
    return name && name->type == VALUE_STRING ? name->u.s : STR("");
}

/* GPUs are shared out by Millrace; other devices may be asked for here. */
static bool is_gpu(struct str resource)
{
    size_t at;
    return str_ends(resource, "/gpu") || str_find(resource, STR("/mig-"), &at) || str_starts(resource, "gpu.");
}

static void check_resources(struct spec *s, const struct spec_at *at, const struct value *container, bool step)
{
    static const char *const lists[] = {"requests", "limits"};
    const struct value *resources = value_get(container, "resources");
    struct spec_at resources_at = {at, STR("resources"), SIZE_MAX, {0, 0}};
    for (size_t i = 0; i < SPEC_COUNT(lists); i++) {
        const struct value *list = value_get(resources, lists[i]);
        struct spec_at list_at = {&resources_at, str_of(lists[i]), SIZE_MAX, {0, 0}};
        if (!list) continue;
        if (step) refuse(s, &list_at, list, of_resources, SPEC_COUNT(of_resources));
        for (size_t k = 0; list->type == VALUE_MAP && k < list->u.map.n; k++) {
            const struct value_entry *e = &list->u.map.entries[k];
            struct spec_at here = {&list_at, e->key, SIZE_MAX, e->key_at};
            if (is_gpu(e->key)) is_own(s, &here, e->key, "write resources.gpu in the step");
        }
    }
}

static bool is_own_volume(struct str name)
{
    bool own = false;
    for (size_t i = 0; i < SPEC_COUNT(own_volumes); i++)
        own |= str_is(name, own_volumes[i]);
    for (size_t i = 0; i < SPEC_COUNT(own_volume_prefixes); i++)
        own |= str_starts(name, own_volume_prefixes[i]);
    return own;
}

/* What lies in these is a step's alone: code and inputs, its working directory, what other pods of its node fetched. */
static void check_mounts(struct spec *s, const struct spec_at *at, const struct value *container)
{
    static const char *const lists[] = {"volumeMounts", "volumeDevices"};
    for (size_t k = 0; k < SPEC_COUNT(lists); k++) {
        const struct value *list = value_get(container, lists[k]);
        struct spec_at list_at = {at, str_of(lists[k]), SIZE_MAX, {0, 0}};
        for (size_t i = 0; list && list->type == VALUE_LIST && i < list->u.list.n; i++) {
            struct spec_at here = {&list_at, {"", 0}, i, {0, 0}};
            struct str name = name_of(&list->u.list.items[i]);
            if (!is_own_volume(name)) continue;
            err_hint(spec_error(s, &here, value_get(&list->u.list.items[i], "name"),
                                "the volume '%.*s' is Millrace's own", STR_ARG(str_sub(name, 0, 80))),
                     "share a volume of pod.volumes, which the step's container may mount, too");
        }
    }
}

/* Variables and mounts of the step's container that are Millrace's. */
static void check_named(struct spec *s, const struct spec_at *at, const struct value *container)
{
    const struct value *env = value_get(container, "env"), *mounts = value_get(container, "volumeMounts");
    for (size_t i = 0; env && env->type == VALUE_LIST && i < env->u.list.n; i++) {
        struct spec_at env_at = {at, STR("env"), SIZE_MAX, {0, 0}}, here = {&env_at, {"", 0}, i, {0, 0}};
        if (str_starts(name_of(&env->u.list.items[i]), "MILLRACE_"))
            spec_error(s, &here, &env->u.list.items[i], "names that begin with MILLRACE_ are Millrace's own");
    }
    for (size_t i = 0; mounts && mounts->type == VALUE_LIST && i < mounts->u.list.n; i++) {
        struct spec_at mounts_at = {at, STR("volumeMounts"), SIZE_MAX, {0, 0}}, here = {&mounts_at, {"", 0}, i, {0, 0}};
        const struct value *path = value_get(&mounts->u.list.items[i], "mountPath");
        if (path && path->type == VALUE_STRING &&
            (str_is(path->u.s, "/millrace") || str_starts(path->u.s, "/millrace/")))
            spec_error(s, &here, path, "what is below /millrace is Millrace's own");
    }
}

/* A helper may be started again, but not the step with it: nobody would know of what it had done before. */
static void check_restarts(struct spec *s, const struct spec_at *at, const struct value *container)
{
    const struct value *rules = value_get(container, "restartPolicyRules"), *rule;
    struct spec_at rules_at = {at, STR("restartPolicyRules"), SIZE_MAX, {0, 0}};
    for (size_t i = 0; (rule = value_item(rules, i)) != NULL; i++) {
        struct spec_at rule_at = {&rules_at, {"", 0}, i, {0, 0}}, here = {&rule_at, STR("action"), SIZE_MAX, {0, 0}};
        const struct value *action = value_get(rule, "action");
        if (!action || action->type != VALUE_STRING || !str_is(action->u.s, "RestartAllContainers")) continue;
        err_hint(spec_error(s, &here, action, "that would start the step again, within one attempt"),
                 "further attempts are the step's 'retry'");
    }
}

static void check_part(struct spec *s, const struct spec_at *at, const struct value *v)
{
    struct spec_at here = {at, STR("name"), SIZE_MAX, {0, 0}};
    spec_kube_part(s, &here, value_get(v, "name"), NULL);
}

static void check_container(struct spec *s, const struct spec_at *at, const struct value *v, bool init)
{
    struct str name = name_of(v);
    if (v->type != VALUE_MAP)
        spec_expected(s, at, v, "a container");
    else if (name.n == 0)
        err_hint(spec_error(s, at, v, "the container has no name"),
                 "'" STEP_CONTAINER "' is the step's own; any other name adds one");
    else if (str_starts(name, OWN_PREFIX) || (init && str_is(name, STEP_CONTAINER)))
        err_hint(spec_error(s, at, value_get(v, "name"), "a container of that name is Millrace's own"),
                 "name it otherwise");
    else if (str_is(name, STEP_CONTAINER)) {
        refuse(s, at, v, of_step, SPEC_COUNT(of_step));
        check_named(s, at, v);
    } else {
        check_part(s, at, v);
        check_restarts(s, at, v);
    }
    if (v->type != VALUE_MAP) return;
    check_resources(s, at, v, str_is(name, STEP_CONTAINER));
    check_mounts(s, at, v);
}

static void check_volume(struct spec *s, const struct spec_at *at, const struct value *v)
{
    struct str name = name_of(v);
    if (name.n == 0)
        err_hint(spec_error(s, at, v, "the volume has no name"), "containers mount it by its name");
    else if (is_own_volume(name))
        err_hint(spec_error(s, at, value_get(v, "name"), "a volume of that name is Millrace's own"),
                 "name it otherwise");
    else
        check_part(s, at, v);
}

static void check_list(struct spec *s, const struct spec_at *at, const struct value *pod, const char *key)
{
    const struct value *list = value_get(pod, key);
    struct spec_at list_at = {at, str_of(key), SIZE_MAX, {0, 0}};
    if (!list) return;
    if (list->type != VALUE_LIST) {
        spec_expected(s, &list_at, list, "a list");
        return;
    }
    for (size_t i = 0; i < list->u.list.n && !err_list_full(s->errors); i++) {
        struct spec_at here = {&list_at, {"", 0}, i, {0, 0}};
        if (key[0] == 'v')
            check_volume(s, &here, &list->u.list.items[i]);
        else
            check_container(s, &here, &list->u.list.items[i], key[0] == 'i');
    }
}

void spec_pod(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    (void)out;
    if (v->type != VALUE_MAP) {
        spec_expected(s, at, v, "a map, a part of a PodSpec of Kubernetes");
        return;
    }
    refuse(s, at, v, of_pod, SPEC_COUNT(of_pod));
    check_list(s, at, v, "containers");
    check_list(s, at, v, "initContainers");
    check_list(s, at, v, "volumes");
    spec_as_written(s, at, v, NULL);
}

/* Whoever sees the processes of the one that keeps its outputs could speak in its name, and act with its token. */
void spec_pod_collected(struct spec *s, const struct spec_at *at, const struct value *cluster,
                        const struct output *outputs, size_t n)
{
    static const char *const keys[] = {"shareProcessNamespace", "hostPID"};
    const struct value *pod = value_get(cluster, "pod");
    struct spec_at pod_at = {at, STR("pod"), SIZE_MAX, {0, 0}};
    if (n == 0 || (n == 1 && outputs[0].kind != IO_ARTIFACT)) return;
    for (size_t i = 0; i < SPEC_COUNT(keys); i++) {
        const struct value *v = value_get(pod, keys[i]);
        struct spec_at here = {&pod_at, str_of(keys[i]), SIZE_MAX, {0, 0}};
        if (!v || (v->type == VALUE_BOOL && !v->u.b)) continue;
        err_hint(spec_error(s, &here, v,
                            "a step whose outputs are kept by a container beside it cannot see others' "
                            "processes"),
                 "leave the key out, or let another step have the outputs: one param alone needs no such container");
    }
}
