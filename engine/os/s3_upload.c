/* Files to S3: in one piece, or in parts when they are big. Each piece's digest is signed, so that S3 takes no other
 * bytes than those that were hashed, also when the file changed in between. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/os/s3_inner.h"

#define MIB (INT64_C(1) << 20)
#define PART (16 * MIB)
#define PARTS_MOST 10000 /* S3's limit */
#define PIECE ((size_t)256 << 10)

/* Hashes up to `want` bytes into both; gives back how many there were, -1 with errno. */
static int64_t hash_part(int fd, int64_t from, int64_t want, char *piece, struct digest_stream *all,
                         unsigned char sum[DIGEST_BYTES])
{
    struct digest_stream part;
    int64_t done = 0;
    digest_begin(&part);
    while (done < want) {
        size_t n = want - done < (int64_t)PIECE ? (size_t)(want - done) : PIECE;
        ssize_t got = pread(fd, piece, n, from + done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (got < 0) done = -1;
            break;
        }
        digest_add(all, piece, (size_t)got);
        digest_add(&part, piece, (size_t)got);
        done += got;
    }
    digest_end_raw(&part, sum);
    return done;
}

bool s3_parts_of(int fd, int64_t part_size, struct arena *a, struct s3_parts *out, char digest[DIGEST_TEXT],
                 struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return err_set(err, ERR_IO, "what is to be stored is no file");
    struct s3_parts p = {.size = st.st_size, .part_size = part_size > 0 ? part_size : PART};
    while (p.size / p.part_size >= PARTS_MOST)
        p.part_size *= 2;
    p.n = p.size <= p.part_size ? 1 : (size_t)((p.size + p.part_size - 1) / p.part_size);
    p.sums = arena_calloc(a, p.n, DIGEST_BYTES);
    char *piece = malloc(PIECE);
    if (piece == NULL) abort();
    struct digest_stream all;
    digest_begin(&all);
    bool whole = true;
    errno = 0;
    for (size_t i = 0; whole && i < p.n; i++) {
        int64_t from = (int64_t)i * p.part_size, want = p.size - from < p.part_size ? p.size - from : p.part_size;
        whole = hash_part(fd, from, want, piece, &all, p.sums[i]) == want;
    }
    free(piece);
    if (!whole) {
        digest_abandon(&all);
        return err_set(err, ERR_IO, "what is to be stored cannot be read: %s",
                       errno != 0 ? strerror(errno) : "it got shorter meanwhile");
    }
    digest_end(&all, digest);
    *out = p;
    return true;
}

static struct s3_call part_call(struct str key, int fd, const struct s3_parts *parts, size_t i)
{
    int64_t from = (int64_t)i * parts->part_size, left = parts->size - from;
    return (struct s3_call){.method = "PUT",
                            .key = key,
                            .sum = parts->sums[i],
                            .fd = fd,
                            .from = from,
                            .size = left < parts->part_size ? left : parts->part_size};
}

bool s3_put_file(struct s3 *s, struct str key, int fd, const struct s3_parts *parts, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct s3_call call = part_call(key, fd, parts, 0);
    return s3_do(s, &call, &got, err);
}

bool s3_upload_begin(struct s3 *s, struct str key, struct arena *a, struct s3_upload *out, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct sigv4_pair query[] = {{STR("uploads"), STR("")}};
    const struct s3_call call = {.method = "POST", .key = key, .query = query, .n_query = 1};
    if (!s3_do(s, &call, &got, err)) return false;
    struct str id = s3_text(a, buf_view(&got.body), "UploadId");
    if (id.n == 0) return err_set(err, ERR_UNAVAILABLE, "the store began an upload and did not say which");
    *out = (struct s3_upload){.key = arena_str(a, key), .id = id};
    return true;
}

bool s3_upload_send(struct s3 *s, struct s3_upload *u, int fd, const struct s3_parts *parts, struct arena *a,
                    struct err *err)
{
    BUF_AUTO list;
    buf_init(&list, 0);
    buf_c(&list, "<CompleteMultipartUpload>");
    for (size_t i = 0; i < parts->n; i++) {
        S3_ANSWER_AUTO got = {0};
        char number[24];
        snprintf(number, sizeof number, "%zu", i + 1);
        const struct sigv4_pair query[] = {{STR("partNumber"), str_of(number)}, {STR("uploadId"), u->id}};
        struct s3_call call = part_call(u->key, fd, parts, i);
        call.query = query;
        call.n_query = 2;
        if (!s3_do(s, &call, &got, err)) return false;
        buf_printf(&list, "<Part><PartNumber>%s</PartNumber><ETag>", number);
        for (const char *c = got.etag; *c != '\0'; c++)
            if (*c == '"')
                buf_c(&list, "&quot;");
            else if (strchr("<>&", *c) == NULL)
                buf_char(&list, *c);
        buf_c(&list, "</ETag></Part>");
    }
    buf_c(&list, "</CompleteMultipartUpload>");
    u->list = arena_str(a, buf_view(&list));
    return true;
}

bool s3_upload_complete(struct s3 *s, const struct s3_upload *u, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct sigv4_pair query[] = {{STR("uploadId"), u->id}};
    const struct s3_call call = {.method = "POST", .key = u->key, .query = query, .n_query = 1, .text = u->list};
    return s3_do(s, &call, &got, err);
}

bool s3_upload_abort(struct s3 *s, struct str key, struct str id, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    struct err why = {0};
    const struct sigv4_pair query[] = {{STR("uploadId"), id}};
    const struct s3_call call = {.method = "DELETE", .key = key, .query = query, .n_query = 1};
    if (s3_do(s, &call, &got, &why) || why.code == ERR_NOT_FOUND) return true;
    if (err != NULL) *err = why;
    return false;
}
