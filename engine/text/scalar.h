/* The YAML 1.2 core schema: what a plain scalar means. Shared by reader and writer, so that what is written plain is
 * read back as the same. */
#ifndef MILLRACE_TEXT_SCALAR_H
#define MILLRACE_TEXT_SCALAR_H

#include "engine/base/value.h"

/* Of a plain scalar: null, bool, int, double, else a string that keeps the pointer. False: a number that cannot be
 * kept. */
MUST_CHECK bool scalar_resolve(struct str text, struct value *out, struct err *err);

#endif
