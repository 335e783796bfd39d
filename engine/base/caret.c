/* Errors as a compiler shows them: see caret.h. Columns of a terminal are not code points: wide and combining
 * characters are measured, tabs are repeated under themselves, and control characters never reach the terminal. */
#include "engine/base/caret.h"

#include <string.h>

#define WIDEST 100 /* columns of source shown; a longer line is cut around the place */

/* A line cut into what is shown, one entry a code point. */
struct glyph {
    struct str text;
    unsigned width;
};

static uint32_t decode(struct str s, size_t *length)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC0 ? 2 : 1;
    if (n > s.n || !utf8_valid(str_sub(s, 0, n), NULL)) {
        *length = 1;
        return 0xFFFD;
    }
    *length = n;
    uint32_t c = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3Fu);
    return c;
}

static unsigned width(uint32_t c)
{
    static const struct {
        uint32_t from, to;
        unsigned width;
    } rows[] = {
        {0x0300, 0x036F, 0}, {0x0483, 0x0489, 0},   {0x0591, 0x05BD, 0},   {0x064B, 0x065F, 0},   {0x1100, 0x115F, 2},
        {0x200B, 0x200F, 0}, {0x20D0, 0x20F0, 0},   {0x2E80, 0x303E, 2},   {0x3041, 0xA4CF, 2},   {0xAC00, 0xD7A3, 2},
        {0xF900, 0xFAFF, 2}, {0xFE00, 0xFE0F, 0},   {0xFE20, 0xFE2F, 0},   {0xFE30, 0xFE6F, 2},   {0xFF00, 0xFF60, 2},
        {0xFFE0, 0xFFE6, 2}, {0x1F300, 0x1F64F, 2}, {0x1F680, 0x1F6FF, 2}, {0x1F900, 0x1F9FF, 2}, {0x20000, 0x3FFFD, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (c >= rows[i].from && c <= rows[i].to) return rows[i].width;
    }
    return 1;
}

static struct glyph next_glyph(struct str *rest)
{
    size_t length;
    uint32_t c = decode(*rest, &length);
    struct glyph g = {str_sub(*rest, 0, length), width(c)};
    if (c != '\t' && (c < 0x20 || (c >= 0x7F && c < 0xA0))) g.text = STR("?");
    if (c == 0xFFFD) g.text = STR("\xEF\xBF\xBD");
    if (c == 0xFEFF || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069)) g = (struct glyph){STR("?"), 1};
    *rest = str_sub(*rest, length, rest->n);
    return g;
}

/* Text that may hold anything: names and values of a file that somebody else has written. */
static void plain(struct buf *out, struct str text)
{
    while (text.n)
        buf_str(out, next_glyph(&text).text);
}

static bool line_of(struct str source, uint32_t line, struct str *out)
{
    for (uint32_t i = 1; str_split(&source, '\n', out); i++) {
        if (i != line) continue;
        if (str_ends(*out, "\r")) out->n--;
        return true;
    }
    return false;
}

/* How many code points to leave away in front, so that the place stays visible. */
static size_t cut_in_front(size_t line_length, size_t col)
{
    if (line_length <= WIDEST || col <= WIDEST * 2 / 3) return 0;
    size_t from = col - WIDEST / 2;
    return line_length - from < WIDEST ? line_length - WIDEST : from;
}

static void excerpt(struct buf *out, const struct err *e, struct str line)
{
    size_t length = 0, col = e->at.col ? e->at.col : 1;
    size_t far = col + (size_t)2 * WIDEST; /* how long a line is that goes on so far behind the place is all the same */
    for (struct str rest = line; rest.n && length < far; length++)
        next_glyph(&rest);
    if (col > length + 1) col = length + 1;
    size_t from = cut_in_front(length, col), marks = e->len ? e->len : 1;
    BUF_AUTO under;
    buf_init(&under, 0);
    buf_printf(out, "%5u | %s", e->at.line, from ? "…" : "");
    if (from) buf_char(&under, ' ');
    size_t i = 1;
    for (struct str rest = line; rest.n && i <= from + WIDEST; i++) {
        struct glyph g = next_glyph(&rest);
        if (i <= from) continue;
        buf_str(out, g.text);
        char mark = i < col ? ' ' : i == col ? '^' : '~';
        if (i >= col + marks) continue;
        if (str_is(g.text, "\t")) buf_char(&under, i < col ? '\t' : mark);
        for (unsigned k = 0; k < g.width && !str_is(g.text, "\t"); k++)
            buf_char(&under, k && mark == '^' ? '~' : mark);
    }
    if (col == length + 1) buf_char(&under, '^');
    buf_printf(out, "%s\n      | %.*s", length > from + WIDEST ? "…" : "", STR_ARG(buf_view(&under)));
    if (e->hint[0]) buf_char(out, ' ');
    plain(out, str_of(e->hint));
    buf_char(out, '\n');
}

void caret_render(struct buf *out, const struct err *e, const char *file, struct str source)
{
    if (e->file) source = e->file->text;
    if (e->file)
        plain(out, e->file->name);
    else
        buf_c(out, file);
    if (e->at.line) buf_printf(out, ":%u:%u", e->at.line, e->at.col ? e->at.col : 1);
    buf_c(out, ": error: ");
    size_t n = strlen(e->path);
    bool said = n && strncmp(e->message, e->path, n) == 0 && (e->message[n] == ' ' || e->message[n] == ':');
    if (n && !said) plain(out, str_of(e->path));
    if (n && !said) buf_c(out, ": ");
    plain(out, str_of(e->message));
    buf_char(out, '\n');
    struct str line;
    if (e->at.line && line_of(source, e->at.line, &line)) {
        excerpt(out, e, line);
    } else if (e->hint[0]) {
        buf_c(out, "  hint: ");
        plain(out, str_of(e->hint));
        buf_char(out, '\n');
    }
    if (!e->file || !e->file->used_by.n) return;
    buf_c(out, "      = used by ");
    plain(out, e->file->used_by);
    buf_char(out, '\n');
}
