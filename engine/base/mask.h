/* Values that are not to be shown, covered with '*' where they stand in a text: byte for byte, so that offsets into the
 * text stay what they were. Who is given a value often shows it as another language writes it, so the usual written
 * forms of a value are values, too. */
#ifndef MILLRACE_BASE_MASK_H
#define MILLRACE_BASE_MASK_H

#include "engine/base/arena.h"

/* Shorter ones cannot be told from ordinary text. */
#define MASK_SHORTEST 4

#define MASK_SHORTEST_LINE 8 /* of a value of several lines; each is covered by itself, too */

/* A form may be six times as long as its value, and who covers a growing text reads it again by the longest value: it
 * costs no more than the longest secret itself. */
#define MASK_LONGEST_FORM ((size_t)64 << 10)

struct mask {
    struct str *values; /* longest first, each at least MASK_SHORTEST bytes: see mask_sort */
    size_t n, room;
};

/* One more value, also without the blanks around it, and its lines; it is not copied. Before mask_sort. */
void mask_add(struct mask *m, struct arena *a, struct str value);
/* The forms of all values that are there, where they differ from them: in JSON, in URLs and forms, in base64 (by itself
 * or with the line break that a shell adds). Before mask_sort, and once: forms have no forms. */
void mask_forms(struct mask *m, struct arena *a);
void mask_sort(struct mask *m); /* brings the values into that order; too short ones and repetitions are dropped */

/* As it stands, or as it reads once JSON's escapes are undone. */
bool mask_holds(const struct mask *m, struct str s);
bool mask_cover(const struct mask *m, char *p, size_t n); /* true when something was covered */
/* The same, and where a value shows once JSON's escapes are undone, whichever characters were escaped, also those of
 * JSON within JSON: the escapes are covered whole, so that what was JSON still is. */
bool mask_cover_escaped(const struct mask *m, char *p, size_t n);
/* How many bytes at the end may be the beginning of a value; of a text that is not covered yet. */
size_t mask_unsure(const struct mask *m, struct str s);
static inline size_t mask_longest(const struct mask *m)
{
    return m->n > 0 ? m->values[0].n : 0;
}

#endif
