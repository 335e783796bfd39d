/* From a place in a scalar's decoded text back to the source: quotes, escapes, folding and indentation are walked
 * again. Only errors come here, so it may take its time. */
#include "engine/text/yaml.h"

struct walk {
    struct str source;
    size_t i;          /* byte in the source */
    struct pos at;     /* of it */
    struct pos inner;  /* within the decoded text */
    struct pos target; /* what is looked for there */
};

static bool arrived(const struct walk *w)
{
    return w->inner.line > w->target.line || (w->inner.line == w->target.line && w->inner.col >= w->target.col);
}

static char peek(const struct walk *w, size_t ahead)
{
    return w->i + ahead < w->source.n ? w->source.p[w->i + ahead] : '\0';
}

/* One code point of the source. */
static void step(struct walk *w)
{
    if (w->i >= w->source.n) return;
    bool newline = w->source.p[w->i] == '\n';
    w->i++;
    while (w->i < w->source.n && ((unsigned char)w->source.p[w->i] & 0xC0) == 0x80)
        w->i++;
    if (newline)
        w->at = (struct pos){w->at.line + 1, 1};
    else
        w->at.col++;
}

static void emitted(struct walk *w, bool newline)
{
    if (newline)
        w->inner = (struct pos){w->inner.line + 1, 1};
    else
        w->inner.col++;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A line break in a flow scalar: with the blanks around it one space, and one newline for each empty line. */
static void fold(struct walk *w)
{
    unsigned breaks = 0;
    while (w->i < w->source.n && (blank(peek(w, 0)) || peek(w, 0) == '\n')) {
        breaks += peek(w, 0) == '\n';
        step(w);
    }
    for (unsigned k = 1; k < breaks; k++)
        emitted(w, true);
    if (breaks == 1) emitted(w, false);
}

/* Blanks that end in a line break belong to the fold. */
static bool before_break(const struct walk *w)
{
    size_t ahead = 0;
    while (blank(peek(w, ahead)))
        ahead++;
    return peek(w, ahead) == '\n';
}

static void walk_escape(struct walk *w)
{
    char c = peek(w, 1);
    unsigned digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    bool newline = c == 'n';
    step(w);
    step(w);
    if (c == '\n') {
        while (blank(peek(w, 0)))
            step(w);
        return;
    }
    for (unsigned k = 0; k < digits; k++)
        step(w);
    emitted(w, newline);
}

static void walk_flow(struct walk *w, enum value_style style)
{
    if (style != STYLE_PLAIN) step(w); /* the opening quote */
    while (w->i < w->source.n) {
        char c = peek(w, 0);
        bool nothing = style == STYLE_DOUBLE && c == '\\' && peek(w, 1) == '\n'; /* an escaped line break */
        if (arrived(w) && !nothing) return;
        if (before_break(w)) {
            fold(w);
            continue;
        }
        if (style == STYLE_DOUBLE && c == '\\') {
            walk_escape(w);
            continue;
        }
        if (style == STYLE_SINGLE && c == '\'') step(w);
        step(w);
        emitted(w, false);
    }
}

/* Columns of indentation of a block scalar: that of its first line that is not empty. */
static size_t block_indent(struct str rest)
{
    struct str line;
    while (str_split(&rest, '\n', &line)) {
        if (str_trim(line).n == 0) continue;
        size_t n = 0;
        while (n < line.n && line.p[n] == ' ')
            n++;
        return n;
    }
    return 0;
}

static void walk_block(struct walk *w, bool folded)
{
    while (w->i < w->source.n && peek(w, 0) != '\n') /* the header: |, > and what belongs to them */
        step(w);
    step(w);
    size_t indent = block_indent(str_sub(w->source, w->i, w->source.n));
    while (w->i < w->source.n && !arrived(w)) {
        for (size_t k = 0; k < indent && peek(w, 0) == ' '; k++)
            step(w);
        if (w->inner.line == w->target.line && !folded) {
            w->at.col += w->target.col - 1;
            return;
        }
        while (w->i < w->source.n && peek(w, 0) != '\n' && !arrived(w)) {
            step(w);
            emitted(w, false);
        }
        if (arrived(w)) return;
        step(w);
        bool next_empty = peek(w, 0) == '\n';
        emitted(w, !folded || next_empty);
        while (folded && peek(w, 0) == '\n') {
            step(w);
            if (peek(w, 0) == '\n') emitted(w, true);
        }
    }
}

static size_t offset_of(struct str source, struct pos at)
{
    struct walk w = {.source = source, .at = {1, 1}};
    if (str_starts(source, "\xEF\xBB\xBF")) w.i = 3;
    while (w.i < source.n && (w.at.line < at.line || (w.at.line == at.line && w.at.col < at.col)))
        step(&w);
    return w.i;
}

struct pos yaml_locate(struct str source, const struct value *scalar, struct pos inner)
{
    struct walk w = {.source = source, .at = scalar->at, .inner = {1, 1}, .target = inner};
    if (scalar->at.line == 0 || source.n == 0 || inner.line == 0) return scalar->at;
    w.i = offset_of(source, scalar->at);
    switch (scalar->style) {
    case STYLE_PLAIN:
    case STYLE_SINGLE:
    case STYLE_DOUBLE: walk_flow(&w, scalar->style); break;
    case STYLE_LITERAL: walk_block(&w, false); break;
    case STYLE_FOLDED: walk_block(&w, true); break;
    case STYLE_NONE: break;
    }
    return arrived(&w) || scalar->style == STYLE_LITERAL ? w.at : scalar->at;
}
