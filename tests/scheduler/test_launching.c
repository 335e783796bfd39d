/* What goes into an attempt: no artifact of another project, no result of other code from the cache, and the same key
 * for the same HTTP call however often it is made. A real scheduler, real steps, real sockets. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/blob/bundle.h"
#include "engine/blob/disk.h"
#include "engine/flow/compile.h"
#include "engine/os/clock.h"
#include "engine/os/launcher.h"
#include "engine/os/log.h"
#include "engine/store/artifacts.h"
#include "engine/store/pipelines.h"
#include "engine/store/runs.h"
#include "engine/text/yaml.h"
#include "scheduler/process.h"
#include "scheduler/scheduler.h"
#include "tests/support/db.h"

#define PATIENCE_US 60000000
#define HEAD "apiVersion: millrace/v1\nkind: Pipeline\nname: p\n"

static const struct scope ours = {1, {"test", 4}}, others = {2, {"test", 4}};
static struct support_db test;
static char data[64], secrets[80];
static struct executor x;
static struct scheduler *s;
static struct disk *disk;
static struct err err;

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static bool start(struct executor *executor)
{
    const struct scheduler_config cfg = {.conninfo = test.dsn.p,
                                         .owner = "test",
                                         .poll_ms = 20,
                                         .db = test.db,
                                         .executor = executor,
                                         .cpu_milli = 4000,
                                         .memory_bytes = (int64_t)4 << 30,
                                         .allow_private_egress = true};
    return scheduler_start(&cfg, &s, &err);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LEVEL_NONE);
    snprintf(data, sizeof data, "/tmp/millrace-launching-XXXXXX");
    if (support_db_open(&test) != 0 || !mkdtemp(data) || chmod(data, 0711) != 0) return -1;
    snprintf(secrets, sizeof secrets, "%s/secrets", data);
    const struct process_config steps = {.data_dir = str_of(data),
                                         .store_dir = str_of(data),
                                         .secrets_dir = str_of(secrets),
                                         .step_path = STR("/usr/local/bin:/usr/bin:/bin")};
    bool fine = process_open(&steps, &x, &err) && process_start(&x, &err) && disk_open(str_of(data), &disk, &err) &&
                start(&x) && support_sql(&test, "INSERT INTO projects (name, created_by) VALUES ('other', 'test')");
    if (!fine) fprintf(stderr, "setup: %s\n", err.message);
    return fine ? 0 : -1;
}

/* The launcher would wait for another server. */
static int teardown(void **state)
{
    (void)state;
    struct launcher *l;
    scheduler_stop(s); /* and its executor */
    disk_close(disk);
    if (!launcher_open(&l, data, &err)) return -1;
    kill((pid_t)launcher_pid(l), SIGTERM);
    struct pollfd p = {.fd = launcher_fd(l), .events = POLLIN};
    for (struct launcher_event e = {0}; e.kind != LAUNCHER_DISCONNECTED;)
        if (!launcher_next(l, &e)) poll(&p, 1, 1000);
    launcher_close(l);
    int rc = support_dir_remove(data);
    return support_db_close(&test) | rc;
}

static int setup_calls(void **state)
{
    (void)state;
    log_set_level(LEVEL_NONE);
    return support_db_open(&test) == 0 && start(NULL) ? 0 : -1;
}

static int teardown_calls(void **state)
{
    (void)state;
    scheduler_stop(s);
    return support_db_close(&test);
}

static int64_t store_plan(const char *yaml)
{
    struct err_list errors;
    struct value *docs = NULL;
    size_t n = 0;
    const struct plan *plan = NULL;
    int64_t id = 0;
    err_list_init(&errors, &test.arena);
    if (!yaml_parse(&test.arena, str_of(yaml), NULL, &docs, &n, &errors) ||
        !compile_pipeline(&test.arena, &docs[0], NULL, &plan, &errors))
        fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    BUF_AUTO json;
    buf_init(&json, 0);
    plan_json(&json, plan);
    const struct plan_text text = {.digest = STR("d"), .source = str_of(yaml), .plan = buf_view(&json)};
    CONN_AUTO c = NULL;
    ok(db_lease(test.db, &c, &err) && plans_put(c, &ours, &text, &id, &err));
    return id;
}

static int64_t create(struct run_new run)
{
    int64_t id = 0;
    CONN_AUTO c = NULL;
    run.pipeline = STR("p");
    ok(db_lease(test.db, &c, &err) && runs_create(c, &ours, &run, &id, &err));
    scheduler_hint(s);
    return id;
}

static void await_end(int64_t run, enum run_state want)
{
    char sql[100];
    int64_t end = os_mono_us() + PATIENCE_US, got = 0;
    snprintf(sql, sizeof sql, "SELECT state FROM runs WHERE id = %lld", (long long)run);
    while (os_mono_us() < end && (got = support_number(&test, sql)) == 0)
        usleep(5000);
    assert_int_equal(got, want);
}

/* ---- artifacts ---- */

static void show(const struct scope *scope, const char *digest, int64_t size)
{
    CONN_AUTO c = NULL;
    ok(db_lease(test.db, &c, &err) && blobs_put(c, scope, str_of(digest), size, &err));
}

/* A digest that came in as a parameter names nothing of another project, though its bytes are there. */
static void artifacts_are_of_the_runs_project(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], params[300];
    ok(disk_put_bytes(disk, STR("theirs\n"), digest, &err));
    show(&others, digest, 7);
    int64_t plan = store_plan(HEAD "params: {file: {type: map}}\nsteps:\n"
                                   "  use: {run: 'grep -q theirs $FILE', inputs: {i: '${{ params.file }}'}, "
                                   "env: {FILE: '${{ inputs.i.path }}'}}\n");
    snprintf(params, sizeof params, "{\"file\": {\"artifact\": \"text\", \"digest\": \"%s\", \"size\": 7}}", digest);
    const struct run_new run = {.plan_id = plan, .params = str_of(params)};
    await_end(create(run), RUN_FAILED);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE state = 8 AND reason = 10 AND "
                                           "message LIKE '%is not in this project%'"),
                     1);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM artifact_uses"), 0);
    show(&ours, digest, 7);
    await_end(create(run), RUN_SUCCEEDED);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM artifact_uses"), 1);
}

/* ---- the cache ---- */

static void make_bundle(const char *text, char digest[DIGEST_TEXT])
{
    char folder[FS_PATH_MAX], file[FS_PATH_MAX];
    int fd = -1;
    struct bundle_stats stats;
    ok(fs_path(folder, &err, "%s/code", data) && fs_path(file, &err, "%s/v", folder) && fs_mkdirs(folder, 0755, &err) &&
       fs_write(file, str_of(text), 0644, false, &err));
    ok(bundle_pack_temp(folder, NULL, &fd, &stats, &err) &&
       disk_put_fd(disk, fd, str_of(stats.digest), digest, NULL, &err));
    close(fd);
}

/* The same step with other code is another step. */
static void other_code_is_not_served_from_the_cache(void **state)
{
    (void)state;
    char one[DIGEST_TEXT], two[DIGEST_TEXT];
    make_bundle("1\n", one);
    make_bundle("2\n", two);
    int64_t plan = store_plan(HEAD "steps:\n  read: {run: cp v o, cache: true, outputs: {o: {type: int, path: o}}}\n");
    static const struct {
        int bundle, cached; /* 0 = none: `v` is not there */
        enum run_state state;
    } rows[] = {
        {1, 0, RUN_SUCCEEDED}, {2, 0, RUN_SUCCEEDED}, {1, 1, RUN_SUCCEEDED}, {2, 1, RUN_SUCCEEDED}, {0, 0, RUN_FAILED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *code = rows[i].bundle == 1 ? one : rows[i].bundle == 2 ? two : "";
        int64_t run = create((struct run_new){.plan_id = plan, .bundle_digest = str_of(code)});
        await_end(run, rows[i].state);
        char sql[200];
        snprintf(sql, sizeof sql, "SELECT (reason = 1)::int FROM tasks WHERE run_id = %lld", (long long)run);
        assert_int_equal(support_number(&test, sql), rows[i].cached);
        if (rows[i].state != RUN_SUCCEEDED) continue;
        snprintf(sql, sizeof sql, "SELECT (outputs->>'o')::int FROM tasks WHERE run_id = %lld", (long long)run);
        assert_int_equal(support_number(&test, sql), rows[i].bundle);
    }
}

/* ---- calls ---- */

#define CALLS 3

static struct {
    int listening, port, held;
    pthread_t thread;
    char keys[CALLS][100];
    _Atomic int n;
} hook;

/* Keeps the first caller waiting, fails the second, answers the third. */
static void *answer_calls(void *arg)
{
    static const char *const answers[CALLS] = {NULL, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
                                               "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    (void)arg;
    for (int i = 0; i < CALLS; i++) {
        char text[4096] = "";
        int fd = accept(hook.listening, NULL, NULL);
        for (size_t n = 0; fd >= 0 && n < sizeof text - 1 && !strstr(text, "\r\n\r\n");) {
            ssize_t got = read(fd, text + n, sizeof text - 1 - n);
            if (got <= 0) break;
            text[n += (size_t)got] = '\0';
        }
        const char *key = strstr(text, "Idempotency-Key: ");
        if (key) snprintf(hook.keys[i], sizeof hook.keys[i], "%.*s", (int)strcspn(key, "\r\n"), key);
        if (answers[i] && write(fd, answers[i], strlen(answers[i])) < 0) break;
        hook.n = i + 1;
        if (answers[i])
            close(fd);
        else
            hook.held = fd;
    }
    return NULL;
}

static void hook_open(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    hook.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hook.held = -1;
    assert_true(bind(hook.listening, (struct sockaddr *)&at, n) == 0 && listen(hook.listening, 4) == 0 &&
                getsockname(hook.listening, (struct sockaddr *)&at, &n) == 0);
    hook.port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&hook.thread, NULL, answer_calls, NULL), 0);
}

static void hook_close(void)
{
    shutdown(hook.listening, SHUT_RDWR);
    pthread_join(hook.thread, NULL);
    close(hook.listening);
    if (hook.held >= 0) close(hook.held);
}

/* A call that a stopped server gave up is made again by the next one under the same key: whoever took the first knows
 * the second. Another attempt is another call. */
static void a_repeated_call_keeps_its_key(void **state)
{
    (void)state;
    char yaml[400];
    hook_open();
    snprintf(yaml, sizeof yaml,
             HEAD "steps:\n  call: {http: {url: 'http://127.0.0.1:%d/'}, retry: {limit: 1, backoff: 10ms}}\n",
             hook.port);
    int64_t run = create((struct run_new){.plan_id = store_plan(yaml)}), end = os_mono_us() + PATIENCE_US;
    while (hook.n < 1 && os_mono_us() < end)
        usleep(5000);
    assert_int_equal(hook.n, 1);
    scheduler_stop(s);
    ok(start(NULL));
    await_end(run, RUN_SUCCEEDED);
    hook_close();
    assert_true(strlen(hook.keys[0]) > strlen("Idempotency-Key: "));
    assert_string_equal(hook.keys[0], hook.keys[1]);
    assert_string_not_equal(hook.keys[1], hook.keys[2]);
    assert_int_equal(support_number(&test, "SELECT attempt FROM tasks"), 2);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(artifacts_are_of_the_runs_project, setup, teardown),
        cmocka_unit_test_setup_teardown(other_code_is_not_served_from_the_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(a_repeated_call_keeps_its_key, setup_calls, teardown_calls),
    };
    return cmocka_run_group_tests_name("scheduler/launching", tests, NULL, NULL);
}
