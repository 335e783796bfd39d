/* SHA-256 by OpenSSL, written as "sha256:<64 hex digits>": the name of code, artifacts and plans. */
#ifndef MILLRACE_OS_DIGEST_H
#define MILLRACE_OS_DIGEST_H

#include "engine/base/err.h"

#define DIGEST_TEXT 72 /* "sha256:" + 64 + NUL */
#define DIGEST_BYTES 32

/* Streaming: begin, any number of adds, one end (or abandon). One thread at a time. */
struct digest_stream {
    void *ctx;     /* EVP_MD_CTX */
    uint64_t size; /* bytes added */
};
void digest_begin(struct digest_stream *d);
void digest_add(struct digest_stream *d, const void *p, size_t n);
void digest_end(struct digest_stream *d, char out[DIGEST_TEXT]); /* frees; NUL-terminated text */
void digest_end_raw(struct digest_stream *d, unsigned char out[DIGEST_BYTES]);
void digest_abandon(struct digest_stream *d);

void digest_of(struct str bytes, char out[DIGEST_TEXT]);
void digest_raw(struct str bytes, unsigned char out[DIGEST_BYTES]);

/* Of what an open file holds from its current offset on; *size may be NULL. */
MUST_CHECK bool digest_fd(int fd, char out[DIGEST_TEXT], int64_t *size, struct err *err);

bool digest_valid(struct str text); /* "sha256:" and 64 lower-case hex digits */

/* Lower-case hex of n bytes, NUL-terminated: out has 2n+1 bytes. */
void digest_hex(const unsigned char *p, size_t n, char *out);

/* Equality in a time that does not depend on the bytes: for tokens. */
bool digest_same(struct str a, struct str b);

#endif
