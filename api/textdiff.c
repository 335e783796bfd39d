/* Longest common subsequence of lines by the table of lengths, after equal heads and tails are cut off. Lines are
 * numbered first, equal ones alike, so that each is read once however often it is compared. */
#include "api/textdiff.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/map.h"

#define MAX_CELLS ((size_t)4 << 20) /* of the table: 2 bytes each */
#define CONTEXT 3

struct lines {
    struct str *items;
    uint32_t *numbers;
    size_t n;
};

static struct lines split(struct str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    struct lines l = {.items = calloc(n, sizeof *l.items)};
    if (!l.items) abort();
    struct str line;
    if (text.n == 0) return l; /* not one empty line */
    if (text.p[text.n - 1] == '\n') text.n--;
    while (str_split(&text, '\n', &line))
        l.items[l.n++] = line;
    return l;
}

static void number(struct lines *l, struct map *seen)
{
    l->numbers = calloc(l->n + 1, sizeof *l->numbers);
    if (!l->numbers) abort();
    for (size_t i = 0; i < l->n; i++) {
        uint64_t known = seen->n;
        if (!map_get(seen, l->items[i], &known)) map_put(seen, l->items[i], known, NULL);
        l->numbers[i] = (uint32_t)known;
    }
}

enum { SAME = ' ', GONE = '-', NEW = '+' };

struct script { /* one mark a line, in the order of showing */
    char *marks;
    size_t n;
};

static void add(struct script *s, char mark, size_t times)
{
    memset(s->marks + s->n, mark, times);
    s->n += times;
}

static void middle(struct script *s, const uint32_t *a, size_t n, const uint32_t *b, size_t m)
{
    if (n == 0 || m == 0 || n >= 65535 || m >= 65535 || (n + 1) * (m + 1) > MAX_CELLS) {
        add(s, GONE, n);
        add(s, NEW, m);
        return;
    }
    size_t width = m + 1;
    uint16_t *len = calloc((n + 1) * width, sizeof *len);
    if (!len) abort();
    for (size_t i = n; i-- > 0;)
        for (size_t k = m; k-- > 0;) {
            uint16_t down = len[(i + 1) * width + k], right = len[i * width + k + 1];
            len[i * width + k] =
                a[i] == b[k] ? (uint16_t)(len[(i + 1) * width + k + 1] + 1) : (down >= right ? down : right);
        }
    size_t i = 0, k = 0;
    while (i < n && k < m) {
        if (a[i] == b[k]) {
            add(s, SAME, 1);
            i++, k++;
        } else if (len[(i + 1) * width + k] >= len[i * width + k + 1]) {
            add(s, GONE, 1);
            i++;
        } else {
            add(s, NEW, 1);
            k++;
        }
    }
    add(s, GONE, n - i);
    add(s, NEW, m - k);
    free(len);
}

static void show(struct buf *out, const struct script *s, const struct lines *a, const struct lines *b)
{
    size_t i = 0, k = 0, at = 0;
    while (at < s->n) {
        if (s->marks[at] == SAME) {
            at++, i++, k++;
            continue;
        }
        size_t before = i < CONTEXT ? i : CONTEXT;
        size_t end = at, quiet = 0, from = at - before;
        while (end < s->n && quiet <= 2 * CONTEXT) {
            quiet = s->marks[end] == SAME ? quiet + 1 : 0;
            end++;
        }
        if (quiet > CONTEXT) end -= quiet - CONTEXT;
        size_t gone = 0, fresh = 0;
        for (size_t p = from; p < end; p++) {
            gone += s->marks[p] != NEW;
            fresh += s->marks[p] != GONE;
        }
        i -= before, k -= before;
        buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", gone ? i + 1 : i, gone, fresh ? k + 1 : k, fresh);
        for (size_t p = from; p < end; p++) {
            buf_char(out, s->marks[p]);
            buf_str(out, s->marks[p] == NEW ? b->items[k] : a->items[i]);
            buf_char(out, '\n');
            i += s->marks[p] != NEW;
            k += s->marks[p] != GONE;
        }
        at = end;
    }
}

void textdiff(struct buf *out, struct str before, struct str after, const char *name_before, const char *name_after)
{
    if (str_eq(before, after)) return;
    struct lines a = split(before), b = split(after);
    MAP_AUTO seen;
    map_init(&seen, (uint64_t)(uintptr_t)a.items); /* the lines are anybody's */
    number(&a, &seen);
    number(&b, &seen);
    size_t head = 0, tail = 0, least = a.n < b.n ? a.n : b.n;
    while (head < least && a.numbers[head] == b.numbers[head])
        head++;
    while (tail < least - head && a.numbers[a.n - 1 - tail] == b.numbers[b.n - 1 - tail])
        tail++;
    struct script s = {malloc(a.n + b.n + 1), 0};
    if (!s.marks) abort();
    add(&s, SAME, head);
    middle(&s, a.numbers + head, a.n - head - tail, b.numbers + head, b.n - head - tail);
    add(&s, SAME, tail);
    buf_printf(out, "--- %s\n+++ %s\n", name_before, name_after);
    show(out, &s, &a, &b);
    free(s.marks);
    free(a.items);
    free(b.items);
    free(a.numbers);
    free(b.numbers);
}
