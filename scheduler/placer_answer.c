/* What comes of a cycle: who is admitted and with what, who gives way, why the others wait. See placer.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/text/json.h"
#include "scheduler/kube_claim.h"
#include "scheduler/placer_inner.h"

#define ADMIT_AT_ONCE 1000
/* Owners wait for the rows that a turn writes. What is free changes all the time: it is told to the first of a queue.
 */
#define WHYS_AT_ONCE 500
#define NUMBERS_AT_ONCE 200
#define NUMBERS_FOR 50
#define MOVES_AT_ONCE 500

static void *grow(struct arena *a, void *v, size_t n, size_t *room, size_t size)
{
    if (n < *room) return v;
    size_t more = *room == 0 ? 64 : *room * 2;
    v = arena_grow(a, v, *room * size, more * size);
    *room = more;
    return v;
}

void placer_heard(struct placer *p, const struct placing_row *row)
{
    struct placing_answers *x = &p->answers;
    x->heard = grow(&p->turn, x->heard, x->n_heard, &p->room_heard, sizeof *x->heard);
    x->heard[x->n_heard++] = (struct placing_heard){row->id, row->attempt, row->state};
}

static void admit(struct placer *p, const struct placer_work *w, struct str flavor, struct str pin, struct str nodes)
{
    struct placing_answers *x = &p->answers;
    x->admits = grow(&p->turn, x->admits, x->n_admits, &p->room_admits, sizeof *x->admits);
    x->admits[x->n_admits++] = (struct placing_admit){w->id, w->attempt, flavor, pin, nodes, false};
}

/* ---- what follows for its Job: see kube_pin.h ---- */

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

/* flavor: PLACE_NONE = any, or none. */
static struct str pin_of(struct placer *p, uint32_t flavor, uint32_t gpu, struct str kueue)
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
                json_reload(&p->turn, pin_of(p, flavor, gpu, STR("")), &now, &ignored);
    for (size_t i = 0; same && i < sizeof devices / sizeof *devices; i++) {
        const struct value *a = value_get(&then, devices[i]), *b = value_get(&now, devices[i]);
        same = a != NULL && b != NULL ? value_eq(a, b) : a == b;
    }
    return same;
}

void placer_hand_over(struct placer *p, struct placer_work *w, const struct queue_doc *q)
{
    w->phase = PLACER_ELSEWHERE;
    admit(p, w, STR(""), pin_of(p, PLACE_NONE, w->gpu, q->kueue), STR("{}"));
}

/* ---- a cycle ---- */

static struct str nodes_text(struct placer *p, const struct place_admitted *a)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    buf_char(&out, '{');
    for (uint32_t i = 0; i < a->pods; i++) {
        struct str name = place_node_name(p->setup.place, a->nodes[i]);
        buf_printf(&out, "%s%.*s", i > 0 ? "," : "", STR_ARG(name));
    }
    buf_char(&out, '}');
    return arena_str(&p->turn, buf_view(&out));
}

/* As PostgreSQL takes it: a node may be called null. */
static struct str quoted(struct placer *p, struct str nodes)
{
    BUF_AUTO out;
    struct str rest = nodes.n > 2 ? str_sub(nodes, 1, nodes.n - 2) : STR(""), name;
    buf_init(&out, 0);
    buf_char(&out, '{');
    while (rest.n > 0 && str_split(&rest, ',', &name))
        buf_printf(&out, "%s\"%.*s\"", out.n > 1 ? "," : "", STR_ARG(name));
    buf_char(&out, '}');
    return arena_str(&p->turn, buf_view(&out));
}

static void take_admitted(struct placer *p, const struct place_admitted *a)
{
    struct placer_work *w = placer_work_by_id(p, (int64_t)a->id);
    if (w == NULL) return;
    const struct flavor_doc *f = a->flavor == PLACE_NONE ? NULL : &p->setup.flavors[a->flavor];
    w->phase = PLACER_RUNS;
    p->uses++;
    w->told = 0;
    struct str nodes = nodes_text(p, a);
    free(w->nodes);
    w->nodes = placer_copied(nodes);
    w->restored = w->moved = false;
    admit(p, w, f != NULL ? f->name : STR(""), pin_of(p, a->flavor, w->gpu, STR("")), quoted(p, nodes));
}

static void name_work(const void *ctx, uint64_t id, struct buf *out)
{
    const struct placer_work *w = placer_work_by_id(ctx, (int64_t)id);
    buf_c(out, w != NULL ? w->name : "a step that is over");
}

void placer_stop_again(struct placer *p, struct placer_work *w)
{
    struct placing_answers *x = &p->answers;
    const struct placer_work *by = placer_work_by_id(p, w->by);
    struct str name = by != NULL ? str_of(by->name) : STR("another step");
    x->victims = grow(&p->turn, x->victims, x->n_victims, &p->room_victims, sizeof *x->victims);
    x->victims[x->n_victims++] = (struct placing_victim){w->id, w->by, w->attempt, name, false};
}

static void take_victim(struct placer *p, const struct place_victim *v)
{
    struct placer_work *w = placer_work_by_id(p, (int64_t)v->id);
    if (w == NULL) return;
    w->phase = PLACER_STOPS;
    w->by = (int64_t)v->by;
    placer_stop_again(p, w);
}

void placer_decide(struct placer *p, int64_t now_us)
{
    struct place_out out;
    place_out_init(&out, &p->turn);
    p->dirty = place_cycle(p->setup.place, now_us, ADMIT_AT_ONCE, &out);
    for (size_t i = 0; i < out.n_admitted; i++)
        take_admitted(p, &out.admitted[i]);
    for (size_t i = 0; i < out.n_victims; i++)
        take_victim(p, &out.victims[i]);
}

void placer_moves(struct placer *p)
{
    struct placing_answers *x = &p->answers;
    if (!p->moves) return;
    for (struct placer_work *w = p->works; w != NULL && x->n_moved < MOVES_AT_ONCE; w = w->next) {
        if (!w->moved) continue;
        x->moved = grow(&p->turn, x->moved, x->n_moved, &p->room_moved, sizeof *x->moved);
        x->moved[x->n_moved++] = (struct placing_moved){w->id, w->attempt, quoted(p, str_of(w->nodes)), false};
    }
    p->moves = x->n_moved > 0;
}

/* ---- what was written of it ---- */

static void not_won(struct placer *p, int64_t id)
{
    struct placer_work *w = placer_work_by_id(p, id);
    if (w == NULL || w->unsure) return;
    w->unsure = true;
    if (p->n_unsure == p->room_unsure) {
        p->room_unsure = p->room_unsure > 0 ? 2 * p->room_unsure : 64;
        p->unsure = realloc(p->unsure, p->room_unsure * sizeof *p->unsure);
        if (p->unsure == NULL) abort();
    }
    p->unsure[p->n_unsure++] = id;
}

void placer_written(struct placer *p)
{
    const struct placing_answers *x = &p->answers;
    for (size_t i = 0; i < x->n_admits; i++)
        if (!x->admits[i].won) not_won(p, x->admits[i].id);
    for (size_t i = 0; i < x->n_victims; i++)
        if (!x->victims[i].won) not_won(p, x->victims[i].id);
    for (size_t i = 0; i < x->n_whys; i++) {
        struct placer_work *w = x->whys[i].won ? NULL : placer_work_by_id(p, x->whys[i].id);
        if (w != NULL) w->told = 0;
    }
    for (size_t i = 0; i < x->n_moved; i++) {
        struct placer_work *w = x->moved[i].won ? placer_work_by_id(p, x->moved[i].id) : NULL;
        if (w != NULL) w->moved = false;
    }
}

/* ---- reasons ---- */

static uint64_t mixed(uint64_t h, uint64_t v)
{
    h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    return h * 0xff51afd7ed558ccdu;
}

static uint64_t hash_of(const struct place_why *y)
{
    uint64_t h = mixed(1, y->reason);
    h = mixed(mixed(mixed(mixed(h, y->resource), y->flavor), (uint64_t)y->need), (y->nodes == 0) + 2U * y->cohort);
    return mixed(mixed(h, (uint64_t)y->limit), y->reason == PLACE_PREEMPTED ? y->other : 0) | 1;
}

static uint64_t hash_of_numbers(const struct place_why *y)
{
    return mixed(mixed(mixed(hash_of(y), (uint64_t)y->free), y->pods_fit), y->other) | 1;
}

/* Cores and GPUs, whole where they are; memory in bytes. */
static void why_number(struct jsonw *j, const struct place_why *y, const char *key, int64_t v)
{
    bool bytes = y->resource == PLACE_RESOURCE_MEMORY;
    if (bytes || v % 1000 == 0)
        jsonw_kv_int(j, key, bytes ? v : v / 1000);
    else
        jsonw_kv_double(j, key, (double)v / 1000);
}

static struct str why_json(struct placer *p, const struct place_why *y)
{
    static const char *const resources[] = {"cpu", "memory", "gpu"};
    BUF_AUTO out;
    struct jsonw j;
    const struct placer_work *other = placer_work_by_id(p, (int64_t)y->other);
    buf_init(&out, 0);
    jsonw_to_buf(&j, &out);
    jsonw_object(&j);
    jsonw_kv_cstr(&j, "resource", resources[y->resource]);
    if (y->flavor != PLACE_NONE) jsonw_kv_str(&j, "flavor", p->setup.flavors[y->flavor].name);
    why_number(&j, y, "need", y->need);
    why_number(&j, y, "free", y->free);
    if (y->limit > 0 && y->limit != PLACE_UNLIMITED) why_number(&j, y, "limit", y->limit);
    if (y->pods > 1) {
        jsonw_kv_int(&j, "pods", y->pods);
        jsonw_kv_int(&j, "podsFit", y->pods_fit);
    }
    if (other != NULL) jsonw_kv_cstr(&j, "other", other->name);
    if (y->preempted_times > 0) jsonw_kv_int(&j, "preempted", y->preempted_times);
    jsonw_object_end(&j);
    (void)jsonw_end(&j);
    return arena_str(&p->turn, buf_view(&out));
}

static void tell(struct placer *p, struct placer_work *w, uint64_t hash, struct str reason, struct str why,
                 struct str text)
{
    struct placing_answers *x = &p->answers;
    if (hash == w->told && hash == w->told_numbers) return;
    w->told = w->told_numbers = hash;
    x->whys = grow(&p->turn, x->whys, x->n_whys, &p->room_whys, sizeof *x->whys);
    x->whys[x->n_whys++] = (struct placing_why){w->id, w->attempt, reason, why, text, false};
}

/* While devices cannot be watched, that none is there would be no reason; other flavors go on meanwhile. */
static bool tell_unseen(struct placer *p, struct placer_work *w, const struct place_why *y)
{
    struct str trouble = p->cfg.source.trouble(p->cfg.source.self);
    if (trouble.n == 0 || y->flavor == PLACE_NONE || p->setup.flavors[y->flavor].device_class.n == 0) return false;
    struct str text = arena_printf(&p->turn, "waits for devices to be known: %.*s", STR_ARG(trouble));
    tell(p, w, str_hash(text) | 1, STR("NodesUnknown"), STR("{}"), text);
    return true;
}

static uint32_t broken_of(const struct placer *p, const struct place_why *y)
{
    const struct placer_source *source = &p->cfg.source;
    bool nodes = y->reason == PLACE_WAITING_FOR_NODES || y->reason == PLACE_WAITING_FOR_GANG;
    bool gpus = nodes && source->broken != NULL && y->gpu > 0 && y->flavor != PLACE_NONE;
    return gpus ? source->broken(source->self, &p->setup, y->flavor) : 0;
}

static void tell_reason(struct placer *p, struct placer_work *w, bool numbers)
{
    struct place_why y;
    if (!place_reason(p->setup.place, (uint64_t)w->id, &y)) return;
    if (tell_unseen(p, w, &y)) return;
    uint32_t broken = broken_of(p, &y);
    uint64_t hash = hash_of(&y), all = mixed(hash_of_numbers(&y), broken) | 1;
    if (hash == w->told && (!numbers || all == w->told_numbers)) return;
    BUF_AUTO text;
    buf_init(&text, 0);
    place_why_text(p->setup.place, &y, name_work, p, &text);
    if (broken > 0)
        buf_printf(&text, "; %u GPU%s of that flavor %s not in order", broken, broken == 1 ? "" : "s",
                   broken == 1 ? "is" : "are");
    w->told = 0;
    tell(p, w, hash, str_of(place_reason_name(y.reason)), why_json(p, &y), arena_str(&p->turn, buf_view(&text)));
    w->told_numbers = all;
}

/* Queue by queue, so that each has its turn. */
static void tell_numbers(struct placer *p)
{
    size_t most = p->answers.n_whys + NUMBERS_AT_ONCE;
    for (uint32_t i = 0; i < p->setup.n_queues && p->answers.n_whys < most; i++) {
        const uint64_t *ids;
        p->numbers_at = (p->numbers_at + 1) % p->setup.n_queues;
        size_t n = place_first(p->setup.place, p->setup.numbers[p->numbers_at], NUMBERS_FOR, &p->turn, &ids);
        for (size_t k = 0; k < n; k++) {
            struct placer_work *w = placer_work_by_id(p, (int64_t)ids[k]);
            if (w != NULL && w->phase == PLACER_WAITS) tell_reason(p, w, true);
        }
    }
}

static void tell_held(struct placer *p, struct placer_work *w)
{
    uint64_t hash = str_hash(str_of(w->held)) | 1;
    if (hash == w->told) return;
    bool queue = queue_setup_find(&p->setup, str_of(w->queue)) != SIZE_MAX;
    tell(p, w, hash, queue ? STR("NoSuchFlavor") : STR("NoSuchQueue"), STR("{}"), str_of(w->held));
}

void placer_whys(struct placer *p)
{
    struct str trouble = p->cfg.source.trouble(p->cfg.source.self);
    bool blind = p->source_seen == 0 && p->cfg.source.generation(p->cfg.source.self) == 0;
    struct str unseen = trouble.n > 0 ? arena_printf(&p->turn, "waits for nodes to be known: %.*s", STR_ARG(trouble))
                                      : STR("waits for nodes to be known");
    if (!blind) tell_numbers(p);
    for (struct placer_work *w = p->works; w != NULL && p->answers.n_whys < WHYS_AT_ONCE; w = w->next) {
        if (w->phase == PLACER_HELD)
            tell_held(p, w);
        else if (w->phase == PLACER_WAITS && blind)
            tell(p, w, str_hash(unseen) | 1, STR("NodesUnknown"), STR("{}"), unseen);
        else if (w->phase == PLACER_WAITS)
            tell_reason(p, w, false);
    }
}

/* ---- what is shown ---- */

static void show_pairs(struct jsonw *j, const char *key, const struct place_pair *pairs, size_t n)
{
    jsonw_key(j, key);
    jsonw_array(j);
    for (size_t i = 0; i < n; i++) {
        jsonw_array(j);
        jsonw_str(j, pairs[i].key);
        jsonw_str(j, pairs[i].value);
        jsonw_array_end(j);
    }
    jsonw_array_end(j);
}

static void show_holders(struct jsonw *j, const struct queue_group *g)
{
    jsonw_key(j, "holders");
    jsonw_array(j);
    for (size_t i = 0; i < g->n_holders; i++) {
        jsonw_object(j);
        jsonw_kv_int(j, "run", g->holders[i].run_id);
        jsonw_kv_int(j, "task", g->holders[i].task);
        jsonw_kv_int(j, "attempt", g->holders[i].attempt);
        jsonw_kv_int(j, "milli", g->holders[i].milli);
        jsonw_object_end(j);
    }
    jsonw_array_end(j);
}

static void show_groups(struct jsonw *j, const struct queue_node *n)
{
    jsonw_key(j, "groups");
    jsonw_array(j);
    for (size_t i = 0; i < n->n_groups; i++) {
        const struct queue_group *g = &n->groups[i];
        jsonw_object(j);
        jsonw_kv_str(j, "resource", g->resource);
        jsonw_kv_int(j, "n", g->n);
        jsonw_kv_int(j, "taken", g->taken);
        jsonw_kv_int(j, "own", g->own);
        show_holders(j, g);
        show_pairs(j, "labels", g->labels, g->n_labels);
        jsonw_object_end(j);
    }
    jsonw_array_end(j);
}

static void show_names(struct jsonw *j, const char *key, const struct str *names, size_t n)
{
    if (n == 0) return;
    jsonw_key(j, key);
    jsonw_array(j);
    for (size_t i = 0; i < n; i++)
        jsonw_str(j, names[i]);
    jsonw_array_end(j);
}

static void show_node(struct jsonw *j, const struct queue_node *n)
{
    jsonw_object(j);
    jsonw_kv_str(j, "name", n->name);
    jsonw_kv_bool(j, "schedulable", n->schedulable);
    jsonw_kv_int(j, "cpu", n->cpu);
    jsonw_kv_int(j, "memory", n->memory);
    jsonw_kv_int(j, "otherCpu", n->other_cpu);
    jsonw_kv_int(j, "otherMemory", n->other_memory);
    show_pairs(j, "labels", n->labels, n->n_labels);
    show_pairs(j, "taints", n->taints, n->n_taints);
    jsonw_key(j, "devices");
    jsonw_array(j);
    for (size_t i = 0; i < n->n_devices; i++) {
        jsonw_object(j);
        jsonw_kv_str(j, "name", n->devices[i].name);
        jsonw_kv_int(j, "n", n->devices[i].n);
        jsonw_kv_int(j, "taken", n->devices[i].taken);
        show_names(j, "of", n->devices[i].of, n->devices[i].n_of);
        jsonw_object_end(j);
    }
    jsonw_array_end(j);
    if (n->n_groups > 0) show_groups(j, n);
    jsonw_object_end(j);
}

void placer_shown(struct placer *p, struct buf *out)
{
    struct jsonw j;
    struct queue_node *list;
    size_t n = p->cfg.source.nodes(p->cfg.source.self, placer_counts, p, &p->turn, &list);
    jsonw_to_buf(&j, out);
    jsonw_array(&j);
    for (size_t i = 0; i < n; i++)
        show_node(&j, &list[i]);
    jsonw_array_end(&j);
    (void)jsonw_end(&j);
}
