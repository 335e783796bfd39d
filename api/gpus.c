/* Nodes, their GPUs, and who has them: by the nodes' names, of each by the flavors'. */
#include <stdlib.h>
#include <string.h>

#include "api/emit.h"
#include "api/handlers.h"
#include "api/queue_work.h"
#include "engine/store/queue_setup.h"
#include "engine/text/json.h"

#define NVIDIA "nvidia.com/"

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

/* Of those that are taken, who has them is known. */
static uint32_t own_of(const struct gpus *g, const struct queue_node *n, uint32_t flavor)
{
    uint32_t own = 0;
    for (size_t i = 0; i < n->n_groups; i++)
        if (queue_setup_group(&g->setup, &n->groups[i]) == flavor) own += n->groups[i].own;
    return own;
}

static void write_offer(struct jsonw *w, const struct gpus *g, const struct seat *seats, size_t n,
                        const struct place_offer *o, uint32_t own)
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
    jsonw_kv_int(w, "others", o->taken - own);
    jsonw_object_end(w);
}

static int by_flavor(const void *x, const void *y, void *ctx)
{
    const struct gpus *g = ctx;
    const struct place_offer *a = x, *b = y;
    return str_cmp(g->setup.flavors[a->flavor].name, g->setup.flavors[b->flavor].name);
}

static void write_node(const struct emit *e, const struct gpus *g, const struct queue_node *n, struct str domain,
                       struct arena *a)
{
    struct place_offer *offers = arena_array(a, struct place_offer, g->setup.n_flavors);
    size_t k = queue_setup_offers(&g->setup, n, offers), n_seats;
    const struct seat *seats = seats_of(g, domain, n->name, &n_seats);
    qsort_r(offers, k, sizeof *offers, by_flavor, (void *)g);
    jsonw_object(e->w);
    emit_str(e, "name", n->name);
    emit_str(e, "domain", domain);
    emit_bool(e, "schedulable", n->schedulable);
    jsonw_key(e->w, "gpus");
    jsonw_array(e->w);
    for (size_t i = 0; i < k; i++)
        if (offers[i].gpus > 0) write_offer(e->w, g, seats, n_seats, &offers[i], own_of(g, n, offers[i].flavor));
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

struct seen_nodes { /* of a domain */
    struct str domain;
    struct queue_node *nodes;
    size_t n;
};

static struct seen_nodes read_nodes(const struct placer_seen *seen, struct arena *a)
{
    struct value list;
    struct err ignored;
    struct seen_nodes out = {.domain = seen->domain};
    if (!json_reload(a, seen->nodes, &list, &ignored) || list.type != VALUE_LIST) return out;
    out.nodes = arena_array(a, struct queue_node, list.u.list.n + 1);
    for (size_t i = 0; i < list.u.list.n; i++)
        out.n += queue_node_read(a, &list.u.list.items[i], &out.nodes[out.n]);
    return out;
}

/* nvidia.com/mig-1g.10gb: as a step may ask for it by words, mig-1g-10gb. */
static struct str words_of(struct str resource, struct arena *a)
{
    size_t from = strlen(NVIDIA);
    char *words = arena_cstr(a, str_sub(resource, from, resource.n));
    for (char *c = words; *c != '\0'; c++)
        if (*c == '.') *c = '-';
    return str_of(words);
}

/* Where no flavor is declared, the queue knows whole GPUs only; a machine's steps may have instances (MIG), too. */
static void name_instances(struct queue_docs *docs, const struct seen_nodes *seen, size_t n, struct arena *a)
{
    size_t room = 1;
    if (docs->n_flavors > 0) return;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < seen[i].n; k++)
            room += seen[i].nodes[k].n_groups;
    struct flavor_doc *all = arena_array(a, struct flavor_doc, room);
    all[docs->n_flavors++] = queue_any_flavor;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < seen[i].n; k++) {
            const struct queue_node *node = &seen[i].nodes[k];
            for (size_t j = 0; j < node->n_groups; j++) {
                struct str resource = node->groups[j].resource;
                size_t at = 0;
                while (at < docs->n_flavors && !str_eq(all[at].resource, resource))
                    at++;
                if (at == docs->n_flavors && str_starts(resource, NVIDIA))
                    all[docs->n_flavors++] = (struct flavor_doc){.name = words_of(resource, a), .resource = resource};
            }
        }
    }
    docs->flavors = all;
}

/* ---- who has some and went through no queue ---- */

static size_t holders_of(const struct gpus *g, const struct seen_nodes *seen, struct arena *a, struct queue_work *out)
{
    size_t n = 0;
    for (const struct queue_node *node = seen->nodes; node < seen->nodes + seen->n; node++) {
        for (const struct queue_group *group = node->groups; group < node->groups + node->n_groups; group++) {
            uint32_t flavor = queue_setup_group(&g->setup, group);
            for (size_t i = 0; flavor != PLACE_NONE && i < group->n_holders; i++, n++) {
                if (out == NULL) continue;
                out[n] = (struct queue_work){.run_id = group->holders[i].run_id,
                                             .task = (int32_t)group->holders[i].task,
                                             .attempt = (int32_t)group->holders[i].attempt,
                                             .gpu = (int32_t)group->holders[i].milli,
                                             .pods = 1,
                                             .state = QUEUE_ADMITTED,
                                             .got = g->setup.flavors[flavor].name,
                                             .nodes = arena_printf(a, "{%.*s}", STR_ARG(node->name)),
                                             .domain = seen->domain};
            }
        }
    }
    return n;
}

/* All who have something, whether or not by a queue. */
static bool read_works(struct conn *c, const struct gpus *g, const struct seen_nodes *seen, size_t n_seen,
                       struct arena *a, struct queue_work **out, size_t *n, struct err *err)
{
    struct queue_work *queued;
    size_t n_queued, outside = 0, at = 0;
    if (!queues_holders(c, a, &queued, &n_queued, err)) return false;
    for (size_t i = 0; i < n_seen; i++)
        outside += holders_of(g, &seen[i], a, NULL);
    *n = outside + n_queued;
    *out = arena_array(a, struct queue_work, *n + 1);
    for (size_t i = 0; i < n_seen; i++)
        at += holders_of(g, &seen[i], a, *out + at);
    memcpy(*out + at, queued, n_queued * sizeof **out);
    return queues_outside(c, a, *out, outside, err);
}

struct listed {
    struct str domain;
    const struct queue_node *node;
};

static int by_name(const void *x, const void *y)
{
    const struct listed *a = x, *b = y;
    int order = str_cmp(a->node->name, b->node->name);
    return order != 0 ? order : str_cmp(a->domain, b->domain);
}

static void write_nodes(const struct emit *e, const struct gpus *g, const struct seen_nodes *seen, size_t n,
                        struct arena *a)
{
    size_t many = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        many += seen[i].n;
    struct listed *all = arena_array(a, struct listed, many + 1);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < seen[i].n; k++)
            all[at++] = (struct listed){seen[i].domain, &seen[i].nodes[k]};
    qsort(all, many, sizeof *all, by_name);
    jsonw_key(e->w, "items");
    jsonw_array(e->w);
    for (size_t i = 0; i < many; i++)
        write_node(e, g, all[i].node, all[i].domain, a);
    jsonw_array_end(e->w);
}

static void write_domains(const struct emit *e, const struct placer_seen *seen, size_t n)
{
    jsonw_key(e->w, "domains");
    jsonw_array(e->w);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(e->w);
        emit_str(e, "name", seen[i].domain);
        emit_str(e, "placer", seen[i].owner);
        emit_str(e, "trouble", seen[i].trouble);
        emit_time(e, "seenAt", seen[i].nodes_us);
        jsonw_object_end(e->w);
    }
    jsonw_array_end(e->w);
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
        !queues_placers(c, rq->arena, &seen, &n, err))
        return false;
    struct seen_nodes *nodes = arena_array(rq->arena, struct seen_nodes, n + 1);
    for (size_t i = 0; i < n; i++)
        nodes[i] = read_nodes(&seen[i], rq->arena);
    name_instances(&docs, nodes, n, rq->arena);
    if (!queue_setup_open(&g.setup, rq->arena, &docs, err)) return false;
    bool ok = read_works(c, &g, nodes, n, rq->arena, &works, &n_works, err);
    if (ok) {
        take_seats(&g, works, n_works, rq->arena);
        struct emit e = {.w = response_json(rq, 200)};
        jsonw_object(e.w);
        write_nodes(&e, &g, nodes, n, rq->arena);
        write_domains(&e, seen, n);
        jsonw_object_end(e.w);
    }
    queue_setup_close(&g.setup);
    return ok;
}
