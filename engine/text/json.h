/* JSON (RFC 8259) to values, read by jansson. A text that cannot be read is answered with the line and column of what
 * is wrong; values that were read do not know where they stood. */
#ifndef MILLRACE_TEXT_JSON_H
#define MILLRACE_TEXT_JSON_H

#include "engine/base/value.h"

#define JSON_MAX_DEPTH 64

/* The whole text is one value, which keeps nothing of the text. Refused: duplicate keys, numbers beyond 64 bits, NUL
 * inside strings, broken UTF-8, nesting deeper than max_depth (0 = the default). What it may cost in
 * memory while it is read is bounded by 32 MiB and as many bytes as 16 times its length, which callers bound: a text of
 * nothing but small values is refused. */
MUST_CHECK bool json_parse(struct arena *a, struct str text, size_t max_depth, struct value *out, struct err *err);

/* The same with the default depth: the shape expr.h and run.h ask for. */
MUST_CHECK bool json_decode(struct arena *a, struct str text, struct value *out, struct err *err);

/* What was let in before and is kept, whatever it costs to read it, and 128 deep: to refuse it now would be too late.
 */
MUST_CHECK bool json_reload(struct arena *a, struct str text, struct value *out, struct err *err);
/* May it be let in, for what it costs to read? Of texts that came as something else: json_parse() asks by itself. */
MUST_CHECK bool json_may_come(struct str text, struct err *err);

#endif
