/* What all benchmark groups share: samples, the table, the JSON lines. See bench.h. */
#include "tests/bench/bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool bench_wanted(const struct bench *b, const char *name)
{
    return b->only == NULL || strstr(name, b->only) != NULL;
}

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void bench_die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("bench: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void bench_must(bool ok, const struct err *err, const char *what)
{
    if (!ok) bench_die("%s: %s: %s %s", what, err->path, err->message, err->hint);
}

void bench_sample(struct bench_row *row, double v)
{
    if (row->n < BENCH_SAMPLES) row->samples[row->n++] = v;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(const struct bench_row *row, double share)
{
    size_t at = (size_t)(share * (double)(row->n - 1) + 0.5);
    return row->samples[at];
}

double bench_median(const struct bench_row *row)
{
    return percentile(row, 0.5);
}

void bench_report(struct bench *b, struct bench_row *row)
{
    if (row->n == 0) bench_die("%s: no sample", row->name);
    qsort(row->samples, row->n, sizeof *row->samples, by_size);
    double median = bench_median(row);
    bool met = row->higher_is_better ? median >= row->goal : median <= row->goal;
    char floor_text[96] = "-";
    if (!isnan(row->floor))
        snprintf(floor_text, sizeof floor_text, "%.4g (%s), ratio %.2f", row->floor, row->floor_name,
                 median / row->floor);
    printf("%-26s %10.4g %-8s  [%.4g … %.4g, n=%zu]  goal %s %.4g %s  floor %s\n", row->name, median, row->unit,
           row->samples[0], row->samples[row->n - 1], row->n, row->higher_is_better ? "≥" : "≤", row->goal,
           met ? "met " : "MISSED", floor_text);
    fflush(stdout);
    fprintf(b->jsonl,
            "{\"name\":\"%s\",\"unit\":\"%s\",\"better\":\"%s\",\"n\":%zu,\"min\":%.6g,\"median\":%.6g,\"max\":%.6g,",
            row->name, row->unit, row->higher_is_better ? "higher" : "lower", row->n, row->samples[0], median,
            row->samples[row->n - 1]);
    if (isnan(row->floor))
        fputs("\"floor\":null,", b->jsonl);
    else
        fprintf(b->jsonl, "\"floor\":%.6g,", row->floor);
    fprintf(b->jsonl, "\"goal\":%.6g}\n", row->goal);
    fflush(b->jsonl);
}
