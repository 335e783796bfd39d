/* Inside the blob store: shared by disk.c and disk_part.c. */
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

#endif
