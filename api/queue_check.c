/* What could never run is said at submission. See queue_check.h. */
#include "api/queue_check.h"

#include "engine/store/queue_setup.h"
#include "engine/text/json.h"

struct checking {
    struct request *rq;
    struct queue_setup setup; /* of the declarations, with the nodes of one domain */
    bool nodes;               /* they are known */
    bool devices_unseen;      /* those that are described are not */
    const struct plan_offer *offer;
    struct err_list errors;
};

static bool needs_queue(const struct node *n, bool ignore_gpu)
{
    bool runs = n->verb == VERB_RUN || n->verb == VERB_SCRIPT || n->verb == VERB_IMAGE;
    return runs && queue_ask_needed(n, ignore_gpu);
}

static bool any_needs(const struct plan *plan, bool ignore_gpu)
{
    for (uint32_t g = 0; g < plan->n_graphs; g++)
        for (uint32_t i = 0; i < plan->graphs[g].n_nodes; i++)
            if (needs_queue(&plan->graphs[g].nodes[i], ignore_gpu)) return true;
    return false;
}

/* ---- where there is a queue ---- */

static bool any_nodes(const struct queue_view *v)
{
    for (size_t i = 0; i < v->n_seen; i++)
        if (v->seen[i].nodes_us > 0) return true;
    return false;
}

/* On a cluster always. A machine with GPUs has one where any is declared, one without never; whether those have any on
 * which the plan will run is theirs to say, where it is not known here. */
bool queue_view_read(struct request *rq, const struct plan *plan, const struct plan_offer *offer,
                     struct queue_view *out, struct err *err)
{
    struct conn *c;
    *out = (struct queue_view){.decides = false};
    if (!any_needs(plan, offer->ignore_gpu) || !(offer->cluster || offer->n_gpus > 0 || offer->gpus_unknown))
        return true;
    if (!request_db(rq, &c, err) || !queues_docs(c, rq->arena, &out->docs, err) ||
        !queues_placers(c, rq->arena, &out->seen, &out->n_seen, err))
        return false;
    bool declared = out->docs.n_flavors + out->docs.n_queues > 0;
    out->decides = offer->cluster || (declared && (offer->n_gpus > 0 || any_nodes(out)));
    return true;
}

/* ---- whether it could run ---- */

static void add_nodes(struct checking *k, const struct placer_seen *seen)
{
    struct value list;
    struct err ignored;
    k->devices_unseen = seen->trouble.n > 0;
    if (!json_reload(k->rq->arena, seen->nodes, &list, &ignored) || list.type != VALUE_LIST) return;
    for (size_t i = 0; i < list.u.list.n; i++) {
        struct queue_node node;
        uint32_t number;
        if (queue_node_read(k->rq->arena, &list.u.list.items[i], &node) &&
            queue_setup_node(&k->setup, &node, k->rq->arena, &number, &ignored))
            k->nodes = true;
    }
}

static bool asks_for_described(const struct checking *k, const struct place_ask *ask)
{
    for (size_t i = 0; i < ask->n_flavors; i++)
        if (k->setup.flavors[ask->flavors[i]].device_class.n > 0) return true;
    return false;
}

static bool by_selector(const struct node *n, const struct place_why *reason)
{
    return reason->reason == PLACE_UNSCHEDULABLE && reason->nodes == 0 && value_get(n->cluster, "nodeSelector") != NULL;
}

/* Mostly a typo in it. */
static bool hint_of_nodes(const struct checking *k, const struct node *n, const struct place_why *reason,
                          struct err *why)
{
    if (by_selector(n, reason) && reason->flavor == PLACE_NONE)
        return err_hint(why, "kubectl get nodes --show-labels: one node must have all of these labels, and no taint "
                             "that the step does not tolerate");
    if (by_selector(n, reason))
        return err_hint(why, "kubectl get nodes --show-labels: one node of that flavor must have all of these labels, "
                             "and no taint that the flavor does not tolerate");
    if (reason->reason != PLACE_UNSCHEDULABLE || reason->nodes > 0 || reason->flavor == PLACE_NONE) return false;
    const struct flavor_doc *f = &k->setup.flavors[reason->flavor];
    bool devices = f->device_class.n > 0;
    struct str of = devices ? f->device_class : f->resource;
    return err_hint(why, "a node is of flavor '%.*s' that has %s '%.*s'%s, and no taint but those that it tolerates",
                    STR_ARG(f->name), devices ? "devices of the class" : "the resource", STR_ARG(of),
                    f->n_nodes > 0 ? ", the labels that its 'nodes' names" : "");
}

static bool could_run(const struct checking *k, const struct node *n, struct place_why *reason, struct err *why)
{
    struct queue_ask ask = queue_ask_of(n, k->offer->ignore_gpu);
    struct place_ask in;
    ask.whole_parts = k->offer->cluster;
    if (k->offer->ignore_cpu) ask.cpu = 0;
    if (k->offer->ignore_memory) ask.memory = 0;
    if (!queue_setup_ask(&k->setup, &ask, k->rq->arena, &in, why)) return false;
    size_t q = queue_setup_find(&k->setup, ask.queue);
    if (k->setup.queues[q].kueue.n > 0) return true; /* Kueue's to say */
    bool unseen = !k->nodes || (k->devices_unseen && asks_for_described(k, &in));
    return place_feasible(k->setup.place, &in, reason, why) || (reason->reason == PLACE_UNSCHEDULABLE && unseen) ||
           hint_of_nodes(k, n, reason, why);
}

/* The key of the step that asks too much. */
static const char *culprit(const struct checking *k, const struct node *n, const struct place_why *reason,
                           struct pos *at)
{
    *at = n->at;
    if (by_selector(n, reason)) {
        const struct value *selector = value_get(n->cluster, "nodeSelector");
        if (selector->at.line > 0) *at = selector->at;
        return "nodeSelector";
    }
    const struct resources *r = &n->resources;
    bool numbers = reason->reason == PLACE_UNSCHEDULABLE || reason->reason == PLACE_EXCEEDS_QUOTA;
    bool queue = queue_setup_find(&k->setup, queue_ask_of(n, false).queue) != SIZE_MAX;
    if (!queue || (!numbers && r->gpu_count == 0)) {
        if (n->queue_at.line > 0) *at = n->queue_at;
        return "queue";
    }
    enum place_resource which = numbers ? reason->resource : PLACE_RESOURCE_GPU;
    const struct pos wished = which == PLACE_RESOURCE_GPU   ? r->gpu_at
                              : which == PLACE_RESOURCE_CPU ? r->cpu_at
                                                            : r->memory_at;
    if (wished.line > 0) *at = wished;
    return which == PLACE_RESOURCE_GPU   ? "resources.gpu"
           : which == PLACE_RESOURCE_CPU ? "resources.cpu"
                                         : "resources.memory";
}

static void check_node(struct checking *k, const struct graph *g, const struct node *n)
{
    struct err why = {0};
    struct place_why reason = {0};
    struct pos at;
    if (!needs_queue(n, k->offer->ignore_gpu) || could_run(k, n, &reason, &why)) return;
    const char *part = n >= g->nodes + (g->n_nodes - g->n_exit) ? "onExit" : "steps";
    const char *key = culprit(k, n, &reason, &at);
    struct err *e = err_list_add(&k->errors, ERR_INVALID, at, "%s", why.message);
    err_path(e, "%s.%.*s.%s", part, STR_ARG(n->name), key);
    err_hint(e, "%s", why.hint);
}

/* seen: NULL = without nodes. */
static bool check_domain(struct checking *k, const struct plan *plan, const struct queue_view *view,
                         const struct placer_seen *seen, struct err *err)
{
    err_list_init(&k->errors, k->rq->arena);
    k->nodes = false;
    if (!queue_setup_open(&k->setup, k->rq->arena, &view->docs, err)) return false;
    if (seen != NULL) add_nodes(k, seen);
    for (uint32_t g = 0; g < plan->n_graphs; g++)
        for (uint32_t i = 0; i < plan->graphs[g].n_nodes; i++)
            check_node(k, &plan->graphs[g], &plan->graphs[g].nodes[i]);
    queue_setup_close(&k->setup);
    return true;
}

/* What is said is what the one says that looked last. */
bool queue_check(struct request *rq, const struct plan *plan, const struct plan_offer *offer,
                 const struct queue_view *view, bool *fits, struct err *err)
{
    struct checking k = {.rq = rq, .offer = offer};
    struct err_list last = {0};
    int64_t last_us = 0;
    if (!any_nodes(view)) {
        if (!check_domain(&k, plan, view, NULL, err)) return false;
        last = k.errors;
    }
    for (size_t i = 0; i < view->n_seen; i++) {
        if (view->seen[i].nodes_us == 0) continue;
        if (!check_domain(&k, plan, view, &view->seen[i], err)) return false;
        if (k.errors.n == 0) return true;
        if (view->seen[i].nodes_us >= last_us) last = k.errors;
        if (view->seen[i].nodes_us >= last_us) last_us = view->seen[i].nodes_us;
    }
    for (size_t i = 0; i < last.n; i++)
        *err_list_next(&rq->errors) = last.items[i];
    *fits &= last.n == 0;
    return true;
}
