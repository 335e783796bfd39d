/* Inside the blob stores: shared by disk.c, disk_part.c and the store in S3, which keeps its unfinished uploads and its
 * locks in a store on disk. */
#ifndef MILLRACE_BLOB_DISK_INT_H
#define MILLRACE_BLOB_DISK_INT_H

#include "engine/blob/disk.h"

#define DISK_NAME 68 /* ab/ + 62 + NUL, rounded up */

struct disk {
    int root, tmp, parts, lock;
    char path[FS_PATH_MAX];
};

bool disk_io_failed(const struct disk *d, const char *what, struct err *err); /* by errno; returns false */
MUST_CHECK bool disk_name(struct str digest, char out[DISK_NAME], struct err *err);
MUST_CHECK bool disk_place(struct disk *d, int from_dir, const char *from, const char *digest, struct err *err);
/* A lock between all that share the folder, and between threads: puts of a blob share it (LOCK_SH) while the blob
 * appears, a sweep has it alone (LOCK_EX). To be closed; -1 with errno. */
int disk_lock(struct disk *d, int how);
/* Verifies a part as disk_part_finish does, and leaves it where it is: the descriptor, which holds the part's lock, is
 * to be closed. */
MUST_CHECK bool disk_part_claim(struct disk *d, struct str id, struct str digest, int64_t size, int *fd,
                                struct err *err);

#endif
