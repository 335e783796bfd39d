/* A hash map from slices to numbers: linear probing, deletion by shifting back, SipHash-1-3
 * (https://www.aumasson.jp/siphash/siphash.pdf). */
#include "engine/base/map.h"

#include <stdlib.h>
#include <string.h>

struct map_slot {
    struct str key;
    uint64_t hash; /* 0 = free; a real hash has its lowest bit set */
    uint64_t value;
};

void map_init(struct map *m, uint64_t seed)
{
    *m = (struct map){.seed = seed};
}

void map_free(struct map *m)
{
    free(m->slots);
    *m = (struct map){.seed = m->seed};
}

void map_cleanup(struct map *m)
{
    map_free(m);
}

static uint64_t rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static uint64_t hash_of(const struct map *m, struct str key)
{
    uint64_t k0 = m->seed, k1 = rotl(m->seed, 32) ^ 0x9e3779b97f4a7c15u;
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                     k1 ^ 0x7465646279746573u};
    size_t whole = key.n & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, key.p + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)key.n << 56;
    for (size_t i = whole; i < key.n; i++)
        last |= (uint64_t)(unsigned char)key.p[i] << (8 * (i - whole));
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return (v[0] ^ v[1] ^ v[2] ^ v[3]) | 1;
}

static size_t home(const struct map *m, uint64_t hash)
{
    return (size_t)(hash >> 1) & (m->room - 1);
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t slot_of(const struct map *m, struct str key, uint64_t hash)
{
    size_t i = home(m, hash);
    while (m->slots[i].hash && (m->slots[i].hash != hash || !str_eq(m->slots[i].key, key)))
        i = (i + 1) & (m->room - 1);
    return i;
}

static void grow(struct map *m)
{
    struct map bigger = {.seed = m->seed, .n = m->n, .room = m->room ? m->room * 2 : 16};
    bigger.slots = calloc(bigger.room, sizeof *bigger.slots);
    if (!bigger.slots) abort();
    for (size_t i = 0; i < m->room; i++) {
        const struct map_slot *slot = &m->slots[i];
        if (slot->hash) bigger.slots[slot_of(&bigger, slot->key, slot->hash)] = *slot;
    }
    free(m->slots);
    *m = bigger;
}

bool map_get(const struct map *m, struct str key, uint64_t *out)
{
    if (m->n == 0) return false;
    const struct map_slot *slot = &m->slots[slot_of(m, key, hash_of(m, key))];
    if (!slot->hash) return false;
    if (out) *out = slot->value;
    return true;
}

bool map_put(struct map *m, struct str key, uint64_t value, uint64_t *old)
{
    if (m->n >= m->room / 4 * 3) grow(m);
    uint64_t hash = hash_of(m, key);
    struct map_slot *slot = &m->slots[slot_of(m, key, hash)];
    bool known = slot->hash != 0;
    if (known && old) *old = slot->value;
    if (!known) {
        slot->key = key;
        slot->hash = hash;
        m->n++;
    }
    slot->value = value;
    return known;
}

bool map_del(struct map *m, struct str key)
{
    if (m->n == 0) return false;
    size_t mask = m->room - 1, gap = slot_of(m, key, hash_of(m, key));
    if (!m->slots[gap].hash) return false;
    for (size_t i = (gap + 1) & mask; m->slots[i].hash; i = (i + 1) & mask) {
        size_t want = home(m, m->slots[i].hash);
        if (((i - want) & mask) < ((i - gap) & mask)) continue; /* still reachable where it is */
        m->slots[gap] = m->slots[i];
        gap = i;
    }
    m->slots[gap] = (struct map_slot){.hash = 0};
    m->n--;
    return true;
}
