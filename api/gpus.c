/* Nodes, their GPUs, and who has them; and a step of a queue as it is shown. */
#include <stdlib.h>

#include "api/emit.h"
#include "api/handlers.h"
#include "api/queue_check.h"
#include "engine/store/queue_setup.h"
#include "engine/text/json.h"

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

struct seat { /* of a pod */
    struct str domain, node;
    const struct queue_work *work;
};

struct gpus {
    struct queue_setup setup;
    struct seat *seats; /* by domain and node */
    size_t n_seats;
    int64_t project; /* whose steps are told; 0 = all */
};

static int by_node(const void *x, const void *y)
{
    const struct seat *a = x, *b = y;
    int order = str_cmp(a->domain, b->domain);
    if (order == 0) order = str_cmp(a->node, b->node);
    return order != 0 ? order : (a->work > b->work) - (a->work < b->work);
}

static void take_seats(struct gpus *g, const struct queue_work *works, size_t n, struct arena *a)
{
    size_t room = 0;
    for (size_t i = 0; i < n; i++)
        room += (size_t)works[i].pods;
    g->seats = arena_array(a, struct seat, room + 1);
    for (size_t i = 0; i < n; i++) {
        const struct queue_work *k = &works[i];
        struct str rest = k->nodes.n > 2 ? str_sub(k->nodes, 1, k->nodes.n - 2) : (struct str){"", 0}, name;
        while (rest.n && str_split(&rest, ',', &name) && g->n_seats < room)
            g->seats[g->n_seats++] = (struct seat){k->domain, name, k};
    }
    qsort(g->seats, g->n_seats, sizeof *g->seats, by_node);
}

/* Those of a node: the first one, and how many. */
static const struct seat *seats_of(const struct gpus *g, struct str domain, struct str node, size_t *n)
{
    const struct seat key = {domain, node, NULL};
    size_t low = 0, high = g->n_seats;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (by_node(&g->seats[mid], &key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (high = low; high < g->n_seats && str_eq(g->seats[high].node, node) && str_eq(g->seats[high].domain, domain);)
        high++;
    *n = high - low;
    return g->seats + low;
}

static void write_offer(struct jsonw *w, const struct gpus *g, const struct seat *seats, size_t n,
                        const struct place_offer *o)
{
    const struct flavor_doc *f = &g->setup.flavors[o->flavor];
    int64_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (str_eq(seats[i].work->got, f->name)) used += seats[i].work->gpu;
    jsonw_object(w);
    jsonw_kv_str(w, "flavor", f->name);
    jsonw_kv_str(w, f->device_class.n > 0 ? "deviceClass" : "resource",
                 f->device_class.n > 0 ? f->device_class : f->resource);
    jsonw_kv_int(w, "total", o->gpus);
    queue_number(&(struct emit){.w = w}, "used", used);
    jsonw_kv_int(w, "others", o->taken);
    jsonw_object_end(w);
}

static void write_node(const struct emit *e, const struct gpus *g, const struct queue_node *n, struct str domain,
                       struct arena *a)
{
    struct place_offer *offers = arena_array(a, struct place_offer, g->setup.n_flavors);
    size_t k = queue_setup_offers(&g->setup, n, offers), n_seats;
    const struct seat *seats = seats_of(g, domain, n->name, &n_seats);
    jsonw_object(e->w);
    emit_str(e, "name", n->name);
    emit_str(e, "domain", domain);
    emit_bool(e, "schedulable", n->schedulable);
    jsonw_key(e->w, "gpus");
    jsonw_array(e->w);
    for (size_t i = 0; i < k; i++)
        if (offers[i].gpus > 0) write_offer(e->w, g, seats, n_seats, &offers[i]);
    jsonw_array_end(e->w);
    jsonw_key(e->w, "steps");
    jsonw_array(e->w);
    for (size_t i = 0; i < n_seats; i++) {
        const struct queue_work *work = seats[i].work;
        bool again = i > 0 && seats[i - 1].work == work, told = g->project == 0 || work->project_id == g->project;
        if (work->gpu > 0 && told && !again) queue_work_write(e, work);
    }
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
    struct queue_work *works;
    size_t n, n_works;
    struct gpus g = {.project = rq->who.project};
    if (!request_db(rq, &c, err) || !queues_docs(c, rq->arena, &docs, err) ||
        !queues_placers(c, rq->arena, &seen, &n, err) || !queues_holders(c, rq->arena, &works, &n_works, err) ||
        !queue_setup_open(&g.setup, rq->arena, &docs, err))
        return false;
    take_seats(&g, works, n_works, rq->arena);
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
