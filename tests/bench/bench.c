/* What all benchmark groups share: samples, the table, the JSON lines. See bench.h. */
#include "tests/bench/bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* `only` is a list of names, or parts of them, with commas between. */
bool bench_wanted(const struct bench *b, const char *name)
{
    struct str rest = str_of(b->only != NULL ? b->only : ""), piece;
    if (b->only == NULL) return true;
    size_t at;
    while (str_split(&rest, ',', &piece))
        if (str_find(str_of(name), piece, &at)) return true;
    return false;
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

double bench_sorted(struct bench_row *row, double share)
{
    qsort(row->samples, row->n, sizeof *row->samples, by_size);
    return percentile(row, share);
}

double bench_sorted_median(struct bench_row *row)
{
    return bench_sorted(row, 0.5);
}

static void json_number(FILE *f, const char *key, double v)
{
    if (isnan(v))
        fprintf(f, ",\"%s\":null", key);
    else
        fprintf(f, ",\"%s\":%.6g", key, v);
}

static void print_row(const struct bench_row *row, double figure)
{
    bool met = row->higher_is_better ? figure >= row->goal : figure <= row->goal;
    printf("%-26s %10.4g %-8s [%.4g … %.4g, n=%zu]", row->name, figure, row->unit, row->samples[0],
           row->samples[row->n - 1], row->n);
    if (!isnan(row->goal))
        printf("  goal %s %.4g %s", row->higher_is_better ? "≥" : "≤", row->goal, met ? "met" : "MISSED");
    if (!isnan(row->floor)) printf("  floor %.4g (%s), ratio %.2f", row->floor, row->floor_name, figure / row->floor);
    putchar('\n');
    fflush(stdout);
}

void bench_report(struct bench *b, struct bench_row *row)
{
    if (row->n == 0) bench_die("%s: no sample", row->name);
    double figure = bench_sorted(row, row->worst ? 1 : 0.5);
    print_row(row, figure);
    fprintf(b->jsonl, "{\"name\":\"%s\",\"unit\":\"%s\",\"better\":\"%s\",\"n\":%zu", row->name, row->unit,
            row->higher_is_better ? "higher" : "lower", row->n);
    json_number(b->jsonl, "min", row->samples[0]);
    json_number(b->jsonl, "median", figure); /* what the goal is for: of some rows the worst */
    json_number(b->jsonl, "max", row->samples[row->n - 1]);
    json_number(b->jsonl, "floor", row->floor);
    json_number(b->jsonl, "goal", row->goal);
    fputs("}\n", b->jsonl);
    fflush(b->jsonl);
}
