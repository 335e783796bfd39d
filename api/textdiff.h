/* The difference of two texts by lines, as `diff -u` shows it. */
#ifndef MILLRACE_API_TEXTDIFF_H
#define MILLRACE_API_TEXTDIFF_H

#include "engine/base/buf.h"

/* Nothing is written when they are equal. Time and memory are bounded: texts that differ in very many lines are shown
 * as replaced. */
void textdiff(struct buf *out, struct str before, struct str after, const char *name_before, const char *name_after);

#endif
