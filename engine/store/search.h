/* The one place where SQL is put together: a filter and an order, as users write them, become a statement made of
 * whitelisted fragments, with every value as $n. Lists give a table of their fields; the cursor of a page is opaque
 * text that fits only the same filter and order.
 *
 *     filter   := term ("and" term)*
 *     term     := field op value | field "in" "(" value ("," value)* ")"
 *     op       := = != < <= > >= ~ (contains, without regard to case)
 *     value    := word | "quoted" | 'quoted'       times: RFC 3339 or a day, UTC: 2024-05-01, 2024-05-01T12:00:00Z
 */
#ifndef MILLRACE_STORE_SEARCH_H
#define MILLRACE_STORE_SEARCH_H

#include "engine/base/buf.h"
#include "engine/store/db.h"

enum search_type {
    SEARCH_TEXT,
    SEARCH_INT,
    SEARCH_TIME,
    SEARCH_BOOL,
    SEARCH_CUSTOM, /* the list writes its condition itself */
};

struct search_term {
    struct str field; /* as written */
    struct str key;   /* behind the first dot: labels.KEY */
    char op[3];       /* "in" becomes "=" with several values */
    struct str *values;
    size_t n_values;
    struct pos at, value_at;
};

struct search;
struct search_field {
    const char *name;  /* "labels." takes a key */
    const char *alias; /* the JSON's name for it, or NULL */
    enum search_type type;
    const char *sql; /* column or expression */
    bool order;      /* may stand in order_by */
    bool fast;       /* an index serves it */
    /* SEARCH_CUSTOM: adds its condition. Any type: may be NULL. */
    bool (*custom)(struct search *s, const struct search_term *t, struct err *err);
};

struct search_list {
    const struct search_field *fields;
    size_t n_fields;
    const char *columns;       /* of the answer; the first is the id */
    const char *from;          /* table and what is joined to it; tells the list's cursors from those of others */
    const char *id;            /* column that is unique: the tie-break, and the order by default, newest first */
    const char *default_order; /* e.g. "created desc" */
    const char *id_order;      /* a field whose order is that of the ids, or NULL: orders by id instead */
};

struct search {
    const struct search_list *list;
    struct arena *arena;
    struct params params;
    struct buf where; /* conditions, each with " AND " in front */
    struct buf join;  /* behind the select */
    const char *id;   /* the list's, or a column of a joined table that equals it and whose index serves the search */
    bool slow;        /* some part is not served by an index */
    struct search_term *terms;
    size_t n_terms;
    const struct search_field *order;
    bool descending;
    uint32_t page_size;
    struct str page_token;
    uint64_t hash; /* of filter and order: what a cursor fits */
};

struct search_request {
    struct str filter, order_by, page_token;
    uint32_t page_size; /* 1 … 1000; 0 = 50 */
};

/* Parses; nothing is asked yet. search_end in any case. Errors have a position within filter or order_by, named by
 * their path. */
MUST_CHECK bool search_begin(struct search *s, const struct search_list *list, const struct search_request *q,
                             struct arena *a, struct err *err);
void search_end(struct search *s);
const struct search_term *search_term_of(const struct search *s, const char *field); /* NULL when not filtered by it */
/* A number as $n for the text of a condition: after params_…(&s->params, …). */
int search_param(struct search *s);
/* " AND column op $n", or "= ANY($n)" for several values. For custom conditions too. */
MUST_CHECK bool search_compare(struct search *s, const char *column, enum search_type type, const struct search_term *t,
                               struct err *err);
MUST_CHECK bool search_time(struct str text, int64_t *us);
/* Runs it: at most page_size rows in *out; whether there is more, the cursor of the next page in *next. Row i of the
 * result begins with id; its last column is the order's key. 2 s at most. */
MUST_CHECK bool search_run(struct search *s, struct conn *c, PGresult **out, size_t *n, struct str *next,
                           struct err *err);

#endif
