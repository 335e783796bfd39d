/* Inside backups: what making and restoring share. */
#ifndef MILLRACE_STORE_BACKUP_INT_H
#define MILLRACE_STORE_BACKUP_INT_H

#include "engine/os/fs.h"
#include "engine/store/backup.h"

MUST_CHECK bool backup_path(const struct backup_config *config, const char *name, char out[FS_PATH_MAX],
                            struct err *err);
MUST_CHECK bool backup_blob_path(const struct backup_config *config, struct str digest, char out[FS_PATH_MAX],
                                 struct err *err);
/* Runs pg_dump or pg_restore against the DSN, whose password travels in the environment, not on the command line.
 * argv[0] is the program's name, made a path here. */
MUST_CHECK bool backup_run_tool(const struct backup_config *config, char *argv[], struct err *err);

/* backup_logs.c: within the snapshot's transaction; and back. */
MUST_CHECK bool backup_save_logs(const struct backup_config *config, struct conn *c, struct backup_result *out,
                                 struct err *err);
MUST_CHECK bool backup_load_logs(const struct backup_config *config, struct backup_result *out, struct err *err);

#endif
