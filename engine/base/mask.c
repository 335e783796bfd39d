/* Covering values. See mask.h. */
#include "engine/base/mask.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096
#define LEVELS 8 /* of JSON within JSON: each costs a walk over the text */

static int longer_first(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : str_cmp(*x, *y);
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
    size_t kept = 0;
    if (m->n > 0) qsort(m->values, m->n, sizeof *m->values, longer_first);
    for (size_t i = 0; i < m->n && m->values[i].n >= MASK_SHORTEST; i++)
        if (kept == 0 || !str_eq(m->values[i], m->values[kept - 1])) m->values[kept++] = m->values[i];
    m->n = kept;
}

/* ---- finding ---- */

/* The values by their first four bytes: a text is walked over once, however many there are. */
struct index {
    uint32_t head[BUCKETS]; /* number of a value from 1; 0 = none */
    uint32_t *next;         /* of each value, the next of its bucket, which is no longer */
};

static size_t bucket(const char *p)
{
    uint32_t start;
    memcpy(&start, p, sizeof start);
    return start * UINT32_C(2654435761) >> 20;
}

static void index_make(struct index *ix, const struct mask *m)
{
    _Static_assert(BUCKETS == 1 << 12 && MASK_SHORTEST >= sizeof(uint32_t), "a bucket is 12 bits of 4 bytes");
    memset(ix->head, 0, sizeof ix->head);
    ix->next = malloc(m->n * sizeof *ix->next);
    if (ix->next == NULL) abort();
    for (size_t i = m->n; i-- > 0;) {
        uint32_t *head = &ix->head[bucket(m->values[i].p)];
        ix->next[i] = *head;
        *head = (uint32_t)i + 1;
    }
}

/* From *at on: where the next value stands, the longest of those that begin there. */
static bool next_value(const struct mask *m, const struct index *ix, struct str s, size_t *at, size_t *n)
{
    for (size_t i = *at; i + MASK_SHORTEST <= s.n; i++) {
        for (uint32_t k = ix->head[bucket(s.p + i)]; k != 0; k = ix->next[k - 1]) {
            struct str v = m->values[k - 1];
            if (v.n > s.n - i || memcmp(s.p + i, v.p, v.n) != 0) continue;
            *at = i;
            *n = v.n;
            return true;
        }
    }
    return false;
}

/* Looked for in what it was before: of two that overlap neither shows its rest. */
static bool cover(const struct mask *m, const struct index *ix, char *p, size_t n)
{
    char *before = NULL;
    for (size_t at = 0, length; next_value(m, ix, (struct str){before != NULL ? before : p, n}, &at, &length); at++) {
        if (before == NULL) {
            before = malloc(n);
            if (before == NULL) abort();
            memcpy(before, p, n);
        }
        memset(p + at, '*', length);
    }
    free(before);
    return before != NULL;
}

bool mask_cover(const struct mask *m, char *p, size_t n)
{
    struct index ix;
    if (m->n == 0 || n < MASK_SHORTEST) return false;
    index_make(&ix, m);
    bool covered = cover(m, &ix, p, n);
    free(ix.next);
    return covered;
}

/* ---- behind JSON's escapes ---- */

struct escaped {
    char *p; /* the text with its escapes undone... */
    size_t n;
    size_t *from; /* ...and where each byte of it, and its end, was in the text */
};

static bool hex4(const char *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) return false;
        *out = *out << 4 | (uint32_t)digit;
    }
    return true;
}

/* The escape at p as bytes, which are fewer: how many it is long; 0 when it is none. */
static size_t escape_at(const char *p, size_t left, char out[4], size_t *n_out)
{
    static const char shorts[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    uint32_t c, low;
    if (left < 2 || p[0] != '\\') return 0;
    for (size_t i = 0; i < sizeof shorts - 1; i += 2) {
        if (p[1] != shorts[i]) continue;
        out[0] = shorts[i + 1];
        *n_out = 1;
        return 2;
    }
    if (left < 6 || p[1] != 'u' || !hex4(p + 2, &c)) return 0;
    if (c < 0xD800 || c > 0xDFFF) {
        *n_out = utf8_put(out, c);
        return 6;
    }
    if (c > 0xDBFF || left < 12 || p[6] != '\\' || p[7] != 'u' || !hex4(p + 8, &low) || (low & 0xFC00) != 0xDC00)
        return 0;
    *n_out = utf8_put(out, 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00));
    return 12;
}

static bool undo_escapes(struct escaped *e)
{
    size_t n = 0;
    for (size_t i = 0, length, bytes; i < e->n; i += length) {
        char out[4];
        size_t from = e->from[i];
        length = escape_at(e->p + i, e->n - i, out, &bytes);
        if (length == 0) {
            length = bytes = 1;
            out[0] = e->p[i];
        }
        for (size_t k = 0; k < bytes; k++, n++) {
            e->p[n] = out[k];
            e->from[n] = from;
        }
    }
    bool undone = n < e->n;
    e->from[n] = e->from[e->n];
    e->n = n;
    return undone;
}

/* What shows of the text at each level of escapes; covered in `p` unless that is NULL. */
static bool walk_escaped(const struct mask *m, const struct index *ix, struct str s, char *p)
{
    bool found = false;
    if (s.n == 0 || memchr(s.p, '\\', s.n) == NULL) return false;
    struct escaped e = {malloc(s.n), s.n, malloc((s.n + 1) * sizeof *e.from)};
    if (e.p == NULL || e.from == NULL) abort();
    memcpy(e.p, s.p, s.n);
    for (size_t i = 0; i <= s.n; i++)
        e.from[i] = i;
    for (int level = 0; level < LEVELS && !(found && p == NULL) && undo_escapes(&e); level++) {
        for (size_t at = 0, n; next_value(m, ix, (struct str){e.p, e.n}, &at, &n); at++) {
            found = true;
            if (p == NULL) break;
            memset(p + e.from[at], '*', e.from[at + n] - e.from[at]);
        }
    }
    free(e.p);
    free(e.from);
    return found;
}

bool mask_cover_escaped(const struct mask *m, char *p, size_t n)
{
    struct index ix;
    if (m->n == 0 || n < MASK_SHORTEST) return false;
    char *plain = malloc(n);
    if (plain == NULL) abort();
    memcpy(plain, p, n);
    index_make(&ix, m);
    /* Each looks at what was written: what the one covers may be part of what the other finds. */
    bool found = cover(m, &ix, plain, n), hidden = walk_escaped(m, &ix, (struct str){p, n}, p);
    for (size_t i = 0; found && i < n; i++)
        if (plain[i] == '*') p[i] = '*';
    free(plain);
    free(ix.next);
    return found || hidden;
}

bool mask_holds(const struct mask *m, struct str s)
{
    struct index ix;
    size_t at = 0, n;
    if (m->n == 0 || s.n < MASK_SHORTEST) return false;
    index_make(&ix, m);
    bool holds = next_value(m, &ix, s, &at, &n) || walk_escaped(m, &ix, s, NULL);
    free(ix.next);
    return holds;
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
