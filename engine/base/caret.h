/* Errors as a compiler shows them: the place, the source line, a caret under it and the hint behind the caret. */
#ifndef MILLRACE_BASE_CARET_H
#define MILLRACE_BASE_CARET_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

/* An error of another file names that one. Without a position, or when the source has no such line, only the first line
 * (and the hint) is written. */
void caret_render(struct buf *out, const struct err *e, const char *file, struct str source);

#endif
