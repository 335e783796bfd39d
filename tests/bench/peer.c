/* Millrace's own part among its peers: it brings up the PostgreSQL that all of them share and answers the driver as
 * they do (peers/peer.py). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/store/embedded.h"
#include "scheduler/scheduler.h"
#include "tests/bench/inline.h"

/* "key=value key='…'" as libpq reads it, turned into a URL, which every peer's client reads. */
static void url_of(struct buf *out, const char *dsn)
{
    PQconninfoOption *options = PQconninfoParse(dsn, NULL);
    const char *user = "", *password = "", *name = "", *host = "";
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        const char *v = o->val != NULL ? o->val : "";
        if (strcmp(o->keyword, "user") == 0) user = v;
        if (strcmp(o->keyword, "password") == 0) password = v;
        if (strcmp(o->keyword, "dbname") == 0) name = v;
        if (strcmp(o->keyword, "host") == 0) host = v;
    }
    buf_printf(out, "postgresql://%s:%s@/%s?host=%s", user, password, name, host);
    PQconninfoFree(options);
}

static void print_databases(struct bench *b, const char *names)
{
    struct str rest = str_of(names), name;
    struct arena a;
    const char *comma = "";
    arena_init(&a, 0);
    putchar('{');
    while (rest.n > 0 && str_split(&rest, ',', &name)) {
        struct err err = {0};
        struct str dsn;
        BUF_AUTO url;
        buf_init(&url, 0);
        bench_must(embedded_database(b->pg, name, &a, &dsn, &err), &err, "database");
        url_of(&url, arena_printf(&a, "%.*s", STR_ARG(dsn)).p);
        printf("%s\"%.*s\": \"%s\"", comma, STR_ARG(name), url.p);
        comma = ", ";
    }
    puts("}");
    arena_free(&a);
}

static int64_t chain(struct bench *b, const char *name, int steps)
{
    BUF_AUTO yaml;
    buf_init(&yaml, 0);
    inline_chain_yaml(&yaml, name, steps);
    return inline_plan(b, buf_view(&yaml));
}

/* Each run is submitted by a transaction of its own, as the others' clients do, and the submission counts. */
static double runs(struct bench *b, int64_t plan, int n)
{
    uint64_t before = scheduler_statistics(b->scheduler)->runs_ended;
    double start = bench_now();
    for (int i = 0; i < n; i++) {
        inline_submit(b, plan, 1);
        scheduler_hint(b->scheduler);
    }
    inline_await(b, before + (uint64_t)n);
    return bench_now() - start;
}

void bench_peer(struct bench *b, const char *databases)
{
    char line[32];
    print_databases(b, databases);
    int64_t dag = chain(b, "bench-dag", 10), forty = chain(b, "bench-chain", 40);
    runs(b, dag, 2);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        double seconds = 0;
        if (strcmp(line, "dag\n") == 0)
            seconds = runs(b, dag, 20);
        else if (strcmp(line, "chain\n") == 0)
            seconds = runs(b, forty, 1);
        else if (strcmp(line, "floor-dag\n") == 0) /* a commit per layer */
            seconds = 10 * inline_raw_commit(b, 20, 10, NULL);
        else if (strcmp(line, "floor-chain\n") == 0)
            seconds = 40 * inline_raw_commit(b, 1, 40, NULL);
        else
            bench_die("asked for '%s'", line);
        printf("%.6f\n", seconds);
        fflush(stdout);
    }
}
