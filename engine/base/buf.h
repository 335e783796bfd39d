/* Growing byte buffers with a hard cap. Going over the cap keeps what is there and raises a sticky flag, so that a
 * writer of many pieces checks once at the end. Memory is malloc'd and owned by the buffer. */
#ifndef MILLRACE_BASE_BUF_H
#define MILLRACE_BASE_BUF_H

#include "engine/base/str.h"

struct buf {
    char *p; /* NUL-terminated behind n once anything was added; NULL before */
    size_t n, room, cap;
    bool over; /* sticky */
};

void buf_init(struct buf *b, size_t cap); /* cap 0 = 64 MiB */
void buf_reset(struct buf *b);            /* empty, memory kept, flag cleared */
void buf_free(struct buf *b);
void buf_cleanup(struct buf *b); /* for __attribute__((cleanup(buf_cleanup))) */
#define BUF_AUTO __attribute__((cleanup(buf_cleanup))) struct buf

bool buf_add(struct buf *b, const void *p, size_t n);
bool buf_str(struct buf *b, struct str s);
bool buf_c(struct buf *b, const char *c);
bool buf_char(struct buf *b, char c);
bool buf_url(struct buf *b, struct str s); /* percent-encoded, but for RFC 3986's unreserved characters */
__attribute__((format(printf, 2, 3))) bool buf_printf(struct buf *b, const char *fmt, ...);
bool buf_reserve(struct buf *b, size_t more); /* room for that much beyond n, so that a caller may fill p + n itself */
struct str buf_view(const struct buf *b);     /* valid until the next change */

#endif
