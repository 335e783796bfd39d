/* The user's part of a pod. See kube_podspec.h. */
#include "scheduler/kube_podspec.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/units.h"

#define SHM_VOLUME "shm"

/* ---- fields ---- */

static void as_written(struct jsonw *w, const struct kube_job *j, const char *field)
{
    const struct value *v = value_get(j->cluster, field);
    if (v == NULL) return;
    jsonw_key(w, field);
    jsonw_value(w, v);
}

/* What Kubernetes knows of a container only; the rest is the whole pod's, so that whoever moves its data is the same
 * user. */
static bool of_container(struct str key)
{
    static const char *const keys[] = {"allowPrivilegeEscalation", "capabilities", "privileged", "procMount",
                                       "readOnlyRootFilesystem"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (str_is(key, keys[i])) return true;
    return false;
}

static void security(struct jsonw *w, const struct kube_job *j, bool container)
{
    const struct value *map = value_get(j->cluster, "securityContext");
    bool begun = false;
    for (size_t i = 0; map != NULL && map->type == VALUE_MAP && i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        if (of_container(e->key) != container) continue;
        if (!begun) {
            jsonw_key(w, "securityContext");
            jsonw_object(w);
        }
        begun = true;
        jsonw_key_str(w, e->key);
        jsonw_value(w, &e->value);
    }
    if (begun) jsonw_object_end(w);
}

enum kube_user kube_podspec_user(const struct kube_job *j)
{
    const struct value *maps[] = {value_get(j->cluster, "securityContext"),
                                  value_get(value_get(j->cluster, "pod"), "securityContext")};
    enum kube_user user = KUBE_USER_ANY;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        if (value_get(maps[i], "runAsUser") != NULL) return KUBE_USER_GIVEN;
        if (value_get_bool(maps[i], "runAsNonRoot")) user = KUBE_USER_NOT_ROOT;
    }
    return user;
}

static const struct value *list_of(const struct kube_job *j, const char *field, size_t *n)
{
    const struct value *list = value_get(j->cluster, field);
    *n = list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0;
    return *n > 0 ? list->u.list.items : NULL;
}

static void pull_secrets(struct jsonw *w, const struct kube_job *j)
{
    size_t n;
    const struct value *names = list_of(j, "imagePullSecrets", &n);
    if (n == 0) return;
    jsonw_key(w, "imagePullSecrets");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        jsonw_key(w, "name");
        jsonw_value(w, &names[i]);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

/* A claim for each pod, of the template that all who ask for the same share; and the container that has it. */
static void claims(struct jsonw *w, const struct kube_job *j)
{
    char name[KUBE_TEMPLATE_NAME];
    if (j->claim.device_class.n == 0) return;
    kube_claim_template_name(&j->claim, j->instance, name);
    jsonw_key(w, "resourceClaims");
    jsonw_array(w);
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", KUBE_CLAIM);
    jsonw_kv_cstr(w, "resourceClaimTemplateName", name);
    jsonw_object_end(w);
    jsonw_array_end(w);
}

void kube_podspec_claimed(struct jsonw *w, const struct kube_job *j)
{
    if (j->claim.device_class.n == 0) return;
    jsonw_key(w, "claims");
    jsonw_array(w);
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", KUBE_CLAIM);
    jsonw_object_end(w);
    jsonw_array_end(w);
}

void kube_podspec_fields(struct jsonw *w, const struct kube_job *j)
{
    static const char *const same[] = {"nodeSelector", "tolerations",      "affinity",         "serviceAccountName",
                                       "hostIPC",      "runtimeClassName", "priorityClassName"};
    /* Who names an account wants its token; that of the namespace's default is nobody's wish. */
    bool account = value_get(j->cluster, "serviceAccountName") != NULL ||
                   value_get(value_get(j->cluster, "pod"), "serviceAccountName") != NULL;
    jsonw_kv_bool(w, "automountServiceAccountToken", account);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        as_written(w, j, same[i]);
    as_written(w, j, "hostNetwork");
    if (value_get_bool(j->cluster, "hostNetwork")) jsonw_kv_cstr(w, "dnsPolicy", "ClusterFirstWithHostNet");
    claims(w, j);
    pull_secrets(w, j);
    security(w, j, false);
}

static void env_from(struct jsonw *w, const struct kube_job *j)
{
    size_t n;
    const struct value *sources = list_of(j, "envFrom", &n);
    if (n == 0) return;
    jsonw_key(w, "envFrom");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        const struct value *secret = value_get(&sources[i], "secret"), *map = value_get(&sources[i], "configMap");
        const struct value *prefix = value_get(&sources[i], "prefix");
        jsonw_object(w);
        if (prefix != NULL) jsonw_kv_str(w, "prefix", prefix->u.s);
        jsonw_key(w, secret != NULL ? "secretRef" : "configMapRef");
        jsonw_object(w);
        if (secret != NULL || map != NULL) jsonw_kv_str(w, "name", secret != NULL ? secret->u.s : map->u.s);
        if (value_get_bool(&sources[i], "optional")) jsonw_kv_bool(w, "optional", true);
        jsonw_object_end(w);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

void kube_podspec_container(struct jsonw *w, const struct kube_job *j)
{
    const struct value *policy = value_get(j->cluster, "imagePullPolicy");
    if (policy != NULL || j->pull_policy.n > 0)
        jsonw_kv_str(w, "imagePullPolicy", policy != NULL ? policy->u.s : j->pull_policy);
    env_from(w, j);
    security(w, j, true);
}

/* ---- volumes ---- */

static void named(struct jsonw *w, struct arena *a, size_t i)
{
    jsonw_kv_str(w, "name", arena_printf(a, "volume-%zu", i));
}

static void one_field(struct jsonw *w, const char *kind, const char *field, const struct value *name)
{
    jsonw_key(w, kind);
    jsonw_object(w);
    jsonw_key(w, field);
    jsonw_value(w, name);
    jsonw_object_end(w);
}

/* A size as Kubernetes reads it, which does not know every unit of ours: 1024B. */
static struct value quantity(struct arena *a, const struct value *size)
{
    int64_t bytes;
    struct err ignored;
    if (!units_bytes(size, &bytes, &ignored)) return *size;
    return value_string(arena_printf(a, "%" PRId64, bytes));
}

static void users_volume(struct jsonw *w, struct arena *a, size_t i, const struct value *v)
{
    static const struct {
        const char *ours, *kind, *field;
    } sources[] = {{"claim", "persistentVolumeClaim", "claimName"},
                   {"configMap", "configMap", "name"},
                   {"secret", "secret", "secretName"},
                   {"hostPath", "hostPath", "path"},
                   {"scratch", "emptyDir", "sizeLimit"}};
    jsonw_object(w);
    named(w, a, i);
    for (size_t k = 0; k < sizeof sources / sizeof *sources; k++) {
        const struct value *name = value_get(v, sources[k].ours);
        if (name == NULL) continue;
        struct value source = str_is(str_of(sources[k].ours), "scratch") ? quantity(a, name) : *name;
        one_field(w, sources[k].kind, sources[k].field, &source);
    }
    jsonw_object_end(w);
}

/* Pages of it count as the memory of whoever wrote them. */
static void shm_volume(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", SHM_VOLUME);
    jsonw_key(w, "emptyDir");
    jsonw_object(w);
    jsonw_kv_cstr(w, "medium", "Memory");
    jsonw_kv_str(w, "sizeLimit", arena_printf(a, "%" PRId64, j->resources.shm_bytes));
    jsonw_object_end(w);
    jsonw_object_end(w);
}

void kube_podspec_volumes(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    size_t n;
    const struct value *list = list_of(j, "volumes", &n);
    for (size_t i = 0; i < n; i++)
        users_volume(w, a, i, &list[i]);
    if (j->resources.shm_bytes > 0) shm_volume(w, j, a);
}

void kube_podspec_mounts(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    size_t n;
    const struct value *list = list_of(j, "volumes", &n);
    for (size_t i = 0; i < n; i++) {
        const struct value *path = value_get(&list[i], "path"), *sub = value_get(&list[i], "subPath");
        jsonw_object(w);
        named(w, a, i);
        if (path != NULL) jsonw_kv_str(w, "mountPath", path->u.s);
        if (sub != NULL) jsonw_kv_str(w, "subPath", sub->u.s);
        if (value_get_bool(&list[i], "readOnly")) jsonw_kv_bool(w, "readOnly", true);
        jsonw_object_end(w);
    }
    if (j->resources.shm_bytes == 0) return;
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", SHM_VOLUME);
    jsonw_kv_cstr(w, "mountPath", "/dev/shm");
    jsonw_object_end(w);
}

/* ---- `pod` ---- */

static struct value merged(struct arena *a, struct str key, const struct value *under, const struct value *over);

static struct value merged_maps(struct arena *a, const struct value *under, const struct value *over)
{
    struct value_map_builder map;
    value_map_begin(&map, a);
    for (size_t i = 0; i < under->u.map.n; i++) {
        const struct value_entry *e = &under->u.map.entries[i];
        const struct value *other = value_find(over, e->key);
        value_map_put(&map, e->key, other != NULL ? merged(a, e->key, &e->value, other) : e->value);
    }
    for (size_t i = 0; i < over->u.map.n; i++) {
        const struct value_entry *e = &over->u.map.entries[i];
        if (value_find(under, e->key) == NULL) value_map_put(&map, e->key, e->value);
    }
    return value_map_end(&map);
}

static bool same_item(struct str list, const struct value *x, const struct value *y)
{
    const char *key = str_is(list, "volumeMounts") ? "mountPath" : "name";
    const struct value *p = value_get(x, key), *q = value_get(y, key);
    return p != NULL && q != NULL && p->type == VALUE_STRING && value_eq(p, q);
}

static struct value merged_lists(struct arena *a, struct str key, const struct value *under, const struct value *over)
{
    struct value_list_builder list;
    value_list_begin(&list, a);
    for (size_t i = 0; i < under->u.list.n; i++)
        value_list_push(&list, under->u.list.items[i]);
    for (size_t i = 0; i < over->u.list.n; i++) {
        const struct value *item = &over->u.list.items[i];
        size_t k = 0;
        while (k < list.n && !same_item(key, &list.items[k], item))
            k++;
        if (k == list.n)
            value_list_push(&list, *item);
        else /* a variable has its value in one of several ways, of which two are too many */
            list.items[k] = str_is(key, "env") ? *item : merged(a, STR(""), &list.items[k], item);
    }
    return value_list_end(&list);
}

static struct value merged(struct arena *a, struct str key, const struct value *under, const struct value *over)
{
    if (under->type == VALUE_MAP && over->type == VALUE_MAP) return merged_maps(a, under, over);
    if (under->type == VALUE_LIST && over->type == VALUE_LIST) return merged_lists(a, key, under, over);
    return *over;
}

struct value kube_podspec_merge(struct arena *a, const struct value *spec, const struct value *more)
{
    return merged(a, STR(""), spec, more);
}

void kube_podspec_collect_last(struct value *spec)
{
    const struct value *list = value_get(spec, "initContainers");
    for (size_t i = 0; list != NULL && list->type == VALUE_LIST && i + 1 < list->u.list.n; i++) {
        struct value *items = list->u.list.items, own = items[i];
        const struct value *name = value_get(&own, "name");
        if (name == NULL || name->type != VALUE_STRING || !str_is(name->u.s, KUBE_COLLECT)) continue;
        memmove(&items[i], &items[i + 1], (list->u.list.n - i - 1) * sizeof *items);
        items[list->u.list.n - 1] = own;
        return;
    }
}

void kube_podspec_last_lines(struct arena *a, struct value *spec)
{
    const struct value *list = value_get(spec, "initContainers");
    struct value_list_builder items;
    struct value_map_builder patch;
    value_list_begin(&items, a);
    for (size_t i = 0; list != NULL && list->type == VALUE_LIST && i < list->u.list.n; i++) {
        const struct value *name = value_get(&list->u.list.items[i], "name");
        struct value_map_builder item;
        if (name == NULL || name->type != VALUE_STRING || str_is(name->u.s, KUBE_FETCH) ||
            str_is(name->u.s, KUBE_COLLECT) || value_get(&list->u.list.items[i], "terminationMessagePolicy") != NULL)
            continue;
        value_map_begin(&item, a);
        value_map_put(&item, STR("name"), *name);
        value_map_put(&item, STR("terminationMessagePolicy"), value_string(STR("FallbackToLogsOnError")));
        value_list_push(&items, value_map_end(&item));
    }
    if (items.n == 0) return;
    value_map_begin(&patch, a);
    value_map_put(&patch, STR("initContainers"), value_list_end(&items));
    struct value over = value_map_end(&patch);
    *spec = kube_podspec_merge(a, spec, &over);
}
