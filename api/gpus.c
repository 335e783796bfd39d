/* Nodes, their GPUs, and who has them; and a step of a queue as it is shown. */
#include "api/emit.h"
#include "api/handlers.h"
#include "api/queue_check.h"
#include "engine/store/queue_setup.h"
#include "engine/text/json.h"

#define WORKS_MAX 100000

static void write_names(struct jsonw *w, const char *key, struct str list)
{
    struct str rest = list.n > 2 ? str_sub(list, 1, list.n - 2) : (struct str){"", 0}, name;
    if (rest.n == 0) return;
    jsonw_key(w, key);
    jsonw_array(w);
    while (str_split(&rest, ',', &name))
        jsonw_str(w, name);
    jsonw_array_end(w);
}

void queue_number(const struct emit *e, const char *key, int64_t thousandths)
{
    if (thousandths % 1000 == 0)
        emit_int(e, key, thousandths / 1000);
    else
        jsonw_kv_double(e->w, key, (double)thousandths / 1000);
}

void queue_work_write(const struct emit *e, const struct queue_work *k)
{
    static const char *const states[] = {
        [QUEUE_WAITS] = "waits", [QUEUE_ADMITTED] = "admitted", [QUEUE_STOPS] = "stops"};
    jsonw_object(e->w);
    emit_int(e, "run", k->run_id);
    emit_int(e, "task", k->task);
    emit_str(e, "path", k->path);
    emit_int(e, "attempt", k->attempt);
    emit_str(e, "project", k->project);
    emit_str(e, "queue", k->queue);
    emit_cstr(e, "state", states[k->state]);
    emit_int(e, "priority", k->priority);
    emit_int(e, "pods", k->pods);
    queue_number(e, "gpus", (int64_t)k->gpu * k->pods);
    emit_str(e, "flavor", k->got.n ? k->got : k->flavor);
    emit_id(e, "position", k->position);
    emit_id(e, "of", k->of);
    emit_str(e, "reason", k->reason);
    emit_json(e, "why", k->why);
    emit_str(e, "waitingFor", k->waiting);
    write_names(e->w, "nodes", k->nodes);
    emit_time(e, "submittedAt", k->submitted_us);
    emit_time(e, "admittedAt", k->admitted_us);
    jsonw_object_end(e->w);
}

struct gpus {
    struct queue_setup setup;
    struct queue_work *works;
    size_t n_works;
};

/* GPUs of the pods that a step has on the node, in thousandths. */
static int64_t on_node(const struct queue_work *k, struct str node)
{
    struct str rest = k->nodes.n > 2 ? str_sub(k->nodes, 1, k->nodes.n - 2) : (struct str){"", 0}, name;
    int64_t sum = 0;
    while (rest.n && str_split(&rest, ',', &name))
        if (str_eq(name, node)) sum += k->gpu;
    return k->state == QUEUE_WAITS ? 0 : sum;
}

static void write_offer(struct jsonw *w, const struct gpus *g, const struct queue_node *n, struct str domain,
                        const struct place_offer *o)
{
    const struct flavor_doc *f = &g->setup.flavors[o->flavor];
    int64_t used = 0;
    for (size_t i = 0; i < g->n_works; i++)
        if (str_eq(g->works[i].domain, domain) && str_eq(g->works[i].got, f->name))
            used += on_node(&g->works[i], n->name);
    jsonw_object(w);
    jsonw_kv_str(w, "flavor", f->name);
    jsonw_kv_str(w, "resource", f->resource);
    jsonw_kv_int(w, "total", o->gpus);
    queue_number(&(struct emit){.w = w}, "used", used);
    jsonw_kv_int(w, "others", o->taken);
    jsonw_object_end(w);
}

static void write_node(const struct emit *e, const struct gpus *g, const struct queue_node *n, struct str domain,
                       struct arena *a)
{
    struct place_offer *offers = arena_array(a, struct place_offer, g->setup.n_flavors);
    size_t k = queue_setup_offers(&g->setup, n, offers);
    jsonw_object(e->w);
    emit_str(e, "name", n->name);
    emit_str(e, "domain", domain);
    emit_bool(e, "schedulable", n->schedulable);
    jsonw_key(e->w, "gpus");
    jsonw_array(e->w);
    for (size_t i = 0; i < k; i++)
        if (offers[i].gpus > 0) write_offer(e->w, g, n, domain, &offers[i]);
    jsonw_array_end(e->w);
    jsonw_key(e->w, "steps");
    jsonw_array(e->w);
    for (size_t i = 0; i < g->n_works; i++)
        if (str_eq(g->works[i].domain, domain) && on_node(&g->works[i], n->name) > 0) queue_work_write(e, &g->works[i]);
    jsonw_array_end(e->w);
    jsonw_object_end(e->w);
}

static bool write_nodes(struct request *rq, const struct emit *e, const struct gpus *g, const struct placer_seen *seen)
{
    struct value list;
    struct err ignored;
    if (!json_parse(rq->arena, seen->nodes, 0, &list, &ignored) || list.type != VALUE_LIST) return false;
    for (size_t i = 0; i < list.u.list.n; i++) {
        struct queue_node n;
        if (queue_node_read(rq->arena, &list.u.list.items[i], &n)) write_node(e, g, &n, seen->domain, rq->arena);
    }
    return true;
}

bool gpus_index(struct request *rq, struct err *err)
{
    struct conn *c;
    struct queue_docs docs;
    struct placer_seen *seen;
    struct gpus g;
    size_t n;
    if (!request_db(rq, &c, err) || !queues_docs(c, rq->arena, &docs, err) ||
        !queues_placers(c, rq->arena, &seen, &n, err) ||
        !queues_works(c, STR(""), rq->who.project, WORKS_MAX, rq->arena, &g.works, &g.n_works, err) ||
        !queue_setup_open(&g.setup, rq->arena, &docs, err))
        return false;
    struct jsonw *w = response_json(rq, 200);
    struct emit e = {.w = w};
    jsonw_object(w);
    jsonw_key(w, "items");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        (void)write_nodes(rq, &e, &g, &seen[i]);
    jsonw_array_end(w);
    jsonw_key(w, "domains");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        emit_str(&e, "name", seen[i].domain);
        emit_str(&e, "placer", seen[i].owner);
        emit_str(&e, "trouble", seen[i].trouble);
        emit_time(&e, "seenAt", seen[i].nodes_us);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
    queue_setup_close(&g.setup);
    return true;
}
