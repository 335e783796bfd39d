/* See wire.h. */
#include "engine/os/wire.h"

#include <string.h>

size_t wire_begin(struct buf *out, uint8_t kind)
{
    size_t begin = out->n;
    wire_u32(out, 0);
    buf_char(out, (char)kind);
    return begin;
}

void wire_u32(struct buf *out, uint32_t v)
{
    buf_add(out, &v, sizeof v);
}

void wire_i64(struct buf *out, int64_t v)
{
    buf_add(out, &v, sizeof v);
}

void wire_str(struct buf *out, struct str s)
{
    wire_u32(out, (uint32_t)s.n);
    buf_add(out, s.p, s.n);
}

void wire_end(struct buf *out, size_t begin)
{
    uint32_t n = (uint32_t)(out->n - begin - sizeof n);
    if (out->n >= begin + sizeof n) memcpy(out->p + begin, &n, sizeof n);
}

bool wire_next(struct str in, size_t *at, uint8_t *kind, struct wire_reader *r, bool *broken)
{
    uint32_t n;
    *broken = false;
    if (in.n - *at < sizeof n) return false;
    memcpy(&n, in.p + *at, sizeof n);
    if (n == 0 || n > WIRE_FRAME_MAX) {
        *broken = true;
        return false;
    }
    if (in.n - *at - sizeof n < n) return false;
    const char *p = in.p + *at + sizeof n;
    *kind = (uint8_t)p[0];
    *r = (struct wire_reader){p + 1, p + n, false};
    *at += sizeof n + n;
    return true;
}

static void take(struct wire_reader *r, void *out, size_t n)
{
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        memset(out, 0, n);
        return;
    }
    memcpy(out, r->p, n);
    r->p += n;
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    uint32_t v;
    take(r, &v, sizeof v);
    return v;
}

int64_t wire_get_i64(struct wire_reader *r)
{
    int64_t v;
    take(r, &v, sizeof v);
    return v;
}

struct str wire_get_str(struct wire_reader *r)
{
    uint32_t n = wire_get_u32(r);
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return STR("");
    }
    struct str s = {r->p, n};
    r->p += n;
    return s;
}

uint32_t wire_get_count(struct wire_reader *r, size_t each)
{
    uint32_t n = wire_get_u32(r);
    if (r->bad || (size_t)(r->end - r->p) / each < n) {
        r->bad = true;
        return 0;
    }
    return n;
}
