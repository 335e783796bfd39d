/* See log.h. Values that are not plain words are quoted, so that nothing a user names can forge a key or a line. */
#include "engine/os/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static _Atomic int threshold = LEVEL_INFO;

static const char *const names[] = {"debug", "info", "warn", "error", "none"};

struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
};

/* Keeps one byte free for the newline; what is beyond is cut. */
static void add(struct line *l, const char *p, size_t n)
{
    size_t room = sizeof l->p - 1 - l->n;
    if (n > room) n = room;
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

static bool plain(struct str s)
{
    if (s.n == 0) return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return false;
    }
    return true;
}

static void add_value(struct line *l, struct str s)
{
    if (plain(s)) {
        add(l, s.p, s.n);
        return;
    }
    add(l, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            add(l, escaped, 2);
        } else if (c == '\n') {
            add(l, "\\n", 2);
        } else if (c < ' ' || c == 0x7f) {
            int n = snprintf(escaped, sizeof escaped, "\\x%02x", c);
            add(l, escaped, (size_t)n);
        } else {
            add(l, s.p + i, 1);
        }
    }
    add(l, "\"", 1);
}

static void add_pair(struct line *l, const struct log_kv *kv)
{
    add(l, " ", 1);
    add(l, kv->key, strlen(kv->key));
    add(l, "=", 1);
    if (kv->number) {
        char number[24];
        int n = snprintf(number, sizeof number, "%" PRId64, kv->i);
        add(l, number, (size_t)n);
    } else {
        add_value(l, kv->s);
    }
}

static void begin(struct line *l, enum log_level level, const char *message)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    char head[64];
    size_t n = strftime(head, sizeof head, "time=%Y-%m-%dT%H:%M:%S", &tm);
    l->n = 0;
    add(l, head, n);
    int m = snprintf(head, sizeof head, ".%06ldZ level=%s msg=", now.tv_nsec / 1000, names[level]);
    add(l, head, (size_t)m);
    add_value(l, str_of(message));
}

static void finish(struct line *l)
{
    l->p[l->n++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, l->p, l->n);
    (void)ignored; /* nobody is left to tell */
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed) && level < LEVEL_NONE;
}

void log_write(enum log_level level, const char *message, ...)
{
    if (!log_enabled(level)) return;
    struct line l;
    begin(&l, level, message);
    va_list args;
    va_start(args, message);
    for (;;) {
        struct log_kv kv = va_arg(args, struct log_kv);
        if (!kv.key) break;
        add_pair(&l, &kv);
    }
    va_end(args);
    finish(&l);
}

void log_err(enum log_level level, const char *message, const struct err *err)
{
    if (!log_enabled(level)) return;
    struct line l;
    begin(&l, level, message);
    const struct log_kv pairs[] = {LOG_CSTR("code", err_name(err->code)), LOG_CSTR("error", err->message),
                                   LOG_CSTR("path", err->path), LOG_CSTR("hint", err->hint)};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].s.n) add_pair(&l, &pairs[i]);
    finish(&l);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}
