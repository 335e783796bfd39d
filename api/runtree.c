/* Task numbers to nodes by way of the frames. See runtree.h. */
#include "api/runtree.h"

#include "api/source.h"

#define FRAMES_A_PAGE 1000
#define KIND_GRAPH 1

static bool load_frames(struct conn *c, int64_t run_id, struct runtree *t, struct err *err)
{
    size_t room = 16;
    t->frames = arena_array(t->arena, struct frame_rec, room);
    t->frames[0] = (struct frame_rec){.parent_task = -1, .kind = KIND_GRAPH, .n = (int32_t)t->plan->graphs[0].n_nodes};
    t->n = 1;
    for (;;) {
        struct frame_rec *page;
        size_t n;
        if (!tasks_frames(c, run_id, t->frames[t->n - 1].frame, FRAMES_A_PAGE, t->arena, &page, &n, err)) return false;
        while (t->n + n > room) {
            t->frames = arena_grow(t->arena, t->frames, room * sizeof *page, 2 * room * sizeof *page);
            room *= 2;
        }
        for (size_t i = 0; i < n; i++)
            t->frames[t->n++] = page[i];
        if (n < FRAMES_A_PAGE) return true;
    }
}

bool runtree_load(struct conn *c, const struct run_rec *run, struct arena *a, struct runtree *out, struct err *err)
{
    struct plan_text text;
    struct runtree t = {.arena = a};
    if (!plans_get(c, run->plan_id, a, &text, err) || !source_load_plan(a, text.plan, &t.plan, err) ||
        !load_frames(c, run->id, &t, err))
        return false;
    const struct frame_rec *last = &t.frames[t.n - 1];
    t.total = (uint32_t)(last->first_task + last->n);
    *out = t;
    return true;
}

const struct frame_rec *runtree_frame(const struct runtree *t, uint32_t task)
{
    if (task >= t->total) return NULL;
    size_t low = 0, high = t->n; /* frames get their numbers in order of opening, and so do tasks */
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (t->frames[mid].first_task <= (int32_t)task)
            low = mid;
        else
            high = mid;
    }
    const struct frame_rec *f = &t->frames[low];
    return (int32_t)task < f->first_task + f->n ? f : NULL;
}

static const struct graph *graph_of(const struct runtree *t, const struct frame_rec *f)
{
    return f->kind == KIND_GRAPH && f->graph >= 0 && (uint32_t)f->graph < t->plan->n_graphs ? &t->plan->graphs[f->graph]
                                                                                            : NULL;
}

const struct node *runtree_node(const struct runtree *t, uint32_t task)
{
    for (int depth = 0; depth < 2 * PLAN_MAX_DEPTH; depth++) {
        const struct frame_rec *f = runtree_frame(t, task);
        if (!f) return NULL;
        const struct graph *g = graph_of(t, f);
        uint32_t i = task - (uint32_t)f->first_task;
        if (g) return i < g->n_nodes ? &g->nodes[i] : NULL;
        if (f->parent_task < 0 || (uint32_t)f->parent_task >= task) return NULL;
        task = (uint32_t)f->parent_task;
    }
    return NULL;
}

uint32_t runtree_parent(const struct runtree *t, uint32_t task)
{
    const struct frame_rec *f = runtree_frame(t, task);
    return f && f->parent_task >= 0 && (uint32_t)f->parent_task < task ? (uint32_t)f->parent_task : RUNTREE_NONE;
}

struct str runtree_path(const struct runtree *t, uint32_t task)
{
    const struct frame_rec *f = runtree_frame(t, task);
    const struct node *node = runtree_node(t, task);
    if (!f || !node) return (struct str){"", 0};
    uint32_t parent = runtree_parent(t, task);
    if (parent == RUNTREE_NONE) return node->name;
    struct str outer = runtree_path(t, parent);
    if (f->kind == KIND_GRAPH) return arena_printf(t->arena, "%.*s.%.*s", STR_ARG(outer), STR_ARG(node->name));
    return arena_printf(t->arena, "%.*s[%u]", STR_ARG(outer), task - (uint32_t)f->first_task);
}

/* The newest frame that the task opened: earlier ones are superseded. */
static const struct frame_rec *child_of(const struct runtree *t, uint32_t task)
{
    for (size_t i = t->n; i-- > 1;)
        if (t->frames[i].parent_task == (int32_t)task) return &t->frames[i];
    return NULL;
}

/* Takes "name" or "[7]" off the path: the number within the frame, or RUNTREE_NONE. */
static uint32_t step_in(const struct runtree *t, const struct frame_rec *f, struct str *path)
{
    size_t n = 0;
    const struct graph *g = graph_of(t, f);
    if (g) {
        while (n < path->n && path->p[n] != '.' && path->p[n] != '[')
            n++;
        struct str name = str_sub(*path, 0, n);
        *path = str_sub(*path, n, path->n);
        return graph_find(g, name);
    }
    int64_t i;
    if (!str_find(*path, STR("]"), &n) || path->p[0] != '[' || n == 0 || !str_int(str_sub(*path, 1, n - 1), &i))
        return RUNTREE_NONE;
    *path = str_sub(*path, n + 1, path->n);
    return i >= 0 && i < f->n ? (uint32_t)i : RUNTREE_NONE;
}

uint32_t runtree_find(const struct runtree *t, struct str path)
{
    const struct frame_rec *f = &t->frames[0];
    while (f) {
        uint32_t i = step_in(t, f, &path);
        if (i == RUNTREE_NONE) return RUNTREE_NONE;
        uint32_t task = (uint32_t)f->first_task + i;
        if (path.n == 0) return task;
        f = child_of(t, task);
        if (f && graph_of(t, f)) { /* what is inside a sub-pipeline is behind a dot */
            if (path.p[0] != '.') return RUNTREE_NONE;
            path = str_sub(path, 1, path.n);
        }
    }
    return RUNTREE_NONE;
}

bool runtree_is_exit(const struct runtree *t, uint32_t task)
{
    const struct frame_rec *f = runtree_frame(t, task);
    const struct graph *g = f ? graph_of(t, f) : NULL;
    return g && task - (uint32_t)f->first_task >= g->n_nodes - g->n_exit;
}

const uint32_t *runtree_needs(const struct runtree *t, uint32_t task, uint32_t *n)
{
    *n = 0;
    const struct frame_rec *f = runtree_frame(t, task);
    const struct graph *g = f ? graph_of(t, f) : NULL;
    const struct node *node = g ? runtree_node(t, task) : NULL;
    if (!node || node->n_deps == 0) return NULL;
    uint32_t *needs = arena_array(t->arena, uint32_t, node->n_deps);
    for (uint32_t i = 0; i < node->n_deps; i++)
        needs[i] = (uint32_t)f->first_task + node->deps[i];
    *n = node->n_deps;
    return needs;
}

bool runtree_superseded(const struct runtree *t, uint32_t task)
{
    const struct frame_rec *f = runtree_frame(t, task);
    while (f && f->parent_task >= 0) {
        for (const struct frame_rec *later = f + 1; later < t->frames + t->n; later++)
            if (later->parent_task == f->parent_task) return true;
        f = runtree_frame(t, (uint32_t)f->parent_task);
    }
    return false;
}
