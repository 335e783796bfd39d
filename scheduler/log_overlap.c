/* See log_overlap.h. */
#include "scheduler/log_overlap.h"

#define LEAST 64 /* bytes at the end of what is there that tell where it goes on */

size_t log_agrees(struct str have, struct str again)
{
    size_t n = have.n < again.n ? have.n : again.n, i = 0;
    while (i < n && (have.p[i] == again.p[i] || have.p[i] == '*'))
        i++;
    return i;
}

int64_t log_overlap(struct str have, struct str again)
{
    size_t least = again.n < LEAST ? again.n : LEAST;
    if (least == 0 || have.n < least) return -1;
    for (size_t at = have.n - least + 1; at-- > 0;) {
        struct str rest = str_sub(have, at, have.n);
        if (log_agrees(rest, again) == (rest.n < again.n ? rest.n : again.n)) return (int64_t)at;
    }
    return -1;
}
