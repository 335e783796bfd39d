/* See log_overlap.h. */
#include "scheduler/log_overlap.h"

#include <stdlib.h>
#include <string.h>

#define LEAST 64                 /* bytes at the end of what is there that tell where it goes on */
#define COMPARED_MOST (1U << 26) /* bytes */

size_t log_agrees(struct str have, struct str again)
{
    size_t n = have.n < again.n ? have.n : again.n, i = 0;
    while (i < n && (have.p[i] == again.p[i] || have.p[i] == '*'))
        i++;
    return i;
}

/* Of each beginning of the text, how much of its end is a beginning, too (Knuth, Morris, Pratt, 1977). */
static uint32_t *borders_of(struct str text)
{
    uint32_t *border = calloc(text.n + 1, sizeof *border);
    if (border == NULL) abort();
    for (size_t i = 1, k = 0; i < text.n; i++) {
        while (k > 0 && text.p[i] != text.p[k])
            k = border[k];
        k += text.p[i] == text.p[k];
        border[i + 1] = (uint32_t)k;
    }
    return border;
}

/* In time that grows with the texts' lengths alone: they may be one byte over and over. Where a secret is covered it
 * may overlook a place. */
static int64_t search(struct str have, struct str again, size_t least)
{
    uint32_t *border = borders_of(again);
    int64_t whole = -1;
    size_t k = 0, best = 0;
    for (size_t i = 0; i < have.n; i++) {
        if (k == again.n) k = border[k];
        while (k > 0 && have.p[i] != again.p[k] && have.p[i] != '*')
            k = border[k];
        k += have.p[i] == again.p[k] || have.p[i] == '*';
        if (k == again.n) whole = (int64_t)(i + 1 - k);
    }
    for (; k >= least; k = border[k])
        best = k; /* the least that is enough begins the latest */
    free(border);
    return best > 0 ? (int64_t)(have.n - best) : whole;
}

/* Every place, as long as that takes no more than a moment. */
static int64_t search_covered(struct str have, struct str again, size_t least)
{
    size_t compared = 0;
    for (size_t at = have.n - least + 1; at-- > 0 && compared < COMPARED_MOST;) {
        struct str rest = str_sub(have, at, have.n);
        size_t agreed = log_agrees(rest, again);
        if (agreed == (rest.n < again.n ? rest.n : again.n)) return (int64_t)at;
        compared += agreed + 1;
    }
    return -1;
}

int64_t log_overlap(struct str have, struct str again)
{
    size_t least = again.n < LEAST ? again.n : LEAST;
    if (least == 0 || have.n < least) return -1;
    int64_t at = search(have, again, least);
    return at < 0 && memchr(have.p, '*', have.n) != NULL ? search_covered(have, again, least) : at;
}
