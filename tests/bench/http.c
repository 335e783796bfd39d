/* The server as its users meet it: how soon it is there, what it weighs, how long a submission takes, and how soon it
 * is back at work. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/inline.h"
#include "tests/bench/server.h"

#define ONE_STEP "apiVersion: millrace/v1\nkind: Pipeline\nname: bench-one\nsteps:\n  only:\n    expr: null\n"

static double run_once(char *const argv[])
{
    extern char **environ;
    posix_spawn_file_actions_t files;
    pid_t pid;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", 1, 0);
    double start = bench_now();
    int status = 0;
    if (posix_spawn(&pid, argv[0], &files, NULL, argv, environ) != 0) bench_die("cannot spawn %s", argv[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0) bench_die("%s failed", argv[0]);
    posix_spawn_file_actions_destroy(&files);
    return bench_now() - start;
}

/* ---- weight ---- */

static void row_binary(struct bench *b)
{
    struct bench_row row = {.name = "binary_mb", .unit = "MB", .goal = 2, .floor = NAN};
    char to[320];
    struct stat st;
    if (!bench_wanted(b, row.name)) return;
    snprintf(to, sizeof to, "%s/stripped", b->dir);
    run_once((char *const[]){"/usr/bin/strip", "-o", to, (char *)(uintptr_t)b->millrace, NULL});
    if (stat(to, &st) != 0) bench_die("no stripped copy");
    unlink(to);
    bench_sample(&row, (double)st.st_size / 1e6);
    bench_report(b, &row);
}

static void row_start(struct server *s)
{
    struct bench_row row = {.name = "start_ms", .unit = "ms", .goal = 100, .floor_name = "the binary's --help"};
    struct bench_row help = {0};
    for (int i = 0; i < 15; i++) {
        bench_sample(&row, server_start(s) * 1e3);
        server_stop(s, SIGTERM);
        bench_sample(&help, run_once((char *const[]){(char *)(uintptr_t)s->b->millrace, "--help", NULL}) * 1e3);
    }
    row.floor = bench_sorted_median(&help);
    bench_report(s->b, &row);
}

static void row_rss(struct server *s)
{
    struct bench_row row = {.name = "rss_mb", .unit = "MB", .goal = 20, .floor = NAN};
    for (int i = 0; i < 5; i++) {
        server_must(s, "/api/v1/runs", NULL, (struct str){0});
        bench_sample(&row, server_memory_mb(s, "VmRSS"));
    }
    bench_report(s->b, &row);
}

/* ---- a submission ---- */

static void row_submit(struct server *s)
{
    struct bench_row row = {.name = "submit_p50_ms", .unit = "ms", .goal = 3, .floor_name = "raw insert, committed"};
    struct bench_row raw = {0};
    struct err err = {0};
    for (int i = 0; i < 20; i++)
        server_await(s, server_submit(s, "bench-one"));
    CONN_AUTO c = NULL;
    bench_must(db_lease(s->db, &c, &err), &err, "lease");
    bench_must(conn_do(c, "CREATE TABLE IF NOT EXISTS bench_raw (id bigint PRIMARY KEY, body text)", &err), &err,
               "raw");
    for (int i = 0; i < 300; i++) {
        char sql[128];
        double start = bench_now();
        int64_t run = server_submit(s, "bench-one");
        bench_sample(&row, (bench_now() - start) * 1e3);
        server_await(s, run); /* else the next one would also wait for this one's commits */
        snprintf(sql, sizeof sql,
                 "INSERT INTO bench_raw SELECT coalesce(max(id), 0) + 1, repeat('x', 200) FROM bench_raw");
        start = bench_now();
        bench_must(conn_do(c, sql, &err), &err, "raw");
        bench_sample(&raw, (bench_now() - start) * 1e3);
    }
    row.floor = bench_sorted_median(&raw);
    bench_report(s->b, &row);
}

/* ---- load ---- */

struct loader {
    struct server server; /* a connection of its own to the same process */
    pthread_t thread;
    double until;
    uint64_t requests;
};

static void *load_main(void *arg)
{
    struct loader *l = arg;
    for (; bench_now() < l->until; l->requests += 2) {
        server_submit(&l->server, "bench-one");
        server_must(&l->server, "/api/v1/runs?page_size=100", NULL, (struct str){0});
    }
    return NULL;
}

static void loader_open(struct loader *l, const struct server *s, double seconds)
{
    *l = (struct loader){.server = *s, .until = bench_now() + seconds};
    l->server.curl = curl_easy_duphandle(s->curl);
    l->server.headers = NULL;
    buf_init(&l->server.answer, (size_t)1 << 28);
    curl_easy_setopt(l->server.curl, CURLOPT_WRITEDATA, &l->server);
    if (pthread_create(&l->thread, NULL, load_main, l) != 0) bench_die("no thread");
}

static void loader_close(struct loader *l)
{
    pthread_join(l->thread, NULL);
    curl_slist_free_all(l->server.headers);
    curl_easy_cleanup(l->server.curl);
    buf_free(&l->server.answer);
}

/* Forty clients that submit and list, while a pipeline of 10,000 steps arrives as text and four runs of it go on at
 * once. */
static void row_peak(struct server *s)
{
    struct bench_row row = {.name = "rss_peak_mb", .unit = "MB", .goal = 64, .floor = NAN};
    static struct loader loaders[40];
    uint64_t requests = 0;
    int64_t runs[4];
    BUF_AUTO yaml;
    buf_init(&yaml, 0);
    inline_layers_yaml(&yaml, "bench-wide", 10000);
    for (size_t i = 0; i < 40; i++)
        loader_open(&loaders[i], s, 5);
    server_apply(s, buf_view(&yaml));
    for (int i = 0; i < 4; i++)
        runs[i] = server_submit(s, "bench-wide");
    for (int i = 0; i < 4; i++)
        server_await(s, runs[i]);
    for (size_t i = 0; i < 40; i++) {
        loader_close(&loaders[i]);
        requests += loaders[i].requests;
    }
    bench_sample(&row, server_memory_mb(s, "VmHWM"));
    bench_report(s->b, &row);
    printf("    %.0f requests/s from 40 clients, half of them submissions, beside four runs of 10,000 steps\n",
           (double)requests / 5);
}

/* ---- back at work ---- */

#define WAITING_RUNS 10
#define WAITING_TASKS 10000
#define BACK_AT_WORK                                                                                                   \
    "apiVersion: millrace/v1\nkind: Pipeline\nname: bench-back\nsteps:\n  only:\n    run: [/bin/true]\n"

/* Killed with 100,000 tasks in waiting, started, and a new run with a process carried out, which the scheduler hears of
 * only once it has them all in memory: the time from exec to the end of that run. */
static void row_restart(struct server *s)
{
    struct bench_row row = {.name = "restart_100k_s", .unit = "s", .goal = 2, .floor_name = "reading the rows"};
    char yaml[256], sql[128];
    snprintf(yaml, sizeof yaml,
             "apiVersion: millrace/v1\nkind: Pipeline\nname: bench-wait\nsteps:\n  fan:\n    foreach: {range: %d}\n    "
             "wait: 24h\n",
             WAITING_TASKS);
    server_apply(s, str_of(yaml));
    server_apply(s, STR(BACK_AT_WORK));
    for (int i = 0; i < WAITING_RUNS; i++)
        server_submit(s, "bench-wait");
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM tasks t JOIN active_runs a USING (run_id) WHERE t.due_at IS NOT NULL");
    double start = bench_now();
    while (server_number(s, sql) < (int64_t)WAITING_RUNS * WAITING_TASKS) {
        if (bench_now() - start > 120) bench_die("%d tasks do not come to wait", WAITING_RUNS * WAITING_TASKS);
        usleep(50000);
    }
    for (int i = 0; i < 3; i++) {
        server_stop(s, SIGKILL);
        start = bench_now();
        server_start(s);
        server_await(s, server_submit(s, "bench-back"));
        bench_sample(&row, bench_now() - start);
        if (server_number(s, sql) != (int64_t)WAITING_RUNS * WAITING_TASKS) bench_die("tasks do not wait any more");
    }
    struct err err = {0};
    CONN_AUTO c = NULL;
    RESULT_AUTO res = NULL;
    start = bench_now();
    bench_must(db_lease(s->db, &c, &err) &&
                   conn_sql(c, "SELECT t.* FROM tasks t JOIN active_runs a USING (run_id)", NULL, &res, &err),
               &err, "rows");
    row.floor = bench_now() - start;
    bench_report(s->b, &row);
    printf("    the server holds %.1f MB with them\n", server_memory_mb(s, "VmRSS"));
}

void bench_http(struct bench *b)
{
    static const char *const names[] = {"start_ms", "rss_mb", "submit_p50_ms", "rss_peak_mb", "restart_100k_s"};
    static void (*const rows[])(struct server *) = {NULL, row_rss, row_submit, row_peak, row_restart};
    struct server s;
    bool wanted = false;
    row_binary(b);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        wanted = wanted || bench_wanted(b, names[i]);
    if (!wanted) return;
    server_open(&s, b, "bench_http");
    server_start(&s); /* the first one migrates */
    server_stop(&s, SIGTERM);
    if (bench_wanted(b, "start_ms")) row_start(&s);
    server_start(&s);
    for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
        if (i == 2) server_apply(&s, STR(ONE_STEP));
        if (bench_wanted(b, names[i])) rows[i](&s);
    }
    server_close(&s);
}
