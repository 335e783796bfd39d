/* Rows of queue_work, and what the rules are told of them. See placer.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/log.h"
#include "engine/text/json.h"
#include "scheduler/placer_inner.h"

static struct str key_of(const void *p, size_t n)
{
    return (struct str){p, n};
}

struct placer_work *placer_work_by_id(const struct placer *p, int64_t id)
{
    uint64_t found;
    return map_get(&p->by_id, key_of(&id, sizeof id), &found) ? (struct placer_work *)(uintptr_t)found : NULL;
}

static struct placer_work *by_task(const struct placer *p, int64_t run, int64_t task)
{
    const struct {
        int64_t run, task;
    } key = {run, task};
    uint64_t found;
    return map_get(&p->by_task, key_of(&key, sizeof key), &found) ? (struct placer_work *)(uintptr_t)found : NULL;
}

/* Whose pods are on the nodes by the rules, too. */
static bool is_there(const struct placer_work *w, uint32_t attempt)
{
    if (w->phase == PLACER_LEAVES) return (uint32_t)w->leaving == attempt;
    return (uint32_t)w->attempt == attempt && (w->phase == PLACER_RUNS || w->phase == PLACER_STOPS);
}

static uint32_t node_number(const struct placer *p, struct str name)
{
    uint64_t found;
    return map_get(&p->by_node, name, &found) ? ((const struct placer_node *)(uintptr_t)found)->number : PLACE_NONE;
}

bool placer_counts(const void *ctx, const struct attempt_id *id, struct str node)
{
    const struct placer *p = ctx;
    const struct placer_work *w = by_task(p, id->run, id->task);
    return w != NULL && is_there(w, id->attempt) && !w->strange &&
           (node.n == 0 || place_on(p->setup.place, (uint64_t)w->id, node_number(p, node)));
}

char *placer_copied(struct str s)
{
    char *copy = strndup(s.p, s.n);
    if (copy == NULL) abort();
    return copy;
}

static struct placer_work *add(struct placer *p, const struct placing_row *row)
{
    struct placer_work *w = calloc(1, sizeof *w);
    char *name = NULL;
    if (w == NULL || asprintf(&name, "run %lld %.*s", (long long)row->run_id, STR_ARG(row->path)) < 0) abort();
    w->key.run = row->run_id;
    w->key.task = row->task;
    w->id = row->id;
    w->attempt = row->attempt;
    w->gpu = (uint32_t)row->gpu;
    w->pods = (uint32_t)row->pods;
    w->name = name;
    w->queue = placer_copied(row->queue);
    w->next = p->works;
    w->link = &p->works;
    if (p->works != NULL) p->works->link = &w->next;
    p->works = w;
    map_put(&p->by_id, key_of(&w->id, sizeof w->id), (uint64_t)(uintptr_t)w, NULL);
    map_put(&p->by_task, key_of(&w->key, sizeof w->key), (uint64_t)(uintptr_t)w, NULL);
    return w;
}

static void drop(struct placer *p, struct placer_work *w)
{
    if (p->setup.place != NULL) (void)place_ended(p->setup.place, (uint64_t)w->id);
    map_del(&p->by_id, key_of(&w->id, sizeof w->id));
    map_del(&p->by_task, key_of(&w->key, sizeof w->key));
    *w->link = w->next;
    if (w->next != NULL) w->next->link = w->link;
    p->source_seen = 0; /* as long as its pods are there they are others' */
    p->uses++;
    p->dirty = true;
    free(w->name);
    free(w->nodes);
    free(w->held);
    free(w->queue);
    free(w);
}

void placer_forget(struct placer *p)
{
    while (p->works != NULL)
        drop(p, p->works);
    for (struct placer_node *n = p->nodes, *next; n != NULL; n = next) {
        next = n->next;
        map_del(&p->by_node, n->name);
        free((char *)n->name.p);
        free(n);
    }
    p->nodes = NULL;
    p->n_unsure = 0;
    p->source_seen = 0;
    if (p->setup.place != NULL) queue_setup_close(&p->setup);
    arena_reset(&p->declared);
    p->generation = -1;
}

/* ---- what a row asks ---- */

static struct queue_ask ask_of(const struct placing_row *row, const struct value *on_nodes)
{
    return (struct queue_ask){.queue = row->queue,
                              .flavor = row->flavor,
                              .gpu = (uint32_t)row->gpu,
                              .pods = (uint32_t)row->pods,
                              .cpu = row->cpu,
                              .memory = row->memory,
                              .priority = row->priority,
                              .selector = value_get(on_nodes, "nodeSelector"),
                              .tolerations = value_get(on_nodes, "tolerations")};
}

static bool to_rules(struct placer *p, const struct placing_row *row, struct place_ask *out, struct err *err)
{
    struct value on_nodes = {.type = VALUE_NULL};
    if (row->on_nodes.n > 0 && !json_reload(&p->turn, row->on_nodes, &on_nodes, err)) return false;
    struct queue_ask ask = ask_of(row, &on_nodes);
    ask.whole_parts = p->cfg.source.whole_parts;
    if (!queue_setup_ask(&p->setup, &ask, &p->turn, out, err)) return false;
    out->id = (uint64_t)row->id;
    out->submit_us = row->submitted_us;
    out->expect_us = row->timeout_ms * 1000; /* what it says itself, as EASY has it */
    return true;
}

static void hold(struct placer *p, struct placer_work *w, const struct err *err)
{
    w->phase = PLACER_HELD;
    free(w->held);
    w->held = placer_copied(str_of(err->message));
    w->told = 0;
    p->dirty = true;
}

static void wait_for(struct placer *p, const struct placing_row *row)
{
    struct placer_work *before = by_task(p, row->run_id, row->task);
    if (before != NULL) drop(p, before); /* it was over, and its pods were not */
    struct placer_work *w = add(p, row);
    struct place_ask ask = {0};
    struct err err = {0};
    size_t q = queue_setup_find(&p->setup, row->queue);
    p->dirty = true;
    if (q != SIZE_MAX && p->setup.queues[q].kueue.n > 0) {
        placer_hand_over(p, w, &p->setup.queues[q]);
        return;
    }
    w->phase = PLACER_WAITS;
    if (!to_rules(p, row, &ask, &err) || !place_add(p->setup.place, &ask, &err)) hold(p, w, &err);
    w->counted = ask.gpu;
}

/* A victim's end is recorded as soon as its container has ended; its pods have their GPUs for a while yet. What it made
 * room for begins when they are gone: until then the rules take them for its own, or somebody else would have to give
 * way, too. */
static void leave(struct placer *p, struct placer_work *w, const struct placing_row *row)
{
    w->over = row->state == QUEUE_OVER;
    if (w->phase == PLACER_STOPS) w->leaving = w->attempt;
    w->phase = PLACER_LEAVES;
    w->attempt = row->attempt;
    p->source_seen = 0;
    p->uses++;
}

static void left(struct placer *p, struct placer_work *w)
{
    if (w->over || !place_stopped(p->setup.place, (uint64_t)w->id)) {
        drop(p, w);
        return;
    }
    w->phase = PLACER_WAITS;
    w->told = 0;
    p->dirty = true;
}

void placer_hear(struct placer *p, const struct placing_row *row)
{
    struct placer_work *w = placer_work_by_id(p, row->id);
    placer_heard(p, row);
    if (row->state == QUEUE_OVER) {
        if (w == NULL || w->attempt > row->attempt) return;
        if (w->phase == PLACER_STOPS || w->phase == PLACER_LEAVES)
            leave(p, w, row);
        else
            drop(p, w);
        return;
    }
    if (row->state != QUEUE_WAITS) return; /* what this placer wrote itself, or an earlier one: it is known */
    bool back = w != NULL && w->phase == PLACER_STOPS && row->attempt - w->attempt <= 1 && row->attempt >= w->attempt;
    back |= w != NULL && w->phase == PLACER_LEAVES && row->attempt >= w->attempt;
    if (back) { /* a victim waits again */
        leave(p, w, row);
        return;
    }
    if (w != NULL && w->phase == PLACER_WAITS && w->attempt == row->attempt) { /* told twice: it has no reason now */
        w->told = 0;
        return;
    }
    if (w != NULL) drop(p, w);
    wait_for(p, row);
}

/* It was handed over, and its queue names another LocalQueue since, or has a quota of its own. Whether it has begun is
 * its owner's to know, who is told once. */
static bool is_mislaid(struct placer *p, const struct placing_row *row)
{
    struct value pin;
    struct err ignored;
    size_t q = queue_setup_find(&p->setup, row->queue);
    if (row->state != QUEUE_ADMITTED || row->by == row->id || q == SIZE_MAX) return false;
    if (!json_reload(&p->turn, row->pin, &pin, &ignored)) return false;
    struct str given = value_get_text(&pin, "kueue");
    return given.n > 0 && !str_eq(given, p->setup.queues[q].kueue);
}

/* The owner had the row when the placer answered. It may have let go of it as it was: then it is decided again, or said
 * again; else there are news of it. */
static void look_at(struct placer *p, const struct placing_row *row)
{
    struct placer_work *w = placer_work_by_id(p, row->id);
    if (w == NULL) return;
    w->unsure = false;
    if (w->attempt != row->attempt) return;
    if (row->state == QUEUE_ADMITTED && w->phase == PLACER_STOPS) placer_stop_again(p, w);
    if (is_mislaid(p, row)) placer_take_back(p, w);
    if (row->state != QUEUE_WAITS || (w->phase != PLACER_RUNS && w->phase != PLACER_ELSEWHERE)) return;
    drop(p, w);
    wait_for(p, row);
}

void placer_look(struct placer *p, const struct placing_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        look_at(p, &rows[i]);
    for (size_t i = 0; i < p->n_unsure; i++) {
        struct placer_work *w = placer_work_by_id(p, p->unsure[i]);
        if (w != NULL && w->unsure) drop(p, w); /* it is of another domain now */
    }
    p->n_unsure = 0;
}

/* An owner that has come to be another cluster's asks there; nobody says so here. */
void placer_keep(struct placer *p, const int64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct placer_work *w = placer_work_by_id(p, ids[i]);
        if (w != NULL) w->kept = true;
    }
    for (struct placer_work *w = p->works, *next; w != NULL; w = next) {
        next = w->next;
        if (!w->kept && w->phase == PLACER_LEAVES)
            w->over = true; /* its pods may be there still */
        else if (!w->kept)
            drop(p, w);
        else
            w->kept = false;
    }
}

/* ---- after a start ---- */

/* The nodes it was admitted for: {a,b}. Of each pod, PLACE_NONE where that is not known. */
static const uint32_t *nodes_of(struct placer *p, struct str nodes, uint32_t pods)
{
    uint32_t *numbers = arena_array(&p->turn, uint32_t, (size_t)pods + 1);
    struct str rest = nodes.n > 2 ? str_sub(nodes, 1, nodes.n - 2) : STR(""), name;
    for (uint32_t i = 0; i < pods; i++)
        numbers[i] = str_split(&rest, ',', &name) ? node_number(p, name) : PLACE_NONE;
    return numbers;
}

/* As PostgreSQL writes it what is empty is quoted, too: {"",b}. */
static char *unquoted(struct str nodes)
{
    char *copy = placer_copied(nodes), *to = copy;
    for (const char *c = copy; *c != '\0'; c++)
        if (*c != '"') *to++ = *c;
    *to = '\0';
    return copy;
}

void placer_restore(struct placer *p, const struct placing_row *row)
{
    struct place_ask ask;
    struct err err = {0};
    uint32_t flavor = PLACE_NONE;
    placer_heard(p, row);
    if (row->state == QUEUE_WAITS) {
        wait_for(p, row);
        return;
    }
    struct placer_work *w = add(p, row);
    if (is_mislaid(p, row)) placer_take_back(p, w);
    for (uint32_t i = 0; i < p->setup.n_flavors; i++)
        if (str_eq(p->setup.flavors[i].name, row->got)) flavor = i;
    w->phase = PLACER_ELSEWHERE;
    w->strange = flavor != PLACE_NONE && w->gpu > 0 && !placer_pinned(p, row->pin, flavor, w->gpu);
    struct str nodes = w->strange ? STR("{}") : row->nodes;
    size_t q = queue_setup_find(&p->setup, row->queue);
    bool known = q != SIZE_MAX && p->setup.queues[q].kueue.n == 0 && to_rules(p, row, &ask, &err) &&
                 place_add_running(p->setup.place, &ask, flavor, nodes_of(p, nodes, w->pods), row->admitted_us, &err);
    if (!known) return;
    w->phase = PLACER_RUNS;
    w->counted = ask.gpu;
    p->uses++;
    w->nodes = unquoted(row->nodes);
    w->by = row->by;
    if (row->state == QUEUE_STOPS && place_stopping(p->setup.place, (uint64_t)row->id, (uint64_t)row->by))
        w->phase = PLACER_STOPS;
}

/* ---- nodes ---- */

static struct placer_node *node_of(struct placer *p, struct str name)
{
    uint64_t found;
    if (map_get(&p->by_node, name, &found)) return (struct placer_node *)(uintptr_t)found;
    struct placer_node *n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    *n = (struct placer_node){.name = {placer_copied(name), name.n}, .number = PLACE_NONE, .next = p->nodes};
    p->nodes = n;
    map_put(&p->by_node, n->name, (uint64_t)(uintptr_t)n, NULL);
    return n;
}

static void drop_unseen(struct placer *p)
{
    for (struct placer_node **at = &p->nodes; *at != NULL;) {
        struct placer_node *n = *at;
        if (n->seen == p->round) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        map_del(&p->by_node, n->name);
        if (n->number != PLACE_NONE) place_node_gone(p->setup.place, n->number);
        free((char *)n->name.p);
        free(n);
    }
}

static void move_pods(struct placer *p)
{
    struct placer_pod *pods;
    size_t n = p->cfg.source.pods(p->cfg.source.self, &p->turn, &pods);
    for (struct placer_work *w = p->works; w != NULL; w = w->next)
        if (w->nodes != NULL) w->bound = arena_calloc(&p->turn, w->pods + 1, sizeof *w->bound);
    for (size_t i = 0; i < n; i++) {
        struct placer_work *w = by_task(p, pods[i].id.run, pods[i].id.task);
        if (w == NULL || !is_there(w, pods[i].id.attempt)) continue;
        uint32_t number = node_number(p, pods[i].node);
        w->seen = p->round;
        if (pods[i].node.n == 0 || w->strange) continue;
        if (w->nodes != NULL && pods[i].index < w->pods) w->bound[pods[i].index] = pods[i].node;
        (void)place_moved(p->setup.place, (uint64_t)w->id, pods[i].index, number);
    }
}

/* kube-scheduler chose other nodes than were thought of, or others have taken them. */
static void correct_nodes(struct placer *p, struct placer_work *w)
{
    BUF_AUTO out;
    struct str rest = str_sub(str_of(w->nodes), 1, strlen(w->nodes) - 2), name;
    buf_init(&out, 0);
    for (uint32_t i = 0; i < w->pods; i++) {
        if (!str_split(&rest, ',', &name)) name = STR("");
        if (w->bound[i].p != NULL) name = w->bound[i];
        buf_printf(&out, "%c%.*s", i > 0 ? ',' : '{', STR_ARG(name));
    }
    buf_char(&out, '}');
    if (str_is(buf_view(&out), w->nodes)) return;
    free(w->nodes);
    w->nodes = placer_copied(buf_view(&out));
    w->moved = p->moves = true;
}

/* Those that no node has yet: rather where there was room for them, as far as we know. */
static void book_unbound(struct placer *p, struct placer_work *w)
{
    const uint32_t *numbers = NULL;
    for (uint32_t i = 0; i < w->pods; i++) {
        if (w->bound[i].p != NULL) continue;
        if (numbers == NULL) numbers = nodes_of(p, str_of(w->nodes), w->pods);
        uint32_t number = place_unbound(p->setup.place, (uint64_t)w->id, i, numbers[i]);
        w->bound[i] = number != PLACE_NONE ? place_node_name(p->setup.place, number) : STR("");
    }
}

static void look_at_works(struct placer *p)
{
    for (struct placer_work *w = p->works, *next; w != NULL; w = next) {
        next = w->next;
        if (w->phase == PLACER_LEAVES) {
            if (w->seen != p->round) left(p, w);
            continue;
        }
        if (w->nodes == NULL || (w->phase != PLACER_RUNS && w->phase != PLACER_STOPS)) continue;
        if (!w->strange && w->phase == PLACER_RUNS) book_unbound(p, w);
        correct_nodes(p, w);
    }
}

static void tell_nodes(struct placer *p)
{
    struct queue_node *list;
    size_t n = p->cfg.source.nodes(p->cfg.source.self, placer_counts, p, &p->turn, &list);
    for (size_t i = 0; i < n; i++) {
        struct placer_node *node = node_of(p, list[i].name);
        struct err err = {0};
        bool ok = queue_setup_node(&p->setup, &list[i], &p->turn, &node->number, &err);
        uint64_t told = ok ? 0 : str_hash(str_of(err.message)) | 1;
        if (!ok && node->told != told) log_err(LEVEL_WARN, "a node cannot be used", &err);
        if (!ok && node->number != PLACE_NONE) place_node_gone(p->setup.place, node->number);
        if (!ok) node->number = PLACE_NONE;
        node->told = told;
        node->seen = p->round;
    }
}

void placer_nodes(struct placer *p)
{
    uint64_t offered = place_offered(p->setup.place);
    p->round++;
    tell_nodes(p);
    /* What a node offers says which pods count as others', and they were counted before it was told. */
    if (place_offered(p->setup.place) != offered) tell_nodes(p);
    drop_unseen(p);
    move_pods(p);
    look_at_works(p);
    p->dirty = true;
}
