/* Jobs on the flavor they were admitted on. See kube_pin.h. */
#include "scheduler/kube_pin.h"

#include "engine/text/json.h"

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
    job->cluster = with_flavor(a, job->cluster, &v);
    job->kueue = value_get_text(&v, "kueue");
    if (value_get_text(&v, "resource").n > 0) job->gpu_resource = value_get_text(&v, "resource");
    if (count != NULL && count->type == VALUE_INT) job->resources.gpu_count = (uint32_t)count->u.i;
    job->claim = (struct kube_claim){value_get_text(claim, "deviceClass"), value_get_text(claim, "selector"), 0};
    if (job->claim.device_class.n > 0) job->claim.count = job->resources.gpu_count;
    return true;
}
