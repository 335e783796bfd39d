/* Lists of runs where there are a million: the documented shapes, which indexes serve, and the rest, which a time limit
 * bounds. */
#include <math.h>
#include <string.h>

#include "tests/bench/server.h"

#define RUNS 1000000

struct shape {
    const char *query; /* behind /api/v1/runs? */
    int times;
};

/* As a user writes them, percent-encoded where a URL needs it. */
static const struct shape documented[] = {
    {"", 150},
    {"filter=state%3Dfailed", 150},
    {"filter=state%3Dactive", 100},
    {"filter=pipeline%3Dp7", 150},
    {"filter=pipeline%3Dp7%20and%20state%3Dfailed", 150},
    {"filter=labels.team%3Dt3", 150},
    {"filter=labels.team%3Dt3%20and%20state%3Dfailed", 150},
    {"filter=created%3E%3D2024-05-01%20and%20created%3C2024-05-02", 150},
    {"filter=ended%3E%3D2024-05-01&order_by=ended%20asc", 150},
    {"order_by=created%20asc", 150},
    {"order_by=ended%20desc", 150},
    {"page_size=100", 100},
    {"filter=pipeline%3Dp7%20and%20state%3Dcancelled", 100}, /* there are none */
    {"filter=labels.team%3Dt3%20and%20state%3Dcancelled", 100},
    {"filter=labels.team%3Dt1%20and%20state%3Dfailed", 100},
    {"filter=labels.team%3Dt3%20and%20state%3Dactive", 100},
    {"filter=archived%3Dtrue", 100},
    {"filter=archived%3Dtrue%20and%20labels.team%3Dt3%20and%20state%3Dfailed", 100},
    {"filter=pipeline%3Dp7%20and%20created%3C2023-02-01", 100}, /* all archived */
    {"filter=pipeline%3Dp7%20and%20created%3C2023-08-01", 100},
    {"filter=labels.team%3Dt3%20and%20created%3C2023-02-01", 100},
    {"filter=labels.team%3Dt3%20and%20created%3C2023-08-01", 100},
};
static const struct shape others[] = {
    {"order_by=name", 8},
    {"filter=name~999999", 8},
    {"filter=created_by%3Dnobody", 8},
    {"filter=labels.shard%3E5", 8},
    {"filter=pipeline%3Dp7%20and%20labels.team%3Dt3", 8},
    {"filter=state%3Dcancelled&order_by=ended%20desc", 8},
    {"filter=archived%20in%20(true,false)%20and%20pipeline%3Dp7", 8},
};

/* A run a minute, newest last; a label of twenty teams, fifty pipelines. What an index must not have to pass on its way
 * is there in bulk: the oldest and the newest quarter are archived, and but for some twenty the failed runs are all of
 * team t1. A hundred are active, in a shard that no server has, so that none of them is carried out. */
#define FILL                                                                                                           \
    "INSERT INTO runs (project_id, pipeline, name, plan_id, labels, state, archived, tasks_total, tasks_failed, "      \
    "created_at, created_by, started_at, ended_at) "                                                                   \
    "SELECT 1, 'p' || g % 50, 'run-' || g, (SELECT max(id) FROM plans), jsonb_build_object('team', 't' || g % 20), "   \
    "CASE WHEN active THEN 0 WHEN g % 60 = 1 OR g % 50021 = 0 THEN 6 ELSE 5 END, g <= 250000 OR g > 750000, 3, 0, "    \
    "t, 'bench', t, CASE WHEN NOT active THEN t + interval '40 s' END "                                                \
    "FROM (SELECT g, timestamptz '2023-01-01Z' + g * interval '1 min' AS t, "                                          \
    "g % 5003 = 0 AND g BETWEEN 250001 AND 750000 AS active FROM generate_series(1, 1000000) g) x"

static void fill(struct server *s)
{
    server_sql(
        s, "INSERT INTO plans (project_id, digest, source, plan, created_by) VALUES (1, 'bench', '', '{}', 'bench')");
    server_sql(s, FILL);
    server_sql(s, "INSERT INTO run_labels (project_id, key, value, run_id, created_by, archived, state) SELECT "
                  "project_id, 'team', labels ->> 'team', id, created_by, archived, state FROM runs");
    server_sql(s, "INSERT INTO active_runs (run_id, project_id, created_by, shard, state, started_at) SELECT id, "
                  "project_id, created_by, 999, 2, started_at FROM runs WHERE state = 0");
    server_sql(s, "VACUUM ANALYZE runs");
    server_sql(s, "VACUUM ANALYZE run_labels");
    server_sql(s, "VACUUM ANALYZE active_runs");
    if (server_number(s, "SELECT count(*) FROM runs") < RUNS) bench_die("the runs are not there");
}

/* The bare page, over libpq. */
static double floor_ms(struct server *s)
{
    struct bench_row raw = {0};
    struct err err = {0};
    CONN_AUTO c = NULL;
    bench_must(db_lease(s->db, &c, &err), &err, "lease");
    for (int i = 0; i < 300; i++) {
        RESULT_AUTO res = NULL;
        double start = bench_now();
        bench_must(conn_sql(c, "SELECT * FROM runs WHERE project_id = 1 ORDER BY id DESC LIMIT 50", NULL, &res, &err),
                   &err, "page");
        bench_sample(&raw, (bench_now() - start) * 1e3);
    }
    return bench_sorted(&raw, 0.99);
}

/* The second page of a list starts where the first one ended. */
static bool next_page(const struct server *s, const char *query, char *path, size_t room)
{
    static const char key[] = "\"next_page_token\":\"";
    const char *token = s->answer.n > 0 ? strstr(s->answer.p, key) : NULL;
    if (token == NULL) return false;
    token += sizeof key - 1;
    snprintf(path, room, "/api/v1/runs?%s&page_token=%.*s", query, (int)strcspn(token, "\""), token);
    return true;
}

/* Each sample of the row is a shape's 99th percentile, so its maximum is the worst shape. */
static void row_shapes(struct server *s, struct bench_row *row, const struct shape *shapes, size_t n, bool may_time_out)
{
    for (size_t i = 0; i < n; i++) {
        struct bench_row one = {0};
        int refused = 0;
        for (int k = 0; k < shapes[i].times; k++) {
            char path[1024];
            if (k % 3 != 1 || !next_page(s, shapes[i].query, path, sizeof path))
                snprintf(path, sizeof path, "/api/v1/runs?%s", shapes[i].query);
            double start = bench_now();
            long status = server_call(s, path, NULL, (struct str){0});
            bench_sample(&one, (bench_now() - start) * 1e3);
            if (status != 200 && !may_time_out) bench_die("%s: status %ld: %.400s", path, status, s->answer.p);
            refused += status != 200;
        }
        double p99 = bench_sorted(&one, 0.99);
        bench_sample(row, p99);
        printf("    %-62s p50 %8.2f ms, p99 %8.2f ms", shapes[i].query[0] != '\0' ? shapes[i].query : "(all)",
               bench_sorted(&one, 0.5), p99);
        printf(refused > 0 ? ", %d of %d refused: over the limit of time\n" : "\n", refused, shapes[i].times);
    }
    row->worst = true;
    bench_report(s->b, row);
}

void bench_lists(struct bench *b)
{
    struct bench_row row = {
        .name = "list_runs_1m_p99_ms", .unit = "ms", .goal = 10, .floor_name = "a bare page over libpq, p99"};
    struct bench_row other = {
        .name = "list_runs_1m_other_p99_ms", .unit = "ms", .goal = NAN, .floor_name = "a bare page over libpq, p99"};
    struct server s;
    if (!bench_wanted(b, row.name) && !bench_wanted(b, other.name)) return;
    server_open(&s, b, "bench_lists");
    server_start(&s); /* migrates */
    fill(&s);
    row.floor = other.floor = floor_ms(&s);
    row_shapes(&s, &row, documented, sizeof documented / sizeof *documented, false);
    row_shapes(&s, &other, others, sizeof others / sizeof *others, true);
    server_close(&s);
}
