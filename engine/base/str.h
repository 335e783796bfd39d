/* Slices: a pointer and a length into bytes that somebody else owns. Never NUL-terminated by promise. */
#ifndef MILLRACE_BASE_STR_H
#define MILLRACE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const char *p;
    size_t n;
};

/* For printf: printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).n, (s).p
/* A slice of a string literal; STR_INIT stands in static initialisers. */
#define STR_INIT(lit)                                                                                                  \
    {                                                                                                                  \
        (lit), sizeof(lit) - 1                                                                                         \
    }
#define STR(lit) ((struct str)STR_INIT(lit))

struct str str_of(const char *c); /* of a C string; NULL gives an empty slice */
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *c);
bool str_starts(struct str s, const char *prefix);
bool str_ends(struct str s, const char *suffix);
int str_cmp(struct str a, struct str b);                       /* bytewise */
struct str str_sub(struct str s, size_t from, size_t n);       /* clamped to s */
struct str str_trim(struct str s);                             /* ASCII white space off both ends */
bool str_find(struct str s, struct str what, size_t *at);      /* first occurrence */
bool str_split(struct str *rest, char sep, struct str *piece); /* false at the end; "a,,b" has 3 pieces */
uint64_t str_hash(struct str s); /* not for untrusted keys' denial of service: see map.h */

/* Whole slice as a number; false on anything else, overflow included. */
bool str_int(struct str s, int64_t *out);
bool str_double(struct str s, double *out);
/* Shortest text that reads back the same; whole numbers keep a ".0". out holds 32 bytes; returns the length. */
size_t double_text(double d, char *out);

/* RFC 3629. The offset of the first bad byte goes to *bad when it is not NULL. */
bool utf8_valid(struct str s, size_t *bad);
size_t utf8_count(struct str s);             /* code points of valid UTF-8 */
size_t utf8_put(char *p, uint32_t c);        /* up to 4 bytes; how many */
struct str utf8_sub(struct str s, size_t n); /* as much of the first n bytes as is valid: no half character */
int hex_digit(char c);                       /* its value; -1 = it is none */

/* The candidate nearest to `word` by edit distance, for "did you mean"; empty when none is near. */
struct str suggest(struct str word, const struct str *candidates, size_t n);

#endif
