/* "Did you mean": the nearest of some names by edit distance, where swapping two neighbours is one edit and case is
 * none. */
#include <string.h>

#include "engine/base/str.h"

#define LONGEST 64

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment with three rows; b is at most LONGEST long. */
static size_t distance(struct str a, struct str b)
{
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.n; j++)
        above[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            char x = lower(a.p[i - 1]), y = lower(b.p[j - 1]);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == lower(b.p[j - 2]) && lower(a.p[i - 2]) == y;
            if (swapped) row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b.n];
}

/* A long common beginning outweighs one more edit: retries, retry. */
static size_t alike(struct str a, struct str b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && lower(a.p[n]) == lower(b.p[n]))
        n++;
    return n * 2 > (a.n > b.n ? a.n : b.n);
}

struct str suggest(struct str word, const struct str *candidates, size_t n)
{
    struct str best = {"", 0};
    if (word.n == 0 || word.n > LONGEST) return best;
    size_t limit = word.n < 6 ? 1 : word.n / 3, found = limit + 2;
    for (size_t i = 0; i < n; i++) {
        struct str c = candidates[i];
        size_t apart = c.n > word.n ? c.n - word.n : word.n - c.n;
        if (c.n == 0 || c.n > LONGEST || apart >= found) continue;
        size_t d = distance(word, c);
        if (d < found && d <= limit + alike(word, c) && d < c.n) {
            found = d;
            best = c;
        }
    }
    return best;
}
