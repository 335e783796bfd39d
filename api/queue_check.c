/* What could never run is said at submission. See queue_check.h. */
#include "api/queue_check.h"

#include "engine/store/queue_setup.h"
#include "engine/text/json.h"

struct checking {
    struct request *rq;
    struct queue_setup setup; /* of the declarations, with the nodes of one domain */
    bool nodes;               /* they are known */
    bool ignore_gpu;
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

/* Domains have nodes of their own; a plan is checked against the one that was looked at last. */
static void add_nodes(struct checking *k, const struct placer_seen *seen, size_t n)
{
    const struct placer_seen *last = NULL;
    struct value list;
    struct err ignored;
    for (size_t i = 0; i < n; i++)
        if (seen[i].nodes_us > 0 && (last == NULL || seen[i].nodes_us > last->nodes_us)) last = &seen[i];
    if (last == NULL || !json_parse(k->rq->arena, last->nodes, 0, &list, &ignored) || list.type != VALUE_LIST) return;
    for (size_t i = 0; i < list.u.list.n; i++) {
        struct queue_node node;
        uint32_t number;
        if (queue_node_read(k->rq->arena, &list.u.list.items[i], &node) &&
            queue_setup_node(&k->setup, &node, k->rq->arena, &number, &ignored))
            k->nodes = true;
    }
}

static bool could_run(const struct checking *k, const struct node *n, struct err *why)
{
    const struct queue_ask ask = queue_ask_of(n, k->ignore_gpu);
    struct place_ask in;
    struct place_why reason = {0};
    if (!queue_setup_ask(&k->setup, &ask, k->rq->arena, &in, why)) return false;
    size_t q = queue_setup_find(&k->setup, ask.queue);
    if (k->setup.queues[q].kueue.n > 0) return true; /* Kueue's to say */
    return place_feasible(k->setup.place, &in, &reason, why) || (reason.reason == PLACE_UNSCHEDULABLE && !k->nodes);
}

static bool check_node(const struct checking *k, const struct graph *g, const struct node *n)
{
    struct err why = {0};
    if (!needs_queue(n, k->ignore_gpu) || could_run(k, n, &why)) return true;
    const char *part = n >= g->nodes + (g->n_nodes - g->n_exit) ? "onExit" : "steps";
    bool gpu = n->resources.gpu_count > 0 && n->resources.gpu_at.line > 0;
    struct err *e = err_list_add(&k->rq->errors, ERR_INVALID, gpu ? n->resources.gpu_at : n->at, "%s", why.message);
    err_path(e, "%s.%.*s.%s", part, STR_ARG(n->name), n->resources.gpu_count > 0 ? "resources.gpu" : "queue");
    err_hint(e, "%s", why.hint);
    return false;
}

bool queue_check(struct request *rq, const struct plan *plan, bool ignore_gpu, bool *fits, struct err *err)
{
    struct conn *c;
    struct queue_docs docs;
    struct placer_seen *seen;
    size_t n;
    struct checking k = {.rq = rq, .ignore_gpu = ignore_gpu};
    if (!any_needs(plan, ignore_gpu)) return true;
    if (!request_db(rq, &c, err) || !queues_docs(c, rq->arena, &docs, err) ||
        !queues_placers(c, rq->arena, &seen, &n, err) || !queue_setup_open(&k.setup, rq->arena, &docs, err))
        return false;
    add_nodes(&k, seen, n);
    for (uint32_t g = 0; g < plan->n_graphs; g++)
        for (uint32_t i = 0; i < plan->graphs[g].n_nodes; i++)
            *fits &= check_node(&k, &plan->graphs[g], &plan->graphs[g].nodes[i]);
    queue_setup_close(&k.setup);
    return true;
}
