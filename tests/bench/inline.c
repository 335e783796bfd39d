/* The durable engine without processes: every figure is of steps whose records were committed, with fsync on. The floor
 * beside them is a commit made by the same database in the same run, of as many rows, without any engine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/flow/compile.h"
#include "engine/os/digest.h"
#include "engine/store/pipelines.h"
#include "engine/store/runs.h"
#include "engine/text/yaml.h"
#include "scheduler/scheduler.h"
#include "tests/bench/bench.h"
#include "tests/bench/inline.h"

/* ---- pipelines as text ---- */

void inline_chain_yaml(struct buf *out, const char *name, int steps)
{
    buf_printf(out, "apiVersion: millrace/v1\nkind: Pipeline\nname: %s\nsteps:\n", name);
    for (int i = 0; i < steps; i++) {
        buf_printf(out, "  s%d:\n    expr: null\n", i);
        if (i > 0) buf_printf(out, "    needs: [s%d]\n", i - 1);
    }
}

/* 1 → n → 1 */
static void diamond_yaml(struct buf *out, const char *name, int n)
{
    buf_printf(out, "apiVersion: millrace/v1\nkind: Pipeline\nname: %s\nsteps:\n  first:\n    expr: null\n", name);
    for (int i = 0; i < n; i++)
        buf_printf(out, "  s%d:\n    expr: null\n    needs: [first]\n", i);
    buf_c(out, "  last:\n    expr: null\n    needs: [");
    for (int i = 0; i < n; i++)
        buf_printf(out, "%ss%d", i > 0 ? ", " : "", i);
    buf_c(out, "]\n");
}

static void foreach_yaml(struct buf *out, const char *name, int n)
{
    buf_printf(out,
               "apiVersion: millrace/v1\nkind: Pipeline\nname: %s\nsteps:\n  fan:\n    foreach: {range: %d}\n    expr: "
               "${{ item }}\n"
               "  sum:\n    expr: ${{ size(steps.fan.value) }}\n",
               name, n);
}

/* Layers of 100, each step after two of the layer before: neither a chain nor a star. */
void inline_layers_yaml(struct buf *out, const char *name, int steps)
{
    buf_printf(out, "apiVersion: millrace/v1\nkind: Pipeline\nname: %s\nsteps:\n", name);
    for (int i = 0; i < steps; i++) {
        buf_printf(out, "  s%d:\n    expr: null\n", i);
        if (i >= 100) buf_printf(out, "    needs: [s%d, s%d]\n", i - 100, i / 100 * 100 - 100 + (i * 7) % 100);
    }
}

/* ---- store ---- */

static struct scope scope(void)
{
    return (struct scope){1, STR("bench")};
}

const struct plan *inline_compile(struct arena *a, struct str yaml)
{
    struct err err = {0};
    struct err_list errors;
    struct value *docs = NULL;
    size_t n = 0;
    const struct plan *plan = NULL;
    err_list_init(&errors, a);
    bool ok =
        yaml_parse(a, yaml, NULL, &docs, &n, &errors) && n == 1 && compile_pipeline(a, &docs[0], NULL, &plan, &errors);
    bench_must(ok, errors.n > 0 ? &errors.items[0] : &err, "compile");
    return plan;
}

int64_t inline_plan(struct bench *b, struct str yaml)
{
    struct arena a;
    struct err err = {0};
    char digest[DIGEST_TEXT];
    int64_t id = 0;
    arena_init(&a, (size_t)1 << 30);
    const struct plan *plan = inline_compile(&a, yaml);
    BUF_AUTO json;
    buf_init(&json, (size_t)1 << 30);
    plan_json(&json, plan);
    digest_of(buf_view(&json), digest);
    struct scope sc = scope();
    const struct plan_text text = {.digest = str_of(digest), .source = yaml, .plan = buf_view(&json)};
    CONN_AUTO c = NULL;
    bench_must(db_lease(b->db, &c, &err), &err, "lease");
    bench_must(plans_put(c, &sc, &text, &id, &err), &err, "plan");
    arena_free(&a);
    return id;
}

/* Creates n runs in one transaction. */
void inline_submit(struct bench *b, int64_t plan, int n)
{
    struct err err = {0};
    struct scope sc = scope();
    CONN_AUTO c = NULL;
    bench_must(db_lease(b->db, &c, &err), &err, "lease");
    bench_must(conn_begin(c, &err), &err, "begin");
    for (int i = 0; i < n; i++) {
        int64_t id;
        const struct run_new run = {.pipeline = STR("bench"), .plan_id = plan};
        bench_must(runs_create(c, &sc, &run, &id, &err), &err, "run");
    }
    bench_must(conn_commit(c, &err), &err, "commit");
}

void inline_await(struct bench *b, uint64_t ended)
{
    double start = bench_now();
    while (scheduler_statistics(b->scheduler)->runs_ended < ended) {
        if (bench_now() - start > 120) bench_die("the runs did not end within two minutes");
        inline_wait(b);
    }
}

/* Submits n runs at once, hints, and waits until the scheduler has ended them. Returns the seconds from the commit. */
double inline_runs(struct bench *b, int64_t plan, int n)
{
    uint64_t before = scheduler_statistics(b->scheduler)->runs_ended;
    inline_submit(b, plan, n);
    double start = bench_now();
    scheduler_hint(b->scheduler);
    inline_await(b, before + (uint64_t)n);
    return bench_now() - start;
}

/* ---- floors ---- */

/* Seconds of one commit that inserts the rows of so many steps as the engine's two tables would take them: two each. */
double inline_raw_commit(struct bench *b, int rows, int times, struct bench_row *samples)
{
    struct err err = {0};
    char sql[400];
    CONN_AUTO c = NULL;
    bench_must(db_lease(b->db, &c, &err), &err, "lease");
    bench_must(
        conn_do(
            c,
            "CREATE TABLE IF NOT EXISTS bench_raw (run bigint, task int, state smallint, at timestamptz, PRIMARY KEY "
            "(run, task)); TRUNCATE bench_raw",
            &err),
        &err, "raw");
    double total = 0;
    for (int i = 0; i < times; i++) {
        snprintf(sql, sizeof sql, "INSERT INTO bench_raw SELECT %d, g, 7, now() FROM generate_series(1, %d) g", i,
                 rows * 2);
        double start = bench_now();
        bench_must(conn_do(c, sql, &err), &err, "raw");
        double took = bench_now() - start;
        total += took;
        if (samples != NULL) bench_sample(samples, took * 1e3);
    }
    return total / times;
}

/* ---- rows ---- */

static void row_dag_steps(struct bench *b)
{
    if (!bench_wanted(b, "dag_steps_per_s")) return;
    struct bench_row row = {.name = "dag_steps_per_s", .unit = "steps/s", .higher_is_better = true, .goal = 20000};
    BUF_AUTO yaml;
    buf_init(&yaml, 0);
    inline_chain_yaml(&yaml, "bench-dag", 10);
    int64_t plan = inline_plan(b, buf_view(&yaml));
    for (int i = 0; i < 20; i++)
        inline_runs(b, plan, 20); /* warm */
    uint64_t commits = scheduler_statistics(b->scheduler)->commits;
    for (int i = 0; i < 100; i++)
        bench_sample(&row, 200 / inline_runs(b, plan, 20));
    commits = scheduler_statistics(b->scheduler)->commits - commits;
    row.floor = 20 / inline_raw_commit(b, 20, 100, NULL);
    row.floor_name = "raw commits of 20 steps' rows";
    bench_report(b, &row);
    printf("    %.1f commits a round of 20 workflows × 10 steps; every layer of steps is committed before the next "
           "begins\n",
           (double)commits / 100);
}

static void latency_samples(struct bench *b, struct bench_row *row)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    RESULT_AUTO res = NULL;
    bench_must(db_lease(b->db, &c, &err), &err, "lease");
    bench_must(
        conn_sql(c,
                 "SELECT (1000000 * extract(epoch FROM at - lag(at) OVER (PARTITION BY run_id ORDER BY seq)))::bigint "
                 "FROM events "
                 "WHERE task IS NOT NULL AND run_id > (SELECT max(run_id) - 12 FROM events) ORDER BY run_id, seq",
                 NULL, &res, &err),
        &err, "events");
    for (int i = 0; i < PQntuples(res); i++)
        if (!row_null(res, i, 0)) bench_sample(row, (double)row_int(res, i, 0) / 1e3);
}

static void row_latency(struct bench *b)
{
    if (!bench_wanted(b, "step_latency") && !bench_wanted(b, "chain40_ms")) return;
    struct bench_row chain = {.name = "chain40_ms", .unit = "ms", .goal = 60, .floor_name = "40 raw commits"};
    struct bench_row p50 = {.name = "step_latency_p50_ms", .unit = "ms", .goal = 1, .floor_name = "raw commit, p50"};
    struct bench_row raw = {0}, all = {0};
    BUF_AUTO yaml;
    buf_init(&yaml, 0);
    inline_chain_yaml(&yaml, "bench-chain", 40);
    int64_t plan = inline_plan(b, buf_view(&yaml));
    for (int i = 0; i < 5; i++)
        inline_runs(b, plan, 1);
    for (int i = 0; i < 12; i++)
        bench_sample(&chain, inline_runs(b, plan, 1) * 1e3);
    double commit = inline_raw_commit(b, 1, 400, &raw);
    latency_samples(b, &all);
    chain.floor = 40 * commit * 1e3;
    bench_report(b, &chain);
    p50.floor = bench_sorted_median(&raw);
    memcpy(p50.samples, all.samples, sizeof all.samples);
    p50.n = all.n;
    bench_report(b, &p50);
    struct bench_row p99 = {.name = "step_latency_p99_ms", .unit = "ms", .goal = 5, .floor_name = "raw commit, p99"};
    p99.floor = bench_sorted(&raw, 0.99);
    bench_sample(&p99, bench_sorted(&all, 0.99));
    bench_report(b, &p99);
}

static void row_wide(struct bench *b, const char *name, double goal, double unit, const char *unit_name, int rows,
                     void (*write)(struct buf *, const char *, int), int n, int times)
{
    if (!bench_wanted(b, name)) return;
    struct bench_row row = {.name = name, .unit = unit_name, .goal = goal, .floor_name = "raw commit of the rows"};
    BUF_AUTO yaml;
    buf_init(&yaml, 0);
    write(&yaml, "bench-wide", n);
    int64_t plan = inline_plan(b, buf_view(&yaml));
    inline_runs(b, plan, 1);
    for (int i = 0; i < times; i++)
        bench_sample(&row, inline_runs(b, plan, 1) * unit);
    row.floor = inline_raw_commit(b, rows, 5, NULL) * unit;
    bench_report(b, &row);
}

void bench_inline(struct bench *b)
{
    row_dag_steps(b);
    row_latency(b);
    row_wide(b, "fanout1000_ms", 150, 1e3, "ms", 1000, diamond_yaml, 1000, 15);
    row_wide(b, "fanout1000_foreach_ms", 150, 1e3, "ms", 1000, foreach_yaml, 1000, 15);
    row_wide(b, "dag10k_s", 1.5, 1, "s", 10000, inline_layers_yaml, 10000, 5);
}
