/* Compression of answers with zlib: one stream an answer. */
#ifndef MILLRACE_API_GZIP_H
#define MILLRACE_API_GZIP_H

#include "engine/base/buf.h"

struct gzip;

struct gzip *gzip_new(void); /* NULL when memory is short: the answer then goes out as it is */
void gzip_free(struct gzip *g);
/* Appends the compressed form of bytes to *out; `last` ends the stream. */
bool gzip_add(struct gzip *g, const void *bytes, size_t n, bool last, struct buf *out);

#endif
