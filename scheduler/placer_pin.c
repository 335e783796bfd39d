/* What follows for the Job of a step that is admitted: kube_pin.h. */
#include "engine/base/jsonw.h"
#include "engine/text/json.h"
#include "scheduler/kube_claim.h"
#include "scheduler/placer_inner.h"

static void pin_tolerations(struct jsonw *j, const struct flavor_doc *f)
{
    jsonw_key(j, "tolerations");
    jsonw_array(j);
    for (size_t i = 0; i < f->n_tolerations; i++) {
        const struct queue_toleration *t = &f->tolerations[i];
        jsonw_object(j);
        jsonw_kv_str(j, "key", t->key);
        jsonw_kv_str(j, "operator", t->op);
        if (t->value.n > 0) jsonw_kv_str(j, "value", t->value);
        if (t->effect.n > 0) jsonw_kv_str(j, "effect", t->effect);
        jsonw_object_end(j);
    }
    jsonw_array_end(j);
}

static void pin_claim(struct jsonw *j, const struct flavor_doc *f)
{
    BUF_AUTO selector;
    buf_init(&selector, 0);
    kube_claim_selector(&f->devices, &selector);
    jsonw_key(j, "claim");
    jsonw_object(j);
    jsonw_kv_str(j, "deviceClass", f->device_class);
    jsonw_kv_str(j, "selector", buf_view(&selector));
    jsonw_object_end(j);
}

static void pin_flavor(struct jsonw *j, const struct flavor_doc *f, uint32_t gpu)
{
    uint32_t shares = f->shared > 0 ? f->shared : 1;
    jsonw_kv_str(j, "flavor", f->name);
    if (gpu > 0) {
        if (f->device_class.n > 0)
            pin_claim(j, f);
        else
            jsonw_kv_str(j, "resource", f->resource);
        jsonw_kv_int(j, "count", ((int64_t)gpu * shares + QUEUE_GPU - 1) / QUEUE_GPU);
    }
    jsonw_key(j, "nodeSelector");
    jsonw_object(j);
    for (size_t i = 0; i < f->n_nodes; i++) {
        jsonw_key_str(j, f->nodes[i].key);
        jsonw_str(j, f->nodes[i].value);
    }
    jsonw_object_end(j);
    pin_tolerations(j, f);
}

struct str placer_pin(struct placer *p, uint32_t flavor, uint32_t gpu, struct str kueue)
{
    const struct placer_source *source = &p->cfg.source;
    BUF_AUTO out;
    struct jsonw j;
    buf_init(&out, 0);
    jsonw_to_buf(&j, &out);
    jsonw_object(&j);
    if (kueue.n > 0) jsonw_kv_str(&j, "kueue", kueue);
    if (flavor != PLACE_NONE) pin_flavor(&j, &p->setup.flavors[flavor], gpu);
    if (flavor != PLACE_NONE && source->pin != NULL) source->pin(source->self, &p->setup, flavor, &j);
    jsonw_object_end(&j);
    (void)jsonw_end(&j);
    return arena_str(&p->turn, buf_view(&out));
}

bool placer_pinned(struct placer *p, struct str pin, uint32_t flavor, uint32_t gpu)
{
    static const char *const devices[] = {"resource", "count", "claim", "products"};
    struct value then, now;
    struct err ignored;
    bool same = json_reload(&p->turn, pin, &then, &ignored) &&
                json_reload(&p->turn, placer_pin(p, flavor, gpu, STR("")), &now, &ignored);
    for (size_t i = 0; same && i < sizeof devices / sizeof *devices; i++) {
        const struct value *a = value_get(&then, devices[i]), *b = value_get(&now, devices[i]);
        same = a != NULL && b != NULL ? value_eq(a, b) : a == b;
    }
    return same;
}
