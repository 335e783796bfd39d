/* Inside the choice of stores: what a store elsewhere does, and the cache of its blobs. */
#ifndef MILLRACE_BLOB_STORE_INT_H
#define MILLRACE_BLOB_STORE_INT_H

#include <stdatomic.h>

#include "engine/blob/disk_int.h"
#include "engine/blob/store.h"
#include "engine/os/s3.h"

struct blob_store {
    const struct store_ops *ops;
    struct disk *disk; /* the folder; with ops of the disk, the store itself */
    /* elsewhere: */
    struct s3 *s3;
    struct disk *cache;
    int64_t part_size, cache_bytes;
    _Atomic int64_t cached;  /* bytes in the cache, as far as we know; -1 = to be counted */
    atomic_flag making_room; /* somebody is at it */
};

/* What differs between kinds of stores. The meaning is that of the functions of store.h. */
struct store_ops {
    bool (*put_fd)(struct blob_store *s, int fd, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                   struct err *err);
    bool (*part_finish)(struct blob_store *s, struct str id, struct str digest, int64_t size, struct err *err);
    bool (*get)(struct blob_store *s, struct str digest, struct store_blob *out, struct err *err);
    bool (*read)(struct store_blob *b, int64_t from, int64_t n, store_sink *fn, void *ctx, struct err *err);
    bool (*file)(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err);
    bool (*sweep)(struct blob_store *s, struct str digest, int64_t older_us, bool *deleted, struct err *err);
    bool (*each)(struct blob_store *s, store_each_fn *fn, void *ctx, struct err *err);
    bool (*clear)(struct blob_store *s, struct err *err);
};

extern const struct store_ops store_s3_ops;
MUST_CHECK bool store_s3_open(const struct store_config *cfg, struct blob_store *s, struct err *err);

/* ---- the cache ---- */

MUST_CHECK bool store_cache_open(const struct store_config *cfg, struct blob_store *s, struct err *err);
/* ERR_NOT_FOUND when it has it not. */
MUST_CHECK bool store_cache_get(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err);
/* Makes it a file there: reads it from the store, and verifies it. */
MUST_CHECK bool store_cache_fetch(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err);
/* What was just stored may be wanted soon; best effort. */
void store_cache_keep(struct blob_store *s, int fd, struct str digest, int64_t size);
void store_cache_drop(struct blob_store *s, struct str digest);

#endif
