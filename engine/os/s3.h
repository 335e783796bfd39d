/* A client of S3 and what speaks like it: one bucket, below one prefix. Bodies are streamed and their digests signed,
 * what failed for a moment is tried again with growing waits, and what S3 says of an error is passed on with bucket and
 * key. Keys are never part of an error. Blocks: for worker threads; a handle may be shared by threads.
 *
 * The address is an administrator's, not a user's: it does not go through engine/os/egress.h. */
#ifndef MILLRACE_OS_S3_H
#define MILLRACE_OS_S3_H

#include "engine/base/err.h"
#include "engine/os/digest.h"

struct s3;

struct s3_config {
    struct str bucket, prefix; /* prefix: without slashes at its ends; may be empty */
    struct str endpoint;       /* http(s)://HOST[:PORT]; empty = AWS's own of the region */
    struct str region;
    struct str credentials; /* a file, read again when it changes; empty = the environment's AWS_ACCESS_KEY_ID… */
    bool path_style;        /* the bucket's name is in the path, not in the host's name */
    int tries;              /* 0 = 8 */
    int64_t wait_ms;        /* before the second try, doubled for each further one; 0 = 200 */
};

/* Does the text say s3://BUCKET or s3://BUCKET/PREFIX? */
MUST_CHECK bool s3_location(struct str text, struct str *bucket, struct str *prefix, struct err *err);

/* Reads the credentials, and asks nothing of the network. */
MUST_CHECK bool s3_open(const struct s3_config *cfg, struct s3 **out, struct err *err);
void s3_close(struct s3 *s); /* NULL is fine */
void s3_stop(struct s3 *s);  /* what is under way, and all that follows, ends with ERR_UNAVAILABLE */
/* It did not answer when it was last asked, or said that it cannot now; what it refuses for good is an answer. Known
 * where there are two tries at least. */
bool s3_is_away(const struct s3 *s);

/* ---- objects, by their key below the prefix ---- */

/* ERR_NOT_FOUND: no such object; everything else that the store refuses is ERR_UNAVAILABLE. */
MUST_CHECK bool s3_head(struct s3 *s, struct str key, int64_t *size, int64_t *modified_us, struct err *err);
/* The same for whoever holds up a client that comes again: where nobody listens it says so within three seconds. */
MUST_CHECK bool s3_head_soon(struct s3 *s, struct str key, int64_t *size, int64_t *modified_us, struct err *err);
/* False to end; the error is then whatever was set, or ERR_IO. */
typedef bool s3_sink(void *ctx, const char *p, size_t n);
/* Exactly these n bytes; n = 0 asks nothing. A cut connection goes on from where it was cut. */
MUST_CHECK bool s3_read(struct s3 *s, struct str key, int64_t from, int64_t n, s3_sink *sink, void *ctx,
                        struct err *err);
MUST_CHECK bool s3_put_text(struct s3 *s, struct str key, struct str text, struct err *err);
MUST_CHECK bool s3_get_text(struct s3 *s, struct str key, struct arena *a, struct str *out, struct err *err);
/* Within the bucket, by the store itself; 5 GiB at most. */
MUST_CHECK bool s3_copy(struct s3 *s, struct str from, struct str to, struct err *err);
MUST_CHECK bool s3_delete(struct s3 *s, struct str key, struct err *err); /* none there is fine */
/* All below `under`, in no order; fn returns false to end, having set err or not. */
typedef bool s3_each_fn(void *ctx, struct str key, int64_t size, struct err *err);
MUST_CHECK bool s3_each(struct s3 *s, struct str under, s3_each_fn *fn, void *ctx, struct err *err);

/* ---- big ones, from files ---- */

/* What a file is sent as: its parts and their digests, known before anything is sent. */
struct s3_parts {
    int64_t size, part_size;
    size_t n; /* 1 = in one piece */
    unsigned char (*sums)[DIGEST_BYTES];
};
/* Of a file from its begin; part_size 0 = by the file's size, 16 MiB at least. Memory in the arena. */
MUST_CHECK bool s3_parts_of(int fd, int64_t part_size, struct arena *a, struct s3_parts *out, char digest[DIGEST_TEXT],
                            struct err *err);
/* In one piece. */
MUST_CHECK bool s3_put_file(struct s3 *s, struct str key, int fd, const struct s3_parts *parts, struct err *err);
/* In several: begin, send all, then either complete or abort. The upload's id and the list of its parts are kept in the
 * arena. */
struct s3_upload {
    struct str key, id;
    struct str list; /* what completing it says */
};
MUST_CHECK bool s3_upload_begin(struct s3 *s, struct str key, struct arena *a, struct s3_upload *out, struct err *err);
MUST_CHECK bool s3_upload_send(struct s3 *s, struct s3_upload *u, int fd, const struct s3_parts *parts, struct arena *a,
                               struct err *err);
MUST_CHECK bool s3_upload_complete(struct s3 *s, const struct s3_upload *u, struct err *err);
MUST_CHECK bool s3_upload_abort(struct s3 *s, struct str key, struct str id, struct err *err); /* gone is fine */
/* Those that were begun below `under`, and neither completed nor aborted. */
typedef bool s3_uploads_fn(void *ctx, struct str key, struct str id, struct err *err);
MUST_CHECK bool s3_uploads_each(struct s3 *s, struct str under, s3_uploads_fn *fn, void *ctx, struct err *err);

/* ---- links for whoever has no keys ---- */

/* A URL by which the object may be read (GET) or written (PUT) for `seconds`, a week at most. sum: the SHA-256 of what
 * is to be written; *header is then a line that has to be sent with it ("x-amz-checksum-sha256: …"), by which the store
 * refuses other bytes. NULL: any bytes, and an empty line. Not by x-amz-content-sha256: in links not all stores count
 * it. */
MUST_CHECK bool s3_link(struct s3 *s, const char *method, struct str key, const unsigned char *sum, int64_t seconds,
                        struct arena *a, struct str *url, struct str *header, struct err *err);

#endif
