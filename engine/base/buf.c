/* Growing byte buffers: see buf.h. Doubling, never beyond the cap plus the terminating NUL. */
#include "engine/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CAP ((size_t)64 << 20)

void buf_init(struct buf *b, size_t cap)
{
    *b = (struct buf){.cap = cap ? cap : DEFAULT_CAP};
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->over = false;
    if (b->p) b->p[0] = '\0';
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.cap = b->cap};
}

void buf_cleanup(struct buf *b)
{
    buf_free(b);
}

bool buf_reserve(struct buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : DEFAULT_CAP;
    if (b->over) return false;
    if (more > cap || b->n > cap - more) {
        b->over = true;
        return false;
    }
    size_t need = b->n + more + 1;
    if (need <= b->room) return true;
    size_t room = b->room ? b->room : 64;
    while (room < need)
        room *= 2;
    if (room > cap + 1) room = cap + 1;
    char *p = realloc(b->p, room);
    if (!p) abort();
    b->p = p;
    b->room = room;
    b->p[b->n] = '\0';
    return true;
}

bool buf_add(struct buf *b, const void *p, size_t n)
{
    if (!buf_reserve(b, n)) return false;
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
    return true;
}

bool buf_str(struct buf *b, struct str s)
{
    return buf_add(b, s.p, s.n);
}

bool buf_c(struct buf *b, const char *c)
{
    return buf_str(b, str_of(c));
}

bool buf_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

bool buf_url(struct buf *b, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        unsigned byte = (unsigned char)c;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || memchr("-._~", c, 4) != NULL)
            buf_char(b, c);
        else
            buf_add(b, (char[]){'%', digits[byte >> 4], digits[byte & 15]}, 3);
    }
    return !b->over;
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0) return false;
    if ((size_t)n < sizeof small) return buf_add(b, small, (size_t)n);
    if (!buf_reserve(b, (size_t)n)) return false;
    va_start(args, fmt);
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
    return true;
}

struct str buf_view(const struct buf *b)
{
    return (struct str){b->p ? b->p : "", b->n};
}
