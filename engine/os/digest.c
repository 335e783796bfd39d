/* See digest.h. */
#include "engine/os/digest.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "sha256:"
#define PREFIX_LEN (sizeof PREFIX - 1)

/* Fetched once: EVP_sha256() would look the provider up for every digest. */
static const EVP_MD *sha256;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256) abort(); /* a libcrypto without SHA-256 is a broken installation */
}

void digest_begin(struct digest_stream *d)
{
    pthread_once(&once, fetch);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestInit_ex2(ctx, sha256, NULL) != 1) abort();
    d->ctx = ctx;
    d->size = 0;
}

void digest_add(struct digest_stream *d, const void *p, size_t n)
{
    if (EVP_DigestUpdate(d->ctx, p, n) != 1) abort();
    d->size += n;
}

void digest_end_raw(struct digest_stream *d, unsigned char out[DIGEST_BYTES])
{
    if (EVP_DigestFinal_ex(d->ctx, out, NULL) != 1) abort();
    digest_abandon(d);
}

static void write_text(const unsigned char raw[DIGEST_BYTES], char out[DIGEST_TEXT])
{
    memcpy(out, PREFIX, PREFIX_LEN);
    digest_hex(raw, DIGEST_BYTES, out + PREFIX_LEN);
}

void digest_end(struct digest_stream *d, char out[DIGEST_TEXT])
{
    unsigned char raw[DIGEST_BYTES];
    digest_end_raw(d, raw);
    write_text(raw, out);
}

void digest_abandon(struct digest_stream *d)
{
    EVP_MD_CTX_free(d->ctx);
    d->ctx = NULL;
}

void digest_raw(struct str bytes, unsigned char out[DIGEST_BYTES])
{
    struct digest_stream d;
    digest_begin(&d);
    digest_add(&d, bytes.p, bytes.n);
    digest_end_raw(&d, out);
}

void digest_of(struct str bytes, char out[DIGEST_TEXT])
{
    unsigned char raw[DIGEST_BYTES];
    digest_raw(bytes, raw);
    write_text(raw, out);
}

bool digest_fd(int fd, char out[DIGEST_TEXT], int64_t *size, struct err *err)
{
    struct digest_stream d;
    digest_begin(&d);
    char *block = malloc(1 << 16);
    if (!block) abort();
    ssize_t n;
    for (;;) {
        n = read(fd, block, 1 << 16);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        digest_add(&d, block, (size_t)n);
    }
    int saved = errno;
    free(block);
    if (n < 0) {
        digest_abandon(&d);
        return err_set(err, ERR_IO, "cannot read the file: %s", strerror(saved));
    }
    if (size) *size = (int64_t)d.size;
    digest_end(&d, out);
    return true;
}

bool digest_valid(struct str text)
{
    if (text.n != DIGEST_TEXT - 1 || !str_starts(text, PREFIX)) return false;
    for (size_t i = PREFIX_LEN; i < text.n; i++) {
        char c = text.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return true;
}

void digest_hex(const unsigned char *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

bool digest_same(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}
