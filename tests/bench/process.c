/* Local processes, through the real server and its launcher. The floor is what the machine itself takes to spawn and
 * wait for /bin/true, as many at once. */
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/bench/server.h"

#define STEPS 1000
#define AT_ONCE 8 /* what two CPUs admit of steps that say nothing */

static pid_t spawn_true(void)
{
    extern char **environ;
    char *argv[] = {"/bin/true", NULL};
    pid_t pid;
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0) bench_die("cannot spawn /bin/true");
    return pid;
}

/* Seconds for n processes, never more than `at_once` of them alive. */
static double raw_spawns(int n, int at_once)
{
    double start = bench_now();
    for (int started = 0, ended = 0; ended < n;) {
        if (started < n && started - ended < at_once) {
            spawn_true();
            started++;
        } else {
            if (wait(NULL) < 0) bench_die("a child is gone");
            ended++;
        }
    }
    return bench_now() - start;
}

static void chain_yaml(struct buf *out, int steps)
{
    buf_c(out, "apiVersion: millrace/v1\nkind: Pipeline\nname: bench-chain\nsteps:\n");
    for (int i = 0; i < steps; i++) {
        buf_printf(out, "  s%d:\n    run: [/bin/true]\n", i);
        if (i > 0) buf_printf(out, "    needs: [s%d]\n", i - 1);
    }
}

static double one_run(struct server *s, const char *pipeline)
{
    int64_t run = server_submit(s, pipeline);
    double start = bench_now();
    server_await(s, run);
    return bench_now() - start;
}

static void row_chain(struct server *s)
{
    struct bench_row row = {.name = "chain40_process_ms", .unit = "ms", .goal = NAN, .floor_name = "40 bare spawns"};
    BUF_AUTO yaml;
    buf_init(&yaml, 0);
    chain_yaml(&yaml, 40);
    server_apply(s, buf_view(&yaml));
    for (int i = 0; i < 2; i++)
        one_run(s, "bench-chain");
    for (int i = 0; i < 8; i++)
        bench_sample(&row, one_run(s, "bench-chain") * 1e3);
    row.floor = raw_spawns(400, 1) / 10 * 1e3;
    bench_report(s->b, &row);
}

/* Interleaved with its floor, since both drift with the machine. The server's own part of a run, from submission to its
 * first process, counts. */
static void row_steps(struct server *s)
{
    struct bench_row row = {.name = "process_steps_per_s",
                            .unit = "steps/s",
                            .higher_is_better = true,
                            .floor_name = "bare spawns, as many at once"};
    struct bench_row raw = {0};
    char yaml[200];
    snprintf(yaml, sizeof yaml,
             "apiVersion: millrace/v1\nkind: Pipeline\nname: bench-steps\nsteps:\n  fan:\n    foreach: {range: %d}\n   "
             " run: [/bin/true]\n",
             STEPS);
    server_apply(s, str_of(yaml));
    one_run(s, "bench-steps");
    for (int i = 0; i < 7; i++) {
        bench_sample(&row, STEPS / one_run(s, "bench-steps"));
        bench_sample(&raw, STEPS / raw_spawns(STEPS, AT_ONCE));
    }
    row.floor = bench_sorted_median(&raw);
    row.goal = row.floor / 2;
    bench_report(s->b, &row);
}

void bench_process(struct bench *b)
{
    bool chain = bench_wanted(b, "chain40_process_ms"), steps = bench_wanted(b, "process_steps_per_s");
    struct server s;
    if (!chain && !steps) return;
    server_open(&s, b, "bench_process");
    server_start(&s);
    if (chain) row_chain(&s);
    if (steps) row_steps(&s);
    server_close(&s);
}
