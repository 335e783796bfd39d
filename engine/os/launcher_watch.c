/* The life of a step in the launcher: start, limits, end. See launcher_host.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/launcher_host.h"
#include "engine/os/launcher_step.h"

#define CHECK_US 100000

static void running_add(struct host *h, struct record *r)
{
    if (h->n_running == h->room) {
        h->room = h->room ? 2 * h->room : 64;
        h->running = realloc(h->running, h->room * sizeof(struct record *));
        if (!h->running) abort();
    }
    r->running_at = h->n_running;
    h->running[h->n_running++] = r;
}

static void running_drop(struct host *h, struct record *r)
{
    struct record *last = h->running[--h->n_running];
    h->n_lingering -= r->lingers;
    last->running_at = r->running_at;
    h->running[last->running_at] = last;
    free(r->log);
    r->log = NULL;
}

static void end(struct host *h, struct record *r, enum record_state state)
{
    r->state = state;
    r->event.ended_us = os_now_us();
    record_set_note(r, (struct str){0});
    journal_note(&h->journal, r);
    host_tell(h, r);
}

static void not_started(struct host *h, struct record *r, const char *what)
{
    char why[200];
    snprintf(why, sizeof why, "%s: %s", what, strerror(errno));
    r->event.not_started = r->event.infra = true;
    record_set_error(r, why);
    end(h, r, RECORD_ENDED);
}

static bool is_limited(const struct record *r)
{
    return r->memory_bytes > 0 || r->log_max_bytes > 0;
}

static void started(struct host *h, struct record *r, const struct launcher_request *req, pid_t pid)
{
    struct proc p;
    int64_t now = os_mono_us();
    r->event.pid = pid;
    r->event.started_us = os_now_us();
    r->ticks = proc_read(pid, &p) ? p.ticks : 0;
    record_set_note(r, req->note);
    r->state = RECORD_RUNNING;
    r->grace_ms = req->grace_ms;
    r->memory_bytes = req->memory_bytes;
    r->deadline_us = req->timeout_ms > 0 ? now + req->timeout_ms * 1000 : 0;
    r->log_max_bytes = req->log.n ? req->log_max_bytes : 0;
    r->log = r->log_max_bytes > 0 ? strdup(req->log.p) : NULL;
    running_add(h, r);
    if (h->check_us == 0 && is_limited(r)) h->check_us = now + CHECK_US;
    journal_note(&h->journal, r);
    host_tell(h, r);
}

void host_launch(struct host *h, const struct launcher_request *req)
{
    struct record *r = journal_find(&h->journal, req->name);
    if (r) {
        host_tell(h, r);
        return;
    }
    r = journal_add(&h->journal, req->name);
    journal_note(&h->journal, r);
    if (!journal_flush(&h->journal)) { /* an unrecorded process could not be found again */
        not_started(h, r, "cannot write the launcher's journal");
        return;
    }
    char cookie[sizeof LAUNCHER_COOKIE + LAUNCHER_ID_MAX + LAUNCHER_NAME_MAX + 4];
    snprintf(cookie, sizeof cookie, LAUNCHER_COOKIE "=%s/%s", h->journal.id, r->name);
    r->mark = proc_mark_make(h->folder, req->name);
    pid_t pid = launcher_step_start(req, cookie, r->mark, &h->arena, &r->error_fd);
    if (pid > 0)
        started(h, r, req, pid);
    else
        not_started(h, r, "cannot start a process");
}

/* SIGKILL to the whole family; the end itself comes by SIGCHLD. */
static void finish_off(struct host *h, struct record *r)
{
    r->terminated = true;
    r->untold = false;
    r->deadline_us = r->kill_us = 0;
    family_kill(h, r);
    h->settling |= r->lingers;
}

static void terminate(struct host *h, struct record *r, int64_t grace_ms)
{
    if (grace_ms <= 0) {
        finish_off(h, r);
        return;
    }
    int64_t kill_us = os_mono_us() + grace_ms * 1000;
    if (!r->terminated) {
        pid_t group = -(pid_t)r->event.pid;
        if (kill(group, SIGTERM) != 0 && errno == ESRCH) kill(-group, SIGTERM); /* it has not got to setsid() yet */
        kill(group, SIGCONT);                                                   /* a stopped one could not even end */
        r->terminated = r->untold = h->telling = true;
        r->kill_us = kill_us;
    } else if (r->kill_us > kill_us) {
        r->kill_us = kill_us;
    }
    r->deadline_us = 0;
}

void host_kill(struct host *h, struct record *r, int64_t grace_ms)
{
    if (r->state != RECORD_RUNNING) return;
    r->event.killed = true;
    terminate(h, r, grace_ms);
}

static bool killed_by_kernel(struct host *h)
{
    int64_t kills = proc_oom_kills();
    bool more = kills > h->oom_kills && h->oom_kills >= 0;
    h->oom_kills = kills;
    return more;
}

static void record_end(struct host *h, struct record *r, int status, const struct rusage *usage)
{
    struct launcher_event *e = &r->event;
    e->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    e->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    e->user_us = (int64_t)usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec;
    e->system_us = (int64_t)usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec;
    e->max_rss_bytes = (int64_t)usage->ru_maxrss * 1024;
    if (e->signal == SIGKILL && !r->terminated && killed_by_kernel(h)) e->oom = true;
    char why[sizeof r->error];
    if (launcher_step_error(r->error_fd, why, sizeof why, &e->infra) > 0) {
        e->not_started = true;
        e->code = -1;
        record_set_error(r, why);
    }
    r->error_fd = -1;
    end(h, r, RECORD_ENDED);
}

static struct record *running_by_pid(const struct host *h, pid_t pid)
{
    for (size_t i = 0; i < h->n_running; i++)
        if (h->running[i]->event.pid == pid) return h->running[i];
    return NULL;
}

static void reap(struct host *h, pid_t pid, struct record *r)
{
    /* Its group goes with it. While it is not reaped, its number cannot be another's. */
    if (r) kill(-pid, SIGKILL);
    int status = 0;
    struct rusage usage = {0};
    if (wait4(pid, &status, 0, &usage) < 0 || !r) return;
    running_drop(h, r);
    record_end(h, r, status, &usage);
}

/* Whoever was told to stop has its grace with all that it started: its shell may be gone while its work still writes
 * down where it is. So its own process stays as it is, which keeps its number, until nothing else is left. */
static bool hear_child(struct host *h, pid_t pid)
{
    struct record *r = running_by_pid(h, pid);
    if (!r || !r->terminated) {
        reap(h, pid, r);
        return r != NULL;
    }
    if (!r->lingers) h->n_lingering++;
    r->lingers = true;
    return false;
}

static bool has_ended(idtype_t which, pid_t pid, pid_t *out)
{
    siginfo_t info = {0};
    bool ended = waitid(which, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
    *out = info.si_pid;
    return ended;
}

/* As long as some linger they are what waitid() names, and the others have to be looked for. */
static bool hear_others(struct host *h)
{
    struct proc *all;
    size_t n = proc_all(&all), zombies = 0;
    pid_t self = getpid(), pid, *pids = arena_array(&h->arena, pid_t, n + 1);
    bool ended = false;
    for (size_t i = 0; i < n; i++)
        if (all[i].parent == self && all[i].state == 'Z') pids[zombies++] = all[i].pid;
    for (size_t i = 0; i < zombies; i++)
        if (has_ended(P_PID, pids[i], &pid)) ended |= hear_child(h, pid);
    arena_reset(&h->arena);
    return ended;
}

/* Ends those of whom nothing is left. */
static bool settle(struct host *h)
{
    bool ended = false, *left = arena_array(&h->arena, bool, h->n_running + 1);
    h->settling = false;
    family_left(h, left);
    for (size_t i = h->n_running; i-- > 0;) {
        struct record *r = h->running[i];
        if (!r->lingers || left[i]) continue;
        reap(h, (pid_t)r->event.pid, r);
        ended = true;
    }
    arena_reset(&h->arena);
    return ended;
}

void host_reap(struct host *h)
{
    pid_t pid;
    bool ended = false;
    while (h->n_lingering == 0 && has_ended(P_ALL, 0, &pid))
        ended |= hear_child(h, pid);
    if (h->n_lingering > 0) ended |= hear_others(h);
    if (h->n_lingering > 0) ended |= settle(h);
    if (ended) family_kill_strays(h);
}

static void check_memory(struct host *h)
{
    int64_t *memory = arena_array(&h->arena, int64_t, h->n_running + 1);
    family_memory(h, memory);
    for (size_t i = 0; i < h->n_running; i++) {
        struct record *r = h->running[i];
        if (r->memory_bytes <= 0) continue;
        if (memory[i] > r->event.memory_peak_bytes) r->event.memory_peak_bytes = memory[i];
        if (memory[i] > r->memory_bytes && !r->event.oom) {
            r->event.oom = true;
            finish_off(h, r);
        }
    }
    arena_reset(&h->arena);
}

static void check_logs(struct host *h)
{
    struct stat st;
    for (size_t i = 0; i < h->n_running; i++) {
        struct record *r = h->running[i];
        if (!r->log || r->event.log_full || stat(r->log, &st) != 0 || st.st_size <= r->log_max_bytes) continue;
        r->event.log_full = true;
        finish_off(h, r); /* in a grace it could fill the disk */
    }
}

static void check(struct host *h)
{
    bool memory = false, any = false;
    for (size_t i = 0; i < h->n_running; i++) {
        memory |= h->running[i]->memory_bytes > 0;
        any |= is_limited(h->running[i]);
    }
    if (memory) check_memory(h);
    if (any) check_logs(h);
    h->check_us = any ? os_mono_us() + CHECK_US : 0;
}

void host_timers(struct host *h, int64_t now)
{
    for (size_t i = 0; i < h->n_running; i++) {
        struct record *r = h->running[i];
        if (r->kill_us && r->kill_us <= now) finish_off(h, r);
        if (r->deadline_us && r->deadline_us <= now) {
            r->event.timed_out = true;
            terminate(h, r, r->grace_ms);
        }
    }
    if (h->check_us && h->check_us <= now) check(h);
    if (h->telling) family_tell(h);
    if (h->settling && settle(h)) family_kill_strays(h);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

int64_t host_next_timer(const struct host *h)
{
    int64_t next = h->check_us;
    for (size_t i = 0; i < h->n_running; i++)
        next = sooner(sooner(next, h->running[i]->deadline_us), h->running[i]->kill_us);
    return next;
}

void host_recover(struct host *h)
{
    h->oom_kills = proc_oom_kills();
    family_kill_lost(h); /* whatever the journal says: it may be a new one */
    for (size_t i = 0; i < h->journal.n; i++) {
        struct record *r = h->journal.records[i];
        if (r->state > RECORD_RUNNING) continue;
        record_set_error(r, "the launcher died while the step was running; what was left of it has been killed");
        end(h, r, RECORD_LOST);
    }
}

void host_abandon(struct host *h)
{
    for (size_t i = h->n_running; i-- > 0;) {
        struct record *r = h->running[i];
        family_kill(h, r);
        record_set_error(r, "the launcher was told to end, e.g. by a shutdown of the machine");
        end(h, r, RECORD_LOST);
    }
    h->n_running = 0;
    family_kill_strays(h);
}
