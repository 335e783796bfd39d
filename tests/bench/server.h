/* The real server as a process of its own, with a database of its own on the benchmark's PostgreSQL: for the rows that
 * are about what its users meet. One at a time, one thread. */
#ifndef MILLRACE_BENCH_SERVER_H
#define MILLRACE_BENCH_SERVER_H

#include <curl/curl.h>
#include <sys/types.h>

#include "engine/base/buf.h"
#include "tests/bench/bench.h"

struct server {
    struct bench *b;
    pid_t pid; /* 0 = not running */
    int port;
    char data[300], auth[200];
    char *dsn;
    struct db *db; /* the same database, past the server */
    CURL *curl;
    struct curl_slist *headers;
    struct buf answer; /* of the last call */
};

void server_open(struct server *s, struct bench *b, const char *name); /* its folder and its database */
void server_close(struct server *s);
double server_start(struct server *s);                            /* seconds from exec until /readyz says yes */
void server_stop(struct server *s, int sig);                      /* waits for its end */
double server_memory_mb(const struct server *s, const char *key); /* of /proc/PID/status: VmRSS, VmHWM */

/* Status of the answer; body NULL = GET. A connection is kept. */
long server_call(struct server *s, const char *path, const char *type, struct str body);
/* Status must be 2xx. */
void server_must(struct server *s, const char *path, const char *type, struct str body);
void server_apply(struct server *s, struct str yaml);
int64_t server_submit(struct server *s, const char *pipeline); /* the run's number */
void server_await(struct server *s, int64_t run);              /* until its end is recorded */
void server_sql(struct server *s, const char *sql);
int64_t server_number(struct server *s, const char *sql);

#endif
