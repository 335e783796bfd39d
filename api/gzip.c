/* A deflate stream with a small window. See gzip.h. */
#include "api/gzip.h"

#include <stdlib.h>
#include <zlib.h>

struct gzip {
    z_stream z;
};

struct gzip *gzip_new(void)
{
    struct gzip *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    /* Window of 8 KiB and little memory: answers are short, threads are many. 16 asks for the gzip wrapper. */
    if (deflateInit2(&g->z, 1, Z_DEFLATED, 16 + 13, 6, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(g);
        return NULL;
    }
    return g;
}

void gzip_free(struct gzip *g)
{
    if (!g) return;
    deflateEnd(&g->z);
    free(g);
}

bool gzip_add(struct gzip *g, const void *bytes, size_t n, bool last, struct buf *out)
{
    const unsigned char *p = bytes;
    do {
        size_t piece = n > (1u << 20) ? (1u << 20) : n;
        g->z.next_in = (unsigned char *)(uintptr_t)p;
        g->z.avail_in = (unsigned)piece;
        p += piece;
        n -= piece;
        int flush = last && n == 0 ? Z_FINISH : Z_NO_FLUSH;
        do {
            if (!buf_reserve(out, 4096)) return false;
            size_t room = out->room - out->n - 1;
            if (room > (1u << 20)) room = 1u << 20;
            g->z.next_out = (unsigned char *)out->p + out->n;
            g->z.avail_out = (unsigned)room;
            int rc = deflate(&g->z, flush);
            out->n += room - g->z.avail_out;
            out->p[out->n] = '\0';
            if (rc == Z_STREAM_END) break;
            if (rc != Z_OK && rc != Z_BUF_ERROR) return false;
        } while (g->z.avail_out == 0 || g->z.avail_in > 0);
    } while (n > 0);
    return true;
}
