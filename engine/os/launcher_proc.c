/* See launcher_proc.h. */
#include "engine/os/launcher_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/os/launcher.h"

#define MARK_LOW (UINT64_C(1) << 61) /* far above any limit that somebody means */
#define MARK_HIGH (UINT64_C(1) << 62)

static size_t read_text(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size_t n = 0;
    ssize_t got;
    while (n < room - 1 && (got = read(fd, out + n, room - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    out[n] = '\0';
    return n;
}

struct proc_mark proc_mark_make(uint64_t folder, struct str step)
{
    return (struct proc_mark){MARK_LOW | (str_hash(step) & (MARK_LOW - 1)), MARK_HIGH | (folder & (MARK_LOW - 1))};
}

bool proc_mark_set(struct proc_mark m)
{
    const struct rlimit limit = {m.step, m.folder};
    return setrlimit(RLIMIT_LOCKS, &limit) == 0;
}

bool proc_mark_read(pid_t pid, struct proc_mark *out)
{
    static const char row[] = "\nMax file locks ";
    char path[40], text[2048];
    unsigned long long step, folder;
    snprintf(path, sizeof path, "/proc/%d/limits", pid);
    if (read_text(path, text, sizeof text) == 0) return false;
    const char *at = strstr(text, row);
    if (!at || sscanf(at + sizeof row - 1, "%llu %llu", &step, &folder) != 2 || folder < MARK_HIGH) return false;
    *out = (struct proc_mark){step, folder};
    return true;
}

bool proc_read(pid_t pid, struct proc *out)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_text(path, text, sizeof text) == 0) return false;
    const char *rest = strrchr(text, ')'); /* the name may hold anything, brackets included */
    struct proc p = {.pid = pid, .owner = -1};
    unsigned long long ticks;
    if (!rest || sscanf(rest + 1, " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                        &p.state, &p.parent, &p.session, &ticks) != 4)
        return false;
    p.ticks = (int64_t)ticks;
    *out = p;
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct proc *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

size_t proc_all(struct proc **out)
{
    static struct proc *all;
    static size_t room;
    size_t n = 0;
    DIR *dir = opendir("/proc");
    struct dirent *e;
    while (dir && (e = readdir(dir))) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9') continue;
        if (n == room) {
            room = room ? 2 * room : 256;
            all = realloc(all, room * sizeof *all);
            if (!all) abort();
        }
        if (proc_read((pid_t)atoi(e->d_name), &all[n])) n++;
    }
    if (dir) closedir(dir);
    if (n) qsort(all, n, sizeof *all, by_pid);
    *out = all;
    return n;
}

size_t proc_children(pid_t *out, size_t max)
{
    static char path[64];
    if (!path[0]) snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return SIZE_MAX;
    char block[4096];
    size_t n = 0;
    ssize_t got;
    pid_t pid = 0;
    while ((got = read(fd, block, sizeof block)) > 0)
        for (ssize_t i = 0; i < got; i++) {
            if (block[i] >= '0' && block[i] <= '9') {
                pid = pid * 10 + (block[i] - '0');
            } else if (pid) {
                if (n < max) out[n++] = pid;
                pid = 0;
            }
        }
    close(fd);
    return n;
}

bool proc_cookie(pid_t pid, char *out, size_t n)
{
    static char text[128 << 10];
    static const char key[] = LAUNCHER_COOKIE "=";
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    size_t got = read_text(path, text, sizeof text);
    for (size_t at = 0; at < got; at += strlen(text + at) + 1)
        if (strncmp(text + at, key, sizeof key - 1) == 0) {
            snprintf(out, n, "%s", text + at + sizeof key - 1);
            return true;
        }
    return false;
}

/* The bytes of a row "Name: 123 kB"; -1 when there is none. */
static int64_t row_bytes(const char *text, const char *name)
{
    long long kib;
    const char *at = strstr(text, name);
    return at && sscanf(at + strlen(name), " %lld", &kib) == 1 ? (int64_t)kib << 10 : -1;
}

struct proc_memory proc_memory(pid_t pid)
{
    char path[40], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (read_text(path, text, sizeof text) == 0) return (struct proc_memory){0};
    int64_t anon = row_bytes(text, "\nRssAnon:"), shared = row_bytes(text, "\nRssShmem:");
    return (struct proc_memory){anon > 0 ? anon : 0, shared > 0 ? shared : 0};
}

int64_t proc_memory_share(pid_t pid)
{
    char path[40], text[4096];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    if (read_text(path, text, sizeof text) == 0) return -1;
    int64_t anon = row_bytes(text, "\nPss_Anon:"), shared = row_bytes(text, "\nPss_Shmem:");
    return anon < 0 || shared < 0 ? -1 : anon + shared;
}

int64_t proc_oom_kills(void)
{
    static char text[32 << 10];
    long long count;
    if (read_text("/proc/vmstat", text, sizeof text) == 0) return -1;
    const char *at = strstr(text, "\noom_kill ");
    return at && sscanf(at, " oom_kill %lld", &count) == 1 ? (int64_t)count : -1;
}
