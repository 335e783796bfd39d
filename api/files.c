/* Ranges and entity tags over pread. See files.h. */
#include "api/files.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/os/log.h"

#define PIECE 65536

bool files_digest(struct str digest, struct err *err)
{
    if (digest_valid(digest)) return true;
    err_set(err, ERR_INVALID, "'%.*s' is not a digest", STR_ARG(str_sub(digest, 0, 80)));
    err_path(err, "digest");
    return err_hint(err, "a digest is written sha256:<64 hex digits in lower case>");
}

static bool parse_range(struct str text, int64_t size, int64_t *from, int64_t *to)
{
    struct str rest = text, first;
    if (!str_starts(rest, "bytes=")) return false;
    rest = str_trim(str_sub(rest, 6, rest.n));
    size_t at;
    if (!str_find(rest, STR("-"), &at) || memchr(rest.p, ',', rest.n)) return false;
    first = str_trim(str_sub(rest, 0, at));
    rest = str_trim(str_sub(rest, at + 1, rest.n));
    if (first.n == 0) {
        int64_t last_n;
        if (!str_int(rest, &last_n) || last_n < 0) return false;
        *from = last_n >= size ? 0 : size - last_n;
        *to = last_n == 0 ? -1 : size - 1;
        return true;
    }
    if (!str_int(first, from) || *from < 0) return false;
    *to = size - 1;
    if (rest.n == 0) return true;
    int64_t last;
    if (!str_int(rest, &last) || last < *from) return false;
    if (last < *to) *to = last;
    return true;
}

bool files_range(struct request *rq, int64_t size, int64_t *from, int64_t *n, bool *partial, struct err *err)
{
    const char *header = request_header(rq, "Range");
    int64_t to;
    *from = 0;
    *n = size;
    *partial = false;
    if (!header || !parse_range(str_of(header), size, from, &to)) {
        *from = 0;
        return true;
    }
    if (*from >= size || to < *from) {
        response_header(rq, "Content-Range", "bytes */%lld", (long long)size);
        err_set(err, ERR_RANGE, "the range lies outside of the %lld bytes there are", (long long)size);
        return err_path(err, "Range");
    }
    *n = to - *from + 1;
    *partial = true;
    response_header(rq, "Content-Range", "bytes %lld-%lld/%lld", (long long)*from, (long long)to, (long long)size);
    return true;
}

static bool send_piece(void *ctx, const char *p, size_t n)
{
    return response_write(ctx, p, n);
}

/* What is damaged in a store elsewhere is cut short: its length has been promised, too. */
static bool send_blob(struct request *rq, struct store_blob *blob, int64_t from, int64_t n)
{
    struct err err = {0};
    if (store_read(blob, from, n, send_piece, rq, &err)) return true;
    if (err.code != ERR_NONE) log_err(LEVEL_WARN, "an artifact cannot be sent", &err);
    return false;
}

static bool send_bytes(struct request *rq, int fd, int64_t from, int64_t n)
{
    char *piece = arena_alloc(rq->arena, PIECE);
    while (n > 0) {
        ssize_t got = pread(fd, piece, n < PIECE ? (size_t)n : PIECE, from);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false; /* shorter than it was: the length already promised more */
        if (!response_write(rq, piece, (size_t)got)) return false;
        from += got;
        n -= got;
    }
    return true;
}

/* Names come from pipelines: only what every system takes goes into the header. */
static void add_disposition(struct request *rq, struct str name)
{
    char safe[128];
    size_t n = 0;
    for (size_t i = 0; i < name.n && n + 1 < sizeof safe; i++) {
        char c = name.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("._-", c);
        safe[n++] = plain && c ? c : '_';
    }
    safe[n] = '\0';
    response_header(rq, "Content-Disposition", "attachment; filename=\"%s\"", n ? safe : "content");
    response_header(rq, "Content-Security-Policy", "sandbox; default-src 'none'");
}

bool files_send(struct request *rq, const struct file_answer *f, struct err *err)
{
    int64_t from = 0, n = f->size;
    bool partial = false;
    response_header(rq, "Accept-Ranges", "bytes");
    if (f->etag.n) {
        struct str quoted = arena_printf(rq->arena, "\"%.*s\"", STR_ARG(f->etag));
        response_header(rq, "ETag", "%.*s", STR_ARG(quoted));
        const char *have = request_header(rq, "If-None-Match");
        if (have && (strcmp(have, "*") == 0 || strstr(have, quoted.p))) {
            rq->res.no_body = true;
            response_begin(rq, 304, NULL);
            return true;
        }
        const char *same = request_header(rq, "If-Range");
        if (!same || strcmp(same, quoted.p) == 0) {
            if (!files_range(rq, f->size, &from, &n, &partial, err)) return false;
        }
    } else if (!files_range(rq, f->size, &from, &n, &partial, err)) {
        return false;
    }
    if (f->name.n) add_disposition(rq, f->name);
    request_release(rq);
    if (!response_stream(rq, partial ? 206 : 200, f->type, n)) return true;
    if (rq->res.no_body) return true;
    bool sent = f->blob ? send_blob(rq, f->blob, from, n) : send_bytes(rq, f->fd, from, n);
    if (!sent) rq->res.failed = true;
    return true;
}
