/* A real PostgreSQL for every test program: one private cluster per user of the machine (made once, kept between runs,
 * stopped by the last program that uses it), and per test a fresh database cloned from a migrated template.
 *
 *     static int setup(void **state) { return support_db_open(&test.db); }     0 = fine, as cmocka wants it
 *     static int teardown(void **state) { return support_db_close(&test.db); }
 *
 * The cluster is in $MILLRACE_TEST_DATA, else /tmp/millrace-test-<uid>. */
#ifndef MILLRACE_TESTS_SUPPORT_DB_H
#define MILLRACE_TESTS_SUPPORT_DB_H

#include "engine/store/db.h"
#include "engine/store/embedded.h"

struct support_db {
    struct arena arena; /* of the test: emptied by close */
    struct str dsn;
    struct db *db; /* a pool of 4 */
    char name[64];
};

int support_db_open(struct support_db *t);  /* migrated, otherwise empty */
int support_db_empty(struct support_db *t); /* not even migrated */
int support_db_close(struct support_db *t);
/* The cluster itself, started on first use; NULL when it cannot be (the reason is printed). */
struct embedded_pg *support_pg(void);

/* A folder of the test's own under /tmp, and its removal with all in it. */
int support_dir_make(char out[256]);
int support_dir_remove(const char *path);

/* Runs SQL in the test's database, printing what went wrong: for rows that a test needs to be there. */
bool support_sql(struct support_db *t, const char *sql);
/* One number from the first column of the first row; -1 when there is none. */
int64_t support_number(struct support_db *t, const char *sql);

#endif
