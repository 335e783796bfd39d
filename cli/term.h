/* What the terminal can show: its width, colours, how wide a text stands in it. Text from a server is never trusted to
 * be harmless to a terminal: everything that is shown goes through term_text(). */
#ifndef MILLRACE_CLI_TERM_H
#define MILLRACE_CLI_TERM_H

#include <stdio.h>

#include "engine/base/buf.h"

struct term {
    bool tty;       /* a terminal that can move its cursor */
    bool color;     /* a terminal, and neither NO_COLOR nor TERM=dumb */
    bool utf8;      /* symbols beyond ASCII are fine */
    unsigned width; /* columns; 0 = no limit (not a terminal) */
    unsigned height;
};

void term_look(struct term *t, FILE *stream, bool allow_color);
void term_resize(struct term *t, FILE *stream); /* asks for width and height again */

enum style { STYLE_PLAIN_TEXT, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_GREEN, STYLE_YELLOW, STYLE_BLUE, STYLE_CYAN };
/* Escape sequences when `color`, else nothing. */
void term_style(struct buf *out, bool color, enum style style);
void term_style_end(struct buf *out, bool color, enum style style);

/* Columns that the text takes once term_text() has cleaned it. Needs LC_CTYPE to be a UTF-8 locale. */
size_t term_columns(struct str text);
/* The text, control characters replaced, cut to `columns` with an ellipsis (0 = no limit). Returns the columns written.
 */
size_t term_text(struct buf *out, struct str text, size_t limit);
void term_pad(struct buf *out, size_t columns); /* that many spaces */

#endif
