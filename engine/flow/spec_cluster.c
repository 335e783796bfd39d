/* Reading what only a cluster understands: the keys of a step that shape its pod. They are checked here, and kept as
 * they were written: whoever makes the pod reads them again. Names are those of Kubernetes where it has one.
 * https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ */
#include "engine/flow/spec_step.h"

#define LONGEST_OBJECT 253 /* an object's name: RFC 1123, subdomain */

/* ---- leaves; nothing is kept but the value itself ---- */

static void check_bool(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    bool ignored;
    (void)out;
    spec_bool(s, at, v, &ignored);
}

static bool object_shape(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool inner = i > 0 && i + 1 < name.n;
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (inner && (c == '-' || c == '.')))) return false;
    }
    return name.n > 0 && name.n <= LONGEST_OBJECT;
}

/* The name of an object of the cluster. */
static void check_object(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str name = {"", 0};
    spec_str(s, at, v, &name);
    if (v->type != VALUE_STRING || (name.n == 0 && v->u.s.n > 0)) return;
    if (object_shape(name))
        *(struct str *)out = name;
    else
        err_hint(spec_error(s, at, v, "this cannot be the name of an object of Kubernetes"),
                 "small letters, digits, '-' and '.', at most %d", LONGEST_OBJECT);
}

static void check_name(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str ignored;
    (void)out;
    check_object(s, at, v, &ignored);
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

static void one_label(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                      size_t i)
{
    (void)out;
    (void)i;
    struct str text;
    if (key.n == 0 || key.n > 316) spec_error(s, at, NULL, "this cannot be a key");
    spec_str(s, at, v, &text);
}

struct toleration {
    struct str key, op, value, effect;
    uint32_t seconds;
};

static void read_operator(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"Equal", "Exists"};
    (void)out;
    spec_word(s, at, v, words, SPEC_COUNT(words));
}

static void read_effect(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    (void)out;
    spec_word(s, at, v, words, SPEC_COUNT(words));
}

static const struct spec_field toleration_fields[] = {
    {"key", spec_str, offsetof(struct toleration, key), 0, false},
    {"operator", read_operator, offsetof(struct toleration, op), 0, false},
    {"value", spec_str, offsetof(struct toleration, value), 0, false},
    {"effect", read_effect, offsetof(struct toleration, effect), 0, false},
    {"tolerationSeconds", spec_count, offsetof(struct toleration, seconds), 0, false},
};

static void one_toleration(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                           size_t i)
{
    struct toleration t = {0};
    (void)key;
    (void)out;
    (void)i;
    spec_fields(s, at, v, toleration_fields, SPEC_COUNT(toleration_fields), 0, "a toleration", &t);
}

struct volume {
    struct str path, sub, sources[4]; /* claim, configMap, secret, hostPath */
    int64_t scratch;
    bool read_only;
};

static void read_mount(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str *path = out;
    spec_str(s, at, v, path);
    if (path->n && path->p[0] != '/') spec_error(s, at, v, "a volume is mounted at an absolute path");
    if (str_is(*path, "/millrace") || str_starts(*path, "/millrace/"))
        err_hint(spec_error(s, at, v, "what is below /millrace is Millrace's own"), "mount it elsewhere");
}

static const struct spec_field volume_fields[] = {
    {"path", read_mount, offsetof(struct volume, path), 0, true},
    {"claim", spec_str, offsetof(struct volume, sources[0]), 0, false},
    {"configMap", spec_str, offsetof(struct volume, sources[1]), 0, false},
    {"secret", spec_str, offsetof(struct volume, sources[2]), 0, false},
    {"hostPath", spec_str, offsetof(struct volume, sources[3]), 0, false},
    {"scratch", spec_bytes, offsetof(struct volume, scratch), 0, false},
    {"subPath", spec_path_in, offsetof(struct volume, sub), 0, false},
    {"readOnly", spec_bool, offsetof(struct volume, read_only), 0, false},
};

static void one_volume(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                       size_t i)
{
    struct volume volume = {.scratch = -1};
    (void)key;
    (void)out;
    (void)i;
    if (!spec_fields(s, at, v, volume_fields, SPEC_COUNT(volume_fields), 0, "a volume", &volume)) return;
    unsigned sources = volume.scratch >= 0;
    for (size_t k = 0; k < SPEC_COUNT(volume.sources); k++)
        sources += volume.sources[k].n > 0;
    if (sources != 1)
        err_hint(spec_error(s, at, v, "a volume has one source"), "claim, configMap, secret, hostPath or scratch");
    struct spec_at scratch_at = {at, STR("scratch"), SIZE_MAX, {0, 0}};
    if (volume.scratch == 0) /* to Kubernetes it would be one without a limit */
        err_hint(spec_error(s, &scratch_at, value_get(v, "scratch"), "a folder of no size holds nothing"),
                 "write how much it may hold: scratch: 1Gi");
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

static const struct spec_field env_source_fields[] = {
    {"secret", check_object, offsetof(struct env_source, secret), 0, false},
    {"configMap", check_object, offsetof(struct env_source, config_map), 0, false},
    {"prefix", spec_str, offsetof(struct env_source, prefix), 0, false},
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
    [CLUSTER_NODE_SELECTOR] = {"nodeSelector", NULL, one_label, VALUE_MAP},
    [CLUSTER_TOLERATIONS] = {"tolerations", NULL, one_toleration, VALUE_LIST},
    [CLUSTER_LABELS] = {"labels", NULL, one_label, VALUE_MAP},
    [CLUSTER_ANNOTATIONS] = {"annotations", NULL, one_label, VALUE_MAP},
    [CLUSTER_VOLUMES] = {"volumes", NULL, one_volume, VALUE_LIST},
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
