/* See kube_words.h. */
#include "scheduler/kube_words.h"

#include "scheduler/step_moves.h"

static struct str last_line(struct str log)
{
    struct str line = STR("");
    while (log.n > 0) {
        size_t end = log.n;
        while (end > 0 && log.p[end - 1] != '\n')
            end--;
        line = str_trim(str_sub(log, end, log.n));
        if (line.n > 0) break;
        log.n = end > 0 ? end - 1 : 0;
    }
    return line;
}

/* What is no text becomes one '?' each. */
static struct str readable(struct str line, struct arena *a)
{
    char *out = arena_alloc(a, line.n + 1);
    size_t n = 0;
    while (line.n > 0) {
        struct str good = utf8_sub(line, line.n);
        for (size_t i = 0; i < good.n; i++)
            out[n++] = (unsigned char)good.p[i] < ' ' || good.p[i] == 0x7f ? '?' : good.p[i];
        if (good.n < line.n) out[n++] = '?';
        line = str_sub(line, good.n + (good.n < line.n), line.n);
    }
    return (struct str){out, n};
}

struct str kube_words(struct str log, struct arena *a)
{
    struct str line = last_line(log);
    if (str_ends(line, STEP_MOVES_AGAIN)) line.n -= sizeof STEP_MOVES_AGAIN - 1;
    bool done = str_starts(line, "{"); /* what it ends with, a manifest */
    if (line.n == 0 || done || str_is(line, STEP_MOVES_WAITS)) return STR("");
    line = readable(line, a);
    if (line.n <= KUBE_WORDS_MAX) return line;
    return arena_printf(a, "%.*s…", STR_ARG(utf8_sub(line, KUBE_WORDS_MAX)));
}
