/* Declarations to rules. See queue_setup.h. */
#include "engine/store/queue_setup.h"

#include <stdlib.h>

#define NAMES_BYTES 160 /* of names, in a hint */

/* ---- flavors ---- */

static size_t asks(const struct flavor_doc *f)
{
    return f->n_nodes + f->devices.n_attributes + f->devices.n_capacity;
}

/* A device counts for the first flavor that fits: so who asks for more of it and of its node comes first. */
static int special_first(const void *x, const void *y)
{
    const struct flavor_doc *a = x, *b = y;
    size_t x_asks = asks(a), y_asks = asks(b);
    if (x_asks != y_asks) return x_asks > y_asks ? -1 : 1;
    return str_cmp(a->name, b->name);
}

static struct place_pair toleration(struct arena *a, struct str key, struct str op, struct str value)
{
    return (struct place_pair){key, str_is(op, "Exists") ? STR("") : arena_printf(a, "=%.*s", STR_ARG(value))};
}

static struct place_flavor offered_as(struct arena *a, const struct flavor_doc *f)
{
    struct place_pair *labels = arena_array(a, struct place_pair, f->n_nodes + 1);
    struct place_pair *taints = arena_array(a, struct place_pair, f->n_tolerations + 1);
    for (size_t i = 0; i < f->n_nodes; i++)
        labels[i] = (struct place_pair){f->nodes[i].key, f->nodes[i].value};
    for (size_t i = 0; i < f->n_tolerations; i++)
        taints[i] = toleration(a, f->tolerations[i].key, f->tolerations[i].op, f->tolerations[i].value);
    return (struct place_flavor){.name = f->name,
                                 .resource = f->resource,
                                 .described = f->device_class.n > 0,
                                 .labels = labels,
                                 .n_labels = f->n_nodes,
                                 .tolerates = taints,
                                 .n_tolerates = f->n_tolerations,
                                 .shared = f->shared > 0,
                                 .weight = f->weight};
}

static const struct queue_toleration gpu_taint = {STR_INIT("nvidia.com/gpu"), STR_INIT("Exists"), {"", 0}, {"", 0}};
const struct flavor_doc queue_any_flavor = {.name = STR_INIT(QUEUE_ANY_FLAVOR),
                                            .resource = STR_INIT("nvidia.com/gpu"),
                                            .tolerations = &gpu_taint,
                                            .n_tolerations = 1};

static void take_flavors(struct queue_setup *s, const struct queue_docs *docs)
{
    struct flavor_doc *all = arena_array(s->arena, struct flavor_doc, docs->n_flavors + 1);
    for (size_t i = 0; i < docs->n_flavors; i++)
        all[i] = docs->flavors[i];
    if (docs->n_flavors == 0) all[0] = queue_any_flavor;
    s->n_flavors = docs->n_flavors == 0 ? 1 : (uint32_t)docs->n_flavors;
    qsort(all, s->n_flavors, sizeof *all, special_first);
    s->flavors = all;
    s->offered = arena_array(s->arena, struct place_flavor, s->n_flavors);
    for (uint32_t i = 0; i < s->n_flavors; i++)
        s->offered[i] = offered_as(s->arena, &all[i]);
    s->place = place_new(s->offered, s->n_flavors);
}

static uint32_t flavor_number(const struct queue_setup *s, struct str name)
{
    for (uint32_t i = 0; i < s->n_flavors; i++)
        if (str_eq(s->flavors[i].name, name)) return i;
    return PLACE_NONE;
}

/* ---- queues ---- */

static bool take_queue(struct queue_setup *s, const struct queue_doc *q, uint32_t *number, struct err *err)
{
    static const struct place_quota unlimited = {PLACE_UNLIMITED, PLACE_UNLIMITED, PLACE_UNLIMITED};
    struct place_flavor_quota *flavors = arena_array(s->arena, struct place_flavor_quota, s->n_flavors + q->n_amounts);
    struct place_queue in = {.name = q->name,
                             .cohort = q->cohort.n > 0 ? place_cohort(s->place, q->cohort) : PLACE_NONE,
                             .weight = q->weight,
                             .within = (enum place_preempt)q->within,
                             .reclaim = (enum place_preempt)q->reclaim,
                             .cpu = unlimited,
                             .memory = unlimited,
                             .flavors = flavors};
    for (size_t i = 0; i < q->n_amounts; i++) {
        const struct queue_amount *a = &q->amounts[i];
        const struct place_quota quota = {a->nominal, a->borrow, a->lend};
        uint32_t flavor = flavor_number(s, a->of);
        if (str_is(a->of, "cpu"))
            in.cpu = quota;
        else if (str_is(a->of, "memory"))
            in.memory = quota;
        else if (flavor != PLACE_NONE)
            flavors[in.n_flavors++] = (struct place_flavor_quota){flavor, quota};
    }
    for (uint32_t f = 0; q->n_amounts == 0 && f < s->n_flavors; f++)
        flavors[in.n_flavors++] = (struct place_flavor_quota){f, unlimited};
    return place_queue(s->place, &in, number, err);
}

static bool take_queues(struct queue_setup *s, const struct queue_docs *docs, struct err *err)
{
    struct queue_doc *all = arena_array(s->arena, struct queue_doc, docs->n_queues + 1);
    bool has_default = false;
    for (size_t i = 0; i < docs->n_queues; i++) {
        all[i] = docs->queues[i];
        has_default |= str_is(all[i].name, QUEUE_DEFAULT);
    }
    s->n_queues = (uint32_t)docs->n_queues;
    if (!has_default) all[s->n_queues++] = (struct queue_doc){.name = STR(QUEUE_DEFAULT)};
    s->queues = all;
    s->numbers = arena_array(s->arena, uint32_t, s->n_queues);
    for (uint32_t i = 0; i < s->n_queues; i++)
        if (!take_queue(s, &all[i], &s->numbers[i], err)) return false;
    return true;
}

bool queue_setup_open(struct queue_setup *s, struct arena *a, const struct queue_docs *docs, struct err *err)
{
    *s = (struct queue_setup){.arena = a};
    take_flavors(s, docs);
    if (take_queues(s, docs, err)) return true;
    queue_setup_close(s);
    return false;
}

void queue_setup_close(struct queue_setup *s)
{
    place_free(s->place);
    s->place = NULL;
}

/* ---- wishes ---- */

struct queue_ask queue_ask_of(const struct node *n, bool ignore_gpu)
{
    const struct resources *r = &n->resources;
    struct queue_ask ask = {.queue = n->queue.n > 0 ? n->queue : STR(QUEUE_DEFAULT),
                            .pods = n->workers > 1 ? n->workers : 1,
                            .cpu = r->cpu_milli,
                            .memory = r->memory_bytes,
                            .priority = n->priority,
                            .selector = value_get(n->cluster, "nodeSelector"),
                            .tolerations = value_get(n->cluster, "tolerations")};
    if (r->gpu_count == 0 || ignore_gpu) return ask;
    ask.flavor = r->gpu_flavor;
    ask.gpu = r->gpu_share > 0 ? (uint32_t)(r->gpu_share * QUEUE_GPU + 0.5) : r->gpu_count * QUEUE_GPU;
    if (ask.gpu == 0) ask.gpu = 1;
    return ask;
}

size_t queue_setup_find(const struct queue_setup *s, struct str queue)
{
    for (size_t i = 0; i < s->n_queues; i++)
        if (str_eq(s->queues[i].name, queue)) return i;
    return SIZE_MAX;
}

/* As many as a line holds: `millrace gpus` knows a flavor only where there are nodes of it. */
static bool hint_names(struct err *err, struct str near, const struct str *names, size_t n)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    for (size_t i = 0; i < n && (i == 0 || text.n + names[i].n < NAMES_BYTES); i++)
        buf_printf(&text, "%s%.*s", i > 0 ? ", " : "", STR_ARG(names[i]));
    if (near.n == 0) return err_hint(err, "there are: %.*s", STR_ARG(buf_view(&text)));
    return err_hint(err, "did you mean '%.*s'? There are: %.*s", STR_ARG(near), STR_ARG(buf_view(&text)));
}

static bool no_such(struct err *err, const char *what, struct str name, const struct str *names, size_t n)
{
    err_set(err, ERR_NOT_FOUND, "there is no %s '%.*s'", what, STR_ARG(str_sub(name, 0, 80)));
    return hint_names(err, suggest(name, names, n), names, n);
}

static bool offers(const struct queue_doc *q, struct str flavor)
{
    bool all = true;
    for (size_t i = 0; i < q->n_amounts; i++) {
        all &= str_is(q->amounts[i].of, "cpu") || str_is(q->amounts[i].of, "memory");
        if (str_eq(q->amounts[i].of, flavor)) return true;
    }
    return all && q->n_amounts == 0;
}

static int cheap_first(const void *x, const void *y, void *ctx)
{
    const struct queue_setup *s = ctx;
    const struct flavor_doc *a = &s->flavors[*(const uint32_t *)x], *b = &s->flavors[*(const uint32_t *)y];
    double v = a->weight > 0 ? a->weight : 1, w = b->weight > 0 ? b->weight : 1;
    if (v < w || v > w) return v < w ? -1 : 1;
    return str_cmp(a->name, b->name);
}

static bool no_choice(const struct queue_doc *q, const struct queue_ask *ask, uint32_t n, struct err *err)
{
    bool part = ask->gpu < QUEUE_GPU;
    if (n > PLACE_CHOICES) {
        err_set(err, ERR_LIMIT, "queue '%.*s' offers %u flavors, a step can choose from %d", STR_ARG(q->name), n,
                PLACE_CHOICES);
        return err_hint(err, "name one: gpu: {flavor: NAME}");
    }
    if (ask->flavor.n > 0) {
        err_set(err, ERR_INVALID, "flavor '%.*s' is not shared, a step cannot have a part of such a GPU",
                STR_ARG(ask->flavor));
        return err_hint(err, "ask for whole GPUs, or for a flavor that is shared");
    }
    err_set(err, ERR_NOT_FOUND, "queue '%.*s' offers no %s", STR_ARG(q->name), part ? "shared GPUs" : "GPUs");
    return err_hint(err, "name a queue whose quota has a flavor%s",
                    part ? " that is shared, or ask for whole GPUs" : "");
}

/* Those of its queue, the least dear first; or the one it names. A part of a GPU only of those that are shared. */
static bool accepted(const struct queue_setup *s, const struct queue_doc *q, const struct queue_ask *ask,
                     struct arena *scratch, struct place_ask *out, struct err *err)
{
    struct str *names = arena_array(scratch, struct str, s->n_flavors);
    uint32_t *v = arena_array(scratch, uint32_t, s->n_flavors), n = 0;
    uint32_t one = ask->flavor.n > 0 ? flavor_number(s, ask->flavor) : PLACE_NONE;
    for (uint32_t f = 0; f < s->n_flavors; f++) {
        names[f] = s->flavors[f].name;
        bool fits = ask->gpu >= QUEUE_GPU || s->flavors[f].shared > 0;
        if (fits && (ask->flavor.n > 0 ? f == one : offers(q, s->flavors[f].name))) v[n++] = f;
    }
    if (ask->flavor.n > 0 && one == PLACE_NONE) return no_such(err, "flavor", ask->flavor, names, s->n_flavors);
    qsort_r(v, n, sizeof *v, cheap_first, (void *)s);
    if (n == 0 || n > PLACE_CHOICES) return no_choice(q, ask, n, err);
    out->flavors = v;
    out->n_flavors = n;
    return true;
}

static const struct place_pair *pairs_of(struct arena *a, const struct value *selector, size_t *n)
{
    *n = selector != NULL && selector->type == VALUE_MAP ? selector->u.map.n : 0;
    struct place_pair *pairs = arena_array(a, struct place_pair, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        const struct value_entry *e = &selector->u.map.entries[i];
        pairs[i] = (struct place_pair){e->key, e->value.type == VALUE_STRING ? e->value.u.s : STR("")};
    }
    return pairs;
}

/* Effects are not told apart. */
static const struct place_pair *tolerated_by(struct arena *a, const struct value *tolerations, size_t *n)
{
    *n = tolerations != NULL && tolerations->type == VALUE_LIST ? tolerations->u.list.n : 0;
    struct place_pair *pairs = arena_array(a, struct place_pair, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        const struct value *one = &tolerations->u.list.items[i];
        pairs[i] =
            toleration(a, value_get_text(one, "key"), value_get_text(one, "operator"), value_get_text(one, "value"));
    }
    return pairs;
}

/* Thousandths of so many of its parts: as many fit as there are. Only of very small ones one may be lost. */
static uint32_t of_parts(uint32_t parts, uint32_t shared)
{
    uint32_t up = shared * shared > QUEUE_GPU ? shared - 1 : 0;
    return (parts * QUEUE_GPU + up) / shared;
}

/* Whichever flavor it gets. */
static uint32_t in_parts(const struct queue_setup *s, const struct place_ask *in)
{
    uint32_t most = in->gpu;
    for (size_t i = 0; in->gpu < QUEUE_GPU && i < in->n_flavors; i++) {
        uint32_t shared = s->flavors[in->flavors[i]].shared;
        uint32_t counted = of_parts((in->gpu * shared + QUEUE_GPU - 1) / QUEUE_GPU, shared);
        if (counted > most) most = counted;
    }
    return most;
}

bool queue_setup_ask(const struct queue_setup *s, const struct queue_ask *ask, struct arena *scratch,
                     struct place_ask *out, struct err *err)
{
    size_t q = queue_setup_find(s, ask->queue);
    if (q == SIZE_MAX) {
        struct str *names = arena_array(scratch, struct str, s->n_queues);
        for (size_t i = 0; i < s->n_queues; i++)
            names[i] = s->queues[i].name;
        return no_such(err, "queue", ask->queue, names, s->n_queues);
    }
    *out = (struct place_ask){.queue = s->numbers[q],
                              .priority = ask->priority,
                              .pods = ask->pods,
                              .cpu = ask->cpu,
                              .memory = ask->memory,
                              .gpu = ask->gpu};
    out->selector = pairs_of(scratch, ask->selector, &out->n_selector);
    out->tolerates = tolerated_by(scratch, ask->tolerations, &out->n_tolerates);
    if (ask->gpu == 0) return true;
    if (!accepted(s, &s->queues[q], ask, scratch, out, err)) return false;
    if (ask->whole_parts) out->gpu = in_parts(s, out);
    return true;
}

/* ---- nodes ---- */

/* A GPU that is offered as several is one. */
static void whole_gpus(const struct queue_setup *s, struct place_offer *o)
{
    uint32_t shares = s->flavors[o->flavor].shared;
    if (shares == 0) return;
    o->taken = (o->taken + shares - 1) / shares;
    o->gpus /= shares;
    if (o->taken > o->gpus) o->taken = o->gpus;
}

static bool is_of_group(const struct place_flavor *f, const struct queue_group *g)
{
    struct place_offer o;
    struct place_devices d = {.name = g->resource, .n = 1};
    struct str shares = f->resource, before = str_sub(shares, 0, g->resource.n);
    bool renamed = f->shared && str_eq(before, g->resource) && str_is(str_sub(shares, before.n, shares.n), ".shared");
    if (renamed) d.name = f->resource;
    return place_offers(f, 1, g->labels, g->n_labels, NULL, 0, &d, 1, &o) == 1 && o.gpus > 0;
}

uint32_t queue_setup_group(const struct queue_setup *s, const struct queue_group *g)
{
    for (uint32_t f = 0; f < s->n_flavors; f++)
        if (is_of_group(&s->offered[f], g)) return f;
    return PLACE_NONE;
}

static size_t offers_of_groups(const struct queue_setup *s, const struct queue_node *n, struct place_offer *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n->n_groups; i++) {
        const struct queue_group *g = &n->groups[i];
        uint32_t flavor = queue_setup_group(s, g);
        size_t at = 0;
        if (flavor == PLACE_NONE) continue;
        while (at < k && out[at].flavor != flavor)
            at++;
        if (at == k) out[k++] = (struct place_offer){.flavor = flavor};
        out[at].gpus += g->n;
        out[at].taken += g->taken;
    }
    return k;
}

size_t queue_setup_offers(const struct queue_setup *s, const struct queue_node *n, struct place_offer *out)
{
    if (n->n_groups > 0) return offers_of_groups(s, n, out);
    size_t k = place_offers(s->offered, s->n_flavors, n->labels, n->n_labels, n->taints, n->n_taints, n->devices,
                            n->n_devices, out);
    for (size_t i = 0; i < k; i++)
        whole_gpus(s, &out[i]);
    return k;
}

bool queue_setup_node(const struct queue_setup *s, const struct queue_node *n, struct arena *scratch, uint32_t *number,
                      struct err *err)
{
    struct place_offer *offers = arena_array(scratch, struct place_offer, s->n_flavors);
    size_t k = queue_setup_offers(s, n, offers);
    if (k > PLACE_CHOICES) {
        err_set(err, ERR_LIMIT, "node %.*s has GPUs of %zu flavors, more than %d", STR_ARG(n->name), k, PLACE_CHOICES);
        return err_hint(err, "let fewer flavors fit its labels");
    }
    const struct place_node in = {.name = n->name,
                                  .cpu = n->cpu,
                                  .memory = n->memory,
                                  .other_cpu = n->other_cpu,
                                  .other_memory = n->other_memory,
                                  .schedulable = n->schedulable,
                                  .any_labels = n->n_groups > 0,
                                  .labels = n->labels,
                                  .n_labels = n->n_labels,
                                  .taints = n->taints,
                                  .n_taints = n->n_taints,
                                  .offers = offers,
                                  .n_offers = k};
    return place_node(s->place, &in, number, err);
}
