/* See launcher_step.h. Between fork and exec; what goes wrong is told through a pipe that exec closes. */
#include "engine/os/launcher_step.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/os/fs.h"

#define ERROR_MAX 400
#define OWN 'o'
#define INFRA 'i'
#define COULD_NOT_START 127
#define CHILD_STACK (1 << 20)

struct child {
    const struct launcher_request *req;
    char **argv; /* argv[-1] is the shell's name: see exec_at */
    char *const *env;
    const char *search; /* PATH of the step */
    pid_t launcher;
    struct proc_mark mark;
    int error_fd;
    int workdir;
    bool ours; /* what is being done is of no step's doing, whatever goes wrong */
};

/* The machine's means have run out, or its disk fails: another time it may go well. */
static bool is_infra(int error)
{
    static const int errors[] = {ENOSPC, EDQUOT, EMFILE, ENFILE, EAGAIN, ENOMEM, ENOBUFS, EIO, EROFS, ESTALE, EINTR};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (error == errors[i]) return true;
    return false;
}

/* errno says why; with `told` the text does already. A letter before it says whose doing it is. */
__attribute__((noreturn, format(printf, 3, 4))) static void fail_as(const struct child *c, bool told, const char *fmt,
                                                                    ...)
{
    int saved = errno;
    char text[ERROR_MAX] = {c->ours || is_infra(saved) ? INFRA : OWN};
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text + 1, sizeof text - 1, fmt, args);
    va_end(args);
    size_t used = n < 0 ? 1 : (size_t)n + 1 < sizeof text ? (size_t)n + 1 : sizeof text - 1;
    if (saved && !told) snprintf(text + used, sizeof text - used, ": %s", strerror(saved));
    ssize_t ignored = write(c->error_fd, text, strlen(text));
    (void)ignored;
    _exit(COULD_NOT_START);
}

#define fail(c, ...) fail_as(c, false, __VA_ARGS__)
#define fail_told(c, text) fail_as(c, true, "%s", text)

static void own(const struct child *c, int fd, const char *path)
{
    if (c->req->uid >= 0 && fchown(fd, (uid_t)c->req->uid, (gid_t)c->req->gid) != 0)
        fail(c, "cannot give %s to the step's user", path);
}

static void make_workdir(struct child *c)
{
    c->ours = true;
    const char *path = c->req->workdir.p;
    if (!c->req->workdir_made && mkdir(path, 0755) != 0) {
        struct err err;
        errno = errno == EEXIST || errno == ENOENT ? 0 : errno;
        if (errno) fail(c, "cannot make the working directory %s", path);
        if (!fs_remove_tree(path, &err) || !fs_mkdirs(path, 0755, &err)) fail_told(c, err.message);
    }
    c->workdir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (c->workdir < 0) fail(c, "cannot open the working directory %s", path);
    if (!c->req->workdir_made) own(c, c->workdir, path);
    c->ours = false;
}

static void copy_code(struct child *c)
{
    const struct launcher_request *req = c->req;
    if (!req->tree.n) return;
    c->ours = true;
    int from = open(req->tree.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0) fail(c, "cannot open the code at %s", req->tree.p);
    c->ours = false;
    if (!fs_copy_tree(from, c->workdir, (uid_t)req->uid, (gid_t)req->gid))
        fail(c, "cannot copy the code from %s", req->tree.p);
    close(from);
}

static void make_parent(const struct child *c, const char *to)
{
    const char *slash = strrchr(to, '/');
    char parent[FS_PATH_MAX];
    if (!slash) return;
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - to), to);
    if (!fs_mkdirs_beneath(c->workdir, parent, 0755, (uid_t)c->req->uid, (gid_t)c->req->gid))
        fail(c, "cannot make the folder %s", parent);
}

static void copy_input(struct child *c, const struct launcher_file *f)
{
    c->ours = true;
    int from = open(f->from.p, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (from < 0 || fstat(from, &st) != 0) fail(c, "cannot open the input %s", f->to.p);
    c->ours = false;
    bool fine;
    if (S_ISDIR(st.st_mode)) {
        if (!fs_mkdirs_beneath(c->workdir, f->to.p, 0755, (uid_t)c->req->uid, (gid_t)c->req->gid))
            fail(c, "cannot make the folder %s", f->to.p);
        int to = fs_open_beneath(c->workdir, f->to.p, O_RDONLY | O_DIRECTORY, 0);
        fine = to >= 0 && fs_copy_tree(from, to, (uid_t)c->req->uid, (gid_t)c->req->gid);
        close(to);
    } else {
        int to = fs_open_beneath(c->workdir, f->to.p, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (to >= 0) own(c, to, f->to.p);
        fine = to >= 0 && fs_copy_file(from, to);
        close(to);
    }
    if (!fine) fail(c, "cannot copy the input %s", f->to.p);
    close(from);
}

static void write_text(const struct child *c, const struct launcher_file *f)
{
    mode_t mode = f->mode ? (mode_t)f->mode & 0777 : 0644;
    int fd = fs_open_beneath(c->workdir, f->to.p, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0) fail(c, "cannot write %s", f->to.p);
    own(c, fd, f->to.p);
    for (size_t done = 0; done < f->text.n;) {
        ssize_t n = write(fd, f->text.p + done, f->text.n - done);
        if (n < 0 && errno != EINTR) fail(c, "cannot write %s", f->to.p);
        done += n > 0 ? (size_t)n : 0;
    }
    close(fd);
}

static void put_files(struct child *c)
{
    for (size_t i = 0; i < c->req->n_files; i++) {
        const struct launcher_file *f = &c->req->files[i];
        if (!fs_relative(f->to)) {
            errno = 0;
            fail(c, "'%s' is not a path beneath the working directory", f->to.p);
        }
        make_parent(c, f->to.p);
        if (f->from.n)
            copy_input(c, f);
        else
            write_text(c, f);
    }
}

/* Outside of the working directory: the server's own. */
static void make_given(struct child *c, const char *path)
{
    struct err err;
    c->ours = true;
    if (!fs_mkdirs(path, 0755, &err)) fail_told(c, err.message);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) fail(c, "cannot open the folder %s", path);
    own(c, fd, path);
    close(fd);
    c->ours = false;
}

static void make_folders(struct child *c)
{
    for (size_t i = 0; i < c->req->n_folders; i++) {
        const char *path = c->req->folders[i].p;
        if (path[0] == '/')
            make_given(c, path);
        else if (!fs_mkdirs_beneath(c->workdir, path, 0755, (uid_t)c->req->uid, (gid_t)c->req->gid))
            fail(c, "cannot make the folder %s", path);
    }
}

static void open_streams(struct child *c)
{
    c->ours = true;
    const char *path = c->req->log.n ? c->req->log.p : "/dev/null";
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC;
    int log = open(path, flags, 0640);
    if (log < 0 && errno == ENOENT) {
        char parent[FS_PATH_MAX];
        struct err err;
        snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(path, '/') - path), path);
        if (!fs_mkdirs(parent, 0755, &err)) fail_told(c, err.message);
        log = open(path, flags, 0640);
    }
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || null < 0) fail(c, "cannot open the log %s", path);
    if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) fail(c, "cannot set up the standard streams");
}

static void set_limits(const struct child *c)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    proc_mark_set(c->mark); /* else there is the cookie */
    /* When the kernel runs out of memory, steps go before the server and the database. */
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t ignored = write(fd, "500", 3);
        (void)ignored;
        close(fd);
    }
}

static void become_user(const struct child *c)
{
    if (c->req->uid < 0) return;
    gid_t gid = (gid_t)c->req->gid;
    uid_t uid = (uid_t)c->req->uid;
    if (geteuid() == 0 && setgroups(0, NULL) != 0) fail(c, "cannot drop the server's groups");
    if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) fail(c, "cannot become user %d", (int)uid);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void enter(const struct child *c)
{
    if (!c->req->cwd.n) {
        if (fchdir(c->workdir) != 0) fail(c, "cannot enter the working directory");
        return;
    }
    int fd = fs_open_beneath(c->workdir, c->req->cwd.p, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || fchdir(fd) != 0) fail(c, "cannot enter the working directory '%s' of the code", c->req->cwd.p);
}

/* A script without an interpreter line is given to the shell, as execvp does. */
static void exec_at(const struct child *c, char *path)
{
    char *command = c->argv[0];
    execve(path, c->argv, c->env);
    if (errno != ENOEXEC) return;
    c->argv[0] = path;
    execve("/bin/sh", c->argv - 1, c->env);
    c->argv[0] = command;
}

__attribute__((noreturn)) static void execute(const struct child *c)
{
    char *command = c->argv[0];
    if (strchr(command, '/')) {
        exec_at(c, command);
        fail(c, "cannot start '%s'", command);
    }
    int worst = ENOENT;
    for (const char *p = c->search;; p++) {
        const char *end = strchrnul(p, ':');
        char path[FS_PATH_MAX];
        int n = snprintf(path, sizeof path, "%.*s/%s", (int)(end - p), p, command);
        if (end > p && n > 0 && (size_t)n < sizeof path) {
            exec_at(c, path);
            if (errno != ENOENT && errno != ENOTDIR) worst = errno;
        }
        if (*end == '\0') break;
        p = end;
    }
    errno = worst;
    fail(c, "cannot start '%s' (looked for in %s)", command, c->search);
}

void launcher_signals(void (*handler)(int))
{
    static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], handler);
}

static int child_main(void *arg)
{
    struct child *c = arg;
    /* Should the launcher die before the exec, nobody would know of this process; afterwards its cookie names it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != c->launcher) _exit(COULD_NOT_START);
    setsid();
    launcher_signals(SIG_DFL);
    umask(022);
    make_workdir(c);
    copy_code(c);
    put_files(c);
    make_folders(c);
    open_streams(c);
    set_limits(c);
    become_user(c);
    c->ours = false;
    enter(c);
    prctl(PR_SET_PDEATHSIG, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execute(c);
}

/* With `first` before them. */
static char **strings(struct arena *a, const char *first, const struct str *items, size_t n)
{
    char **out = arena_array(a, char *, n + 2);
    out[0] = (char *)(uintptr_t)first;
    for (size_t i = 0; i < n; i++)
        out[i + 1] = arena_cstr(a, items[i]);
    return out;
}

static const char *search_path(const struct launcher_request *req)
{
    for (size_t i = 0; i < req->n_env; i++)
        if (str_starts(req->env[i], "PATH=")) return req->env[i].p + 5; /* NUL-terminated: see launcher_get_request */
    return "/usr/local/bin:/usr/bin:/bin";
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* One that has nothing to copy borrows the launcher's memory until its exec, as posix_spawn's child does: a fork's
 * copy of the page tables of every library costs more than all the rest. For one that copies files the launcher would
 * have to wait. (Sanitizers do not know the borrowed stack.) */
static pid_t start_child(struct child *c)
{
#ifndef SANITIZED
    static char *stack;
    if (!c->req->tree.n && c->req->n_files == 0) {
        if (!stack) {
            void *room = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (room == MAP_FAILED) return -1;
            stack = room;
        }
        return clone(child_main, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, c);
    }
#endif
    pid_t pid = fork();
    if (pid == 0) child_main(c);
    return pid;
}

pid_t launcher_step_start(const struct launcher_request *req, const char *cookie, struct proc_mark mark,
                          struct arena *a, int *error_fd)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
    struct child c = {.req = req,
                      .argv = strings(a, "/bin/sh", req->argv, req->n_argv) + 1,
                      .env = strings(a, cookie, req->env, req->n_env),
                      .search = search_path(req),
                      .launcher = getpid(),
                      .mark = mark,
                      .error_fd = fds[1],
                      .workdir = -1};
    pid_t pid = start_child(&c);
    int saved = errno;
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        errno = saved;
        return -1;
    }
    *error_fd = fds[0];
    return pid;
}

size_t launcher_step_error(int fd, char *out, size_t room, bool *infra)
{
    char whose = OWN;
    ssize_t n = read(fd, &whose, 1);
    if (n == 1) n = read(fd, out, room - 1);
    close(fd);
    if (n < 0) n = 0;
    out[n] = '\0';
    *infra = whose == INFRA;
    return (size_t)n;
}
