/* Errors: what went wrong, where (path, line and column), and how to mend it. Libraries return them, only entry points
 * log.
 *
 * A function that can fail returns a must-check bool and takes a `struct err *` last; its outputs are untouched on
 * failure. */
#ifndef MILLRACE_BASE_ERR_H
#define MILLRACE_BASE_ERR_H

#include <stdarg.h>

#include "engine/base/arena.h"

/* code, wire name, HTTP status, retryable by the caller */
#define ERR_CODES(X)                                                                                                   \
    X(ERR_NONE, "none", 200, false)                                                                                    \
    X(ERR_INVALID, "invalid", 422, false) /* understood, but against the rules */                                      \
    X(ERR_SYNTAX, "syntax", 400, false)   /* not even readable */                                                      \
    X(ERR_UNAUTHENTICATED, "unauthenticated", 401, false)                                                              \
    X(ERR_FORBIDDEN, "forbidden", 403, false)                                                                          \
    X(ERR_NOT_FOUND, "not-found", 404, false)                                                                          \
    X(ERR_METHOD, "method-not-allowed", 405, false)                                                                    \
    X(ERR_NOT_ACCEPTABLE, "not-acceptable", 406, false)                                                                \
    X(ERR_TIMEOUT, "timeout", 408, true)                                                                               \
    X(ERR_CONFLICT, "conflict", 409, false) /* the thing is in another state than the request needs */                 \
    X(ERR_GONE, "gone", 410, false)                                                                                    \
    X(ERR_PRECONDITION, "precondition-failed", 412, false)                                                             \
    X(ERR_TOO_LARGE, "too-large", 413, false)                                                                          \
    X(ERR_MEDIA_TYPE, "unsupported-media-type", 415, false)                                                            \
    X(ERR_RANGE, "range-not-satisfiable", 416, false)                                                                  \
    X(ERR_LIMIT, "limit-exceeded", 422, false) /* of cost, depth, count */                                             \
    X(ERR_TOO_MANY, "too-many-requests", 429, true)                                                                    \
    X(ERR_HEADERS_TOO_LARGE, "headers-too-large", 431, false)                                                          \
    X(ERR_INTERNAL, "internal", 500, false)                                                                            \
    X(ERR_IO, "io", 500, true)                                                                                         \
    X(ERR_UNAVAILABLE, "unavailable", 503, true) /* e.g. the database is away */                                       \
    X(ERR_STALE, "stale", 409, true)             /* fenced off: a newer attempt or epoch owns this */                  \
    X(ERR_SPACE, "insufficient-storage", 507, true)

enum err_code {
#define X(code, name, status, retry) code,
    ERR_CODES(X)
#undef X
        ERR_CODE_COUNT
};

struct pos {
    uint32_t line, col; /* from 1, col in code points; 0 = unknown */
};

/* Another text than the one that was asked about, e.g. a sub-pipeline's file: place and path are then in it. */
struct err_file {
    struct str name;    /* as whoever asked would look for it */
    struct str text;    /* to show the line; empty = not at hand */
    struct str used_by; /* steps.sub of pipeline.yaml:29 */
};

struct err {
    enum err_code code;
    const struct err_file *file; /* NULL = the text that was asked about; lives as long as what was compiled */
    struct pos at;
    uint32_t len;      /* code points from `at` that a caret line underlines; 0 = one */
    char message[400]; /* a sentence without a full stop */
    char path[240];    /* e.g. steps.train.image; empty when no place */
    char hint[240];    /* how to mend it; empty when unknown */
};

#define MUST_CHECK __attribute__((warn_unused_result))

const char *err_name(enum err_code code);
int err_status(enum err_code code);
bool err_retryable(enum err_code code);

/* Sets code and message, clears the rest; returns false, so that `return err_set(…)` reads well. Long text is cut at a
 * UTF-8 boundary. err may be NULL everywhere. */
__attribute__((format(printf, 3, 4))) bool err_set(struct err *err, enum err_code code, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) bool err_hint(struct err *err, const char *fmt, ...); /* returns false */
__attribute__((format(printf, 2, 3))) bool err_path(struct err *err, const char *fmt, ...); /* returns false */
bool err_at(struct err *err, struct pos at, uint32_t len);                                  /* returns false */
void err_clear(struct err *err);

#if defined(__clang_analyzer__) && !defined(MILLRACE_ERR_C) /* it cannot see into err.c that these always give false   \
                                                             */
static inline bool err_false(bool given)
{
    (void)given;
    return false;
}
#define err_set(...) err_false(err_set(__VA_ARGS__))
#define err_hint(...) err_false(err_hint(__VA_ARGS__))
#define err_path(...) err_false(err_path(__VA_ARGS__))
#define err_at(...) err_false(err_at(__VA_ARGS__))
#endif

/* Validators report all errors of an input, up to ERR_LIST_MAX, and may stop when there are more. */
#define ERR_LIST_MAX 50
struct err_list {
    struct err *items; /* ERR_LIST_MAX of them, in the caller's arena; made on first use */
    size_t n;          /* kept */
    size_t total;      /* seen */
    struct arena *arena;
};

/* No more are kept, and it is known that there are more: whoever validates may stop. */
static inline bool err_list_full(const struct err_list *list)
{
    return list->total > ERR_LIST_MAX;
}

void err_list_init(struct err_list *list, struct arena *a);
/* The next slot, cleared; a scratch slot once the list is full. Never NULL. */
struct err *err_list_next(struct err_list *list);
__attribute__((format(printf, 4, 5))) struct err *err_list_add(struct err_list *list, enum err_code code, struct pos at,
                                                               const char *fmt, ...);
void err_list_sort(struct err_list *list); /* by line and column, those in other files last */

#endif
