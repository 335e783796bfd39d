/* The set of runs in memory. See live.h. */
#include "scheduler/live.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/placing.h"

#define KEEP_PLANS 64 /* unused plans kept for the next run of the same pipeline */

static struct live grave; /* marks a removed slot */

void live_init(struct live_set *set)
{
    memset(set, 0, sizeof *set);
}

static void plan_free(struct plan_ref *p)
{
    arena_free(&p->arena);
    free(p);
}

static void live_destroy(struct live *l)
{
    if (l->run != NULL) run_free(l->run);
    if (l->batch != NULL) batch_free(l->batch);
    free(l->batch);
    free(l->put_off);
    placing_free(l);
    while (l->starting != NULL)
        (void)live_starting(l, l->starting->task, l->starting->attempt, STR(""));
    free(l);
}

void live_clear(struct live_set *set)
{
    for (size_t i = 0; i < set->room; i++)
        if (set->slots[i] != NULL && set->slots[i] != &grave) live_destroy(set->slots[i]);
    free(set->slots);
    while (set->plans != NULL) {
        struct plan_ref *next = set->plans->next;
        plan_free(set->plans);
        set->plans = next;
    }
    free(set->timers);
    live_init(set);
}

void live_free(struct live_set *set)
{
    live_clear(set);
}

/* ---- the table ---- */

static size_t slot_of(const struct live_set *set, int64_t id)
{
    uint64_t h = (uint64_t)id * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 20) & (set->room - 1);
}

struct live *live_get(const struct live_set *set, int64_t id)
{
    if (set->room == 0) return NULL;
    for (size_t i = slot_of(set, id);; i = (i + 1) & (set->room - 1)) {
        struct live *l = set->slots[i];
        if (l == NULL) return NULL;
        if (l != &grave && l->id == id) return l;
    }
}

static void rehash(struct live_set *set)
{
    size_t old_room = set->room;
    struct live **old = set->slots;
    size_t room = 64;
    while (room < set->n * 4)
        room *= 2;
    set->slots = calloc(room, sizeof *set->slots);
    if (set->slots == NULL) abort();
    set->room = room;
    set->graves = 0;
    for (size_t i = 0; i < old_room; i++) {
        if (old[i] == NULL || old[i] == &grave) continue;
        size_t at = slot_of(set, old[i]->id);
        while (set->slots[at] != NULL)
            at = (at + 1) & (room - 1);
        set->slots[at] = old[i];
    }
    free(old);
}

struct live *live_add(struct live_set *set, int64_t id)
{
    if ((set->n + set->graves + 1) * 2 > set->room) rehash(set);
    struct live *l = calloc(1, sizeof *l);
    if (l == NULL) abort();
    l->id = id;
    size_t at = slot_of(set, id);
    while (set->slots[at] != NULL && set->slots[at] != &grave)
        at = (at + 1) & (set->room - 1);
    if (set->slots[at] == &grave) set->graves--;
    set->slots[at] = l;
    set->n++;
    return l;
}

void live_remove(struct live_set *set, struct live *l)
{
    size_t at = slot_of(set, l->id);
    while (set->slots[at] != l)
        at = (at + 1) & (set->room - 1);
    set->slots[at] = &grave;
    set->graves++;
    set->n--;
    live_ring_remove(set, l);
    if (l->plan != NULL) {
        set->n_ranked -= l->plan->ranked;
        live_plan_drop(set, l->plan);
    }
    live_destroy(l);
}

struct live *live_next(const struct live_set *set, size_t *cursor)
{
    while (*cursor < set->room) {
        struct live *l = set->slots[(*cursor)++];
        if (l != NULL && l != &grave) return l;
    }
    return NULL;
}

bool live_starting(struct live *l, uint32_t task, uint32_t attempt, struct str why)
{
    struct starting **at = &l->starting, *s;
    while ((s = *at) != NULL && s->task != task)
        at = &s->next;
    if (s != NULL && (why.n == 0 || s->attempt != attempt)) {
        *at = s->next;
        free(s->why);
        free(s);
        s = NULL;
        if (why.n == 0) return true;
    }
    if (why.n == 0 || (s != NULL && str_is(why, s->why))) return false;
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        if (s == NULL) abort();
        *s = (struct starting){.task = task, .attempt = attempt, .next = l->starting};
        l->starting = s;
    }
    free(s->why);
    s->why = strndup(why.p, why.n);
    if (s->why == NULL) abort();
    return true;
}

/* ---- plans ---- */

struct plan_ref *live_plan_find(struct live_set *set, int64_t id)
{
    for (struct plan_ref *p = set->plans; p != NULL; p = p->next)
        if (p->id == id) return p;
    return NULL;
}

struct plan_ref *live_plan_add(struct live_set *set, int64_t id)
{
    struct plan_ref *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    p->id = id;
    arena_init(&p->arena, (size_t)1 << 30);
    p->next = set->plans;
    set->plans = p;
    return p;
}

void live_plan_drop(struct live_set *set, struct plan_ref *p)
{
    if (p->users > 0) p->users--;
    size_t unused = 0;
    for (struct plan_ref **at = &set->plans; *at != NULL;) {
        struct plan_ref *q = *at;
        if (q->users == 0 && (q->plan == NULL || ++unused > KEEP_PLANS)) {
            *at = q->next;
            plan_free(q);
        } else {
            at = &q->next;
        }
    }
}

/* ---- timers ---- */

static void swap_timers(struct timer *a, struct timer *b)
{
    struct timer t = *a;
    *a = *b;
    *b = t;
}

void live_timer(struct live_set *set, struct live *l, int64_t due_us)
{
    if (l->due_us != 0 && l->due_us <= due_us) return;
    l->due_us = due_us;
    if (set->n_timers == set->room_timers) {
        set->room_timers = set->room_timers == 0 ? 64 : set->room_timers * 2;
        set->timers = realloc(set->timers, set->room_timers * sizeof *set->timers);
        if (set->timers == NULL) abort();
    }
    size_t i = set->n_timers++;
    set->timers[i] = (struct timer){due_us, l->id};
    for (; i > 0 && set->timers[(i - 1) / 2].due_us > set->timers[i].due_us; i = (i - 1) / 2)
        swap_timers(&set->timers[i], &set->timers[(i - 1) / 2]);
}

int64_t live_timer_first(const struct live_set *set)
{
    return set->n_timers > 0 ? set->timers[0].due_us : INT64_MAX;
}

static struct timer pop_first(struct live_set *set)
{
    struct timer first = set->timers[0];
    set->timers[0] = set->timers[--set->n_timers];
    for (size_t i = 0;;) {
        size_t least = i, left = 2 * i + 1, right = left + 1;
        if (left < set->n_timers && set->timers[left].due_us < set->timers[least].due_us) least = left;
        if (right < set->n_timers && set->timers[right].due_us < set->timers[least].due_us) least = right;
        if (least == i) break;
        swap_timers(&set->timers[i], &set->timers[least]);
        i = least;
    }
    return first;
}

struct live *live_timer_pop(struct live_set *set, int64_t now_us)
{
    while (set->n_timers > 0 && set->timers[0].due_us <= now_us) {
        struct timer t = pop_first(set);
        struct live *l = live_get(set, t.run);
        if (l == NULL || l->due_us != t.due_us) continue; /* gone, or an earlier entry of it came up already */
        l->due_us = 0;
        return l;
    }
    return NULL;
}

/* ---- the ring ---- */

void live_ring_add(struct live_set *set, struct live *l)
{
    if (l->in_ring) return;
    l->in_ring = true;
    if (set->ring == NULL) {
        l->ready_next = l->ready_prev = l;
        set->ring = l;
        return;
    }
    l->ready_next = set->ring; /* last in turn */
    l->ready_prev = set->ring->ready_prev;
    l->ready_prev->ready_next = l;
    set->ring->ready_prev = l;
}

void live_ring_remove(struct live_set *set, struct live *l)
{
    if (!l->in_ring) return;
    l->in_ring = false;
    if (l->ready_next == l) {
        set->ring = NULL;
        return;
    }
    l->ready_prev->ready_next = l->ready_next;
    l->ready_next->ready_prev = l->ready_prev;
    if (set->ring == l) set->ring = l->ready_next;
}
