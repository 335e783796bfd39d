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

/* What is no text becomes one '?' each; of lines, not what parts them and their columns. */
static struct str readable(struct str text, bool lines, struct arena *a)
{
    char *out = arena_alloc(a, text.n + 1);
    size_t n = 0;
    while (text.n > 0) {
        struct str good = utf8_sub(text, text.n);
        for (size_t i = 0; i < good.n; i++) {
            char c = good.p[i];
            bool layout = lines && (c == '\n' || c == '\r' || c == '\t');
            out[n++] = ((unsigned char)c < ' ' && !layout) || c == 0x7f ? '?' : c;
        }
        if (good.n < text.n) out[n++] = '?';
        text = str_sub(text, good.n + (good.n < text.n), text.n);
    }
    return (struct str){out, n};
}

struct str kube_words(struct str log, struct arena *a)
{
    struct str line = last_line(log);
    if (str_ends(line, STEP_MOVES_AGAIN)) line.n -= sizeof STEP_MOVES_AGAIN - 1;
    bool done = str_starts(line, "{"); /* what it ends with, a manifest */
    if (line.n == 0 || done || str_is(line, STEP_MOVES_WAITS)) return STR("");
    line = readable(line, false, a);
    if (line.n <= KUBE_WORDS_MAX) return line;
    return arena_printf(a, "%.*s…", STR_ARG(utf8_sub(line, KUBE_WORDS_MAX)));
}

struct str kube_last_lines(struct str log, bool cut, struct str output, struct arena *a)
{
    size_t at, end;
    struct str last = str_trim(cut && str_find(log, STR("\n"), &end) ? str_sub(log, end + 1, log.n) : log);
    if (last.n == 0) return last;
    struct str hint = STR("");
    if (str_find(last, STR("Device or resource busy"), &at))
        hint = arena_printf(a,
                            "; its output '%.*s' is a mount here, and can only be written in place, as with "
                            "cat FILE > outputs/NAME",
                            STR_ARG(output));
    return arena_printf(a, "%.*s; its last lines:\n%.*s", STR_ARG(hint), STR_ARG(readable(last, true, a)));
}
