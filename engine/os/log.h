/* The log: one key=value line an event, to standard error. Only entry points (main, request handlers, the scheduler's
 * loop) log; libraries return errors. A line is written by one write(2), so that threads never mix.
 *
 *     log_info("run started", LOG_STR("run", id), LOG_INT("tasks", n));
 *     → time=2024-05-01T12:00:00.123456Z level=info msg="run started" run=… tasks=12 */
#ifndef MILLRACE_OS_LOG_H
#define MILLRACE_OS_LOG_H

#include "engine/base/err.h"

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_NONE };

struct log_kv {
    const char *key; /* NULL ends the list */
    bool number;
    struct str s;
    int64_t i;
};

#define LOG_STR(k, v) ((struct log_kv){.key = (k), .s = (v)})
#define LOG_CSTR(k, v) ((struct log_kv){.key = (k), .s = str_of(v)})
#define LOG_INT(k, v) ((struct log_kv){.key = (k), .number = true, .i = (int64_t)(v)})
#define LOG_END ((struct log_kv){.key = NULL})

/* Message first, then any number of LOG_STR, LOG_CSTR, LOG_INT. */
#define log_debug(...) log_write(LEVEL_DEBUG, __VA_ARGS__, LOG_END)
#define log_info(...) log_write(LEVEL_INFO, __VA_ARGS__, LOG_END)
#define log_warn(...) log_write(LEVEL_WARN, __VA_ARGS__, LOG_END)
#define log_error(...) log_write(LEVEL_ERROR, __VA_ARGS__, LOG_END)

void log_write(enum log_level level, const char *message, ...);
/* One line for an error: msg, then code, error, path and hint where set. */
void log_err(enum log_level level, const char *message, const struct err *err);

void log_set_level(enum log_level level); /* what is below is dropped; LEVEL_INFO at first */
bool log_enabled(enum log_level level);

#endif
