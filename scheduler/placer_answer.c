/* What comes of a cycle: who is admitted and with what, and who gives way. See placer.h. */
#include <stdlib.h>

#include "scheduler/placer_inner.h"

#define ADMIT_AT_ONCE 1000
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

void placer_why(struct placer *p, struct placing_why why)
{
    struct placing_answers *x = &p->answers;
    x->whys = grow(&p->turn, x->whys, x->n_whys, &p->room_whys, sizeof *x->whys);
    x->whys[x->n_whys++] = why;
}

static void admit(struct placer *p, const struct placer_work *w, struct str flavor, struct str pin, struct str nodes)
{
    struct placing_answers *x = &p->answers;
    x->admits = grow(&p->turn, x->admits, x->n_admits, &p->room_admits, sizeof *x->admits);
    x->admits[x->n_admits++] = (struct placing_admit){w->id, w->attempt, flavor, pin, nodes, false};
}

void placer_hand_over(struct placer *p, struct placer_work *w, const struct queue_doc *q)
{
    w->phase = PLACER_ELSEWHERE;
    admit(p, w, STR(""), placer_pin(p, (struct placer_pin){PLACE_NONE, w->gpu, w->gpu, q->kueue, {0}}), STR("{}"));
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
    w->moved = false;
    const struct placer_pin pin = {a->flavor, w->gpu, w->counted, {0}, nodes};
    admit(p, w, f != NULL ? f->name : STR(""), placer_pin(p, pin), quoted(p, nodes));
}

static void stop(struct placer *p, const struct placer_work *w, int64_t by, struct str name)
{
    struct placing_answers *x = &p->answers;
    x->victims = grow(&p->turn, x->victims, x->n_victims, &p->room_victims, sizeof *x->victims);
    x->victims[x->n_victims++] = (struct placing_victim){w->id, by, w->attempt, name, false};
}

void placer_stop_again(struct placer *p, struct placer_work *w)
{
    const struct placer_work *by = placer_work_by_id(p, w->by);
    stop(p, w, w->by, by != NULL ? str_of(by->name) : STR("another step"));
}

void placer_take_back(struct placer *p, const struct placer_work *w)
{
    stop(p, w, w->id, arena_printf(&p->turn, "what its queue, %s, is declared as now", w->queue));
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
