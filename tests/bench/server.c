/* Starts, asks and ends the real server. See server.h. */
#include "tests/bench/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/os/fs.h"
#include "engine/store/embedded.h"

#define PATIENCE_S 120

/* ---- its life ---- */

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) != 0 || getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        bench_die("no free port");
    close(fd);
    return ntohs(at.sin_port);
}

static size_t take_answer(char *data, size_t size, size_t n, void *ctx)
{
    buf_add(&((struct server *)ctx)->answer, data, size * n);
    return size * n;
}

void server_open(struct server *s, struct bench *b, const char *name)
{
    struct err err = {0};
    struct arena a;
    struct str dsn;
    *s = (struct server){.b = b, .port = free_port(), .curl = curl_easy_init()};
    snprintf(s->data, sizeof s->data, "%s/%s", b->dir, name);
    if (mkdir(s->data, 0711) != 0) bench_die("cannot make %s", s->data);
    arena_init(&a, 0);
    bench_must(embedded_database(b->pg, str_of(name), &a, &dsn, &err), &err, "database");
    s->dsn = strndup(dsn.p, dsn.n);
    arena_free(&a);
    const struct db_config pool = {.dsn = str_of(s->dsn), .size = 2, .statement_timeout_ms = 600000};
    bench_must(db_open(&pool, &s->db, &err), &err, "pool");
    buf_init(&s->answer, (size_t)1 << 28);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_TIMEOUT, (long)PATIENCE_S);
    curl_easy_setopt(s->curl, CURLOPT_NOPROXY, "*");
}

void server_close(struct server *s)
{
    if (s->pid != 0) server_stop(s, SIGTERM);
    curl_slist_free_all(s->headers);
    curl_easy_cleanup(s->curl);
    db_close(s->db);
    buf_free(&s->answer);
    free(s->dsn);
}

/* Its token is made at the very first start. */
static bool read_token(struct server *s)
{
    char path[400];
    BUF_AUTO text;
    buf_init(&text, 256);
    snprintf(path, sizeof path, "%s/token", s->data);
    if (s->auth[0] != '\0') return true;
    if (!fs_read(path, 200, &text, NULL)) return false;
    struct str token = str_trim(buf_view(&text));
    if (token.n == 0) return false;
    snprintf(s->auth, sizeof s->auth, "Authorization: Bearer %.*s", STR_ARG(token));
    return true;
}

static bool ready(struct server *s)
{
    return read_token(s) && server_call(s, "/readyz", NULL, (struct str){0}) == 200;
}

double server_start(struct server *s)
{
    extern char **environ;
    char listen[32], log[400];
    posix_spawn_file_actions_t files;
    snprintf(listen, sizeof listen, "127.0.0.1:%d", s->port);
    snprintf(log, sizeof log, "%s/server.log", s->data);
    /* Room for what the process rows start at once, whatever the machine. */
    char *argv[] = {(char *)(uintptr_t)s->b->millrace,
                    "serve",
                    "--data-dir",
                    s->data,
                    "--listen",
                    listen,
                    "--log-level",
                    "warn",
                    "--cpus",
                    "2",
                    "--memory",
                    "8Gi",
                    NULL};
    setenv("DATABASE_URL", s->dsn, 1);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    double start = bench_now();
    int failed = posix_spawn(&s->pid, s->b->millrace, &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    unsetenv("DATABASE_URL");
    if (failed != 0) bench_die("%s: %s", s->b->millrace, strerror(failed));
    while (!ready(s)) {
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) bench_die("the server ended, see %s", log);
        if (bench_now() - start > PATIENCE_S) bench_die("the server does not become ready, see %s", log);
        usleep(500);
    }
    return bench_now() - start;
}

void server_stop(struct server *s, int sig)
{
    if (kill(s->pid, sig) != 0 || waitpid(s->pid, NULL, 0) != s->pid)
        bench_die("the server is gone, see %s/server.log", s->data);
    s->pid = 0;
}

double server_memory_mb(const struct server *s, const char *key)
{
    char path[64], line[256];
    double kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)s->pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) kb = strtod(line + strlen(key) + 1, NULL);
    if (f != NULL) fclose(f);
    if (kb < 0) bench_die("no %s of the server", key);
    return kb / 1024;
}

/* ---- requests ---- */

static void set_headers(struct server *s, const char *type)
{
    char text[128];
    curl_slist_free_all(s->headers);
    s->headers = curl_slist_append(NULL, s->auth);
    s->headers = curl_slist_append(s->headers, "Expect:");
    if (type != NULL) {
        snprintf(text, sizeof text, "Content-Type: %s", type);
        s->headers = curl_slist_append(s->headers, text);
    }
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
}

long server_call(struct server *s, const char *path, const char *type, struct str body)
{
    char url[2048];
    long status = 0;
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", s->port, path);
    set_headers(s, type);
    curl_easy_setopt(s->curl, CURLOPT_URL, url);
    if (type != NULL) {
        curl_easy_setopt(s->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, body.p);
    } else {
        curl_easy_setopt(s->curl, CURLOPT_HTTPGET, 1L);
    }
    s->answer.n = 0;
    if (curl_easy_perform(s->curl) != CURLE_OK) return 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

void server_must(struct server *s, const char *path, const char *type, struct str body)
{
    long status = server_call(s, path, type, body);
    if (status < 200 || status > 299)
        bench_die("%s: status %ld: %.*s (%s/server.log)", path, status, (int)(s->answer.n < 600 ? s->answer.n : 600),
                  s->answer.p != NULL ? s->answer.p : "", s->data);
}

void server_apply(struct server *s, struct str yaml)
{
    server_must(s, "/api/v1/pipelines", "application/yaml", yaml);
}

int64_t server_submit(struct server *s, const char *pipeline)
{
    char body[128];
    snprintf(body, sizeof body, "{\"pipeline\":\"%s\"}", pipeline);
    server_must(s, "/api/v1/runs", "application/json", str_of(body));
    const char *id = strstr(s->answer.p, "\"id\":");
    if (id == NULL) bench_die("a run without a number: %.*s", (int)s->answer.n, s->answer.p);
    return strtoll(id + 5 + (id[5] == '"'), NULL, 10);
}

/* ---- past the server ---- */

void server_sql(struct server *s, const char *sql)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    bench_must(db_lease(s->db, &c, &err) && conn_do(c, sql, &err), &err, sql);
}

int64_t server_number(struct server *s, const char *sql)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    RESULT_AUTO res = NULL;
    bench_must(db_lease(s->db, &c, &err) && conn_sql(c, sql, NULL, &res, &err), &err, sql);
    return PQntuples(res) > 0 ? row_int(res, 0, 0) : -1;
}

void server_await(struct server *s, int64_t run)
{
    char sql[96];
    double start = bench_now();
    snprintf(sql, sizeof sql, "SELECT state FROM runs WHERE id = %lld", (long long)run);
    for (int64_t state; (state = server_number(s, sql)) != 5;) {
        if (state != 0) bench_die("run %lld ended in state %lld, see %s", (long long)run, (long long)state, s->data);
        if (bench_now() - start > PATIENCE_S) bench_die("run %lld does not end", (long long)run);
        usleep(200);
    }
}
