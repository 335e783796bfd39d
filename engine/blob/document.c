/* Telling Millrace documents from other files. See document.h. */
#include "engine/blob/document.h"

#include <string.h>

bool document_named(struct str name)
{
    return str_ends(name, ".yaml") || str_ends(name, ".yml");
}

/* `word` and nothing behind it but a comment. */
static bool is_only(struct str line, const char *word)
{
    if (!str_starts(line, word)) return false;
    struct str rest = str_sub(line, strlen(word), line.n), bare = str_trim(rest);
    return bare.n == 0 || (bare.p[0] == '#' && bare.p > rest.p);
}

static void end_document(struct document *d)
{
    if (d->begun && !d->kind) d->other = true;
    d->begun = d->kind = false;
}

static void end_line(struct document *d)
{
    struct str line = {d->line, d->n}, bare = str_trim(line);
    d->n = 0;
    if (is_only(line, "---") || is_only(line, "...")) {
        end_document(d);
    } else if (str_starts(line, "--- ") || str_starts(line, "---\t")) {
        d->other = true; /* a document that begins behind its mark */
    } else if (d->begun) {
        d->kind = d->kind || is_only(line, "kind: Pipeline");
    } else if (str_starts(line, "apiVersion: millrace/")) {
        d->begun = d->any = true;
    } else if (bare.n > 0 && bare.p[0] != '#' && line.p[0] != '%') {
        d->other = true;
    }
}

void document_add(struct document *d, const char *p, size_t n)
{
    while (n > 0 && !d->other) {
        const char *end = memchr(p, '\n', n);
        size_t length = end != NULL ? (size_t)(end - p) : n, room = sizeof d->line - d->n;
        if (length > 0 && room > 0) memcpy(d->line + d->n, p, length < room ? length : room);
        d->n += length < room ? length : room;
        if (end == NULL) return;
        end_line(d);
        p = end + 1;
        n -= length + 1;
    }
}

bool document_end(struct document *d)
{
    end_line(d);
    end_document(d);
    return d->any && !d->other;
}
