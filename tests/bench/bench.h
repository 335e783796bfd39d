/* Benchmarks: each row is a figure beside a floor measured in the same run on the same machine, so that the ratio holds
 * where the machine is noisy. Rows are printed as a table and written as JSON lines. */
#ifndef MILLRACE_BENCH_H
#define MILLRACE_BENCH_H

#include <stdio.h>

#include "engine/base/err.h"
#include "engine/store/db.h"

#define BENCH_SAMPLES 512

struct bench_row {
    const char *name, *unit;
    bool higher_is_better;
    double goal;            /* NAN = none */
    bool worst;             /* the figure is the worst sample, not the median */
    const char *floor_name; /* what the floor is, for people */
    double floor;           /* NAN = none */
    double samples[BENCH_SAMPLES];
    size_t n;
};

struct bench {
    FILE *jsonl;
    const char *only;     /* run only rows whose name contains it; NULL = all */
    const char *millrace; /* the server's binary, for rows that need a process of its own */
    const char *dir;      /* scratch folder */
    struct db *db;
    const char *dsn;
    struct scheduler *scheduler; /* in this process */
    const char *socket_dsn;
    struct embedded_pg *pg;
};

bool bench_wanted(const struct bench *b, const char *name);
void bench_sample(struct bench_row *row, double v);
double bench_sorted(struct bench_row *row, double share); /* sorts; the percentile */
double bench_sorted_median(struct bench_row *row);
void bench_report(struct bench *b, struct bench_row *row); /* sorts the samples, prints and writes the row */
double bench_now(void);                                    /* seconds, monotonic */
__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *fmt, ...);
void bench_must(bool ok, const struct err *err, const char *what); /* dies unless ok */

/* ---- the groups ---- */
void bench_flow(struct bench *b);                        /* pure: compile, memory */
void bench_place(struct bench *b);                       /* pure: the queue for GPUs */
void bench_inline(struct bench *b);                      /* the durable engine without processes */
void bench_process(struct bench *b);                     /* local processes */
void bench_http(struct bench *b);                        /* the server as its users meet it */
void bench_lists(struct bench *b);                       /* a million runs */
void bench_peer(struct bench *b, const char *databases); /* answers the driver of the peers */

#endif
