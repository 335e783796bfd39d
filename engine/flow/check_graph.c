/* The shape of the graph: who comes after whom, and that nobody comes after himself. */
#include <string.h>

#include "engine/base/buf.h"
#include "engine/flow/compile_inner.h"

void graph_link(struct arena *a, struct node *nodes, uint32_t n)
{
    uint32_t **lists = arena_array(a, uint32_t *, n);
    for (uint32_t i = 0; i < n; i++)
        nodes[i].n_dependents = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < nodes[i].n_deps; k++)
            nodes[nodes[i].deps[k]].n_dependents++;
    }
    for (uint32_t i = 0; i < n; i++) {
        lists[i] = nodes[i].n_dependents ? arena_array(a, uint32_t, nodes[i].n_dependents) : NULL;
        nodes[i].dependents = lists[i];
        nodes[i].n_dependents = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < nodes[i].n_deps; k++) {
            uint32_t to = nodes[i].deps[k];
            lists[to][nodes[to].n_dependents++] = i;
        }
    }
}

/* Takes away, again and again, what waits for nothing any more; marks it in `gone`. */
static uint32_t peel(struct compile *c, bool *gone)
{
    uint32_t n = c->n_nodes, done = 0, head = 0;
    uint32_t *waits = arena_array(c->spec.arena, uint32_t, n), *queue = arena_array(c->spec.arena, uint32_t, n);
    for (uint32_t i = 0; i < n; i++) {
        waits[i] = c->nodes[i].n_deps;
        if (waits[i] == 0) queue[done++] = i;
    }
    while (head < done) {
        const struct node *node = &c->nodes[queue[head]];
        gone[queue[head++]] = true;
        for (uint32_t k = 0; k < node->n_dependents; k++) {
            if (--waits[node->dependents[k]] == 0) queue[done++] = node->dependents[k];
        }
    }
    return done;
}

static void report_cycle(struct compile *c, const uint32_t *way, uint32_t from, uint32_t to)
{
    BUF_AUTO text;
    buf_init(&text, 300);
    uint32_t first = from;
    for (uint32_t i = from; i < to; i++) /* begin with the one that stands first in the document */
        if (way[i] < way[first]) first = i;
    for (uint32_t i = 0; i <= to - from; i++) {
        struct str name = c->names[way[from + (first - from + i) % (to - from)]];
        if (!buf_printf(&text, "%s%.*s", i ? " → " : "", STR_ARG(name))) break;
    }
    struct spec_at up, at = compile_node_at(c, way[first], &up);
    struct err *e = spec_error(&c->spec, &at, NULL, "the steps wait for each other in a circle: %s%s",
                               buf_view(&text).p, text.over ? " …" : "");
    err_at(e, c->nodes[way[first]].at, 0);
    err_hint(e, "a → b says: a needs b, or reads from it");
}

void check_cycles(struct compile *c)
{
    uint32_t n = c->n_nodes;
    graph_link(c->spec.arena, c->nodes, n);
    bool *gone = arena_array(c->spec.arena, bool, n);
    if (peel(c, gone) == n) return;
    uint32_t *place = arena_array(c->spec.arena, uint32_t, n), *way = arena_array(c->spec.arena, uint32_t, n + 1);
    for (uint32_t start = 0; start < n; start++) {
        uint32_t at = start, length = 0;
        bool closed = false;
        while (!gone[at] && place[at] == 0) { /* what is left waits for something that is left */
            way[length++] = at;
            place[at] = length;
            const struct node *node = &c->nodes[at];
            uint32_t next = at;
            for (uint32_t k = 0; k < node->n_deps; k++)
                if (!gone[node->deps[k]]) next = node->deps[k];
            if (next == at) break; /* it waits for a circle that has been reported */
            at = next;
            closed = place[at] && !gone[at];
        }
        if (closed) report_cycle(c, way, place[at] - 1, length);
        for (uint32_t i = 0; i < length; i++) {
            gone[way[i]] = true; /* one report a circle */
        }
    }
}
