/* Values that are not to be shown, covered with '*' where they stand in a text: byte for byte, so that offsets into the
 * text stay what they were. */
#ifndef MILLRACE_BASE_MASK_H
#define MILLRACE_BASE_MASK_H

#include "engine/base/arena.h"

/* Shorter ones cannot be told from ordinary text. */
#define MASK_SHORTEST 4

#define MASK_SHORTEST_LINE 8 /* of a value of several lines; each is covered by itself, too */

struct mask {
    struct str *values; /* longest first, each at least MASK_SHORTEST bytes: see mask_sort */
    size_t n, room;
};

/* One more value, also without the blanks around it, and its lines; it is not copied. Before mask_sort. */
void mask_add(struct mask *m, struct arena *a, struct str value);
void mask_sort(struct mask *m); /* brings the values into that order; too short ones are dropped */
bool mask_holds(const struct mask *m, struct str s);
bool mask_cover(const struct mask *m, char *p, size_t n); /* true when something was covered */
/* How many bytes at the end may be the beginning of a value; of a text that is not covered yet. */
size_t mask_unsure(const struct mask *m, struct str s);
static inline size_t mask_longest(const struct mask *m)
{
    return m->n > 0 ? m->values[0].n : 0;
}

#endif
