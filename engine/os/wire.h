/* Frames: what server and launcher say to each other, and what the launcher's journal holds. A frame is a 32-bit
 * length, a kind and fields in the machine's byte order (both ends are one binary on one machine). Reading never goes
 * beyond a frame: what is missing reads as zero and raises `bad`. */
#ifndef MILLRACE_OS_WIRE_H
#define MILLRACE_OS_WIRE_H

#include "engine/base/buf.h"

#define WIRE_FRAME_MAX (16u << 20)

/* Writing: begin, fields, end. */
size_t wire_begin(struct buf *out, uint8_t kind);
void wire_u32(struct buf *out, uint32_t v);
void wire_i64(struct buf *out, int64_t v);
void wire_str(struct buf *out, struct str s);
void wire_end(struct buf *out, size_t begin);

struct wire_reader {
    const char *p, *end;
    bool bad;
};

/* Takes the first frame of `in` (from *at on): its kind, its fields in *r, and *at moves behind it. False while it is
 * incomplete; then *broken tells whether waiting helps: an impossible length never does. */
bool wire_next(struct str in, size_t *at, uint8_t *kind, struct wire_reader *r, bool *broken);
uint32_t wire_get_u32(struct wire_reader *r);
int64_t wire_get_i64(struct wire_reader *r);
struct str wire_get_str(struct wire_reader *r); /* a slice of the frame */
/* A count that is to be followed by that many items of at least `each` bytes; an impossible one is bad and 0. */
uint32_t wire_get_count(struct wire_reader *r, size_t each);

#endif
