/* Tables, JSON and the texts in them: see output.h. */
#include "cli/output.h"

#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/units.h"
#include "engine/os/clock.h"

#define GAP 2 /* spaces between columns */

void table_begin(struct table *t, struct arena *a, const struct column *columns, size_t n)
{
    *t = (struct table){.arena = a, .columns = columns, .n_columns = n};
}

void table_cell(struct table *t, struct str text, enum style style)
{
    if (t->n_rows == t->room) {
        size_t room = t->room ? t->room * 2 : 256, size = sizeof *t->cells, style_size = sizeof *t->styles;
        t->cells = arena_grow(t->arena, t->cells, t->n_rows * size, room * size);
        t->styles = arena_grow(t->arena, t->styles, t->n_rows * style_size, room * style_size);
        t->room = room;
    }
    t->cells[t->n_rows] = text;
    t->styles[t->n_rows++] = style; /* counted in cells: a row is n_columns of them */
}

void table_cell_c(struct table *t, const char *text)
{
    table_cell(t, str_of(text), STYLE_PLAIN_TEXT);
}

static void fit(const struct table *t, size_t *widths, size_t limit)
{
    for (;;) {
        size_t total = GAP * (t->n_columns - 1), widest = t->n_columns;
        for (size_t c = 0; c < t->n_columns; c++) {
            total += widths[c];
            bool can = t->columns[c].shrink_to && widths[c] > t->columns[c].shrink_to;
            if (can && (widest == t->n_columns || widths[c] > widths[widest])) widest = c;
        }
        if (total <= limit || widest == t->n_columns) return;
        widths[widest]--;
    }
}

/* A row ends where its last text does. */
static void end_row(struct buf *out)
{
    while (out->n && out->p[out->n - 1] == ' ')
        out->p[--out->n] = '\0';
    buf_char(out, '\n');
}

static void put_cell(struct buf *out, const struct table *t, size_t c, struct str text, enum style style,
                     const size_t *widths, const struct term *term)
{
    size_t columns = term_columns(text), width = widths[c];
    bool last = c + 1 == t->n_columns;
    if (t->columns[c].right && columns < width) term_pad(out, width - columns);
    term_style(out, term->color, style);
    size_t used = term_text(out, text, width ? width : 1);
    term_style_end(out, term->color, style);
    if (last) return;
    if (!t->columns[c].right && used < width) term_pad(out, width - used);
    term_pad(out, GAP);
}

void table_print(struct buf *out, const struct table *t, const struct term *term)
{
    if (t->n_columns == 0) return;
    size_t *widths = arena_array(t->arena, size_t, t->n_columns);
    for (size_t c = 0; c < t->n_columns; c++)
        widths[c] = term_columns(str_of(t->columns[c].title));
    for (size_t i = 0; i < t->n_rows; i++) {
        size_t columns = term_columns(t->cells[i]);
        if (columns > widths[i % t->n_columns]) widths[i % t->n_columns] = columns;
    }
    if (term->width) fit(t, widths, term->width);
    for (size_t c = 0; c < t->n_columns; c++)
        put_cell(out, t, c, str_of(t->columns[c].title), STYLE_BOLD, widths, term);
    end_row(out);
    for (size_t i = 0; i < t->n_rows; i++) {
        size_t c = i % t->n_columns;
        put_cell(out, t, c, t->cells[i], t->styles[i], widths, term);
        if (c + 1 == t->n_columns) end_row(out);
    }
}

static void indent(struct buf *out, unsigned depth)
{
    buf_char(out, '\n');
    term_pad(out, (size_t)depth * 2);
}

static void pretty(struct buf *out, const struct value *v, unsigned depth)
{
    bool list = v->type == VALUE_LIST;
    size_t n = list ? v->u.list.n : v->type == VALUE_MAP ? v->u.map.n : 0;
    if (!n) {
        value_json(out, v, false);
        return;
    }
    buf_char(out, list ? '[' : '{');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_char(out, ',');
        indent(out, depth + 1);
        if (!list) {
            struct value key = value_string(v->u.map.entries[i].key);
            value_json(out, &key, false);
            buf_c(out, ": ");
        }
        pretty(out, list ? &v->u.list.items[i] : &v->u.map.entries[i].value, depth + 1);
    }
    indent(out, depth);
    buf_char(out, list ? ']' : '}');
}

void output_json(struct buf *out, const struct value *v)
{
    pretty(out, v, 0);
    buf_char(out, '\n');
}

/* ---- fields ---- */

struct str field_str(const struct value *map, const char *key)
{
    const struct value *v = map ? value_get(map, key) : NULL;
    return v && v->type == VALUE_STRING ? v->u.s : STR("");
}

int64_t field_int(const struct value *map, const char *key, int64_t fallback)
{
    const struct value *v = map ? value_get(map, key) : NULL;
    return v && v->type == VALUE_INT ? v->u.i : fallback;
}

bool field_bool(const struct value *map, const char *key)
{
    const struct value *v = map ? value_get(map, key) : NULL;
    return v && v->type == VALUE_BOOL && v->u.b;
}

const struct value *field_list(const struct value *map, const char *key, size_t *n)
{
    const struct value *v = map ? value_get(map, key) : NULL;
    bool is = v && v->type == VALUE_LIST;
    *n = is ? v->u.list.n : 0;
    return is ? v->u.list.items : NULL;
}

struct str value_text(struct arena *a, const struct value *v)
{
    if (!v || v->type == VALUE_NULL) return STR("");
    if (v->type == VALUE_STRING) return v->u.s;
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, v, false);
    return arena_str(a, buf_view(&text));
}

/* ---- times ---- */

int64_t time_parse(struct str text)
{
    int64_t us;
    return os_time_parse(text, &us) ? us : 0;
}

struct str span_text(struct arena *a, int64_t us)
{
    if (us < 0) us = 0;
    int64_t s = us / 1000000;
    if (s < 10) return arena_printf(a, "%lld.%llds", (long long)s, (long long)(us / 100000 % 10));
    if (s < 60) return arena_printf(a, "%llds", (long long)s);
    if (s < 3600) return arena_printf(a, "%lldm%02llds", (long long)(s / 60), (long long)(s % 60));
    if (s < 86400) return arena_printf(a, "%lldh%02lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
    return arena_printf(a, "%lldd%02lldh", (long long)(s / 86400), (long long)(s / 3600 % 24));
}

struct str age_text(struct arena *a, int64_t then_us, int64_t now_us)
{
    if (!then_us) return STR("");
    int64_t s = now_us > then_us ? (now_us - then_us) / 1000000 : 0;
    if (s < 60) return arena_printf(a, "%llds ago", (long long)s);
    if (s < 3600) return arena_printf(a, "%lldm ago", (long long)(s / 60));
    if (s < 2 * 86400) return arena_printf(a, "%lldh ago", (long long)(s / 3600));
    return arena_printf(a, "%lldd ago", (long long)(s / 86400));
}

enum style style_of_state(struct str state)
{
    static const struct {
        const char *state;
        enum style style;
    } rows[] = {
        {"succeeded", STYLE_GREEN}, {"failed", STYLE_RED},   {"cancelled", STYLE_YELLOW}, {"cancelling", STYLE_YELLOW},
        {"stopping", STYLE_YELLOW}, {"running", STYLE_CYAN}, {"backoff", STYLE_YELLOW},   {"waiting", STYLE_BLUE},
        {"paused", STYLE_YELLOW},   {"skipped", STYLE_DIM},  {"pending", STYLE_DIM},      {"ready", STYLE_BLUE},
        {"queued", STYLE_BLUE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (str_is(state, rows[i].state)) return rows[i].style;
    }
    return STYLE_PLAIN_TEXT;
}
