/* Covering values. See mask.h. */
#include "engine/base/mask.h"

#include <stdlib.h>
#include <string.h>

static int longer_first(const void *a, const void *b)
{
    size_t x = ((const struct str *)a)->n, y = ((const struct str *)b)->n;
    return (x < y) - (x > y);
}

static void add(struct mask *m, struct arena *a, struct str value)
{
    if (m->n == m->room) {
        size_t room = m->room > 0 ? 2 * m->room : 16;
        m->values = arena_grow(a, m->values, m->n * sizeof *m->values, room * sizeof *m->values);
        m->room = room;
    }
    m->values[m->n++] = value;
}

void mask_add(struct mask *m, struct arena *a, struct str value)
{
    struct str rest = value, line;
    add(m, a, value);
    if (str_trim(value).n < value.n) add(m, a, str_trim(value));
    if (memchr(value.p, '\n', value.n) == NULL) return;
    while (str_split(&rest, '\n', &line))
        if (str_trim(line).n >= MASK_SHORTEST_LINE) add(m, a, str_trim(line));
}

void mask_sort(struct mask *m)
{
    if (m->n > 0) qsort(m->values, m->n, sizeof *m->values, longer_first);
    while (m->n > 0 && m->values[m->n - 1].n < MASK_SHORTEST)
        m->n--;
}

bool mask_holds(const struct mask *m, struct str s)
{
    size_t at;
    for (size_t i = 0; i < m->n; i++)
        if (str_find(s, m->values[i], &at)) return true;
    return false;
}

/* Looked for in what it was before: of two that overlap neither shows its rest. */
bool mask_cover(const struct mask *m, char *p, size_t n)
{
    bool covered = false;
    char *before = NULL;
    for (size_t i = 0; i < m->n; i++) {
        struct str v = m->values[i];
        const char *from = before != NULL ? before : p, *at = from, *end = from + n;
        while ((at = memmem(at, (size_t)(end - at), v.p, v.n)) != NULL) {
            size_t place = (size_t)(at - from);
            if (before == NULL) {
                before = malloc(n);
                if (before == NULL) abort();
                memcpy(before, p, n);
                from = before;
                end = from + n;
            }
            memset(p + place, '*', v.n);
            at = from + place + 1;
            covered = true;
        }
    }
    free(before);
    return covered;
}

size_t mask_unsure(const struct mask *m, struct str s)
{
    size_t unsure = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct str v = m->values[i];
        size_t most = s.n < v.n - 1 ? s.n : v.n - 1;
        for (size_t k = most; k > unsure; k--)
            if (memcmp(s.p + s.n - k, v.p, k) == 0) unsure = k;
    }
    return unsure;
}
