/* Undoing gzip. See gunzip.h. */
#include "engine/blob/gunzip.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define GZIP_ONLY (15 + 16) /* zlib's word for the largest window, and gzip's header and trailer around it */
#define FIRST_BYTE 0x1F

void gunzip_begin(struct gunzip *g, int fd)
{
    g->fd = fd;
    g->z = (z_stream){0};
    g->begun = g->whole = false;
    g->said = NULL;
    g->failed = 0;
    if (inflateInit2(&g->z, GZIP_ONLY) != Z_OK) abort(); /* out of memory */
}

void gunzip_end(struct gunzip *g)
{
    inflateEnd(&g->z);
}

static bool fill(struct gunzip *g)
{
    ssize_t n;
    if (g->z.avail_in > 0) return true;
    do
        n = read(g->fd, g->in, sizeof g->in);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        g->failed = errno;
        return false;
    }
    g->z.next_in = g->in;
    g->z.avail_in = (unsigned)n;
    return true;
}

static bool wrong(struct gunzip *g, const char *what)
{
    g->said = what;
    return false;
}

/* Between streams: *ended when there is no further one. */
static bool next_stream(struct gunzip *g, bool *ended)
{
    *ended = g->whole && g->z.avail_in == 0;
    if (*ended) return true;
    if (g->z.avail_in == 0) return wrong(g, g->begun ? "it is cut off" : "it is empty");
    if (!g->whole && g->begun) return true;
    if (g->z.next_in[0] != FIRST_BYTE)
        return wrong(g, g->whole ? "other bytes follow its end" : "it does not begin as gzip does");
    if (g->whole && inflateReset(&g->z) != Z_OK) return wrong(g, "it cannot be read");
    g->begun = true;
    g->whole = false;
    return true;
}

bool gunzip_more(struct gunzip *g, size_t *n)
{
    g->z.next_out = g->out;
    g->z.avail_out = sizeof g->out;
    while (g->z.avail_out == sizeof g->out) {
        bool ended;
        if (!fill(g) || !next_stream(g, &ended)) return false;
        if (ended) break;
        int r = inflate(&g->z, Z_NO_FLUSH);
        g->whole = r == Z_STREAM_END;
        if (r != Z_OK && r != Z_STREAM_END) return wrong(g, g->z.msg != NULL ? g->z.msg : "it cannot be read");
    }
    *n = sizeof g->out - g->z.avail_out;
    return true;
}
