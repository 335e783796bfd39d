/* Values on their way into and out of PostgreSQL: parameters of a statement, columns of a row.
 *
 * Parameters live in the caller's arena, rows in their PGresult. Results are asked for in binary form, so that numbers
 * and times need no parsing; readers look at the column's type. Not thread-safe. */
#ifndef MILLRACE_STORE_ROW_H
#define MILLRACE_STORE_ROW_H

#include <libpq-fe.h>

#include "engine/base/arena.h"
#include "engine/base/value.h"

#define PARAMS_MAX 48

struct params {
    struct arena *arena;
    int n;
    bool bad; /* a string with a NUL inside, or too many; reported when the statement is run */
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX];
    int formats[PARAMS_MAX];
};

void params_init(struct params *p, struct arena *a);
void params_null(struct params *p);
void params_int(struct params *p, int64_t i);
void params_id(struct params *p, int64_t i); /* 0 = NULL */
void params_bool(struct params *p, bool b);
void params_double(struct params *p, double d);
void params_str(struct params *p, struct str s);                  /* text, or JSON text for a jsonb parameter; copied */
void params_str_or_null(struct params *p, struct str s);          /* empty = NULL */
void params_time(struct params *p, int64_t us);                   /* timestamptz, µs since 1970; 0 = NULL */
void params_bytes(struct params *p, const void *bytes, size_t n); /* bytea */
void params_ints(struct params *p, const int64_t *items, size_t n);    /* of any kind of integers */
void params_strs(struct params *p, const struct str *items, size_t n); /* text[]; .p NULL = NULL element */

void result_cleanup(PGresult **res);
#define RESULT_AUTO __attribute__((cleanup(result_cleanup))) PGresult *

/* Columns of row `row` of a binary result. NULL reads as empty, 0 or false. */
bool row_null(const PGresult *res, int row, int col);
struct str row_str(const PGresult *res, int row, int col); /* text, jsonb, bytea, name; valid as long as the result */
struct str row_copy(const PGresult *res, int row, int col, struct arena *a); /* NULL: .p is NULL */
int64_t row_int(const PGresult *res, int row, int col);                      /* smallint, int, bigint, oid */
int64_t row_int_or(const PGresult *res, int row, int col, int64_t null);     /* `null` for NULL */
int64_t row_time(const PGresult *res, int row, int col);                     /* timestamptz in µs since 1970 */
bool row_bool(const PGresult *res, int row, int col);

#endif
