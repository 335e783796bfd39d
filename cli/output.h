/* How results are shown: tables that fit the terminal, JSON, YAML; times and sizes for people. */
#ifndef MILLRACE_CLI_OUTPUT_H
#define MILLRACE_CLI_OUTPUT_H

#include "cli/term.h"
#include "engine/base/value.h"

struct column {
    const char *title;
    bool right;         /* numbers */
    unsigned shrink_to; /* a narrow terminal may cut it down to so many columns; 0 = never */
};

struct table {
    struct arena *arena;
    const struct column *columns;
    size_t n_columns;
    struct str *cells; /* row by row */
    enum style *styles;
    size_t n_rows, room;
};

void table_begin(struct table *t, struct arena *a, const struct column *columns, size_t n);
/* A cell of the current row, from left to right; a full row starts the next by itself. */
void table_cell(struct table *t, struct str text, enum style style);
void table_cell_c(struct table *t, const char *text); /* NULL = empty */
void table_print(struct buf *out, const struct table *t, const struct term *term);

/* JSON with two spaces of indentation and an end of line. */
void output_json(struct buf *out, const struct value *v);

/* ---- fields of answers: absent or of another type gives the empty thing ---- */
struct str field_str(const struct value *map, const char *key);
int64_t field_int(const struct value *map, const char *key, int64_t fallback);
bool field_bool(const struct value *map, const char *key);
/* The items of a list field; n = 0 when there is none. */
const struct value *field_list(const struct value *map, const char *key, size_t *n);
/* Any scalar as text (null is empty); lists and maps as JSON. */
struct str value_text(struct arena *a, const struct value *v);

/* RFC 3339 → µs since 1970; 0 when it is none. */
int64_t time_parse(struct str text);
/* "12s", "3m20s", "2d4h": a span for people, at most two units. */
struct str span_text(struct arena *a, int64_t us);
/* How long ago; empty for time 0. */
struct str age_text(struct arena *a, int64_t then_us, int64_t now_us);

enum style style_of_state(struct str state);

#endif
