/* From text to a stored plan, and what a waiting task costs in memory. */
#include <malloc.h>
#include <math.h>
#include <stdlib.h>

#include "engine/flow/run.h"
#include "engine/store/pipelines.h"
#include "engine/text/json.h"
#include "tests/bench/bench.h"
#include "tests/bench/inline.h"

/* Each sample is another text, so that nothing is found already stored. */
static void row_yaml(struct bench *b)
{
    if (!bench_wanted(b, "yaml10k_ms")) return;
    struct bench_row row = {
        .name = "yaml10k_ms", .unit = "ms", .goal = 150, .floor_name = "raw insert of text and plan"};
    struct err err = {0};
    for (int i = 0; i < 9; i++) {
        char name[32];
        BUF_AUTO yaml;
        buf_init(&yaml, 0);
        snprintf(name, sizeof name, "bench-yaml-%d", i);
        inline_layers_yaml(&yaml, name, 10000);
        double start = bench_now();
        inline_plan(b, buf_view(&yaml));
        if (i > 0) bench_sample(&row, (bench_now() - start) * 1e3);
    }
    CONN_AUTO c = NULL;
    bench_must(db_lease(b->db, &c, &err), &err, "lease");
    bench_must(conn_do(c, "CREATE TEMP TABLE bench_plan (LIKE plans)", &err), &err, "raw");
    double start = bench_now();
    bench_must(conn_do(c, "INSERT INTO bench_plan SELECT * FROM plans ORDER BY id DESC LIMIT 1", &err), &err, "raw");
    row.floor = (bench_now() - start) * 1e3;
    bench_report(b, &row);
}

/* A loop whose items all wait for the first one: what the process holds more with the run than without it, per task. */
static void row_memory(struct bench *b)
{
    if (!bench_wanted(b, "waiting_task_bytes")) return;
    struct bench_row row = {.name = "waiting_task_bytes", .unit = "bytes", .goal = NAN, .floor = NAN};
    struct arena a, turn;
    arena_init(&a, (size_t)1 << 30);
    arena_init(&turn, (size_t)1 << 30);
    static const char text[] =
        "apiVersion: millrace/v1\nkind: Pipeline\nname: wide\nparams:\n  items: {type: list}\nsteps:\n  fan:\n"
        "    foreach: ${{ params.items }}\n    parallelism: 1\n    run: [\"true\"]\n";
    const struct plan *plan = inline_compile(&a, str_of(text));
    const int n = 20000;
    struct value_list_builder items;
    struct value_map_builder params;
    value_list_begin(&items, &a);
    for (int i = 0; i < n; i++)
        value_list_push(&items, value_int(i));
    value_map_begin(&params, &a);
    value_map_put(&params, STR("items"), value_list_end(&items));
    const struct run_header h = {
        .id = 1, .params = value_map_end(&params), .state = RUN_QUEUED, .next_event = 1, .json = json_decode};
    struct run_out out;
    run_out_init(&out, &turn);
    size_t before = mallinfo2().uordblks;
    struct run *r = run_new(plan, &h);
    run_begin(r, 1, &out);
    while (run_advance(r, &(uint32_t){UINT32_MAX}, 1, &out))
        run_committed(r);
    run_committed(r);
    if (run_task_count(r) < (uint32_t)n) bench_die("the loop did not expand: %u tasks", run_task_count(r));
    bench_sample(&row, (double)run_bytes(r) / (double)run_task_count(r));
    printf("    the process holds %.0f bytes more per task, the turn's own memory included\n",
           (double)(mallinfo2().uordblks - before) / (double)run_task_count(r));
    bench_report(b, &row);
    run_free(r);
    arena_free(&a);
    arena_free(&turn);
}

void bench_flow(struct bench *b)
{
    row_yaml(b);
    row_memory(b);
}
