/* Small tables: records by a hash of their key, heaps of numbers that know where they are, growing arrays. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

void *vec_grow(void *v, uint32_t *room, uint32_t need, size_t size)
{
    if (need <= *room) return v;
    uint32_t more = *room < 8 ? 8 : *room;
    while (more < need)
        more *= 2;
    v = realloc(v, more * size);
    if (v == NULL) abort();
    *room = more;
    return v;
}

uint32_t table_hash(const void *p, size_t n)
{
    uint64_t h = str_hash((struct str){p, n});
    h ^= h >> 32;
    return (uint32_t)(h * 0x9E3779B1U);
}

uint32_t table_find(const struct table *t, uint32_t hash, table_eq eq, const void *ctx, const void *key)
{
    if (t->room == 0) return PLACE_NONE;
    for (uint32_t i = hash & (t->room - 1); t->slots[i].item != 0; i = (i + 1) & (t->room - 1))
        if (t->slots[i].hash == hash && eq(ctx, t->slots[i].item - 1, key)) return t->slots[i].item - 1;
    return PLACE_NONE;
}

static void slot_put(struct table *t, struct table_slot s)
{
    uint32_t i = s.hash & (t->room - 1);
    while (t->slots[i].item != 0)
        i = (i + 1) & (t->room - 1);
    t->slots[i] = s;
}

void table_put(struct table *t, uint32_t hash, uint32_t item)
{
    if (t->n + 1 > t->room / 4 * 3) {
        struct table old = *t;
        t->room = old.room == 0 ? 64 : old.room * 2;
        t->slots = calloc(t->room, sizeof *t->slots);
        if (t->slots == NULL) abort();
        for (uint32_t i = 0; i < old.room; i++)
            if (old.slots[i].item != 0) slot_put(t, old.slots[i]);
        free(old.slots);
    }
    slot_put(t, (struct table_slot){hash, item + 1});
    t->n++;
}

/* Those behind it that were put aside by it move up, so that no graves are left. */
void table_del(struct table *t, uint32_t hash, uint32_t item)
{
    uint32_t mask = t->room - 1, i = hash & mask;
    while (t->slots[i].item != item + 1)
        i = (i + 1) & mask;
    for (uint32_t j = (i + 1) & mask; t->slots[j].item != 0; j = (j + 1) & mask) {
        uint32_t home = t->slots[j].hash & mask;
        if (((j - home) & mask) < ((j - i) & mask)) continue;
        t->slots[i] = t->slots[j];
        i = j;
    }
    t->slots[i].item = 0;
    t->n--;
}

/* ---- heaps ---- */

static void put_at(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t at, uint32_t item)
{
    h->v[at] = item;
    if (rule->moved != NULL) rule->moved(p, item, at);
}

static uint32_t sift_up(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t at)
{
    uint32_t item = h->v[at];
    for (uint32_t up; at > 0 && rule->before(p, item, h->v[up = (at - 1) / 2]); at = up)
        put_at(p, rule, h, at, h->v[up]);
    put_at(p, rule, h, at, item);
    return at;
}

static void sift_down(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t at)
{
    uint32_t item = h->v[at];
    for (uint32_t down; (down = 2 * at + 1) < h->n; at = down) {
        if (down + 1 < h->n && rule->before(p, h->v[down + 1], h->v[down])) down++;
        if (!rule->before(p, h->v[down], item)) break;
        put_at(p, rule, h, at, h->v[down]);
    }
    put_at(p, rule, h, at, item);
}

void heap_push(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t item)
{
    h->v = vec_grow(h->v, &h->room, h->n + 1, sizeof *h->v);
    h->v[h->n++] = item;
    sift_up(p, rule, h, h->n - 1);
}

void heap_mend(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t at)
{
    sift_down(p, rule, h, sift_up(p, rule, h, at));
}

void heap_remove(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t at)
{
    uint32_t last = h->v[--h->n];
    if (at == h->n) return;
    h->v[at] = last;
    heap_mend(p, rule, h, at);
}
