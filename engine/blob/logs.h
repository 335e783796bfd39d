/* Logs of attempts as files: <store>/logs/<run>/<task>-<attempt>.log, written by the executor, read here by range. */
#ifndef MILLRACE_BLOB_LOGS_H
#define MILLRACE_BLOB_LOGS_H

#include "engine/base/buf.h"
#include "engine/base/mask.h"
#include "engine/os/fs.h"

MUST_CHECK bool step_log_path(struct str store_dir, int64_t run, int32_t task, int32_t attempt, char out[FS_PATH_MAX],
                              struct err *err);
/* For reading, with its size now. -1: there is no file yet, or none is kept since nothing was written; -2 with an
 * error. */
MUST_CHECK int step_log_open(struct str store_dir, int64_t run, int32_t task, int32_t attempt, int64_t *size,
                             struct err *err);
/* Appends at most n bytes from offset `from` to *out; *total = the size now. No file: nothing and 0. */
MUST_CHECK bool step_log_read(struct str store_dir, int64_t run, int32_t task, int32_t attempt, int64_t from, size_t n,
                              struct buf *out, int64_t *total, struct err *err);
/* Where the last `lines` lines begin: for `logs --tail`. */
MUST_CHECK bool step_log_tail(struct str store_dir, int64_t run, int32_t task, int32_t attempt, int64_t lines,
                              int64_t *from, struct err *err);
/* Covers the values where they stand in the file from offset `from` on, or reach into that; its size stays. A step may
 * be appending to it meanwhile. Harmless to repeat. */
MUST_CHECK bool step_log_cover(const char *path, int64_t from, const struct mask *m, struct err *err);
/* How much of the first `size` bytes, behind which more may be written, is surely no beginning of a value; asked before
 * they are covered. */
int64_t step_log_sure(int fd, int64_t size, const struct mask *m);
/* What a deleted run leaves: its logs, and the checkpoints beside them. */
MUST_CHECK bool run_files_delete(struct str store_dir, int64_t run, struct err *err);
/* The runs that have such files, which nothing was added to or taken from within the last older_us; a run may come
 * twice. fn returns false to end, having set err. */
typedef bool run_files_fn(void *ctx, int64_t run, struct err *err);
MUST_CHECK bool run_files_each(struct str store_dir, int64_t older_us, run_files_fn *fn, void *ctx, struct err *err);

#endif
