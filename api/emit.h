/* Members of an answer's objects: what is empty is left out, and with ?fields= only what was asked for is written.
 * Pages of lists. */
#ifndef MILLRACE_API_EMIT_H
#define MILLRACE_API_EMIT_H

#include "api/request.h"

struct emit {
    struct jsonw *w;
    struct str fields; /* comma-separated; empty = all */
};

struct emit emit_of(struct request *rq, struct jsonw *w);
bool emit_wants(const struct emit *e, const char *key);
void emit_str(const struct emit *e, const char *key, struct str s);   /* empty: left out */
void emit_cstr(const struct emit *e, const char *key, const char *c); /* NULL or empty: left out */
void emit_int(const struct emit *e, const char *key, int64_t i);
void emit_id(const struct emit *e, const char *key, int64_t i); /* 0: left out */
void emit_bool(const struct emit *e, const char *key, bool b);
void emit_time(const struct emit *e, const char *key, int64_t us);      /* 0: left out */
void emit_json(const struct emit *e, const char *key, struct str json); /* empty: left out */

/* RFC 3339 in UTC with microseconds; out has 32 bytes. */
void time_text(int64_t us, char out[32]);

#define PAGE_DEFAULT 50
#define PAGE_MAX 1000
struct page {
    uint32_t size;
    struct str token; /* empty = the first page */
    uint32_t list;    /* which list it is: tokens that are numbers carry it */
};
MUST_CHECK bool page_of(struct request *rq, struct page *out, struct err *err);
/* A token that is made of a number: the last one shown. */
MUST_CHECK bool page_number(const struct page *page, int64_t first, int64_t *out, struct err *err);
/* {"items": [ … ], then page_end. */
struct jsonw *page_begin(struct request *rq);
void page_end(struct request *rq, struct str next);
void page_end_number(struct request *rq, bool more, int64_t last);

#endif
