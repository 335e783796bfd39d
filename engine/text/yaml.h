/* YAML to values that know where they stand. YAML 1.2 core schema over libyaml's events, with limits, since the text is
 * anybody's: depth, nodes (after aliases are expanded) and bytes are bounded, and keys are unique. */
#ifndef MILLRACE_TEXT_YAML_H
#define MILLRACE_TEXT_YAML_H

#include "engine/base/buf.h"
#include "engine/base/value.h"

struct yaml_limits {      /* 0 = the default */
    size_t max_bytes;     /* 8 MiB */
    size_t max_depth;     /* 64 */
    size_t max_nodes;     /* 2,000,000; what an alias stands for counts each time */
    size_t max_documents; /* 1000 */
};

/* All documents of a text, into the arena; `limits` may be NULL. Strings are copied out of the text. Empty documents
 * are left away. False when there was any error: then nothing else is to be used. */
MUST_CHECK bool yaml_parse(struct arena *a, struct str text, const struct yaml_limits *limits, struct value **docs,
                           size_t *n, struct err_list *errors);

/* The same for who goes on to tell of everything that is wrong: true also when nothing worse was found, and reported,
 * than keys that stand twice; the first of them counts. */
MUST_CHECK bool yaml_read(struct arena *a, struct str text, const struct yaml_limits *limits, struct value **docs,
                          size_t *n, struct err_list *errors);

/* Where the code point at `inner` (line and column from 1, within the scalar's decoded text) stands in the source.
 * Scalars keep only their start; escapes, folding and indentation are walked again from there. Without an answer: the
 * start. */
struct pos yaml_locate(struct str source, const struct value *scalar, struct pos inner);

/* A value as a YAML document in block style, ending in a newline. What yaml_parse() reads from it is the same value. */
void yaml_emit(struct buf *out, const struct value *v);

#endif
