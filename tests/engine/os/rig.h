/* A data folder of its own and a real launcher in it, for the tests of the launcher. Their main() must hand over to
 * launcher_main when it is started as one. */
#ifndef MILLRACE_TESTS_OS_RIG_H
#define MILLRACE_TESTS_OS_RIG_H

#include <errno.h>
#include <fcntl.h>
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/launcher.h"

#define PATIENCE_MS 60000 /* a test that waits so long has failed */

static struct {
    char data[64], path[FS_PATH_MAX];
    struct launcher *l;
    struct launcher_event seen;
    char seen_name[LAUNCHER_NAME_MAX + 1], seen_error[512];
} rig;

/* <data>/<name>, in memory that the next call reuses. */
static inline const char *in_data(const char *name)
{
    snprintf(rig.path, sizeof rig.path, "%s/%s", rig.data, name);
    return rig.path;
}

static inline void rig_open(void)
{
    struct err err = {0};
    if (!launcher_open(&rig.l, rig.data, &err)) fail_msg("launcher_open: %s", err.message);
}

static inline int rig_setup(void **state)
{
    (void)state;
    snprintf(rig.data, sizeof rig.data, "/tmp/millrace-launcher-XXXXXX");
    if (!mkdtemp(rig.data)) return -1;
    rig_open();
    return 0;
}

/* Ready when the process has ended; it need not be a child. */
static inline bool await_gone(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return errno == ESRCH;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = poll(&p, 1, PATIENCE_MS);
    close(fd);
    return n == 1;
}

static inline void end_launcher(int sig)
{
    pid_t pid = (pid_t)launcher_pid(rig.l);
    kill(pid, sig);
    assert_true(await_gone(pid));
}

static inline int rig_teardown(void **state)
{
    (void)state;
    struct err err;
    pid_t pid = (pid_t)launcher_pid(rig.l);
    launcher_close(rig.l);
    rig.l = NULL;
    kill(pid, SIGTERM);
    return await_gone(pid) && fs_remove_tree(rig.data, &err) ? 0 : -1;
}

/* The next event; fails the test when none comes. Its strings are copied. */
static inline const struct launcher_event *next_event(void)
{
    int64_t until = os_mono_us() + PATIENCE_MS * INT64_C(1000);
    while (!launcher_next(rig.l, &rig.seen)) {
        struct pollfd p = {.fd = launcher_fd(rig.l), .events = POLLIN};
        if (os_mono_us() > until) fail_msg("no event came");
        poll(&p, 1, 1000);
    }
    snprintf(rig.seen_name, sizeof rig.seen_name, "%.*s", STR_ARG(rig.seen.name));
    snprintf(rig.seen_error, sizeof rig.seen_error, "%.*s", STR_ARG(rig.seen.error));
    rig.seen.name = str_of(rig.seen_name);
    rig.seen.error = str_of(rig.seen_error);
    return &rig.seen;
}

/* Passes over others until that kind comes, for that name unless it is NULL. */
static inline const struct launcher_event *await_event(enum launcher_event_kind kind, const char *name)
{
    for (;;) {
        const struct launcher_event *e = next_event();
        if (e->kind == kind && (!name || str_is(e->name, name))) return e;
    }
}

/* Fills in what most launches share; `line` is given to the shell. */
struct shell_launch {
    struct launcher_request req;
    struct str argv[3], env[4];
    char workdir[FS_PATH_MAX], log[FS_PATH_MAX];
};

static inline struct launcher_request *shell(struct shell_launch *s, const char *name, const char *line)
{
    memset(s, 0, sizeof *s);
    snprintf(s->workdir, sizeof s->workdir, "%s/work/%s", rig.data, name);
    snprintf(s->log, sizeof s->log, "%s/logs/%s.log", rig.data, name);
    s->argv[0] = STR("/bin/sh");
    s->argv[1] = STR("-c");
    s->argv[2] = str_of(line);
    s->env[0] = STR("PATH=/usr/local/bin:/usr/bin:/bin");
    s->req = (struct launcher_request){.name = str_of(name),
                                       .argv = s->argv,
                                       .n_argv = 3,
                                       .env = s->env,
                                       .n_env = 1,
                                       .uid = -1,
                                       .gid = -1,
                                       .workdir = str_of(s->workdir),
                                       .log = str_of(s->log)};
    return &s->req;
}

static inline void launch(const struct launcher_request *req)
{
    struct err err = {0};
    if (!launcher_launch(rig.l, req, &err)) fail_msg("launch of %.*s: %s", STR_ARG(req->name), err.message);
}

static inline void run_shell(const char *name, const char *line)
{
    struct shell_launch s;
    launch(shell(&s, name, line));
}

/* The text of a file, at most some KiB, in memory that the next call reuses; empty when there is none. */
static inline const char *text_of(const char *path)
{
    static char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static inline const char *log_of(const char *name)
{
    char file[LAUNCHER_NAME_MAX + 16];
    snprintf(file, sizeof file, "logs/%s.log", name);
    return text_of(in_data(file));
}

/* A named pipe in the data folder: reading its line waits until the step just launched has written it, without
 * sleeping. */
static inline void make_fifo(const char *name)
{
    assert_int_equal(mkfifo(in_data(name), 0666), 0);
    chmod(rig.path, 0666);
}

static inline pid_t read_pid(const char *fifo)
{
    char text[32] = "";
    await_event(LAUNCHER_STARTED, NULL); /* requests go out with the next look for events */
    int fd = open(in_data(fifo), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    size_t n = 0;
    for (ssize_t got; (got = read(fd, text + n, sizeof text - 1 - n)) > 0;) /* until the writer has closed it */
        n += (size_t)got;
    close(fd);
    assert_true(n > 0);
    return (pid_t)atoi(text);
}

#define LAUNCHER_TEST_MAIN(tests)                                                                                      \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);              \
        return cmocka_run_group_tests(tests, NULL, NULL);                                                              \
    }

#endif
