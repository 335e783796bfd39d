/* Jobs on the flavor they were admitted on. See kube_pin.h. */
#include "scheduler/kube_pin.h"

#include "engine/text/json.h"
#include "scheduler/kube_podspec.h"

/* The flavor's labels over the step's own. */
static struct value merged(struct arena *a, const struct value *own, const struct value *flavor)
{
    struct value_map_builder b;
    value_map_begin(&b, a);
    for (size_t i = 0; own != NULL && own->type == VALUE_MAP && i < own->u.map.n; i++)
        if (value_find(flavor, own->u.map.entries[i].key) == NULL)
            value_map_put(&b, own->u.map.entries[i].key, own->u.map.entries[i].value);
    for (size_t i = 0; i < flavor->u.map.n; i++)
        value_map_put(&b, flavor->u.map.entries[i].key, flavor->u.map.entries[i].value);
    return value_map_end(&b);
}

static struct value together(struct arena *a, const struct value *own, const struct value *flavor)
{
    struct value_list_builder b;
    value_list_begin(&b, a);
    for (size_t i = 0; own != NULL && own->type == VALUE_LIST && i < own->u.list.n; i++)
        value_list_push(&b, own->u.list.items[i]);
    for (size_t i = 0; i < flavor->u.list.n; i++)
        value_list_push(&b, flavor->u.list.items[i]);
    return value_list_end(&b);
}

static struct value map_of(struct arena *a, const char *key, struct value v)
{
    struct value_map_builder b;
    value_map_begin(&b, a);
    value_map_put(&b, str_of(key), v);
    return value_map_end(&b);
}

static struct value list_of(struct arena *a, struct value v)
{
    struct value_list_builder b;
    value_list_begin(&b, a);
    value_list_push(&b, v);
    return value_list_end(&b);
}

/* {weight: 100, preference: {matchFields: [{key: metadata.name, operator: In, values: [NODE]}]}}. By its name, of which
 * such a term takes one: the label kubernetes.io/hostname may be another. */
static struct value term_for(struct arena *a, struct value node)
{
    struct value_map_builder field, term;
    value_map_begin(&field, a);
    value_map_put(&field, STR("key"), value_string(STR("metadata.name")));
    value_map_put(&field, STR("operator"), value_string(STR("In")));
    value_map_put(&field, STR("values"), list_of(a, node));
    value_map_begin(&term, a);
    value_map_put(&term, STR("weight"), value_int(100));
    value_map_put(&term, STR("preference"), map_of(a, "matchFields", list_of(a, value_map_end(&field))));
    return value_map_end(&term);
}

/* Rather where there is room by the queue, or what comes next finds none there; and elsewhere if that has gone. */
static struct value rather_on(struct arena *a, const struct value *nodes)
{
    struct value_list_builder terms;
    value_list_begin(&terms, a);
    for (size_t i = 0; i < nodes->u.list.n; i++)
        value_list_push(&terms, term_for(a, nodes->u.list.items[i]));
    return map_of(a, "nodeAffinity",
                  map_of(a, "preferredDuringSchedulingIgnoredDuringExecution", value_list_end(&terms)));
}

static const struct value *with_nodes(struct arena *a, const struct value *cluster, const struct value *nodes)
{
    static const struct value nothing = {.type = VALUE_MAP};
    struct value *out = arena_new(a, struct value);
    if (nodes == NULL || nodes->type != VALUE_LIST || nodes->u.list.n == 0) return cluster;
    const struct value more = map_of(a, "affinity", rather_on(a, nodes));
    *out = kube_podspec_merge(a, cluster != NULL ? cluster : &nothing, &more);
    return out;
}

static const struct value *with_flavor(struct arena *a, const struct value *cluster, const struct value *pin)
{
    const struct value *labels = value_get(pin, "nodeSelector"), *tolerations = value_get(pin, "tolerations");
    struct value_map_builder b;
    struct value *out = arena_new(a, struct value);
    value_map_begin(&b, a);
    for (size_t i = 0; cluster != NULL && i < cluster->u.map.n; i++) {
        const struct value_entry *e = &cluster->u.map.entries[i];
        if (!str_is(e->key, "nodeSelector") && !str_is(e->key, "tolerations")) value_map_put(&b, e->key, e->value);
    }
    const struct value *own = value_get(cluster, "nodeSelector");
    if (labels != NULL && labels->type == VALUE_MAP)
        value_map_put(&b, STR("nodeSelector"), merged(a, own, labels));
    else if (own != NULL)
        value_map_put(&b, STR("nodeSelector"), *own);
    own = value_get(cluster, "tolerations");
    if (tolerations != NULL && tolerations->type == VALUE_LIST)
        value_map_put(&b, STR("tolerations"), together(a, own, tolerations));
    else if (own != NULL)
        value_map_put(&b, STR("tolerations"), *own);
    *out = value_map_end(&b);
    return out;
}

bool kube_pin_apply(struct arena *a, struct str pin, struct kube_job *job, struct err *err)
{
    struct value v;
    if (pin.n == 0) return true;
    if (!json_reload(a, pin, &v, err)) return false;
    const struct value *count = value_get(&v, "count"), *claim = value_get(&v, "claim");
    job->cluster = with_nodes(a, with_flavor(a, job->cluster, &v), value_get(&v, "nodes"));
    job->kueue = value_get_text(&v, "kueue");
    if (value_get_text(&v, "resource").n > 0) job->gpu_resource = value_get_text(&v, "resource");
    if (count != NULL && count->type == VALUE_INT) job->resources.gpu_count = (uint32_t)count->u.i;
    job->claim = (struct kube_claim){value_get_text(claim, "deviceClass"), value_get_text(claim, "selector"), 0};
    if (job->claim.device_class.n > 0) job->claim.count = job->resources.gpu_count;
    return true;
}
