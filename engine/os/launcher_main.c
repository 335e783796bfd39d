/* The launcher process: lock, journal, socket, one loop. See launcher.h for what it is, launcher_watch.c for what it
 * does with steps. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/launcher_host.h"
#include "engine/os/launcher_step.h"
#include "engine/os/log.h"

#define SOCKET "sock"
#define LOCK "lock"
#define IDLE_US (60 * INT64_C(1000000))
#define JOURNAL_RETRY_US (1 * INT64_C(1000000)) /* while its disk is full */
#define OUT_MAX (256u << 20)

/* ---- connection ---- */

static void watch(struct host *h, int op, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    epoll_ctl(h->epoll, op, fd, &e);
}

static void disconnect(struct host *h)
{
    if (h->conn < 0) return;
    close(h->conn);
    h->conn = -1;
    h->out_wanted = false;
    buf_reset(&h->in);
    buf_reset(&h->out);
}

static void send_out(struct host *h)
{
    if (h->conn < 0) return;
    size_t done = 0;
    while (done < h->out.n) {
        ssize_t n = send(h->conn, h->out.p + done, h->out.n - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) {
            disconnect(h);
            return;
        }
        if (n < 0) break;
        done += (size_t)n;
    }
    if (h->out.over) { /* a server that does not read for so long asks again when it comes back */
        disconnect(h);
        return;
    }
    memmove(h->out.p, h->out.p + done, h->out.n - done);
    h->out.n -= done;
    bool want = h->out.n > 0;
    if (want != h->out_wanted) {
        watch(h, EPOLL_CTL_MOD, h->conn, EPOLLIN | (want ? (uint32_t)EPOLLOUT : 0));
        h->out_wanted = want;
    }
}

void host_tell(struct host *h, const struct record *r)
{
    if (h->conn >= 0 && r->state != RECORD_INTENT) journal_put(&h->out, r);
}

static void greet(struct host *h)
{
    size_t begin = wire_begin(&h->out, FRAME_HELLO);
    wire_u32(&h->out, LAUNCHER_VERSION);
    wire_str(&h->out, str_of(h->journal.id));
    wire_i64(&h->out, getpid());
    wire_end(&h->out, begin);
    for (size_t i = 0; i < h->journal.n; i++)
        host_tell(h, h->journal.records[i]);
    wire_end(&h->out, wire_begin(&h->out, FRAME_SYNCED));
}

/* The newest server wins: the one before is dead, or hangs. */
static void accept_server(struct host *h)
{
    int fd = accept4(h->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 || (peer.uid != geteuid() && peer.uid != 0)) {
        close(fd);
        return;
    }
    if (h->conn >= 0) {
        wire_end(&h->out, wire_begin(&h->out, FRAME_REPLACED));
        send_out(h);
        disconnect(h);
    }
    h->conn = fd;
    watch(h, EPOLL_CTL_ADD, fd, EPOLLIN);
    greet(h);
}

static void handle(struct host *h, uint8_t kind, struct wire_reader *fields)
{
    if (kind == FRAME_LAUNCH) {
        struct launcher_request req;
        if (launcher_get_request(fields, &h->arena, &req)) host_launch(h, &req);
        arena_reset(&h->arena);
        return;
    }
    struct record *r = journal_find(&h->journal, wire_get_str(fields));
    int64_t grace_ms = kind == FRAME_KILL ? wire_get_i64(fields) : 0;
    if (!r || fields->bad) return;
    if (kind == FRAME_KILL)
        host_kill(h, r, grace_ms);
    else if (kind == FRAME_ACK && r->state > RECORD_RUNNING)
        journal_forget(&h->journal, r);
}

static void receive(struct host *h)
{
    bool over = false;
    while (buf_reserve(&h->in, 64 << 10)) {
        ssize_t n = recv(h->conn, h->in.p + h->in.n, 64 << 10, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n > 0) h->in.n += (size_t)n;
        over = n == 0 || (n < 0 && errno != EAGAIN);
        if (n <= 0 || h->in.n > WIRE_FRAME_MAX) break;
    }
    size_t at = 0;
    uint8_t kind;
    struct wire_reader fields;
    bool broken = false;
    while (wire_next(buf_view(&h->in), &at, &kind, &fields, &broken))
        handle(h, kind, &fields);
    if (over || broken || h->in.over) {
        disconnect(h);
        return;
    }
    memmove(h->in.p, h->in.p + at, h->in.n - at);
    h->in.n -= at;
}

/* ---- start-up ---- */

static void report(int ready, const char *text)
{
    ssize_t ignored = write(ready, text, strlen(text));
    (void)ignored;
    close(ready);
}

/* Nothing of the server's stays open: not its sockets, not the terminal or pipe it writes to. */
static void cut_loose(int ready)
{
    if (ready > 3) close_range(3, (unsigned)ready - 1, 0);
    close_range((unsigned)ready + 1, ~0u, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open("launcher.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(null, 0);
    dup2(null, 1);
    dup2(log >= 0 ? log : null, 2);
    close(null);
    if (log >= 0) close(log);
    fcntl(ready, F_SETFD, FD_CLOEXEC);
}

static bool listen_here(struct host *h, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
    unlink(SOCKET);
    h->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool fine = h->listening >= 0 && bind(h->listening, (struct sockaddr *)&address, sizeof address) == 0 &&
                listen(h->listening, 16) == 0;
    int saved = errno;
    umask(before);
    return fine || err_set(err, ERR_IO, "cannot listen on the launcher's socket: %s", strerror(saved));
}

static bool take_signals(struct host *h, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_SETMASK, &set, NULL);
    launcher_signals(SIG_IGN);
    h->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return h->signals >= 0 || err_set(err, ERR_IO, "signalfd: %s", strerror(errno));
}

/* By its inode, which stays when everything in it is deleted. */
static uint64_t name_folder(void)
{
    struct stat st = {0};
    if (stat("..", &st) != 0) return os_random_u64();
    const uint64_t name[] = {st.st_dev, st.st_ino};
    return str_hash((struct str){(const char *)name, sizeof name});
}

static bool set_up(struct host *h, struct err *err)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_NAME, "millrace-launch");
    arena_init(&h->arena, 2 * WIRE_FRAME_MAX);
    buf_init(&h->in, 2 * WIRE_FRAME_MAX + (1 << 20));
    buf_init(&h->out, OUT_MAX);
    h->conn = -1;
    h->folder = name_folder();
    if (!journal_open(&h->journal, err)) return false;
    host_recover(h);
    if (!journal_flush(&h->journal))
        return err_set(err, ERR_IO, "cannot write the launcher's journal: %s", strerror(errno));
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (h->epoll < 0 || !take_signals(h, err) || !listen_here(h, err)) return false;
    watch(h, EPOLL_CTL_ADD, h->listening, EPOLLIN);
    watch(h, EPOLL_CTL_ADD, h->signals, EPOLLIN);
    return true;
}

/* ---- loop ---- */

static void on_signal(struct host *h)
{
    struct signalfd_siginfo info;
    while (read(h->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGTERM) h->leaving = true;
    host_reap(h);
}

static int wait_ms(struct host *h, int64_t now)
{
    int64_t next = host_next_timer(h);
    bool idle = h->conn < 0 && h->n_running == 0;
    if (!idle)
        h->idle_since_us = 0;
    else if (h->idle_since_us == 0)
        h->idle_since_us = now;
    if (h->journal.pending.n && (next == 0 || next > now + JOURNAL_RETRY_US)) next = now + JOURNAL_RETRY_US;
    if (idle && (next == 0 || h->idle_since_us + IDLE_US < next)) next = h->idle_since_us + IDLE_US;
    if (next == 0) return -1;
    int64_t ms = next <= now ? 0 : (next - now + 999) / 1000;
    return ms > 3600000 ? 3600000 : (int)ms;
}

static void turn(struct host *h)
{
    struct epoll_event events[16];
    int n = epoll_wait(h->epoll, events, 16, wait_ms(h, os_mono_us()));
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        if (fd == h->signals)
            on_signal(h);
        else if (fd == h->listening)
            accept_server(h);
        else if (fd == h->conn && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            receive(h);
    }
    int64_t now = os_mono_us();
    host_timers(h, now);
    if (h->idle_since_us && now - h->idle_since_us >= IDLE_US && h->conn < 0) h->leaving = true;
    if (!journal_flush(&h->journal))
        log_warn("cannot write the launcher's journal", LOG_CSTR("error", strerror(errno)));
    send_out(h); /* after the journal: what the server was told is never unknown to the next launcher */
}

int launcher_main(int argc, char **argv)
{
    static struct host host;
    struct err err;
    int64_t ready;
    if (argc != 2 || !str_int(str_of(argv[1]), &ready) || ready < 3) {
        fprintf(stderr, "millrace: %s is for the server's own use\n", LAUNCHER_COMMAND);
        return 2;
    }
    if (chdir(argv[0]) != 0 || fcntl((int)ready, F_GETFD) < 0) return 2;
    cut_loose((int)ready);
    int lock = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
        report((int)ready, lock < 0 ? "cannot open the launcher's lock file" : "busy");
        return 0;
    }
    if (!set_up(&host, &err)) {
        report((int)ready, err.message);
        return 1;
    }
    report((int)ready, "ready");
    while (!host.leaving)
        turn(&host);
    unlink(SOCKET);
    host_abandon(&host);
    return journal_flush(&host.journal) ? 0 : 1;
}
