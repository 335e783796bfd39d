/* The owner's side of the queue for GPUs, on a real database: the test plays the placer, by rows, and an executor whose
 * steps end when they are told to, and say what they are told to. */
#ifndef MILLRACE_TESTS_SCHEDULER_PLACING_RIG_H
#define MILLRACE_TESTS_SCHEDULER_PLACING_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/flow/compile.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/log.h"
#include "engine/store/commands.h"
#include "engine/store/pipelines.h"
#include "engine/store/runs.h"
#include "engine/text/yaml.h"
#include "scheduler/scheduler.h"
#include "tests/support/db.h"

#define PATIENCE_US 20000000
#define ATTEMPTS 16

static struct support_db test;
static const struct scope scope = {1, {"test", 4}};

/* ---- an executor that does nothing by itself ---- */

struct step {
    struct attempt_id id;
    bool ended, ok, told;
};
static struct {
    pthread_mutex_t lock;
    struct step steps[ATTEMPTS];
    uint32_t n, launched, killed;
    _Atomic uint32_t requeued;
    _Atomic bool gives_way;     /* whatever ends badly did, to others */
    bool well;                  /* what is told to stop has just ended well */
    char pin[200];              /* of the last launch */
    struct exec_output left[2]; /* of whatever ends well */
    size_t n_left;
    _Atomic bool never; /* nobody knows of what is to be stopped: it was never launched */
} exec = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct step *step_of(struct attempt_id id)
{
    for (uint32_t i = 0; i < exec.n; i++)
        if (memcmp(&exec.steps[i].id, &id, sizeof id) == 0) return &exec.steps[i];
    return NULL;
}

static struct str instance(void *self)
{
    (void)self;
    return STR("test:1");
}

static bool launch(void *self, const struct exec_request *req, bool restored, struct str by, struct err *err)
{
    (void)self;
    (void)by;
    (void)err;
    pthread_mutex_lock(&exec.lock);
    struct step *s = step_of(req->id);
    if (s == NULL && exec.n < ATTEMPTS) {
        exec.steps[exec.n++] = (struct step){.id = req->id};
        exec.launched++;
        snprintf(exec.pin, sizeof exec.pin, "%.*s", STR_ARG(req->pin));
    } else if (s != NULL && restored) {
        s->told = false;
    }
    pthread_mutex_unlock(&exec.lock);
    return true;
}

static void end_of(struct attempt_id id, bool ok)
{
    struct step *s = step_of(id);
    if (s == NULL || s->ended) return;
    s->ended = true;
    s->ok = ok;
}

static void killed(void *self, struct attempt_id id, struct str project, int64_t grace_ms)
{
    (void)self;
    (void)project;
    (void)grace_ms;
    pthread_mutex_lock(&exec.lock);
    exec.killed++;
    end_of(id, exec.well);
    pthread_mutex_unlock(&exec.lock);
}

static void requeue(void *self, struct attempt_id id)
{
    (void)self;
    pthread_mutex_lock(&exec.lock);
    exec.requeued += step_of(id) != NULL;
    pthread_mutex_unlock(&exec.lock);
}

static void forget(void *self, struct attempt_id id)
{
    (void)self;
    (void)id;
}

static size_t known(void *self, struct arena *a, struct exec_known **out)
{
    (void)self;
    (void)a;
    *out = NULL;
    return 0;
}

static size_t fds(void *self, int *list, size_t max)
{
    (void)self;
    (void)list;
    (void)max;
    return 0;
}

static bool next(void *self, struct arena *a, struct exec_event *out)
{
    (void)self;
    (void)a;
    bool found = false;
    pthread_mutex_lock(&exec.lock);
    for (uint32_t i = 0; i < exec.n && !found; i++) {
        struct step *s = &exec.steps[i];
        if (!s->ended || s->told) continue;
        s->told = found = true;
        *out = (struct exec_event){.kind = EXEC_ENDED, .id = s->id};
        out->result = (struct task_result){.ok = s->ok, .exit_code = s->ok ? 0 : -1};
        if (!s->ok) out->result.failure = exec.gives_way ? FAILURE_INFRA : FAILURE_ERROR;
        if (!s->ok && exec.gives_way) out->result.reason = REASON_PREEMPTED;
        if (exec.never) {
            out->kind = EXEC_UNKNOWN;
            out->never = true;
            *s = exec.steps[--exec.n];
        }
        out->artifacts = exec.left;
        out->n_artifacts = s->ok ? exec.n_left : 0;
    }
    pthread_mutex_unlock(&exec.lock);
    return found;
}

static void stop(void *self)
{
    (void)self;
}

static _Atomic int mode; /* enum exec_placing */

static enum exec_placing placing(void *self)
{
    (void)self;
    return (enum exec_placing)mode;
}

static struct executor executor = {.name = "test",
                                   .placed = true,
                                   .placing = placing,
                                   .images = true,
                                   .hearsay = true,
                                   .instance = instance,
                                   .launch = launch,
                                   .kill = killed,
                                   .requeue = requeue,
                                   .forget = forget,
                                   .disown = killed,
                                   .known = known,
                                   .fds = fds,
                                   .next = next,
                                   .stop = stop};

/* ---- runs ---- */

static int64_t cores; /* in thousandths */

static struct scheduler *start(void)
{
    struct scheduler *s = NULL;
    struct err err = {0};
    const struct scheduler_config cfg = {.conninfo = test.dsn.p,
                                         .owner = "test",
                                         .executor = &executor,
                                         .cpu_milli = cores,
                                         .memory_bytes = INT64_MAX / 2,
                                         .poll_ms = 20,
                                         .db = test.db};
    if (!scheduler_start(&cfg, &s, &err)) fail_msg("scheduler: %s", err.message);
    return s;
}

static int64_t submit(const char *steps)
{
    struct err err = {0};
    struct err_list errors;
    struct value *docs = NULL;
    size_t n = 0;
    const struct plan *plan = NULL;
    char digest[DIGEST_TEXT];
    int64_t plan_id = 0, run = 0;
    struct str yaml = arena_printf(&test.arena, "apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n%s", steps);
    err_list_init(&errors, &test.arena);
    if (!yaml_parse(&test.arena, yaml, NULL, &docs, &n, &errors) ||
        !compile_pipeline(&test.arena, &docs[0], NULL, &plan, &errors))
        fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    BUF_AUTO json;
    buf_init(&json, 0);
    plan_json(&json, plan);
    digest_of(buf_view(&json), digest);
    const struct plan_text text = {.digest = str_of(digest), .source = yaml, .plan = buf_view(&json)};
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err) && plans_put(c, &scope, &text, &plan_id, &err));
    const struct run_new new = {.pipeline = STR("p"), .plan_id = plan_id, .params = STR("{}")};
    if (!runs_create(c, &scope, &new, &run, &err)) fail_msg("run: %s", err.message);
    return run;
}

static void command(int64_t run, enum command what)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err));
    if (!commands_send(c, &scope, run, what, STR(""), &err)) fail_msg("command: %s", err.message);
}

static void await(const char *sql, int64_t wanted)
{
    int64_t got = -1;
    for (int64_t end = os_mono_us() + PATIENCE_US; os_mono_us() < end; usleep(10000))
        if ((got = support_number(&test, sql)) == wanted) return;
    fail_msg("%s: %lld, not %lld", sql, (long long)got, (long long)wanted);
}

static void await_launched(uint32_t wanted)
{
    for (int64_t end = os_mono_us() + PATIENCE_US; os_mono_us() < end; usleep(10000)) {
        pthread_mutex_lock(&exec.lock);
        bool there = exec.launched == wanted;
        pthread_mutex_unlock(&exec.lock);
        if (there) return;
    }
    fail_msg("%u were launched, not %u", exec.launched, wanted);
}

static void ends(uint32_t attempt, bool ok)
{
    pthread_mutex_lock(&exec.lock);
    for (uint32_t i = 0; i < exec.n; i++)
        if (exec.steps[i].id.attempt == attempt) end_of(exec.steps[i].id, ok);
    pthread_mutex_unlock(&exec.lock);
}

static void finish(uint32_t attempt)
{
    ends(attempt, true);
}

/* ---- the placer ---- */

#define TELL(kind, state, what)                                                                                        \
    "UPDATE queue_work SET news = false, state = " state ", got = 'h100', pin = '{\"flavor\": \"h100\"}', "            \
    "by = 'run 9 other' WHERE state < 4; "                                                                             \
    "INSERT INTO inbox (project_id, created_by, shard, run_id, kind, payload) "                                        \
    "SELECT project_id, 'placer', shard, run_id, " kind ", jsonb_build_object('tasks', jsonb_build_array("             \
    "jsonb_build_object('task', task, 'attempt', attempt, " what "))) FROM queue_work WHERE state < 4;"
#define ADMIT TELL("7", "2", "'pin', pin")
#define PREEMPT TELL("8", "3", "'by', by")
#define TAKE_BACK TELL("8", "2", "'by', by, 'unbegun', true") "UPDATE queue_work SET by_id = id WHERE state < 4;"

static void tell(const char *sql)
{
    assert_true(support_sql(&test, sql));
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LEVEL_NONE);
    mode = EXEC_PLACES;
    executor.domain = NULL;
    exec.n = exec.launched = exec.killed = 0;
    exec.requeued = 0;
    exec.n_left = 0;
    exec.well = false;
    cores = INT64_MAX / 2;
    exec.never = false;
    exec.gives_way = false;
    return support_db_open(&test);
}

static int teardown(void **state)
{
    (void)state;
    return support_db_close(&test);
}

#define ONE                                                                                                            \
    "  a: {run: x, image: i, queue: q, priority: 3, resources: {gpu: {count: 2, flavor: h100}, cpu: 2},\n"             \
    "      nodeSelector: {disk: ssd}, tolerations: [{key: t}], timeout: 90s}\n"
#define WAITS "SELECT count(*) FROM queue_work WHERE state = 1 AND news"
#define OVER "SELECT count(*) FROM queue_work WHERE state = 4 AND news"
#define LONG_AGO "UPDATE queue_work SET submitted_at = '2020-01-01'"
#define AND_LONG_AGO " AND submitted_at = '2020-01-01'"
#define ENDED(state) "SELECT count(*) FROM runs WHERE state = " state

#endif
