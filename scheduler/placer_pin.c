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

/* Those of a gang's pods beside each other are one. So many at most: each is a term that every node is held against. */
#define PIN_NODES_MAX 100

static void pin_nodes(struct jsonw *j, struct str nodes)
{
    struct str rest = str_sub(nodes, 1, nodes.n - 2), name, last = STR("");
    jsonw_key(j, "nodes");
    jsonw_array(j);
    for (int n = 0; n < PIN_NODES_MAX && rest.n > 0 && str_split(&rest, ',', &name); last = name) {
        if (str_eq(name, last)) continue;
        jsonw_str(j, name);
        n++;
    }
    jsonw_array_end(j);
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

struct str placer_pin(struct placer *p, struct placer_pin pin)
{
    const struct placer_source *source = &p->cfg.source;
    bool flavored = pin.flavor != PLACE_NONE;
    BUF_AUTO out;
    struct jsonw j;
    buf_init(&out, 0);
    jsonw_to_buf(&j, &out);
    jsonw_object(&j);
    if (pin.kueue.n > 0) jsonw_kv_str(&j, "kueue", pin.kueue);
    if (flavored) pin_flavor(&j, &p->setup.flavors[pin.flavor], pin.gpu);
    if (pin.counted != pin.gpu) jsonw_kv_int(&j, "counted", pin.counted); /* for queue_usage and queue_holders */
    if (flavored && pin.gpu > 0 && pin.nodes.n > 2) pin_nodes(&j, pin.nodes);
    if (flavored && source->pin != NULL) source->pin(source->self, &p->setup, pin.flavor, &j);
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
                json_reload(&p->turn, placer_pin(p, (struct placer_pin){flavor, gpu, gpu, {0}, {0}}), &now, &ignored);
    for (size_t i = 0; same && i < sizeof devices / sizeof *devices; i++) {
        const struct value *a = value_get(&then, devices[i]), *b = value_get(&now, devices[i]);
        same = a != NULL && b != NULL ? value_eq(a, b) : a == b;
    }
    return same;
}
