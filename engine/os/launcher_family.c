/* Which processes belong to which step. A child may fork, leave its process group, its session, and its parents may
 * die: then it becomes a child of the launcher (a subreaper), and its mark still names the step. Where there can be no
 * mark its environment does, unless it was cleared or may not be read. See launcher_host.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/os/launcher_host.h"

#define ROUNDS 50 /* of killing what forks meanwhile */
#define CHILDREN_MAX 4096

static bool our_cookie(const struct host *h, pid_t pid, struct str *name)
{
    static char cookie[LAUNCHER_ID_MAX + LAUNCHER_NAME_MAX + 2];
    size_t id = strlen(h->journal.id);
    if (!proc_cookie(pid, cookie, sizeof cookie) || strncmp(cookie, h->journal.id, id) != 0 || cookie[id] != '/')
        return false;
    *name = str_of(cookie + id + 1);
    return true;
}

static bool our_mark(const struct host *h, pid_t pid, struct proc_mark *mark)
{
    return proc_mark_read(pid, mark) && mark->folder == proc_mark_make(h->folder, STR("")).folder;
}

/* Of a child of ours that no step's own process is. */
static int32_t owner_by_origin(const struct host *h, pid_t pid)
{
    struct proc_mark mark;
    struct str name;
    if (our_mark(h, pid, &mark)) {
        for (size_t i = 0; i < h->n_running; i++)
            if (h->running[i]->mark.step == mark.step) return (int32_t)i;
        return OWNER_STRAY;
    }
    if (!our_cookie(h, pid, &name)) return OWNER_UNCLEAR;
    const struct record *r = journal_find(&h->journal, name);
    return r && r->state == RECORD_RUNNING ? (int32_t)r->running_at : OWNER_STRAY;
}

static struct proc *find(struct proc *all, size_t n, pid_t pid)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (all[mid].pid < pid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && all[low].pid == pid ? &all[low] : NULL;
}

static int32_t owner_by_leader(const struct host *h, const struct proc *p)
{
    for (size_t i = 0; i < h->n_running; i++)
        if (h->running[i]->event.pid == p->pid || h->running[i]->event.pid == p->session) return (int32_t)i;
    return OWNER_UNKNOWN;
}

static int32_t owner_of(const struct host *h, struct proc *all, size_t n, struct proc *p, int depth)
{
    if (p->settled) return p->owner;
    p->settled = true;
    p->owner = OWNER_FOREIGN; /* should parents ever form a ring */
    pid_t self = getpid();
    int32_t owner = p->pid == self ? OWNER_FOREIGN : owner_by_leader(h, p);
    if (owner == OWNER_UNKNOWN && p->parent == self) owner = owner_by_origin(h, p->pid);
    if (owner == OWNER_UNKNOWN) {
        struct proc *parent = p->parent > 1 && depth > 0 ? find(all, n, p->parent) : NULL;
        owner = parent ? owner_of(h, all, n, parent, depth - 1) : OWNER_FOREIGN;
    }
    p->owner = owner;
    return owner;
}

static size_t scan(const struct host *h, struct proc **all)
{
    size_t n = proc_all(all);
    for (size_t i = 0; i < n; i++)
        owner_of(h, *all, n, &(*all)[i], 10000);
    return n;
}

static bool lives(const struct proc *p)
{
    return p->state != 'Z' && p->state != 'X';
}

static size_t signal_owned(const struct host *h, int32_t owner, int sig)
{
    struct proc *all;
    size_t n = scan(h, &all), hit = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].owner == owner && lives(&all[i]) && kill(all[i].pid, sig) == 0) hit++;
    return hit;
}

void family_kill(struct host *h, const struct record *r)
{
    if (kill(-(pid_t)r->event.pid, SIGKILL) != 0 && errno == ESRCH)
        kill((pid_t)r->event.pid, SIGKILL); /* it has not got to setsid() yet */
    for (int round = 0; round < ROUNDS && signal_owned(h, (int32_t)r->running_at, SIGKILL) > 0; round++)
        ;
}

void family_tell(struct host *h)
{
    struct proc *all;
    size_t n = scan(h, &all);
    for (size_t i = 0; i < n; i++) {
        const struct record *r = all[i].owner >= 0 ? h->running[all[i].owner] : NULL;
        if (!r || !r->untold || !lives(&all[i]) || getpgid(all[i].pid) == (pid_t)r->event.pid) continue;
        kill(all[i].pid, SIGTERM);
        kill(all[i].pid, SIGCONT);
    }
    for (size_t i = 0; i < h->n_running; i++)
        h->running[i]->untold = false;
    h->telling = false;
}

/* What may not be signalled could not be killed either: it is not waited for. What came up while all were killed is
 * killed now. */
void family_left(struct host *h, bool *left)
{
    struct proc *all;
    size_t n = scan(h, &all);
    for (size_t i = 0; i < n; i++) {
        const struct record *r = all[i].owner >= 0 ? h->running[all[i].owner] : NULL;
        if (!r || !r->lingers || !lives(&all[i])) continue;
        if (kill(all[i].pid, r->kill_us == 0 ? SIGKILL : 0) == 0) left[all[i].owner] = true;
    }
}

static bool is_leader(const struct host *h, pid_t pid)
{
    for (size_t i = 0; i < h->n_running; i++)
        if (h->running[i]->event.pid == pid) return true;
    return false;
}

/* The usual case costs one read: there are no children but the steps themselves. */
static bool any_strays(const struct host *h)
{
    static pid_t children[CHILDREN_MAX];
    size_t n = proc_children(children, CHILDREN_MAX);
    if (n == SIZE_MAX) return true;
    for (size_t i = 0; i < n; i++)
        if (!is_leader(h, children[i]) && owner_by_origin(h, children[i]) < 0) return true;
    return false;
}

void family_kill_strays(struct host *h)
{
    if (!any_strays(h)) return;
    for (int round = 0; round < ROUNDS && signal_owned(h, OWNER_STRAY, SIGKILL) > 0; round++)
        ;
    for (int round = 0; round < ROUNDS && h->n_running == 0 && signal_owned(h, OWNER_UNCLEAR, SIGKILL) > 0; round++)
        ;
}

/* What its processes share counted once. Of those that may not be looked into, by the greatest. */
static int64_t shared_out(const struct proc *all, size_t n, int32_t owner)
{
    int64_t sum = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        if (all[i].owner != owner || all[i].state == 'Z') continue;
        int64_t share = proc_memory_share(all[i].pid);
        struct proc_memory m = share < 0 ? proc_memory(all[i].pid) : (struct proc_memory){share, 0};
        sum += m.anon;
        if (m.shared > most) most = m.shared;
    }
    return sum + most;
}

void family_memory(struct host *h, int64_t *memory)
{
    struct proc *all;
    size_t n = scan(h, &all);
    for (size_t i = 0; i < n; i++) {
        if (all[i].owner < 0 || all[i].state == 'Z' || h->running[all[i].owner]->memory_bytes <= 0) continue;
        struct proc_memory m = proc_memory(all[i].pid);
        memory[all[i].owner] += m.anon + m.shared;
    }
    for (size_t i = 0; i < h->n_running; i++) /* seldom: the exact figure is dear */
        if (h->running[i]->memory_bytes > 0 && memory[i] > h->running[i]->memory_bytes)
            memory[i] = shared_out(all, n, (int32_t)i);
}

static bool belongs_to_lost(const struct host *h, const struct proc *p)
{
    if (p->pid == getpid()) return false;
    for (size_t i = 0; i < h->journal.n; i++) {
        const struct record *r = h->journal.records[i];
        if (r->state == RECORD_RUNNING && r->ticks && r->event.pid == p->pid && r->ticks == p->ticks) return true;
    }
    struct proc_mark mark;
    struct str name;
    return our_mark(h, p->pid, &mark) || our_cookie(h, p->pid, &name);
}

static bool has_lost_ancestor(struct proc *all, size_t n, const struct proc *p)
{
    for (int depth = 0; p && depth < 10000; depth++) {
        if (p->owner == OWNER_STRAY) return true;
        const struct proc *leader = find(all, n, p->session);
        if (leader && leader->owner == OWNER_STRAY) return true;
        p = p->parent > 1 ? find(all, n, p->parent) : NULL;
    }
    return false;
}

void family_kill_lost(struct host *h)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct proc *all;
        size_t n = proc_all(&all), hit = 0;
        for (size_t i = 0; i < n; i++)
            all[i].owner = belongs_to_lost(h, &all[i]) ? OWNER_STRAY : OWNER_FOREIGN;
        for (size_t i = 0; i < n; i++)
            if (all[i].state != 'Z' && has_lost_ancestor(all, n, &all[i]) && kill(all[i].pid, SIGKILL) == 0) hit++;
        if (hit == 0) return;
    }
}
