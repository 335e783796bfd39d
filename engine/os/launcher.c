/* The server's end of the launcher, see launcher.h: keeps one connection, starts a launcher when there is none, and
 * remembers what it asked for until that is confirmed, so that nothing is lost between two launchers. */
#include "engine/os/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/map.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/launcher_wire.h"

#define OPEN_MS 20000
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000
#define OUT_MAX (1u << 30)

extern char **environ;

/* A frame that was asked for and is not confirmed yet. */
struct pending {
    struct pending *next, *prev;
    bool kill; /* else a launch */
    struct str name, frame;
    char bytes[];
};

enum link_state { LINK_NONE, LINK_STARTING, LINK_GREETING, LINK_UP, LINK_REPLACED };

struct launcher {
    char folder[FS_PATH_MAX]; /* <data>/launcher */
    int folder_fd, epoll, timer;
    enum link_state state;
    int conn, ready; /* ready: the pipe of a launcher that is starting */
    pid_t child;     /* the launcher we started; 0 = none */
    int64_t retry_ms;
    struct buf in, out;
    size_t in_at; /* frames before it are handled */
    bool out_wanted, tell_gone, synced;
    char id[LAUNCHER_ID_MAX + 1];
    int64_t pid;
    struct pending *first, *last;
    struct map launches; /* name → struct pending, of those in the list */
    struct err why;      /* the last failure to start one */
};

/* What is not confirmed
 * ---------------------------------------------------------------------------------------------------------- */

static struct pending *pending_add(struct launcher *l, bool is_kill, struct str name, struct str frame)
{
    struct pending *p = malloc(sizeof *p + name.n + frame.n);
    if (!p) abort();
    memcpy(p->bytes, name.p, name.n);
    memcpy(p->bytes + name.n, frame.p, frame.n);
    p->name = (struct str){p->bytes, name.n};
    p->frame = (struct str){p->bytes + name.n, frame.n};
    p->kill = is_kill;
    p->next = NULL;
    p->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = p;
    l->last = p;
    if (!is_kill) map_put(&l->launches, p->name, (uint64_t)(uintptr_t)p, NULL);
    return p;
}

static void pending_drop(struct launcher *l, struct pending *p)
{
    *(p->prev ? &p->prev->next : &l->first) = p->next;
    *(p->next ? &p->next->prev : &l->last) = p->prev;
    if (!p->kill) map_del(&l->launches, p->name);
    free(p);
}

static void confirm(struct launcher *l, struct str name, bool ended)
{
    uint64_t at;
    if (map_get(&l->launches, name, &at)) pending_drop(l, (struct pending *)(uintptr_t)at);
    for (struct pending *p = ended ? l->first : NULL, *next; p; p = next) {
        next = p->next;
        if (!p->kill) break; /* kills stand in front: see launcher_kill */
        if (str_eq(p->name, name)) pending_drop(l, p);
    }
}

/* ---- connection ---- */

static void watch(struct launcher *l, int op, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    epoll_ctl(l->epoll, op, fd, &e);
}

static void drop_fd(int *fd)
{
    if (*fd >= 0) close(*fd); /* leaves the epoll set by itself */
    *fd = -1;
}

static void retry_later(struct launcher *l)
{
    struct itimerspec when = {.it_value = {l->retry_ms / 1000, (l->retry_ms % 1000) * 1000000}};
    timerfd_settime(l->timer, 0, &when, NULL);
    l->retry_ms = l->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : l->retry_ms * 2;
    l->state = LINK_NONE;
}

static void reap(struct launcher *l)
{
    if (l->child > 0 && waitpid(l->child, NULL, WNOHANG) != 0) l->child = 0;
}

static void went_down(struct launcher *l)
{
    if (l->state == LINK_UP || l->state == LINK_GREETING) l->tell_gone |= l->synced || l->state == LINK_UP;
    drop_fd(&l->conn);
    drop_fd(&l->ready);
    buf_reset(&l->in);
    buf_reset(&l->out);
    l->in_at = 0;
    l->out_wanted = l->synced = false;
    reap(l);
    retry_later(l);
}

static bool try_connect(struct launcher *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* By way of the open folder: the path itself may be longer than a socket's address. */
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/sock", l->folder_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return false;
    }
    l->conn = fd;
    watch(l, EPOLL_CTL_ADD, fd, EPOLLIN);
    l->state = LINK_GREETING;
    return true;
}

static bool spawn(struct launcher *l, struct err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_set(err, ERR_IO, "cannot start the launcher: %s", strerror(errno));
    char number[16], command[] = LAUNCHER_COMMAND, name[] = "millrace";
    int passed = fcntl(fds[1], F_DUPFD, 3); /* without close-on-exec */
    snprintf(number, sizeof number, "%d", passed);
    char *argv[] = {name, command, l->folder, number, NULL};
    posix_spawnattr_t attr;
    sigset_t none, usual;
    sigemptyset(&none);
    sigfillset(&usual);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &usual);
    int rc = passed < 0 ? errno : posix_spawn(&l->child, "/proc/self/exe", NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    close(fds[1]);
    if (passed >= 0) close(passed);
    if (rc != 0) {
        l->child = 0;
        close(fds[0]);
        return err_set(err, ERR_INTERNAL, "cannot start the launcher: %s", strerror(rc));
    }
    l->ready = fds[0];
    watch(l, EPOLL_CTL_ADD, l->ready, EPOLLIN);
    l->state = LINK_STARTING;
    return true;
}

static void bring_up(struct launcher *l)
{
    if (try_connect(l)) return;
    reap(l);
    if (!spawn(l, &l->why)) retry_later(l);
}

static void on_ready(struct launcher *l)
{
    char text[300];
    ssize_t n = read(l->ready, text, sizeof text - 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    text[n > 0 ? n : 0] = '\0';
    drop_fd(&l->ready);
    if (n <= 0)
        err_set(&l->why, ERR_INTERNAL, "the launcher ended before it was ready");
    else if (strcmp(text, "ready") != 0 && strcmp(text, "busy") != 0)
        err_set(&l->why, ERR_INTERNAL, "the launcher cannot work: %s", text);
    reap(l);
    if (n > 0 && strcmp(text, "ready") == 0 && try_connect(l)) return;
    retry_later(l); /* "busy": another has the lock, and is starting or ending */
}

static void send_out(struct launcher *l)
{
    size_t done = 0;
    while (done < l->out.n) {
        ssize_t n = send(l->conn, l->out.p + done, l->out.n - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) {
            l->out.n = 0; /* the receiving side will notice; what matters is sent again */
            return;
        }
        if (n < 0) break;
        done += (size_t)n;
    }
    if (done) {
        memmove(l->out.p, l->out.p + done, l->out.n - done);
        l->out.n -= done;
    }
    bool want = l->out.n > 0;
    if (want != l->out_wanted) {
        watch(l, EPOLL_CTL_MOD, l->conn, EPOLLIN | (want ? (uint32_t)EPOLLOUT : 0));
        l->out_wanted = want;
    }
}

/* So that the loop comes around soon and sends: many requests, one system call. */
static void want_send(struct launcher *l)
{
    if (l->state == LINK_UP && l->synced && !l->out_wanted) {
        watch(l, EPOLL_CTL_MOD, l->conn, EPOLLIN | EPOLLOUT);
        l->out_wanted = true;
    }
}

static void receive(struct launcher *l)
{
    if (l->in_at > 0) {
        memmove(l->in.p, l->in.p + l->in_at, l->in.n - l->in_at);
        l->in.n -= l->in_at;
        l->in_at = 0;
    }
    if (!buf_reserve(&l->in, 64 << 10)) return;
    ssize_t n = recv(l->conn, l->in.p + l->in.n, 64 << 10, 0);
    if (n > 0)
        l->in.n += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        went_down(l);
}

/* ---- events ---- */

static bool greeted(struct launcher *l, struct wire_reader *fields)
{
    uint32_t version = wire_get_u32(fields);
    struct str id = wire_get_str(fields);
    int64_t pid = wire_get_i64(fields);
    if (fields->bad || version != LAUNCHER_VERSION || id.n > LAUNCHER_ID_MAX) {
        err_set(&l->why, ERR_CONFLICT, "the launcher that runs is of another version of millrace");
        err_hint(&l->why, "it ends a minute after its last step; to end it and its steps at once: kill %lld",
                 (long long)pid);
        return false;
    }
    snprintf(l->id, sizeof l->id, "%.*s", STR_ARG(id));
    l->pid = pid;
    l->state = LINK_UP;
    l->retry_ms = RETRY_MIN_MS;
    return true;
}

static bool synced(struct launcher *l, struct launcher_event *out)
{
    l->synced = true;
    for (const struct pending *p = l->first; p; p = p->next)
        if (!p->kill) buf_str(&l->out, p->frame);
    for (const struct pending *p = l->first; p; p = p->next)
        if (p->kill) buf_str(&l->out, p->frame);
    want_send(l);
    *out = (struct launcher_event){.kind = LAUNCHER_SYNCED};
    return true;
}

/* True when the frame is an event for the caller. */
static bool handle(struct launcher *l, uint8_t kind, struct wire_reader *fields, struct launcher_event *out)
{
    int64_t ticks;
    if (kind == FRAME_HELLO) {
        if (!greeted(l, fields)) went_down(l);
        return false;
    }
    if (kind == FRAME_SYNCED) return synced(l, out);
    if (kind == FRAME_REPLACED) {
        drop_fd(&l->conn);
        l->state = LINK_REPLACED;
        l->tell_gone = true;
        return false;
    }
    if (!launcher_get_event(fields, out, &ticks)) return false;
    out->kind = kind == FRAME_STARTED ? LAUNCHER_STARTED : kind == FRAME_LOST ? LAUNCHER_LOST : LAUNCHER_ENDED;
    confirm(l, out->name, kind != FRAME_STARTED);
    return true;
}

static bool next_frame(struct launcher *l, struct launcher_event *out)
{
    uint8_t kind;
    struct wire_reader fields;
    bool broken = false;
    while (l->conn >= 0 && wire_next(buf_view(&l->in), &l->in_at, &kind, &fields, &broken))
        if (handle(l, kind, &fields, out)) return true;
    if (broken) went_down(l);
    return false;
}

static void look_around(struct launcher *l)
{
    struct epoll_event events[4];
    int n = epoll_wait(l->epoll, events, 4, 0);
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        uint64_t count;
        if (fd == l->timer) {
            ssize_t ignored = read(l->timer, &count, sizeof count);
            (void)ignored;
            if (l->state == LINK_NONE) bring_up(l);
        } else if (fd == l->ready) {
            on_ready(l);
        } else if (fd == l->conn && (events[i].events & ~(uint32_t)EPOLLOUT)) {
            receive(l);
        }
    }
}

bool launcher_next(struct launcher *l, struct launcher_event *out)
{
    if (next_frame(l, out)) return true;
    if (l->conn >= 0 && l->synced && (l->out.n || l->out_wanted)) send_out(l);
    look_around(l);
    if (l->tell_gone) {
        l->tell_gone = false;
        *out = (struct launcher_event){.kind = LAUNCHER_DISCONNECTED};
        return true;
    }
    return next_frame(l, out);
}

/* ---- calls ---- */

bool launcher_launch(struct launcher *l, const struct launcher_request *req, struct err *err)
{
    uint64_t at;
    if (!launcher_name_fine(req->name))
        return err_set(err, ERR_INVALID, "'%.*s' cannot be the name of a launch", STR_ARG(req->name));
    if (req->n_argv == 0 || req->workdir.n == 0 || req->workdir.p[0] != '/')
        return err_set(err, ERR_INVALID, "a launch needs a command and an absolute working directory");
    if (req->note.n > LAUNCHER_NOTE_MAX)
        return err_set(err, ERR_LIMIT, "the note of a launch has at most %d bytes", LAUNCHER_NOTE_MAX);
    if (map_get(&l->launches, req->name, &at)) return true;
    BUF_AUTO frame;
    buf_init(&frame, WIRE_FRAME_MAX);
    launcher_put_request(&frame, req);
    if (frame.over)
        return err_set(err, ERR_TOO_LARGE, "command, environment and inputs of a step are larger than %u MiB together",
                       WIRE_FRAME_MAX >> 20);
    struct pending *p = pending_add(l, false, req->name, buf_view(&frame));
    if (l->synced) {
        buf_str(&l->out, p->frame);
        want_send(l);
    }
    return true;
}

void launcher_kill(struct launcher *l, struct str name, int64_t grace_ms)
{
    BUF_AUTO frame;
    buf_init(&frame, 4096);
    size_t begin = wire_begin(&frame, FRAME_KILL);
    wire_str(&frame, name);
    wire_i64(&frame, grace_ms);
    wire_end(&frame, begin);
    struct pending *p = pending_add(l, true, name, buf_view(&frame));
    if (p != l->first) { /* to the front, where confirm() finds it without walking over all launches */
        l->last = p->prev;
        p->prev->next = NULL;
        p->prev = NULL;
        p->next = l->first;
        l->first->prev = p;
        l->first = p;
    }
    if (l->synced) {
        buf_str(&l->out, p->frame);
        want_send(l);
    }
}

void launcher_ack(struct launcher *l, struct str name)
{
    confirm(l, name, true);
    if (!l->synced) return; /* told again, and acknowledged again, after the next connection */
    launcher_put_name(&l->out, FRAME_ACK, name);
    want_send(l);
}

struct str launcher_id(const struct launcher *l)
{
    return str_of(l->id);
}

int64_t launcher_pid(const struct launcher *l)
{
    return l->pid;
}

int launcher_fd(const struct launcher *l)
{
    return l->epoll;
}

/* Until it has said who it is. */
static bool wait_for_greeting(struct launcher *l, struct err *err)
{
    int64_t until = os_mono_us() + OPEN_MS * 1000;
    while (l->state != LINK_UP) {
        int64_t left = (until - os_mono_us()) / 1000;
        if (left <= 0) {
            if (l->why.code)
                *err = l->why;
            else
                err_set(err, ERR_TIMEOUT, "no launcher answers at %s", l->folder);
            return false;
        }
        struct pollfd p = {.fd = l->epoll, .events = POLLIN};
        poll(&p, 1, (int)left);
        look_around(l);
        uint8_t kind;
        struct wire_reader fields;
        bool broken;
        size_t at = 0;
        /* Only the greeting is taken: what follows is for launcher_next(). */
        if (l->state == LINK_GREETING && wire_next(buf_view(&l->in), &at, &kind, &fields, &broken)) {
            if (kind != FRAME_HELLO || !greeted(l, &fields)) {
                *err = l->why;
                return false;
            }
            l->in_at = at;
        }
    }
    return true;
}

bool launcher_open(struct launcher **out, const char *data_dir, struct err *err)
{
    struct launcher *l = calloc(1, sizeof *l);
    if (!l) abort();
    l->folder_fd = l->epoll = l->timer = l->conn = l->ready = -1;
    l->retry_ms = RETRY_MIN_MS;
    buf_init(&l->in, 2 * WIRE_FRAME_MAX);
    buf_init(&l->out, OUT_MAX);
    map_init(&l->launches, os_random_u64());
    bool fine = fs_path(l->folder, err, "%s/launcher", data_dir) && fs_mkdirs(l->folder, 0700, err);
    if (fine) {
        l->folder_fd = open(l->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        l->epoll = epoll_create1(EPOLL_CLOEXEC);
        l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        fine = (l->folder_fd >= 0 && l->epoll >= 0 && l->timer >= 0) ||
               err_set(err, ERR_IO, "cannot open %s: %s", l->folder, strerror(errno));
    }
    if (fine) {
        watch(l, EPOLL_CTL_ADD, l->timer, EPOLLIN);
        bring_up(l);
        fine = wait_for_greeting(l, err);
    }
    if (!fine) {
        launcher_close(l);
        return false;
    }
    *out = l;
    return true;
}

void launcher_close(struct launcher *l)
{
    if (!l) return;
    if (l->conn >= 0 && l->synced && l->out.n) send_out(l);
    drop_fd(&l->conn);
    drop_fd(&l->ready);
    drop_fd(&l->timer);
    drop_fd(&l->epoll);
    drop_fd(&l->folder_fd);
    for (struct pending *p = l->first, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    map_free(&l->launches);
    buf_free(&l->in);
    buf_free(&l->out);
    free(l);
}
