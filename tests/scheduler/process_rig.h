/* A process executor on a data folder of its own, without a scheduler: what the tests of the process executor share.
 * Their main() must hand over to launcher_main when it is started as one. */
#ifndef MILLRACE_TESTS_SCHEDULER_PROCESS_RIG_H
#define MILLRACE_TESTS_SCHEDULER_PROCESS_RIG_H

#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/blob/bundle.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/launcher.h"
#include "scheduler/process.h"
#define PATIENCE_US INT64_C(60000000)

static char data[64], secrets[80];
static struct executor x;
static struct gpu_host *gpus; /* for those that play some */
static struct arena arena;

static inline void open_executor(void)
{
    struct err err = {0};
    const struct process_config cfg = {.data_dir = str_of(data),
                                       .store_dir = str_of(data),
                                       .secrets_dir = str_of(secrets),
                                       .step_path = STR("/usr/local/bin:/usr/bin:/bin"),
                                       .gpus = gpus,
                                       .step_log_bytes = 1 << 20};
    if (!process_open(&cfg, &x, &err) || !process_start(&x, &err)) fail_msg("%s", err.message);
}

static inline int setup(void **state)
{
    (void)state;
    snprintf(data, sizeof data, "/tmp/millrace-process-XXXXXX");
    if (!mkdtemp(data) || chmod(data, 0711) != 0) return -1;
    snprintf(secrets, sizeof secrets, "%s/secrets", data);
    arena_init(&arena, 0);
    open_executor();
    return 0;
}

/* The launcher would wait for another server; it is told to end by the number it has in its lock's folder. */
static inline int teardown(void **state)
{
    (void)state;
    struct err err;
    struct launcher *l;
    x.stop(x.self);
    if (!launcher_open(&l, data, &err)) return -1;
    kill((pid_t)launcher_pid(l), SIGTERM);
    struct pollfd p = {.fd = launcher_fd(l), .events = POLLIN};
    for (struct launcher_event e = {0}; e.kind != LAUNCHER_DISCONNECTED;)
        if (!launcher_next(l, &e)) poll(&p, 1, 1000);
    launcher_close(l);
    arena_free(&arena);
    return fs_remove_tree(data, &err) ? 0 : -1;
}

/* ---- asking and hearing ---- */

struct step {
    struct exec_request req;
    struct node node;
    struct str argv[3];
    char checkpoint[16];
};

static inline struct exec_request *step(struct step *s, uint32_t task, const char *line)
{
    memset(s, 0, sizeof *s);
    s->argv[0] = STR("/bin/sh");
    s->argv[1] = STR("-c");
    s->argv[2] = str_of(line);
    snprintf(s->checkpoint, sizeof s->checkpoint, "%u", task);
    s->req = (struct exec_request){.id = {.run = 1, .task = task, .attempt = 1},
                                   .project = STR("default"),
                                   .run_name = STR("r-1"),
                                   .step = STR("train"),
                                   .path = STR("train[2]"),
                                   .checkpoint = str_of(s->checkpoint),
                                   .grace_ms = 200,
                                   .spec = {.node = &s->node, .argv = s->argv, .n_argv = 3}};
    return &s->req;
}

static inline void launch(const struct exec_request *req)
{
    struct err err = {0};
    if (!x.launch(x.self, req, false, STR(""), &err)) fail_msg("%s", err.message);
}

static inline struct exec_event next_event(void)
{
    struct exec_event e = {0};
    int64_t until = os_mono_us() + PATIENCE_US;
    while (!x.next(x.self, &arena, &e)) {
        int fds[8];
        struct pollfd p[8];
        size_t n = x.fds(x.self, fds, 8);
        for (size_t i = 0; i < n; i++)
            p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        if (os_mono_us() > until) fail_msg("no event came");
        poll(p, (nfds_t)n, 1000);
    }
    return e;
}

static inline struct exec_event await_end(uint32_t task)
{
    for (;;) {
        struct exec_event e = next_event();
        if (e.id.task == task) return e;
    }
}

static inline const char *message(const struct exec_event *e)
{
    return arena_cstr(&arena, e->result.message);
}

static inline const char *log_of(uint32_t task)
{
    static char text[8192];
    char path[FS_PATH_MAX];
    snprintf(path, sizeof path, "%s/logs/1/%u-1.log", data, task);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = '\0';
    return text;
}

static inline bool has(const char *name)
{
    char path[FS_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", data, name);
    return access(path, F_OK) == 0;
}

/* Nothing but growing logs is told meanwhile. */
static inline void await_gone(const char *name)
{
    for (int64_t until = os_mono_us() + PATIENCE_US; has(name);) { /* a worker removes it */
        struct exec_event e;
        if (os_mono_us() > until) fail_msg("%s stays", name);
        if (x.next(x.self, &arena, &e)) fail_msg("an event of task %u", e.id.task);
        sched_yield();
    }
}

/* Runs the line, forgets the attempt, and gives what it wrote. */
static inline const char *once(uint32_t task, const char *line)
{
    struct step s;
    launch(step(&s, task, line));
    x.forget(x.self, await_end(task).id);
    return log_of(task);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
