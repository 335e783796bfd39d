/* Reading what only a cluster understands: the keys of a step that shape its pod. They are checked here, and kept as
 * they were written: whoever makes the pod reads them again. Names are those of Kubernetes where it has one.
 * https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ */
#include "engine/flow/spec_kube.h"
#include "engine/flow/spec_step.h"

/* ---- leaves; nothing is kept but the value itself ---- */

static void check_bool(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    bool ignored;
    (void)out;
    spec_bool(s, at, v, &ignored);
}

static void check_name(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    (void)out;
    spec_kube_object(s, at, v, NULL);
}

static void check_pull_policy(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"Always", "IfNotPresent", "Never"};
    (void)out;
    spec_word(s, at, v, words, SPEC_COUNT(words));
}

/* What is Kubernetes' own: any value without expressions, which nobody would fill in. */
void spec_as_written(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str ignored;
    (void)out;
    if (v->type == VALUE_STRING) spec_str(s, at, v, &ignored);
    if (v->type == VALUE_NULL)
        err_hint(spec_error(s, at, v, "nothing stands here"), "null takes nothing away: leave the key out");
    for (size_t i = 0; v->type == VALUE_MAP && i < v->u.map.n && !err_list_full(s->errors); i++) {
        const struct value_entry *e = &v->u.map.entries[i];
        struct spec_at here = {at, e->key, SIZE_MAX, e->key_at};
        spec_as_written(s, &here, &e->value, NULL);
    }
    for (size_t i = 0; v->type == VALUE_LIST && i < v->u.list.n && !err_list_full(s->errors); i++) {
        struct spec_at here = {at, {"", 0}, i, {0, 0}};
        spec_as_written(s, &here, &v->u.list.items[i], NULL);
    }
}

/* ---- items ---- */

/* By these keys Millrace knows its pods, and Kubernetes those of a Job. */
static bool is_reserved(struct str key)
{
    static const char *const domains[] = {"millrace.dev/", "app.kubernetes.io/", "batch.kubernetes.io/"};
    size_t at;
    bool own = str_find(key, STR(".millrace.dev/"), &at) || str_is(key, "job-name") || str_is(key, "controller-uid");
    for (size_t i = 0; i < SPEC_COUNT(domains); i++)
        own |= str_starts(key, domains[i]);
    return own;
}

static void not_reserved(struct spec *s, const struct spec_at *at, struct str key)
{
    if (is_reserved(key))
        err_hint(spec_error(s, at, NULL, "'%.*s' is set by Millrace or Kubernetes", STR_ARG(utf8_sub(key, 80))),
                 "name it otherwise: those of millrace.dev/, app.kubernetes.io/ and batch.kubernetes.io/ are not the "
                 "step's");
}

static void one_pod_label(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                          size_t i)
{
    spec_kube_pair(s, at, key, v, out, i);
    not_reserved(s, at, key);
}

/* Its value is any text. */
static void one_annotation(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                           size_t i)
{
    struct str ignored;
    (void)out;
    (void)i;
    spec_str(s, at, v, &ignored);
    if (spec_kube_key(s, at, key, NULL)) not_reserved(s, at, key);
}

struct toleration {
    struct str key, op, value, effect;
    uint32_t seconds; /* UINT32_MAX = none are said */
};

static void read_operator(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"Equal", "Exists"};
    size_t i = spec_word(s, at, v, words, SPEC_COUNT(words));
    if (i != SIZE_MAX) *(struct str *)out = str_of(words[i]);
}

static void read_effect(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    size_t i = spec_word(s, at, v, words, SPEC_COUNT(words));
    if (i != SIZE_MAX) *(struct str *)out = str_of(words[i]);
}

static const struct spec_field toleration_fields[] = {
    {"key", spec_kube_taint, offsetof(struct toleration, key), 0, false},
    {"operator", read_operator, offsetof(struct toleration, op), 0, false},
    {"value", spec_kube_label, offsetof(struct toleration, value), 0, false},
    {"effect", read_effect, offsetof(struct toleration, effect), 0, false},
    {"tolerationSeconds", spec_count, offsetof(struct toleration, seconds), 0, false},
};

static void one_toleration(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                           size_t i)
{
    struct toleration t = {.seconds = UINT32_MAX};
    size_t before = s->errors->total;
    (void)key;
    (void)out;
    (void)i;
    if (!spec_fields(s, at, v, toleration_fields, SPEC_COUNT(toleration_fields), 0, "a toleration", &t) ||
        s->errors->total != before)
        return;
    bool exists = str_is(t.op, "Exists");
    if (exists && t.value.n > 0)
        spec_error(s, at, v, "a toleration of what Exists has no value");
    else if (!exists && t.key.n == 0)
        err_hint(spec_error(s, at, v, "a toleration has the key of a taint"),
                 "operator: Exists without a key tolerates all");
    if (t.seconds != UINT32_MAX && !str_is(t.effect, "NoExecute"))
        err_hint(spec_error(s, at, v, "tolerationSeconds are for taints that put an end to pods"), "effect: NoExecute");
}

struct volume {
    struct str path, sub, sources[4]; /* claim, configMap, secret, hostPath; the path without its first slash */
    int64_t scratch;
    bool read_only;
};

/* Of a path in a container, or of a node. */
static bool read_absolute(struct spec *s, const struct spec_at *at, const struct value *v, struct str *path,
                          const char *relative)
{
    struct str piece;
    size_t before = s->errors->total;
    spec_str(s, at, v, path);
    if (s->errors->total != before) return false;
    if (path->n == 0 || path->p[0] != '/') {
        spec_error(s, at, v, "%s", relative);
        return false;
    }
    bool bad = path->n > 1024;
    for (size_t i = 0; i < path->n; i++)
        bad |= (unsigned char)path->p[i] < 0x20;
    for (struct str rest = *path; str_split(&rest, '/', &piece);)
        bad |= str_is(piece, "..");
    if (bad) err_hint(spec_error(s, at, v, "this cannot be the path of a volume"), "write it without '..'");
    return !bad;
}

static void read_host_path(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    (void)read_absolute(s, at, v, out, "a folder of the node has an absolute path");
}

static void read_mount(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str path = {"", 0};
    size_t colon;
    if (!read_absolute(s, at, v, &path, "a volume is mounted at an absolute path")) return;
    path = spec_plain_path(s->arena, path); /* without the first slash */
    *(struct str *)out = path;
    if (str_find(path, STR(":"), &colon))
        err_hint(spec_error(s, at, v, "a path with ':' cannot be mounted at"), "write it without");
    else if (str_is(path, "."))
        err_hint(spec_error(s, at, v, "a volume cannot take the place of the whole image"), "mount it at a folder");
    else if (str_is(path, "millrace") || str_starts(path, "millrace/"))
        err_hint(spec_error(s, at, v, "what is below /millrace is Millrace's own"), "mount it elsewhere");
}

static const struct spec_field volume_fields[] = {
    {"path", read_mount, offsetof(struct volume, path), 0, true},
    {"claim", spec_kube_object, offsetof(struct volume, sources[0]), 0, false},
    {"configMap", spec_kube_object, offsetof(struct volume, sources[1]), 0, false},
    {"secret", spec_kube_object, offsetof(struct volume, sources[2]), 0, false},
    {"hostPath", read_host_path, offsetof(struct volume, sources[3]), 0, false},
    {"scratch", spec_bytes, offsetof(struct volume, scratch), 0, false},
    {"subPath", spec_path_in_volume, offsetof(struct volume, sub), 0, false},
    {"readOnly", spec_bool, offsetof(struct volume, read_only), 0, false},
};

static const char *const volume_sources[] = {"claim", "configMap", "secret", "hostPath", "scratch"};

static void one_volume(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                       size_t i)
{
    struct volume volume = {.scratch = -1};
    struct str *paths = out;
    (void)key;
    paths[i] = (struct str){"", 0};
    if (!spec_fields(s, at, v, volume_fields, SPEC_COUNT(volume_fields), 0, "a volume", &volume)) return;
    unsigned sources = 0;
    for (size_t k = 0; k < SPEC_COUNT(volume_sources); k++)
        sources += value_get(v, volume_sources[k]) != NULL ||
                   spec_misspelled(v, volume_fields, SPEC_COUNT(volume_fields), volume_sources[k]);
    paths[i] = volume.path;
    if (sources != 1)
        err_hint(spec_error(s, at, v, "a volume has one source"), "claim, configMap, secret, hostPath or scratch");
    struct spec_at scratch_at = {at, STR("scratch"), SIZE_MAX, {0, 0}};
    if (volume.scratch == 0) /* to Kubernetes it would be one without a limit */
        err_hint(spec_error(s, &scratch_at, value_get(v, "scratch"), "a folder of no size holds nothing"),
                 "write how much it may hold: scratch: 1Gi");
}

static void check_volumes(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    (void)out;
    if (v->type != VALUE_LIST) {
        spec_expected(s, at, v, "a list");
        return;
    }
    MAP_AUTO taken;
    map_init(&taken, 0);
    struct str *paths = arena_calloc(s->arena, v->u.list.n + 1, sizeof *paths);
    spec_each(s, at, v, one_volume, paths);
    for (size_t i = 0; i < v->u.list.n; i++) {
        struct spec_at item = {at, {"", 0}, i, {0, 0}}, here = {&item, STR("path"), SIZE_MAX, {0, 0}};
        uint64_t first;
        if (paths[i].n == 0) continue;
        if (map_get(&taken, paths[i], &first))
            err_hint(spec_error(s, &here, value_get(&v->u.list.items[i], "path"), "another volume is mounted there"),
                     "that of volumes[%u]", (unsigned)first);
        else
            map_put(&taken, paths[i], i, NULL);
    }
}

static void one_pull_secret(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                            size_t i)
{
    (void)key;
    (void)i;
    const struct value *name = value_get(v, "name");
    if (name && name->type == VALUE_STRING)
        err_hint(spec_expected(s, at, v, "a name"), "write the name alone: [%.*s]", STR_ARG(str_sub(name->u.s, 0, 60)));
    else
        check_name(s, at, v, out);
}

struct env_source {
    struct str secret, config_map, prefix;
    bool optional;
};

/* Kubernetes takes more of a variable's name than a shell does. */
static void read_prefix(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str prefix = {"", 0};
    spec_str(s, at, v, &prefix);
    bool bad = prefix.n > 0 && prefix.p[0] >= '0' && prefix.p[0] <= '9';
    for (size_t i = 0; i < prefix.n; i++) {
        char c = prefix.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bad |= !letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.';
    }
    if (bad)
        err_hint(spec_error(s, at, v, "no variable's name begins like that"),
                 "letters, digits, '_', '-' and '.', beginning with no digit");
    else
        *(struct str *)out = prefix;
}

static const struct spec_field env_source_fields[] = {
    {"secret", spec_kube_object, offsetof(struct env_source, secret), 0, false},
    {"configMap", spec_kube_object, offsetof(struct env_source, config_map), 0, false},
    {"prefix", read_prefix, offsetof(struct env_source, prefix), 0, false},
    {"optional", spec_bool, offsetof(struct env_source, optional), 0, false},
};

static void one_env_source(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                           size_t i)
{
    struct env_source source = {.optional = false};
    (void)key;
    (void)out;
    (void)i;
    if (!spec_fields(s, at, v, env_source_fields, SPEC_COUNT(env_source_fields), 0, "variables", &source)) return;
    bool secret = value_get(v, "secret") != NULL, config_map = value_get(v, "configMap") != NULL;
    if (secret == config_map)
        err_hint(spec_error(s, at, v, "variables come from one object"), "{secret: NAME} or {configMap: NAME}");
    if (str_starts(source.prefix, "MILLRACE_"))
        spec_error(s, at, v, "names that begin with MILLRACE_ are Millrace's own");
}

/* ---- maps of Kubernetes whose first level is known ---- */

static void known_keys(struct spec *s, const struct spec_at *at, const struct value *v, const struct str *names,
                       size_t n)
{
    if (v->type != VALUE_MAP) {
        spec_expected(s, at, v, "a map");
        return;
    }
    for (size_t i = 0; i < v->u.map.n && !err_list_full(s->errors); i++) {
        const struct value_entry *e = &v->u.map.entries[i];
        struct spec_at here = {at, e->key, SIZE_MAX, e->key_at};
        bool known = false;
        for (size_t k = 0; k < n; k++)
            known |= str_eq(e->key, names[k]);
        if (known)
            spec_as_written(s, &here, &e->value, NULL);
        else
            spec_suggest(spec_error(s, &here, NULL, "unknown key '%.*s'", STR_ARG(str_sub(e->key, 0, 80))), e->key,
                         names, n);
    }
}

static void check_affinity(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const struct str names[] = {STR_INIT("nodeAffinity"), STR_INIT("podAffinity"), STR_INIT("podAntiAffinity")};
    (void)out;
    known_keys(s, at, v, names, SPEC_COUNT(names));
}

/* Of the pod and of its container: Kubernetes has two maps, whose keys mean the same where both have them. */
static void check_security(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const struct str names[] = {
        STR_INIT("runAsUser"),      STR_INIT("runAsGroup"),          STR_INIT("runAsNonRoot"),
        STR_INIT("fsGroup"),        STR_INIT("fsGroupChangePolicy"), STR_INIT("supplementalGroups"),
        STR_INIT("capabilities"),   STR_INIT("privileged"),          STR_INIT("readOnlyRootFilesystem"),
        STR_INIT("seccompProfile"), STR_INIT("appArmorProfile"),     STR_INIT("allowPrivilegeEscalation"),
        STR_INIT("seLinuxOptions"), STR_INIT("seLinuxChangePolicy"), STR_INIT("supplementalGroupsPolicy"),
        STR_INIT("sysctls"),        STR_INIT("procMount"),           STR_INIT("windowsOptions")};
    (void)out;
    known_keys(s, at, v, names, SPEC_COUNT(names));
}

/* ---- the fields ---- */

static const struct {
    const char *name;
    spec_fn *check;   /* of the whole, or … */
    spec_each_fn *of; /* … of each entry of a map, each item of a list */
    enum value_type type;
} fields[CLUSTER_FIELDS] = {
    [CLUSTER_NODE_SELECTOR] = {"nodeSelector", NULL, spec_kube_pair, VALUE_MAP},
    [CLUSTER_TOLERATIONS] = {"tolerations", NULL, one_toleration, VALUE_LIST},
    [CLUSTER_LABELS] = {"labels", NULL, one_pod_label, VALUE_MAP},
    [CLUSTER_ANNOTATIONS] = {"annotations", NULL, one_annotation, VALUE_MAP},
    [CLUSTER_VOLUMES] = {"volumes", check_volumes, NULL, VALUE_LIST},
    [CLUSTER_SERVICE_ACCOUNT] = {"serviceAccountName", check_name, NULL, VALUE_STRING},
    [CLUSTER_AFFINITY] = {"affinity", check_affinity, NULL, VALUE_MAP},
    [CLUSTER_SECURITY] = {"securityContext", check_security, NULL, VALUE_MAP},
    [CLUSTER_PULL_SECRETS] = {"imagePullSecrets", NULL, one_pull_secret, VALUE_LIST},
    [CLUSTER_PULL_POLICY] = {"imagePullPolicy", check_pull_policy, NULL, VALUE_STRING},
    [CLUSTER_ENV_FROM] = {"envFrom", NULL, one_env_source, VALUE_LIST},
    [CLUSTER_HOST_IPC] = {"hostIPC", check_bool, NULL, VALUE_BOOL},
    [CLUSTER_HOST_NETWORK] = {"hostNetwork", check_bool, NULL, VALUE_BOOL},
    [CLUSTER_RUNTIME_CLASS] = {"runtimeClassName", check_name, NULL, VALUE_STRING},
    [CLUSTER_PRIORITY_CLASS] = {"priorityClassName", check_name, NULL, VALUE_STRING},
    [CLUSTER_POD] = {"pod", spec_pod, NULL, VALUE_MAP},
};

static void check_field(struct spec *s, const struct spec_at *at, size_t field, const struct value *v)
{
    if (fields[field].check)
        fields[field].check(s, at, v, NULL);
    else if (v->type != fields[field].type)
        spec_expected(s, at, v, fields[field].type == VALUE_LIST ? "a list" : "a map");
    else
        spec_each(s, at, v, fields[field].of, NULL);
}

/* A step's entries of a map go over the defaults'; its lists stand instead of theirs. */
static struct value merged(struct spec *s, const struct value *own, const struct value *inherited)
{
    if (!inherited) return *own;
    if (!own) return *inherited;
    if (own->type != VALUE_MAP || inherited->type != VALUE_MAP) return *own;
    struct value_map_builder map;
    value_map_begin(&map, s->arena);
    for (size_t i = 0; i < inherited->u.map.n; i++) {
        const struct value_entry *entry = &inherited->u.map.entries[i];
        if (!value_find(own, entry->key)) value_map_put(&map, entry->key, entry->value);
    }
    for (size_t i = 0; i < own->u.map.n; i++)
        value_map_put(&map, own->u.map.entries[i].key, own->u.map.entries[i].value);
    return value_map_end(&map);
}

/* What resources.shm mounts itself. */
static void check_shm(struct spec *s, const struct spec_at *at, const struct spec_step *step)
{
    const struct value *list = step->cluster[CLUSTER_VOLUMES];
    struct spec_at list_at = {at, STR("volumes"), SIZE_MAX, {0, 0}};
    if (!list || list->type != VALUE_LIST || step->node.resources.shm_bytes == 0) return;
    for (size_t i = 0; i < list->u.list.n; i++) {
        struct spec_at item = {&list_at, {"", 0}, i, {0, 0}}, here = {&item, STR("path"), SIZE_MAX, {0, 0}};
        const struct value *path = value_get(&list->u.list.items[i], "path");
        if (path && path->type == VALUE_STRING && str_is(spec_plain_path(s->arena, path->u.s), "dev/shm"))
            err_hint(spec_error(s, &here, path, "resources.shm is mounted there"), "leave one of them out");
    }
}

const struct value *spec_cluster(struct spec *s, const struct spec_at *at, const struct spec_step *step,
                                 const struct value *inherited)
{
    struct value_map_builder map;
    bool own = false;
    for (size_t i = 0; i < CLUSTER_FIELDS; i++) {
        struct spec_at here = {at, str_of(fields[i].name), SIZE_MAX, {0, 0}};
        if (step->cluster[i]) check_field(s, &here, i, step->cluster[i]);
        own |= step->cluster[i] != NULL;
    }
    check_shm(s, at, step);
    if (!own) return inherited;
    value_map_begin(&map, s->arena);
    for (size_t i = 0; i < CLUSTER_FIELDS; i++) {
        const struct value *below = value_get(inherited, fields[i].name);
        if (step->cluster[i] || below) value_map_put(&map, str_of(fields[i].name), merged(s, step->cluster[i], below));
    }
    struct value *all = arena_new(s->arena, struct value);
    *all = value_map_end(&map);
    return all;
}

static uint64_t parts_of(const struct value *v)
{
    uint64_t n = 1;
    for (size_t i = 0; v->type == VALUE_MAP && i < v->u.map.n; i++)
        n += parts_of(&v->u.map.entries[i].value);
    for (size_t i = 0; v->type == VALUE_LIST && i < v->u.list.n; i++)
        n += parts_of(&v->u.list.items[i]);
    return n;
}

uint64_t spec_cluster_parts(const struct value *cluster)
{
    return cluster ? parts_of(cluster) - 1 : 0;
}
