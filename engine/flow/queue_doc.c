/* Reading Flavor and Queue documents. See queue_doc.h. */
#include "engine/flow/queue_doc.h"

#include "engine/base/units.h"
#include "engine/flow/spec_kube.h"

static void read_kind(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"Flavor", "Queue"};
    (void)out;
    spec_word(s, at, v, words, SPEC_COUNT(words));
}

static void read_version(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"millrace/v1"};
    (void)out;
    spec_word(s, at, v, words, SPEC_COUNT(words));
}

/* ---- flavors ---- */

static void one_pair(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                     size_t i)
{
    struct queue_pair *pairs = out;
    pairs[i].key = key;
    spec_str(s, at, v, &pairs[i].value);
}

static void read_nodes(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct flavor_doc *f = out;
    if (v->type != VALUE_MAP) {
        spec_expected(s, at, v, "a map of a node's labels");
        return;
    }
    struct queue_pair *pairs = arena_array(s->arena, struct queue_pair, v->u.map.n + 1);
    spec_each(s, at, v, one_pair, pairs);
    f->nodes = pairs;
    f->n_nodes = v->u.map.n;
}

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
    {"key", spec_str, offsetof(struct queue_toleration, key), 0, true},
    {"operator", read_operator, offsetof(struct queue_toleration, op), 0, false},
    {"value", spec_str, offsetof(struct queue_toleration, value), 0, false},
    {"effect", read_effect, offsetof(struct queue_toleration, effect), 0, false},
};

static void one_toleration(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                           size_t i)
{
    struct queue_toleration *t = (struct queue_toleration *)out + i;
    (void)key;
    if (!spec_fields(s, at, v, toleration_fields, SPEC_COUNT(toleration_fields), 0, "a toleration", t)) return;
    if (str_is(t->op, "Exists") && t->value.n > 0) spec_error(s, at, v, "a toleration of what Exists has no value");
    if (t->op.n == 0) t->op = t->value.n > 0 ? STR("Equal") : STR("Exists");
}

static void read_tolerations(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct flavor_doc *f = out;
    if (v->type != VALUE_LIST) {
        spec_expected(s, at, v, "a list of tolerations");
        return;
    }
    struct queue_toleration *t = arena_calloc(s->arena, v->u.list.n + 1, sizeof *t);
    spec_each(s, at, v, one_toleration, t);
    f->tolerations = t;
    f->n_tolerations = v->u.list.n;
}

static void read_resource(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    size_t slash, before = s->errors->total;
    spec_str(s, at, v, out);
    if (s->errors->total == before && !str_find(*(struct str *)out, STR("/"), &slash))
        err_hint(spec_error(s, at, v, "an extended resource is written DOMAIN/NAME"), "resource: nvidia.com/gpu");
}

/* As Kubernetes names objects: it becomes part of a claim. */
static void read_class(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    size_t before = s->errors->total;
    spec_str(s, at, v, out);
    struct str name = *(struct str *)out;
    bool good = name.n > 0 && name.n <= 253;
    for (size_t i = 0; good && i < name.n; i++)
        good = (name.p[i] >= 'a' && name.p[i] <= 'z') || (name.p[i] >= '0' && name.p[i] <= '9') ||
               (i > 0 && i + 1 < name.n && (name.p[i] == '-' || name.p[i] == '.'));
    if (s->errors->total == before && !good)
        err_hint(spec_error(s, at, v, "a DeviceClass has a name of lower-case letters, digits, '-' and '.'"),
                 "deviceClass: gpu.nvidia.com; kubectl get deviceclasses shows what there is");
}

static void read_weight(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    double d = 0;
    size_t before = s->errors->total;
    spec_double(s, at, v, &d);
    if (s->errors->total != before) return;
    if (d > 0 && d <= 1e6)
        *(double *)out = d;
    else
        spec_error(s, at, v, "a weight is above 0, and at most 1000000");
}

static void read_shared(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t n;
    if (spec_whole(s, at, v, 2, QUEUE_MAX_SHARES, &n)) *(uint32_t *)out = (uint32_t)n;
}

#define IN(field) offsetof(struct flavor_doc, field)
static const struct spec_field flavor_fields[] = {
    {"apiVersion", read_version, 0, 0, true},
    {"kind", read_kind, 0, 0, true},
    {"name", spec_name, IN(name), 0, true},
    {"description", spec_str, IN(description), 0, false},
    {"resource", read_resource, IN(resource), 0, false},
    {"deviceClass", read_class, IN(device_class), 0, false},
    {"devices", queue_read_devices, IN(devices), 0, false},
    {"nodes", read_nodes, 0, 0, false},
    {"tolerations", read_tolerations, 0, 0, false},
    {"shared", read_shared, IN(shared), 0, false},
    {"weight", read_weight, IN(weight), 0, false},
};
#undef IN

/* Either a resource that device plugins count, or devices that drivers describe. */
static void check_kind(struct spec *s, const struct value *doc, struct flavor_doc *f)
{
    const struct value *devices = value_get(doc, "devices"), *shared = value_get(doc, "shared");
    if (f->resource.n > 0 && f->device_class.n > 0)
        err_hint(
            spec_error(s, NULL, value_get(doc, "deviceClass"), "a Flavor has a resource or a deviceClass, not both"),
            "make them two flavors");
    else if (f->resource.n == 0 && f->device_class.n == 0)
        err_hint(spec_error(s, NULL, doc, "'resource' or 'deviceClass' is missing"), "resource: nvidia.com/gpu");
    if (f->device_class.n == 0 && devices != NULL)
        err_hint(spec_error(s, NULL, devices, "only a Flavor with a deviceClass has devices"),
                 "choose nodes by their labels: nodes: {nvidia.com/gpu.product: …}");
    if (f->device_class.n > 0 && shared != NULL)
        err_hint(spec_error(s, NULL, shared, "devices of a DeviceClass are not offered in parts"), "leave shared away");
    if (f->device_class.n > 0) queue_devices_settle(s->arena, f->device_class, &f->devices);
}

static void read_flavor(struct spec *s, const struct value *doc, struct flavor_doc *out)
{
    size_t before = s->errors->total;
    spec_fields(s, NULL, doc, flavor_fields, SPEC_COUNT(flavor_fields), 0, "a Flavor", out);
    if (s->errors->total != before) return;
    check_kind(s, doc, out);
    if (str_is(out->name, "cpu") || str_is(out->name, "memory"))
        spec_error(s, NULL, value_get(doc, "name"), "'%.*s' is what every quota has", STR_ARG(out->name));
}

/* ---- queues ---- */

struct reading {
    struct queue_doc q;
    const struct value *quota, *borrow, *lend;
};

static bool read_gpus(struct spec *s, const struct spec_at *at, const struct value *v, int64_t *out)
{
    double d = v->type == VALUE_INT ? (double)v->u.i : v->type == VALUE_DOUBLE ? v->u.d : -1;
    if (v->type == VALUE_STRING) (void)str_double(v->u.s, &d);
    if (d >= 0 && d <= 1e6) {
        *out = (int64_t)(d * QUEUE_GPU + 0.5);
        return true;
    }
    spec_error(s, at, v, "a quota is a number of GPUs, from 0 to 1000000, or unlimited");
    return false;
}

static bool read_amount(struct spec *s, const struct spec_at *at, struct str of, const struct value *v, int64_t *out)
{
    static const struct str unlimited = STR_INIT("unlimited");
    struct err err = {0};
    if (v->type == VALUE_STRING && str_eq(v->u.s, unlimited)) {
        *out = QUEUE_UNLIMITED;
        return true;
    }
    if (v->type == VALUE_STRING && suggest(v->u.s, &unlimited, 1).n > 0)
        return err_hint(spec_error(s, at, v, "'%.*s' is no quota", STR_ARG(str_sub(v->u.s, 0, 60))),
                        "did you mean 'unlimited'?");
    if (!str_is(of, "cpu") && !str_is(of, "memory")) return read_gpus(s, at, v, out);
    if (str_is(of, "cpu") ? units_cpu(v, out, &err) : units_bytes(v, out, &err)) return true;
    spec_adopt(s, at, v, &err);
    return false;
}

static void one_quota(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                      size_t i)
{
    struct queue_amount *a = (struct queue_amount *)out + i;
    *a = (struct queue_amount){.of = key, .borrow = QUEUE_UNLIMITED, .lend = QUEUE_UNLIMITED, .at = v->at};
    (void)read_amount(s, at, key, v, &a->nominal);
}

/* Of borrow and lend: what is in the quota, too. */
static void read_limits(struct spec *s, const char *field, const struct value *map, struct queue_doc *q,
                        struct queue_amount *all, size_t offset)
{
    const struct spec_at here = {NULL, str_of(field), SIZE_MAX, {0, 0}};
    if (map == NULL) return;
    if (map->type != VALUE_MAP) {
        spec_expected(s, &here, map, "a map as quota is");
        return;
    }
    if (q->cohort.n == 0)
        err_hint(spec_error(s, &here, map, "a queue without a cohort neither borrows nor lends"), "name its cohort");
    for (size_t i = 0; i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        const struct spec_at at = {&here, e->key, SIZE_MAX, e->key_at};
        struct queue_amount *a = NULL;
        for (size_t k = 0; all != NULL && k < q->n_amounts; k++)
            if (str_eq(all[k].of, e->key)) a = &all[k];
        if (a == NULL)
            err_hint(spec_error(s, &at, NULL, "the queue has no quota of '%.*s'", STR_ARG(str_sub(e->key, 0, 60))),
                     "say it in quota, 0 if it has none of its own");
        else
            (void)read_amount(s, &at, e->key, &e->value, (int64_t *)((char *)a + offset));
    }
}

static void read_quota(struct spec *s, struct reading *r)
{
    const struct spec_at here = {NULL, STR("quota"), SIZE_MAX, {0, 0}};
    struct queue_amount *all = NULL;
    size_t flavors = 0;
    if (r->quota != NULL && r->quota->type != VALUE_MAP) {
        spec_expected(s, &here, r->quota, "a map of flavors, cpu and memory");
        return;
    }
    if (r->quota != NULL) {
        r->q.n_amounts = r->quota->u.map.n;
        all = arena_calloc(s->arena, r->q.n_amounts + 1, sizeof *all);
        spec_each(s, &here, r->quota, one_quota, all);
        r->q.amounts = all;
    }
    for (size_t i = 0; all != NULL && i < r->q.n_amounts; i++)
        flavors += !str_is(all[i].of, "cpu") && !str_is(all[i].of, "memory");
    if (flavors > QUEUE_FLAVORS_MAX)
        spec_error(s, &here, r->quota, "a queue has at most %d flavors", QUEUE_FLAVORS_MAX);
    read_limits(s, "borrow", r->borrow, &r->q, all, offsetof(struct queue_amount, borrow));
    read_limits(s, "lend", r->lend, &r->q, all, offsetof(struct queue_amount, lend));
}

static void read_preempt(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"never", "lower", "any"};
    size_t i = spec_word(s, at, v, words, SPEC_COUNT(words));
    if (i != SIZE_MAX) *(enum queue_preempt *)out = (enum queue_preempt)i;
}

static const struct spec_field preemption_fields[] = {
    {"within", read_preempt, offsetof(struct queue_doc, within), 0, false},
    {"reclaim", read_preempt, offsetof(struct queue_doc, reclaim), 0, false},
};

static void read_preemption(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct queue_doc *q = out;
    spec_fields(s, at, v, preemption_fields, SPEC_COUNT(preemption_fields), 0, "preemption", q);
    if (q->within == QUEUE_PREEMPT_ANY)
        err_hint(spec_error(s, at, value_get(v, "within"), "within a queue only lower priorities give way"),
                 "within: lower");
}

static const struct spec_field queue_fields[] = {
    {"apiVersion", read_version, 0, 0, true},
    {"kind", read_kind, 0, 0, true},
    {"name", spec_name, offsetof(struct reading, q.name), 0, true},
    {"description", spec_str, offsetof(struct reading, q.description), 0, false},
    {"cohort", spec_name, offsetof(struct reading, q.cohort), 0, false},
    {"weight", read_weight, offsetof(struct reading, q.weight), 0, false},
    {"quota", spec_any, offsetof(struct reading, quota), 0, false},
    {"borrow", spec_any, offsetof(struct reading, borrow), 0, false},
    {"lend", spec_any, offsetof(struct reading, lend), 0, false},
    {"preemption", read_preemption, offsetof(struct reading, q), 0, false},
    {"kueue", spec_str, offsetof(struct reading, q.kueue), 0, false},
};

static void read_queue(struct spec *s, const struct value *doc, struct queue_doc *out)
{
    struct reading r = {0};
    size_t before = s->errors->total;
    spec_fields(s, NULL, doc, queue_fields, SPEC_COUNT(queue_fields), 0, "a Queue", &r);
    *out = r.q;
    if (s->errors->total != before) return;
    read_quota(s, &r);
    *out = r.q;
    if (out->kueue.n > 0 && (out->n_amounts > 0 || out->cohort.n > 0))
        err_hint(
            spec_error(s, NULL, value_get(doc, "kueue"), "a queue that hands over to Kueue has no quota of its own"),
            "Kueue's ClusterQueue has it: leave quota and cohort away");
}

/* ---- documents ---- */

bool queue_doc_is(const struct value *doc)
{
    const struct value *kind = value_get(doc, "kind");
    return kind != NULL && kind->type == VALUE_STRING && (str_is(kind->u.s, "Flavor") || str_is(kind->u.s, "Queue"));
}

static bool is_flavor(const struct value *doc)
{
    const struct value *kind = value_get(doc, "kind");
    return kind != NULL && kind->type == VALUE_STRING && str_is(kind->u.s, "Flavor");
}

bool queue_docs_read(struct arena *a, const struct value *docs, size_t n, struct queue_docs *out,
                     struct err_list *errors)
{
    struct spec s = {.arena = a, .errors = errors};
    size_t before = errors->total;
    *out = (struct queue_docs){.flavors = arena_calloc(a, n + 1, sizeof *out->flavors),
                               .flavor_values = arena_calloc(a, n + 1, sizeof *out->flavor_values),
                               .queues = arena_calloc(a, n + 1, sizeof *out->queues),
                               .queue_values = arena_calloc(a, n + 1, sizeof *out->queue_values)};
    for (size_t i = 0; i < n && !err_list_full(errors); i++) {
        if (docs[i].type != VALUE_MAP) {
            spec_expected(&s, NULL, &docs[i], "a document with apiVersion, kind and name");
        } else if (is_flavor(&docs[i])) {
            out->flavor_values[out->n_flavors] = &docs[i];
            read_flavor(&s, &docs[i], &out->flavors[out->n_flavors++]);
        } else { /* what is neither is told so by its kind */
            out->queue_values[out->n_queues] = &docs[i];
            read_queue(&s, &docs[i], &out->queues[out->n_queues++]);
        }
    }
    return errors->total == before;
}

/* ---- what Kubernetes would refuse in each Job that gets it ---- */

static void one_taint(struct spec *s, const struct spec_at *at, struct str name, const struct value *v, void *out,
                      size_t i)
{
    const struct value *key = value_get(v, "key"), *value = value_get(v, "value");
    struct spec_at key_at = {at, STR("key"), SIZE_MAX, {0, 0}}, value_at = {at, STR("value"), SIZE_MAX, {0, 0}};
    (void)name;
    (void)out;
    (void)i;
    if (key != NULL) spec_kube_taint(s, &key_at, key, NULL);
    if (value != NULL) spec_kube_label(s, &value_at, value, NULL);
}

/* https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/: others' names are Kubernetes' own. */
static void check_resource(struct spec *s, const struct value *v)
{
    const struct spec_at at = {NULL, STR("resource"), SIZE_MAX, {0, 0}};
    struct str name = {0};
    size_t own;
    spec_kube_taint(s, &at, v, &name);
    if (str_starts(name, "requests.") || str_find(name, STR("kubernetes.io/"), &own))
        err_hint(
            spec_error(s, &at, v, "'%.*s' cannot be an extended resource of Kubernetes", STR_ARG(utf8_sub(name, 80))),
            "as nodes' allocatable has it, without 'requests.', and of no domain of kubernetes.io: nvidia.com/gpu");
}

static void check_flavor(struct spec *s, const struct value *doc)
{
    const struct value *nodes = value_get(doc, "nodes"), *taints = value_get(doc, "tolerations"),
                       *resource = value_get(doc, "resource");
    struct spec_at nodes_at = {NULL, STR("nodes"), SIZE_MAX, {0, 0}},
                   taints_at = {NULL, STR("tolerations"), SIZE_MAX, {0, 0}};
    if (nodes != NULL) spec_each(s, &nodes_at, nodes, spec_kube_pair, NULL);
    if (taints != NULL) spec_each(s, &taints_at, taints, one_taint, NULL);
    if (resource != NULL) check_resource(s, resource);
}

static void check_kueue(struct spec *s, const struct value *doc)
{
    const struct value *kueue = value_get(doc, "kueue");
    struct spec_at here = {NULL, STR("kueue"), SIZE_MAX, {0, 0}};
    struct str name = {NULL, 0};
    if (kueue != NULL) spec_kube_object(s, &here, kueue, &name);
    if (name.p != NULL) spec_kube_label(s, &here, kueue, NULL); /* of its Jobs */
}

/* ---- what would be of no effect ---- */

static void check_preemption(struct spec *s, const struct queue_doc *q, const struct value *doc)
{
    const struct value *v = value_get(doc, "preemption"), *reclaim = value_get(v, "reclaim");
    const struct spec_at here = {NULL, STR("preemption"), SIZE_MAX, {0, 0}},
                         at = {&here, STR("reclaim"), SIZE_MAX, {0, 0}};
    bool reclaims = q->reclaim != QUEUE_PREEMPT_NEVER;
    if (q->kueue.n > 0 && (reclaims || q->within != QUEUE_PREEMPT_NEVER))
        err_hint(spec_error(s, &here, v, "a queue that hands over to Kueue lets nobody give way"),
                 "Kueue's ClusterQueue says who does: leave preemption away");
    else if (reclaims && q->cohort.n == 0)
        err_hint(spec_error(s, &at, reclaim, "a queue without a cohort has lent nothing that it could take back"),
                 "name its cohort; within: lower is of the queue itself");
}

static void check_lent(struct spec *s, const struct queue_doc *q, const struct value *doc)
{
    const struct value *lend = value_get(doc, "lend");
    const struct spec_at here = {NULL, STR("lend"), SIZE_MAX, {0, 0}};
    for (size_t i = 0; i < q->n_amounts; i++) {
        const struct queue_amount *a = &q->amounts[i];
        const struct spec_at at = {&here, a->of, SIZE_MAX, {0, 0}};
        if (a->lend != QUEUE_UNLIMITED && a->lend > a->nominal)
            err_hint(spec_error(s, &at, value_find(lend, a->of), "this is more than the queue's quota"),
                     "at most what quota says is lent, and all of it where lend says nothing");
    }
}

/* Counted in thousandths. */
static void check_tiny(struct spec *s, const struct queue_doc *q, const struct value *doc)
{
    static const char *const fields[] = {"quota", "borrow", "lend"};
    for (size_t f = 0; f < SPEC_COUNT(fields); f++) {
        const struct value *map = value_get(doc, fields[f]);
        const struct spec_at here = {NULL, str_of(fields[f]), SIZE_MAX, {0, 0}};
        for (size_t i = 0; map != NULL && i < q->n_amounts; i++) {
            const struct value *v = value_find(map, q->amounts[i].of);
            const struct spec_at at = {&here, q->amounts[i].of, SIZE_MAX, {0, 0}};
            if (v != NULL && v->type == VALUE_DOUBLE && v->u.d > 0 && v->u.d < 0.001)
                err_hint(spec_error(s, &at, v, "this is less than a thousandth, in which it is counted"),
                         "0 for nothing");
        }
    }
}

/* ---- names ---- */

static bool has_name(const struct queue_docs *docs, const struct str *known, size_t n_known, struct str name)
{
    for (size_t i = 0; i < n_known; i++)
        if (str_eq(known[i], name)) return true;
    for (size_t i = 0; i < docs->n_flavors; i++)
        if (str_eq(docs->flavors[i].name, name)) return true;
    return false;
}

static void check_amounts(struct spec *s, const struct queue_docs *docs, const struct queue_doc *q,
                          const struct str *known, size_t n_known)
{
    const struct spec_at quota = {NULL, STR("quota"), SIZE_MAX, {0, 0}};
    for (size_t i = 0; i < q->n_amounts; i++) {
        struct str of = q->amounts[i].of;
        if (str_is(of, "cpu") || str_is(of, "memory") || has_name(docs, known, n_known, of)) continue;
        const struct spec_at at = {&quota, of, SIZE_MAX, q->amounts[i].at};
        struct err *e = spec_error(s, &at, NULL, "there is no flavor '%.*s'", STR_ARG(str_sub(of, 0, 60)));
        spec_suggest(e, of, known, n_known);
    }
}

bool queue_docs_check(const struct queue_docs *docs, const struct str *known, size_t n_known, struct err_list *errors)
{
    static const struct str any = STR_INIT(QUEUE_ANY_FLAVOR);
    struct spec s = {.arena = errors->arena, .errors = errors};
    size_t before = errors->total;
    if (n_known == 0 && docs->n_flavors == 0) {
        known = &any;
        n_known = 1;
    }
    for (size_t i = 0; i < docs->n_flavors; i++) {
        for (size_t k = 0; k < i; k++)
            if (str_eq(docs->flavors[i].name, docs->flavors[k].name))
                spec_error(&s, NULL, value_get(docs->flavor_values[i], "name"), "the flavor is there twice");
        check_flavor(&s, docs->flavor_values[i]);
    }
    for (size_t i = 0; i < docs->n_queues; i++) {
        for (size_t k = 0; k < i; k++)
            if (str_eq(docs->queues[i].name, docs->queues[k].name))
                spec_error(&s, NULL, value_get(docs->queue_values[i], "name"), "the queue is there twice");
        check_kueue(&s, docs->queue_values[i]);
        check_preemption(&s, &docs->queues[i], docs->queue_values[i]);
        check_lent(&s, &docs->queues[i], docs->queue_values[i]);
        check_tiny(&s, &docs->queues[i], docs->queue_values[i]);
        check_amounts(&s, docs, &docs->queues[i], known, n_known);
    }
    return errors->total == before;
}
