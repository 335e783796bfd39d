/* A hash map from slices to numbers, for names: open addressing, keys not copied, seeded so that hostile names cannot
 * make it slow (SipHash-1-3 with a per-map seed given by the caller; 0 is fine for bounded input). Memory is malloc'd.
 */
#ifndef MILLRACE_BASE_MAP_H
#define MILLRACE_BASE_MAP_H

#include "engine/base/str.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t n, room;
    uint64_t seed;
};

void map_init(struct map *m, uint64_t seed);
void map_free(struct map *m);
void map_cleanup(struct map *m);
#define MAP_AUTO __attribute__((cleanup(map_cleanup))) struct map

bool map_get(const struct map *m, struct str key, uint64_t *out);
/* Puts or replaces; returns true when the key was there before, its old number in *old (may be NULL). */
bool map_put(struct map *m, struct str key, uint64_t value, uint64_t *old);
bool map_del(struct map *m, struct str key);

#endif
