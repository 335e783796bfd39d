/* The logs of a backup: those of the attempts that the dump knows, and no others: an attempt that began later would
 * begin once more after a restore, and write behind what is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/flow/run.h"
#include "engine/store/backup_int.h"

#define PAGE 1000

static bool open_list(const struct backup_config *config, const char *mode, FILE **out, struct err *err)
{
    char path[FS_PATH_MAX];
    if (!backup_path(config, "logs.manifest", path, err)) return false;
    *out = fopen(path, mode);
    return *out != NULL || err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
}

static bool log_path(const struct backup_config *config, const struct backup_log *log, char out[FS_PATH_MAX],
                     struct err *err)
{
    return fs_path(out, err, "%.*s/logs/%" PRId64 "/%d-%d.log", STR_ARG(config->folder), log->run, log->task,
                   log->attempt);
}

static bool save_one(const struct backup_config *config, struct backup_log *log, FILE *list, struct backup_result *out,
                     struct err *err)
{
    char path[FS_PATH_MAX];
    log->size = -1;
    if (!log_path(config, log, path, err) || !config->log(config->ctx, log, path, err)) return false;
    if (log->size < 0) return true; /* it has written nothing */
    fprintf(list, "%" PRId64 " %d %d %" PRId64 "\n", log->run, log->task, log->attempt, log->size);
    out->logs++;
    out->log_bytes += log->size;
    return true;
}

bool backup_save_logs(const struct backup_config *config, struct conn *c, struct backup_result *out, struct err *err)
{
    struct backup_log log = {0};
    FILE *list;
    struct arena a;
    if (!open_list(config, "we", &list, err)) return false;
    arena_init(&a, 0);
    bool ok = true, more = true;
    while (ok && more) {
        struct params p;
        arena_reset(&a);
        params_init(&p, &a);
        params_int(&p, log.run);
        params_int(&p, log.task);
        params_int(&p, log.attempt);
        params_int(&p, PAGE);
        RESULT_AUTO res = NULL;
        ok = conn_query(c, Q_BACKUP_LOGS, &p, &res, err);
        for (int i = 0; ok && i < PQntuples(res); i++) {
            log.run = row_int(res, i, 0);
            log.task = (int32_t)row_int(res, i, 1);
            log.attempt = (int32_t)row_int(res, i, 2);
            log.grows = task_state_writes((enum task_state)row_int(res, i, 3));
            ok = save_one(config, &log, list, out, err);
        }
        more = ok && PQntuples(res) == PAGE;
    }
    arena_free(&a);
    if (fclose(list) != 0 && ok) ok = err_set(err, ERR_IO, "logs.manifest: %s", strerror(errno));
    return ok;
}

bool backup_load_logs(const struct backup_config *config, struct backup_result *out, struct err *err)
{
    char path[FS_PATH_MAX], line[100];
    struct backup_log log = {0};
    FILE *list;
    if (!open_list(config, "re", &list, err)) return false;
    bool ok = true;
    while (ok && fgets(line, sizeof line, list)) {
        ok = sscanf(line, "%" SCNd64 " %d %d %" SCNd64, &log.run, &log.task, &log.attempt, &log.size) == 4 ||
             err_set(err, ERR_INVALID, "the backup is damaged: its list of logs cannot be read");
        int64_t size = log.size;
        ok = ok && log_path(config, &log, path, err) && config->log(config->ctx, &log, path, err);
        if (ok && log.size != size) ok = err_set(err, ERR_INVALID, "the backup is damaged: %s is cut off", path);
        out->logs++;
        out->log_bytes += log.size;
    }
    fclose(list);
    return ok;
}
