/* bench_engine [--only ROW,ROW…] [--out FILE] [--millrace BINARY], or bench_engine --peer [--databases A,B]: measures
 * the engine on a private PostgreSQL with its durability on, and refuses one whose durability is off. See bench.h. */
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/os/fs.h"
#include "engine/os/log.h"
#include "engine/store/embedded.h"
#include "engine/store/migrate.h"
#include "scheduler/scheduler.h"
#include "tests/bench/bench.h"
#include "tests/bench/inline.h"

static int committed_fd = -1;

static void on_commit(void *ctx)
{
    (void)ctx;
    uint64_t one = 1;
    if (write(committed_fd, &one, sizeof one) < 0) return;
}

void inline_wait(struct bench *b)
{
    (void)b;
    struct pollfd fd = {.fd = committed_fd, .events = POLLIN};
    uint64_t n;
    if (poll(&fd, 1, 100) > 0 && read(committed_fd, &n, sizeof n) < 0) return;
}

/* Figures of a database that may forget would be worth nothing. */
static void refuse_unsafe(struct bench *b)
{
    static const char *const settings[] = {"fsync", "full_page_writes", "synchronous_commit"};
    struct err err = {0};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        char sql[64];
        CONN_AUTO c = NULL;
        RESULT_AUTO res = NULL;
        snprintf(sql, sizeof sql, "SHOW %s", settings[i]);
        bench_must(db_lease(b->db, &c, &err), &err, "lease");
        bench_must(conn_sql(c, sql, NULL, &res, &err), &err, sql);
        if (!str_is(row_str(res, 0, 0), "on")) bench_die("%s is not on: such figures are refused", settings[i]);
    }
}

static void open_all(struct bench *b)
{
    struct err err = {0};
    const struct embedded_config config = {.data_dir = str_of(b->dir)};
    bench_must(embedded_start(&config, &b->pg, &err), &err, "database");
    b->dsn = embedded_dsn(b->pg).p;
    const struct db_config pool = {.dsn = embedded_dsn(b->pg), .size = 4, .statement_timeout_ms = 600000};
    bench_must(db_open(&pool, &b->db, &err), &err, "pool");
    bench_must(migrate_run(b->db, NULL, &err), &err, "migrate");
    refuse_unsafe(b);
    committed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const struct scheduler_config cfg = {
        .conninfo = b->dsn, .owner = "bench", .poll_ms = 1000, .db = b->db, .committed = on_commit};
    bench_must(scheduler_start(&cfg, &b->scheduler, &err), &err, "scheduler");
    while (scheduler_statistics(b->scheduler)->shards == 0)
        usleep(1000);
}

static void close_scheduler(struct bench *b)
{
    scheduler_stop(b->scheduler);
    b->scheduler = NULL;
}

/* Also when a row dies: PostgreSQL would outlive it. */
static struct bench *opened;

static void close_all(void)
{
    struct bench *b = opened;
    struct err err = {0};
    opened = NULL;
    if (b == NULL || b->pg == NULL) return;
    if (b->scheduler != NULL) close_scheduler(b);
    if (b->db != NULL) db_close(b->db);
    embedded_stop(b->pg);
    if (!fs_remove_tree(b->dir, &err)) fprintf(stderr, "bench: %s stays: %s\n", b->dir, err.message);
}

/* The rows that need the server's binary come last, without the scheduler of this process beside them. */
static void measure(struct bench *b, const char *out)
{
    b->jsonl = fopen(out, "w");
    if (b->jsonl == NULL) bench_die("cannot write %s", out);
    bench_flow(b);
    bench_place(b);
    bench_inline(b);
    close_scheduler(b);
    bench_process(b);
    bench_http(b);
    bench_lists(b);
    fclose(b->jsonl);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"only", 1, NULL, 'o'},      {"out", 1, NULL, 'f'},
                                            {"millrace", 1, NULL, 'm'},  {"peer", 0, NULL, 'p'},
                                            {"databases", 1, NULL, 'd'}, {0}};
    char dir[] = "/tmp/millrace-bench-XXXXXX";
    const char *out = "build/bench/engine.jsonl", *databases = "";
    bool peer = false;
    struct bench b = {.millrace = "build/release/millrace"};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'o')
            b.only = optarg;
        else if (c == 'f')
            out = optarg;
        else if (c == 'm')
            b.millrace = optarg;
        else if (c == 'p')
            peer = true;
        else if (c == 'd')
            databases = optarg;
        else
            return 2;
    }
    log_set_level(LEVEL_WARN);
    if (mkdtemp(dir) == NULL || chmod(dir, 0711) != 0) bench_die("cannot make %s", dir);
    b.dir = dir;
    opened = &b;
    atexit(close_all);
    open_all(&b);
    if (peer)
        bench_peer(&b, databases);
    else
        measure(&b, out);
    close_all();
    return 0;
}
