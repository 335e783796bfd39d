/* Slices: comparing, cutting, and reading numbers out of them. */
#include "engine/base/str.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct str str_of(const char *c)
{
    return c ? (struct str){c, strlen(c)} : (struct str){"", 0};
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_is(struct str a, const char *c)
{
    return str_eq(a, str_of(c));
}

bool str_starts(struct str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && (n == 0 || memcmp(s.p, prefix, n) == 0);
}

bool str_ends(struct str s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.n >= n && (n == 0 || memcmp(s.p + s.n - n, suffix, n) == 0);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

struct str str_sub(struct str s, size_t from, size_t n)
{
    if (from > s.n) from = s.n;
    if (n > s.n - from) n = s.n - from;
    return (struct str){s.n ? s.p + from : s.p, n};
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.n && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_find(struct str s, struct str what, size_t *at)
{
    if (what.n == 0) {
        *at = 0;
        return true;
    }
    if (s.n < what.n) return false;
    const char *hit = memmem(s.p, s.n, what.p, what.n);
    if (!hit) return false;
    *at = (size_t)(hit - s.p);
    return true;
}

/* The end is a NULL pointer in *rest, so that an empty last piece ("a,") is still a piece. */
bool str_split(struct str *rest, char sep, struct str *piece)
{
    if (!rest->p) return false;
    const char *hit = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    if (!hit) {
        *piece = *rest;
        *rest = (struct str){NULL, 0};
        return true;
    }
    size_t n = (size_t)(hit - rest->p);
    *piece = (struct str){rest->p, n};
    *rest = (struct str){hit + 1, rest->n - n - 1};
    return true;
}

uint64_t str_hash(struct str s)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    return h;
}

bool str_int(struct str s, int64_t *out)
{
    size_t i = 0;
    bool negative = s.n && s.p[0] == '-';
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) i++;
    if (i == s.n) return false;
    int64_t v = 0;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        int digit = s.p[i] - '0';
        if (__builtin_mul_overflow(v, (int64_t)10, &v)) return false;
        if (__builtin_add_overflow(v, (int64_t)(negative ? -digit : digit), &v)) return false;
    }
    *out = v;
    return true;
}

static size_t digits(struct str s, size_t from)
{
    size_t i = from;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return i - from;
}

/* strtod() also takes hexadecimal, infinities and trailing text; the shape is checked first. */
static bool double_shape(struct str s)
{
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    size_t whole = digits(s, i), part = 0;
    i += whole;
    if (i < s.n && s.p[i] == '.') {
        part = digits(s, i + 1);
        i += 1 + part;
    }
    if (whole + part == 0) return false;
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        if (i < s.n && (s.p[i] == '-' || s.p[i] == '+')) i++;
        size_t power = digits(s, i);
        if (power == 0) return false;
        i += power;
    }
    return i == s.n;
}

bool str_double(struct str s, double *out)
{
    char text[512];
    if (s.n >= sizeof text || !double_shape(s)) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    double d = strtod(text, NULL);
    if (!isfinite(d)) return false;
    *out = d;
    return true;
}

size_t double_text(double d, char *out)
{
    if (isnan(d)) return (size_t)snprintf(out, 32, "NaN");
    if (isinf(d)) return (size_t)snprintf(out, 32, d < 0 ? "-Infinity" : "Infinity");
    int n = 0;
    for (int precision = 15; precision <= 17; precision++) {
        n = snprintf(out, 32, "%.*g", precision, d);
        if (strtod(out, NULL) == d) break;
    }
    if (!strpbrk(out, ".e")) n += snprintf(out + n, 32 - (size_t)n, ".0");
    return (size_t)n;
}

/* Length of the well-formed sequence at p, 0 when there is none (RFC 3629, section 4). */
static size_t sequence(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char from, to, second_from, second_to;
        unsigned char length;
    } rows[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    if (p[0] < 0x80) return 1;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        if (p[0] < rows[r].from || p[0] > rows[r].to) continue;
        if (n < rows[r].length || p[1] < rows[r].second_from || p[1] > rows[r].second_to) return 0;
        for (size_t i = 2; i < rows[r].length; i++) {
            if (p[i] < 0x80 || p[i] > 0xBF) return 0;
        }
        return rows[r].length;
    }
    return 0;
}

bool utf8_valid(struct str s, size_t *bad)
{
    size_t i = 0;
    while (i < s.n) {
        uint64_t word;
        if (s.n - i >= sizeof word && (memcpy(&word, s.p + i, sizeof word), !(word & 0x8080808080808080u))) {
            i += sizeof word;
            continue;
        }
        size_t n = sequence((const unsigned char *)s.p + i, s.n - i);
        if (n == 0) {
            if (bad) *bad = i;
            return false;
        }
        i += n;
    }
    return true;
}

size_t utf8_count(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

size_t utf8_put(char *p, uint32_t c)
{
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        p[i] = (char)(0x80 | (c & 0x3F));
    p[0] = (char)(lead[n] | c);
    return n;
}

struct str utf8_sub(struct str s, size_t n)
{
    size_t bad;
    s = str_sub(s, 0, n);
    return utf8_valid(s, &bad) ? s : str_sub(s, 0, bad);
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
