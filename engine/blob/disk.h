/* The built-in blob store: files named by the SHA-256 of their bytes, under <store>/blobs.
 *
 *     blobs/ab/cdef…   a blob, complete and durable, read-only
 *     blobs/tmp/…      being written
 *     blobs/parts/ID   an unfinished upload; its size is the offset it goes on from
 *
 * A blob appears by rename after fsync, so whoever sees it sees all of it. Nothing is ever whole in memory. Whose blob
 * it is, the database knows (engine/store/artifacts.h). Threads: the handle may be shared; a disk_put belongs to one.
 */
#ifndef MILLRACE_BLOB_DISK_H
#define MILLRACE_BLOB_DISK_H

#include "engine/os/digest.h"
#include "engine/os/fs.h"

struct disk;

MUST_CHECK bool disk_open(struct str store_dir, struct disk **out, struct err *err); /* makes the folders */
void disk_close(struct disk *d);
void disk_clear(struct disk *d); /* what writers that died left, once it is old */

/* ---- streamed writing ---- */

struct disk_put;
MUST_CHECK bool disk_put_begin(struct disk *d, struct disk_put **out, struct err *err);
MUST_CHECK bool disk_put_write(struct disk_put *put, const void *p, size_t n, struct err *err);
/* Ends it in any case. expected: the digest it must have (ERR_INVALID otherwise), or empty. size may be NULL. */
MUST_CHECK bool disk_put_finish(struct disk_put *put, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                                struct err *err);
void disk_put_abort(struct disk_put *put); /* NULL is fine */
/* All that the descriptor yields from its offset on, in one call. */
MUST_CHECK bool disk_put_fd(struct disk *d, int fd, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                            struct err *err);
MUST_CHECK bool disk_put_bytes(struct disk *d, struct str bytes, char digest[DIGEST_TEXT], struct err *err);

/* ---- resumable uploads: id of [A-Za-z0-9_-]{1,64} ---- */

MUST_CHECK bool disk_part_offset(struct disk *d, struct str id, int64_t *offset,
                                 struct err *err); /* 0 when there is none */
/* ERR_CONFLICT when `offset` is not where it stands: the hint says where that is. At most `size` bytes in all:
 * ERR_TOO_LARGE. */
MUST_CHECK bool disk_part_append(struct disk *d, struct str id, int64_t offset, int64_t size, const void *p, size_t n,
                                 struct err *err);
/* Verifies size and digest, makes it a blob. Bytes that do not fit are thrown away with ERR_INVALID; a short part
 * stays, with ERR_CONFLICT. */
MUST_CHECK bool disk_part_finish(struct disk *d, struct str id, struct str digest, int64_t size, struct err *err);
MUST_CHECK bool disk_part_delete(struct disk *d, struct str id, struct err *err);

/* ---- reading ---- */

/* A descriptor for pread(), to be closed by the caller; ERR_NOT_FOUND. size may be NULL. */
MUST_CHECK bool disk_get(struct disk *d, struct str digest, int *fd, int64_t *size, struct err *err);
MUST_CHECK bool disk_path(const struct disk *d, struct str digest, char out[FS_PATH_MAX], struct err *err);
/* For retention: deletes it unless it was put (again) within the last older_us. A put of the same digest at the same
 * time either comes first and keeps it, or comes after and brings it back. */
MUST_CHECK bool disk_sweep(struct disk *d, struct str digest, int64_t older_us, bool *deleted, struct err *err);
/* Every blob, in no order; fn returns false to end. */
typedef bool disk_each_fn(void *ctx, struct str digest, int64_t size, struct err *err);
MUST_CHECK bool disk_each(struct disk *d, disk_each_fn *fn, void *ctx, struct err *err);

#endif
