/* A streaming JSON writer (RFC 8259): writes to a sink in pieces, so that a long answer is never whole in memory.
 * Commas and nesting are its own business. Misuse (a value without a key in an object) aborts in debug builds. */
#ifndef MILLRACE_BASE_JSONW_H
#define MILLRACE_BASE_JSONW_H

#include "engine/base/buf.h"
#include "engine/base/value.h"

#define JSONW_DEPTH 128

/* Takes n bytes; false ends the writing (sticky). */
typedef bool jsonw_sink(void *ctx, const char *p, size_t n);

struct jsonw {
    jsonw_sink *sink;
    void *ctx;
    struct buf *buf; /* the sink when sink is NULL */
    bool failed;     /* sticky */
    uint8_t depth;
    uint8_t state[JSONW_DEPTH];
    size_t staged;
    char stage[4096];
};

void jsonw_to_buf(struct jsonw *w, struct buf *out);
void jsonw_to_sink(struct jsonw *w, jsonw_sink *sink, void *ctx);
bool jsonw_end(struct jsonw *w); /* flushes; false when any write failed or the text is unfinished */

void jsonw_object(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
void jsonw_array(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_key_str(struct jsonw *w, struct str key);

void jsonw_null(struct jsonw *w);
void jsonw_bool(struct jsonw *w, bool b);
void jsonw_int(struct jsonw *w, int64_t i);
void jsonw_double(struct jsonw *w,
                  double d); /* shortest form that reads back the same; NaN and infinities become null */
void jsonw_str(struct jsonw *w, struct str s);
void jsonw_cstr(struct jsonw *w, const char *c); /* NULL writes null */
void jsonw_value(struct jsonw *w, const struct value *v);
void jsonw_raw(struct jsonw *w, struct str json); /* already valid JSON, e.g. a jsonb column */

/* key and value in one call */
void jsonw_kv_str(struct jsonw *w, const char *key, struct str s);
void jsonw_kv_cstr(struct jsonw *w, const char *key, const char *c); /* NULL: the key is left out */
void jsonw_kv_int(struct jsonw *w, const char *key, int64_t i);
void jsonw_kv_bool(struct jsonw *w, const char *key, bool b);
void jsonw_kv_double(struct jsonw *w, const char *key, double d);

#endif
