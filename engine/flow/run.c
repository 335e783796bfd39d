/* A run's memory: made, given back, counted, and the plain questions about it. What it does is in the other run_*.c. */
#include <stdlib.h>
#include <string.h>

#include "engine/flow/run_inner.h"

/* ---- vectors and texts ---- */

void *run_grow(void *p, uint32_t *room, uint32_t need, size_t size)
{
    if (need <= *room) return p;
    uint32_t bigger = *room ? *room : need > 8 ? need : 8; /* what is known at first is seldom outgrown */
    while (bigger < need)
        bigger = bigger < UINT32_MAX / 2 ? bigger * 2 : UINT32_MAX;
    p = realloc(p, (size_t)bigger * size);
    if (!p) abort();
    *room = bigger;
    return p;
}

void u32_push(struct u32_vec *v, uint32_t x)
{
    v->p = run_grow(v->p, &v->room, v->n + 1, sizeof *v->p);
    v->p[v->n++] = x;
}

struct text {
    size_t n;
    char p[];
};

struct text *text_new(struct run *r, struct str s)
{
    if (s.n == 0) return NULL;
    struct text *t = malloc(sizeof *t + s.n);
    if (!t) abort();
    t->n = s.n;
    memcpy(t->p, s.p, s.n);
    r->text_bytes += sizeof *t + s.n;
    return t;
}

void text_free(struct run *r, struct text *t)
{
    if (t) r->text_bytes -= sizeof *t + t->n;
    free(t);
}

struct str text_str(const struct text *t)
{
    return t ? (struct str){t->p, t->n} : (struct str){"", 0};
}

void text_set(struct run *r, struct text **slot, struct str s)
{
    struct text *old = *slot;
    *slot = text_new(r, s);
    text_free(r, old);
}

/* ---- frames ---- */

const struct graph *frame_graph(const struct run *r, const struct frame *f)
{
    return &r->plan->graphs[f->graph];
}

static uint32_t frame_limit(const struct run *r, const struct frame *f)
{
    return f->kind == FRAME_GRAPH ? frame_graph(r, f)->parallelism : run_task_node(r, f->parent_task)->parallelism;
}

static void tasks_add(struct run *r, uint32_t number, const struct frame *f)
{
    const struct graph *g = frame_graph(r, f);
    r->tasks = run_grow(r->tasks, &r->room_tasks, f->first + f->n, sizeof *r->tasks);
    for (uint32_t i = 0; i < f->n; i++)
        r->tasks[f->first + i] = (struct task){.frame = number,
                                               .waits = f->kind == FRAME_GRAPH ? g->nodes[i].n_deps : 0,
                                               .next = NONE,
                                               .prev = NONE,
                                               .extra = NONE,
                                               .state = TASK_PENDING};
    r->n_tasks = f->first + f->n;
    r->count[TASK_PENDING] += f->n;
}

uint32_t frame_add(struct run *r, const struct frame *f)
{
    uint32_t number = r->n_frames;
    r->frames = run_grow(r->frames, &r->room_frames, number + 1, sizeof *r->frames);
    struct frame *new = &r->frames[number];
    *new = *f;
    r->n_frames++;
    new->open_exit = new->kind == FRAME_GRAPH ? frame_graph(r, new)->n_exit : 0;
    new->open = new->n - new->open_exit;
    new->gate.limit = frame_limit(r, new);
    tasks_add(r, number, new);
    return number;
}

/* ---- making ---- */

static struct str copy_to(char **at, struct str s)
{
    struct str copy = {*at, s.n};
    if (s.n) memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

static void header_copy(struct run *r, const struct run_header *h)
{
    r->head = *h;
    size_t n = h->project.n + h->name.n + h->pipeline.n + h->created_by.n + h->bundle_digest.n;
    r->head_text = malloc(n + 1);
    if (!r->head_text) abort();
    r->text_bytes += n + 1;
    char *at = r->head_text;
    r->head.project = copy_to(&at, h->project);
    r->head.name = copy_to(&at, h->name);
    r->head.pipeline = copy_to(&at, h->pipeline);
    r->head.created_by = copy_to(&at, h->created_by);
    r->head.bundle_digest = copy_to(&at, h->bundle_digest);
    bool none = h->params.type != VALUE_MAP || h->params.u.map.n == 0;
    r->head.params = none ? (struct value){.type = VALUE_MAP} : value_copy(&r->keep, &h->params);
}

struct run *run_new(const struct plan *plan, const struct run_header *h)
{
    struct run *r = calloc(1, sizeof *r);
    if (!r) abort();
    arena_init(&r->keep, SIZE_MAX);
    arena_init(&r->memo, SIZE_MAX);
    r->plan = plan;
    header_copy(r, h);
    r->state = h->state;
    r->stop = h->stop;
    r->stop_exits = h->stop_exits;
    r->grace_ms = h->grace_ms;
    r->generation = h->generation;
    r->next_event = h->next_event;
    r->started_us = h->started_us;
    r->bundle = text_new(r, h->bundle_digest);
    frame_add(r, &(struct frame){.parent_task = NONE,
                                 .kind = FRAME_GRAPH,
                                 .n = plan->graphs[0].n_nodes,
                                 .inputs = r->head.params,
                                 .opened_us = h->started_us});
    return r;
}

static void names_free(struct names *names)
{
    for (uint32_t i = 0; i < names->n; i++)
        free(names->p[i]);
    free(names->p);
}

void run_free(struct run *r)
{
    if (!r) return;
    for (uint32_t i = 0; i < r->n_extras; i++) {
        free(r->extras[i].message);
        free(r->extras[i].outputs);
    }
    for (uint32_t i = 0; i < r->n_frames; i++)
        free(r->frames[i].gate.heap);
    names_free(&r->executors);
    names_free(&r->bundles);
    for (uint32_t i = 0; r->names && i < r->plan->n_graphs; i++)
        if (r->named[i]) map_free(&r->names[i]);
    void *const owned[] = {r->head_text, r->message, r->outputs, r->bundle,  r->tasks,
                           r->extras,    r->frames,  r->dirty.p, r->fresh.p, r->closing.p,
                           r->sweeps,    r->due,     r->levels,  r->names,   r->named};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    arena_free(&r->keep);
    arena_free(&r->memo);
    free(r);
}

size_t run_bytes(const struct run *r)
{
    size_t n = sizeof *r + r->text_bytes + r->keep.used + r->memo.used;
    n += r->room_tasks * sizeof *r->tasks + r->room_extras * sizeof *r->extras + r->room_frames * sizeof *r->frames;
    n += (r->dirty.room + r->fresh.room + r->closing.room) * sizeof(uint32_t);
    n += r->room_sweeps * sizeof *r->sweeps + r->room_due * sizeof *r->due + r->n_levels * sizeof *r->levels;
    for (uint32_t i = 0; i < r->n_frames; i++)
        n += r->frames[i].gate.room * sizeof(struct waiter);
    return n;
}

/* ---- questions ---- */

const struct run_header *run_head(const struct run *r)
{
    return &r->head;
}

struct str run_bundle(const struct run *r)
{
    return text_str(r->bundle);
}

enum run_state run_state_of(const struct run *r)
{
    return r->state;
}

uint32_t run_task_count(const struct run *r)
{
    return r->n_tasks;
}

enum task_state run_task_state(const struct run *r, uint32_t task)
{
    return task < r->n_tasks ? (enum task_state)r->tasks[task].state : TASK_REFUSED;
}

uint32_t run_task_attempt(const struct run *r, uint32_t task)
{
    return task < r->n_tasks ? task_extra_get(r, task)->attempt : 0;
}

const struct node *run_task_node(const struct run *r, uint32_t task)
{
    const struct frame *f = &r->frames[r->tasks[task].frame];
    if (f->kind == FRAME_ITEMS) {
        task = f->parent_task; /* always a node of a graph */
        f = &r->frames[r->tasks[task].frame];
    }
    return &frame_graph(r, f)->nodes[task - f->first];
}

struct str run_task_path(const struct run *r, uint32_t task, struct arena *a)
{
    const struct frame *f = &r->frames[r->tasks[task].frame];
    if (f->kind == FRAME_ITEMS) {
        struct str loop = run_task_path(r, f->parent_task, a);
        return arena_printf(a, "%.*s[%u]", STR_ARG(loop), task - f->first);
    }
    struct str name = run_task_node(r, task)->name;
    if (f->parent_task == NONE) return name;
    struct str outer = run_task_path(r, f->parent_task, a);
    return arena_printf(a, "%.*s.%.*s", STR_ARG(outer), STR_ARG(name));
}

void run_task_items(const struct run *r, uint32_t task, struct buf *out)
{
    while (task != NONE) {
        const struct frame *f = &r->frames[r->tasks[task].frame];
        if (f->kind == FRAME_ITEMS) value_json(out, &f->items->u.list.items[task - f->first], true);
        if (f->kind == FRAME_ITEMS) buf_char(out, '\n');
        task = f->parent_task;
    }
}

/* Names are made when first asked: most runs never look one up. */
uint32_t node_index(const struct run *r, uint32_t graph, struct str name)
{
    struct run *w = (struct run *)(uintptr_t)r;
    const struct graph *g = &r->plan->graphs[graph];
    if (!r->names) {
        w->names = calloc(r->plan->n_graphs, sizeof *w->names);
        w->named = calloc(r->plan->n_graphs, sizeof *w->named);
        if (!w->names || !w->named) abort();
    }
    if (!r->named[graph]) {
        w->named[graph] = true;
        map_init(&w->names[graph], 0);
        for (uint32_t i = 0; i < g->n_nodes; i++)
            map_put(&w->names[graph], g->nodes[i].name, i, NULL);
    }
    uint64_t found;
    return map_get(&r->names[graph], name, &found) ? (uint32_t)found : NONE;
}

/* "train[2].fit" → the name "train", the index 2, and ".fit" as what is left. */
static bool path_piece(struct str *rest, struct str *name, int64_t *index)
{
    struct str piece;
    if (!str_split(rest, '.', &piece)) return false;
    *index = -1;
    *name = piece;
    size_t open;
    if (!str_find(piece, STR("["), &open)) return true;
    if (!str_ends(piece, "]")) return false;
    *name = str_sub(piece, 0, open);
    return str_int(str_sub(piece, open + 1, piece.n - open - 2), index) && *index >= 0;
}

uint32_t run_task_find(const struct run *r, struct str path)
{
    uint32_t frame = 0, task = NONE;
    struct str name;
    int64_t index;
    for (struct str rest = path; path_piece(&rest, &name, &index);) {
        if (frame == NONE || r->frames[frame].kind != FRAME_GRAPH) return NONE;
        uint32_t i = node_index(r, r->frames[frame].graph, name);
        if (i == NONE) return NONE;
        task = r->frames[frame].first + i;
        frame = task_child(r, task);
        if (index >= 0) {
            if (frame == NONE || r->frames[frame].kind != FRAME_ITEMS || index >= r->frames[frame].n) return NONE;
            task = r->frames[frame].first + (uint32_t)index;
            frame = task_child(r, task);
        }
        if (rest.p == NULL) return task;
    }
    return NONE;
}
