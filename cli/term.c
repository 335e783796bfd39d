/* Terminals: see term.h. */
#include "cli/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

static unsigned number_of(const char *variable, unsigned fallback)
{
    const char *text = getenv(variable);
    int64_t n;
    if (text && str_int(str_of(text), &n) && n > 0 && n < 10000) return (unsigned)n;
    return fallback;
}

void term_resize(struct term *t, FILE *stream)
{
    struct winsize size;
    if (!t->tty) {
        t->width = number_of("COLUMNS", 0); /* a script may ask for it; without: no limit */
        t->height = 0;
        return;
    }
    bool known = ioctl(fileno(stream), TIOCGWINSZ, &size) == 0;
    t->width = known && size.ws_col ? size.ws_col : number_of("COLUMNS", 80);
    t->height = known && size.ws_row ? size.ws_row : number_of("LINES", 24);
}

static bool locale_is_utf8(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *name = getenv(variables[i]);
        if (!name || !*name) continue;
        return strstr(name, "UTF-8") || strstr(name, "utf8") || strstr(name, "UTF8") || strstr(name, "utf-8");
    }
    return false;
}

void term_look(struct term *t, FILE *stream, bool allow_color)
{
    const char *kind = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    bool dumb = !kind || !*kind || strcmp(kind, "dumb") == 0;
    memset(t, 0, sizeof *t);
    t->tty = isatty(fileno(stream)) && !dumb;
    t->color = t->tty && allow_color && !(no_color && *no_color);
    t->utf8 = locale_is_utf8();
    term_resize(t, stream);
}

static const char *const codes[] = {
    [STYLE_BOLD] = "\033[1m",    [STYLE_DIM] = "\033[2m",   [STYLE_RED] = "\033[31m",  [STYLE_GREEN] = "\033[32m",
    [STYLE_YELLOW] = "\033[33m", [STYLE_BLUE] = "\033[34m", [STYLE_CYAN] = "\033[36m",
};

void term_style(struct buf *out, bool color, enum style style)
{
    if (color && style != STYLE_PLAIN_TEXT) buf_c(out, codes[style]);
}

void term_style_end(struct buf *out, bool color, enum style style)
{
    if (color && style != STYLE_PLAIN_TEXT) buf_c(out, "\033[0m");
}

/* One character off the front: its bytes (or a replacement) and its columns. */
static struct str next_character(struct str *rest, size_t *columns)
{
    static const struct {
        wchar_t from, to;
    } turning[] = {{0x202A, 0x202E}, {0x2066, 0x2069}, {0x200E, 0x200F}, {0xFEFF, 0xFEFF}}; /* would reorder the line */
    mbstate_t state;
    memset(&state, 0, sizeof state);
    wchar_t c = 0;
    size_t n = mbrtowc(&c, rest->p, rest->n, &state);
    if (n == 0 || n > rest->n) n = 1, c = L'\0';
    struct str text = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    int width = wcwidth(c);
    bool harmless = c >= 0x20 && width >= 0;
    for (size_t i = 0; i < sizeof turning / sizeof *turning; i++)
        harmless = harmless && !(c >= turning[i].from && c <= turning[i].to);
    if (!harmless) {
        *columns = 1;
        return c == L'\n' || c == L'\t' || c == L'\r' ? STR(" ") : STR("?");
    }
    *columns = (size_t)width;
    return text;
}

size_t term_columns(struct str text)
{
    size_t total = 0, columns;
    while (text.n) {
        next_character(&text, &columns);
        total += columns;
    }
    return total;
}

size_t term_text(struct buf *out, struct str text, size_t limit)
{
    bool cut = limit && term_columns(text) > limit;
    size_t room = cut ? limit - 1 : SIZE_MAX, used = 0, columns;
    while (text.n) {
        struct str piece = next_character(&text, &columns);
        if (columns > room - used) break;
        buf_str(out, piece);
        used += columns;
    }
    if (cut) {
        buf_c(out, "…");
        used++;
    }
    return used;
}

void term_pad(struct buf *out, size_t columns)
{
    while (columns--)
        buf_char(out, ' ');
}
