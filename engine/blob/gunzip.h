/* A gzip file read piece by piece and to its last byte: libarchive's own reader leaves the checksum and what follows
 * the stream alone, and takes what is no gzip at all. */
#ifndef MILLRACE_BLOB_GUNZIP_H
#define MILLRACE_BLOB_GUNZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <zlib.h>

#define GUNZIP_PIECE 65536

struct gunzip {
    int fd;
    z_stream z;
    bool begun, whole; /* whole: a stream has ended, and another may follow, as gzip files are put together */
    const char *said;  /* what is wrong with it; NULL = nothing */
    int failed;        /* an errno, when it could not be read */
    unsigned char in[GUNZIP_PIECE], out[GUNZIP_PIECE];
};

/* From where the file stands. */
void gunzip_begin(struct gunzip *g, int fd);
void gunzip_end(struct gunzip *g);
/* The next bytes, in g->out; *n is 0 once all is read and nothing was wrong. False leaves `said` or `failed`. */
bool gunzip_more(struct gunzip *g, size_t *n);

#endif
