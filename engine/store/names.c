/* See names.h. */
#include "engine/store/names.h"

#include <string.h>

#define HEX_DIGITS 64
#define NUMBER_DIGITS 18 /* of a bigint, whatever they are */

static const struct {
    const char *word, *digits;
    size_t min, max;
} kinds[] = {{"sha256:", "0123456789abcdef", HEX_DIGITS, HEX_DIGITS}, {"artifact:", "0123456789", 1, NUMBER_DIGITS}};

static bool name_at(struct str at, struct str *out)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (!str_starts(at, kinds[k].word)) continue;
        size_t begin = strlen(kinds[k].word), end = begin;
        while (end < at.n && end - begin < kinds[k].max && strchr(kinds[k].digits, at.p[end]) && at.p[end])
            end++;
        if (end - begin < kinds[k].min) return false;
        *out = str_sub(at, 0, end);
        return true;
    }
    return false;
}

/* Their colons are rare in most texts, so those are looked for. */
bool names_next(struct str *rest, struct str *out)
{
    size_t from = 0;
    for (;;) {
        const char *colon = from < rest->n ? memchr(rest->p + from, ':', rest->n - from) : NULL;
        if (colon == NULL) return false;
        size_t at = (size_t)(colon - rest->p);
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            size_t before = strlen(kinds[k].word) - 1;
            if (at < before || !name_at(str_sub(*rest, at - before, rest->n), out)) continue;
            *rest = str_sub(*rest, at - before + out->n, rest->n);
            return true;
        }
        from = at + 1;
    }
}

size_t names_all(struct str text, struct arena *a, struct str **out)
{
    struct str rest = text, name;
    size_t n = 0;
    while (names_next(&rest, &name))
        n++;
    *out = arena_array(a, struct str, n + 1);
    rest = text;
    for (size_t i = 0; i < n && names_next(&rest, &name); i++)
        (*out)[i] = name;
    return n;
}
