/* Covering values. See mask.h. */
#include "engine/base/mask.h"

#include <stdlib.h>
#include <string.h>

static int longer_first(const void *a, const void *b)
{
    size_t x = ((const struct str *)a)->n, y = ((const struct str *)b)->n;
    return (x < y) - (x > y);
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

/* Longer ones first: what begins with a shorter one is covered whole. */
bool mask_cover(const struct mask *m, char *p, size_t n)
{
    bool covered = false;
    for (size_t i = 0; i < m->n; i++) {
        struct str v = m->values[i];
        char *at = p, *end = p + n;
        while ((at = memmem(at, (size_t)(end - at), v.p, v.n)) != NULL) {
            memset(at, '*', v.n);
            at += v.n;
            covered = true;
        }
    }
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
