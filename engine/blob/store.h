/* Where blobs are: on disk (disk.h), or in S3, chosen by the option artifact-store. Known by the SHA-256 of their
 * bytes in both, verified when they come and when they are read as a whole, and never whole in memory.
 *
 * Besides S3 there is always the store's folder on disk: unfinished uploads grow there, as files whose size is the
 * offset to go on from, and go up in one go when they are complete. S3's own parts would do that worse: they have a
 * least size, cannot be appended to, and their digest as a whole cannot be gone on with after a restart. The locks
 * between the servers that share a store are in that folder, too.
 *
 * Who needs a file (a step's input, a bundle to unpack) gets it from a cache of blobs below the data folder, which is
 * bounded: what was not used for longest goes. Threads: a handle may be shared. */
#ifndef MILLRACE_BLOB_STORE_H
#define MILLRACE_BLOB_STORE_H

#include "engine/base/arena.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"

#define STORE_ON_DISK "disk"

struct config;

struct store_config {
    struct str store_dir; /* the folder on disk, in any case */
    struct str place;     /* "disk", or s3://BUCKET/PREFIX; empty = disk */
    /* Of S3: see engine/os/s3.h, and the options of the same names. */
    struct str data_dir; /* the cache is below it */
    struct str endpoint, region, credentials;
    bool path_style;
    int64_t cache_bytes; /* 0 = 10 GiB */
    int64_t part_size;   /* of big blobs; 0 = 16 MiB, or what their size needs */
    int tries;           /* 0 = the client's own, as is what follows: for tests */
    int64_t wait_ms;
};
struct store_config store_config_of(const struct config *cfg);

struct blob_store;

MUST_CHECK bool store_open(const struct store_config *cfg, struct blob_store **out, struct err *err);
void store_close(struct blob_store *s); /* NULL is fine */
/* What is under way ends soon, with an error, and so does all that follows: for whoever is about to close it. */
void store_stop(struct blob_store *s); /* NULL is fine */
bool store_is_remote(const struct blob_store *s);
bool store_is_away(const struct blob_store *s); /* see s3_is_away(); never on disk */
/* What dead writers left behind, also in S3: parts of uploads that nobody goes on with. */
MUST_CHECK bool store_clear(struct blob_store *s, struct err *err);

/* ---- writing ---- */

/* All that the descriptor yields from its offset on. expected: the digest it must have (ERR_INVALID otherwise), or
 * empty. size may be NULL. */
MUST_CHECK bool store_put_fd(struct blob_store *s, int fd, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                             struct err *err);
MUST_CHECK bool store_put_bytes(struct blob_store *s, struct str bytes, char digest[DIGEST_TEXT], struct err *err);

/* Resumable uploads: see disk.h, whose rules these follow. */
MUST_CHECK bool store_part_offset(struct blob_store *s, struct str id, int64_t *offset, struct err *err);
MUST_CHECK bool store_part_append(struct blob_store *s, struct str id, int64_t offset, int64_t size, const void *p,
                                  size_t n, struct err *err);
MUST_CHECK bool store_part_finish(struct blob_store *s, struct str id, struct str digest, int64_t size,
                                  struct err *err);
MUST_CHECK bool store_part_delete(struct blob_store *s, struct str id, struct err *err);

/* ---- reading ---- */

/* Whether it is there, and its size (may be NULL); ERR_NOT_FOUND. */
MUST_CHECK bool store_size(struct blob_store *s, struct str digest, int64_t *size, struct err *err);

struct store_blob { /* one that is being read */
    struct blob_store *store;
    int fd; /* on this machine; -1 = elsewhere */
    int64_t size;
    char digest[DIGEST_TEXT];
};
void store_blob_close(struct store_blob *b);
#define STORE_BLOB_AUTO __attribute__((cleanup(store_blob_close))) struct store_blob
#define STORE_BLOB_NONE ((struct store_blob){.fd = -1})
MUST_CHECK bool store_get(struct blob_store *s, struct str digest, struct store_blob *out, struct err *err);
/* Hands n bytes of it on, piece by piece. From elsewhere: of a whole blob the last piece comes only when all of it has
 * the right digest; of a range only whoever has all ranges can tell. fn returns false to end, having set err or not. */
typedef bool store_sink(void *ctx, const char *p, size_t n);
MUST_CHECK bool store_read(struct store_blob *b, int64_t from, int64_t n, store_sink *fn, void *ctx, struct err *err);

/* As a file of this machine, verified when it had to come from elsewhere. The descriptor is for pread(), to be closed
 * by the caller, and is good whatever happens to the file; size may be NULL. */
MUST_CHECK bool store_file(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err);
/* Where that file is. One from elsewhere stays there for an hour at least. */
MUST_CHECK bool store_path(struct blob_store *s, struct str digest, char out[FS_PATH_MAX], struct err *err);
/* Where it is once store_file has been called; asks nobody. */
MUST_CHECK bool store_path_later(const struct blob_store *s, struct str digest, char out[FS_PATH_MAX], struct err *err);

/* ---- for retention: see disk_sweep ---- */

MUST_CHECK bool store_sweep(struct blob_store *s, struct str digest, int64_t older_us, bool *deleted, struct err *err);
typedef bool store_each_fn(void *ctx, struct str digest, int64_t size, struct err *err);
MUST_CHECK bool store_each(struct blob_store *s, store_each_fn *fn, void *ctx, struct err *err);

/* ---- beside the blobs: short texts by which a store outside of its folder tells whose it is; only when remote ---- */

/* ERR_NOT_FOUND when there is none. */
MUST_CHECK bool store_note(struct blob_store *s, const char *name, struct arena *a, struct str *out, struct err *err);
MUST_CHECK bool store_note_put(struct blob_store *s, const char *name, struct str text, struct err *err);
MUST_CHECK bool store_note_delete(struct blob_store *s, const char *name, struct err *err);

/* ---- for steps elsewhere, which have no keys ---- */

/* A link by which the blob may be read for so many seconds. ERR_INVALID on disk. */
MUST_CHECK bool store_link(struct blob_store *s, struct str digest, int64_t seconds, struct arena *a, struct str *url,
                           struct err *err);
/* One by which the bytes of the digest, and no others, may be put aside for the upload of that id, with the header
 * line. Aside: who knows a digest but not the bytes must not come by them. */
MUST_CHECK bool store_link_put(struct blob_store *s, struct str id, struct str digest, int64_t seconds, struct arena *a,
                               struct str *url, struct str *header, struct err *err);
/* What was put aside becomes the blob, unless it is of another size; ERR_NOT_FOUND when nothing was. */
MUST_CHECK bool store_link_take(struct blob_store *s, struct str id, struct str digest, int64_t size, struct err *err);

#endif
