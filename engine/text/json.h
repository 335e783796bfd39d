/* JSON (RFC 8259) to values that know where they stand. Read here and not by a library, because request bodies are
 * answered with the line and column of what is wrong in them, and because stored plans and outputs are read often. */
#ifndef MILLRACE_TEXT_JSON_H
#define MILLRACE_TEXT_JSON_H

#include "engine/base/value.h"

#define JSON_MAX_DEPTH 64

/* The whole text is one value. Strings without escapes keep pointing into the text, which must outlive them. Refused:
 * duplicate keys, integers beyond 64 bits, NUL inside strings, broken UTF-8, nesting deeper than max_depth (0 = the
 * default). */
MUST_CHECK bool json_parse(struct arena *a, struct str text, size_t max_depth, struct value *out, struct err *err);

/* The same with the default depth and every string copied: the shape expr.h and run.h ask for. */
MUST_CHECK bool json_decode(struct arena *a, struct str text, struct value *out, struct err *err);

#endif
