/* Folders and logs of attempts after their end. A working directory, an empty checkpoint or an empty log that was left
 * as it was made serves a later attempt: to make and remove four inodes a step costs a file system more than to run it
 * (ext4 does not give out a freed one again for a minute, and looks through all of these for each new one). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "engine/os/fs.h"
#include "engine/os/log.h"
#include "scheduler/process_inner.h"

#define FOLDER_MODE 0755 /* as the launcher makes them */
#define LOG_MODE 0640u

struct cleanup {
    struct job job; /* first */
    char path[FS_PATH_MAX];
};

static void run_cleanup(struct job *job)
{
    struct err err = {0};
    struct cleanup *c = (struct cleanup *)(void *)job;
    if (!fs_remove_tree(c->path, &err)) log_err(LEVEL_WARN, "a working directory stays until the next start", &err);
}

static void remove_later(struct process *p, const char *path)
{
    struct err err;
    struct cleanup *c = calloc(1, sizeof *c);
    if (c == NULL) abort();
    c->job.run = run_cleanup;
    if (!fs_path(c->path, &err, "%s", path)) { /* longer than any that was made */
        free(c);
        return;
    }
    workers_add(p->workers, &c->job);
}

bool work_drop_job(struct job *job)
{
    if (job->run != run_cleanup) return false;
    free(job);
    return true;
}

static const char spare_letters[] = {[SPARE_WORKDIR] = 'w', [SPARE_CHECKPOINT] = 'c', [SPARE_LOG] = 'l'};

static void spare_path(const struct process *p, enum spare kind, size_t number, char out[FS_PATH_MAX])
{
    snprintf(out, FS_PATH_MAX, "%.*s/work/.spare-%c%zu", STR_ARG(p->cfg.data_dir), spare_letters[kind], number);
}

/* An empty folder, but for one of the name `inner`, with the owner and rights it was made with and nothing attached. */
static bool as_made(int at, const char *path, int64_t uid, const char *inner)
{
    struct stat st;
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return false;
    bool made = fstat(fd, &st) == 0 && (st.st_mode & 07777) == FOLDER_MODE &&
                st.st_uid == (uid < 0 ? geteuid() : (uid_t)uid) && flistxattr(fd, NULL, 0) == 0 &&
                (inner == NULL || as_made(fd, inner, uid, NULL));
    DIR *dir = made ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        close(fd);
        return false;
    }
    for (struct dirent *e; made && (e = readdir(dir)) != NULL;)
        made = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
               (inner != NULL && strcmp(e->d_name, inner) == 0);
    closedir(dir);
    return made;
}

/* Nothing was written to it, and nothing was done to it. */
static bool log_as_made(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 && st.st_nlink == 1 &&
           st.st_uid == geteuid() && (st.st_mode & 07777 & ~LOG_MODE) == 0 && llistxattr(path, NULL, 0) == 0;
}

/* Nothing that is there gives way. */
static bool take(struct process *p, enum spare kind, const char *to)
{
    char spare[FS_PATH_MAX];
    if (p->n_spare[kind] == 0) return false;
    spare_path(p, kind, p->n_spare[kind] - 1, spare);
    if (renameat2(AT_FDCWD, spare, AT_FDCWD, to, RENAME_NOREPLACE) != 0) return false;
    p->n_spare[kind]--;
    return true;
}

static bool keep(struct process *p, enum spare kind, const char *from)
{
    char spare[FS_PATH_MAX];
    spare_path(p, kind, p->n_spare[kind], spare);
    if (p->n_spare[kind] == SPARE_MAX || rename(from, spare) != 0) return false;
    p->n_spare[kind]++;
    return true;
}

bool work_make_folders(const struct process *p, struct err *err)
{
    const struct {
        const struct str *in;
        const char *name;
        mode_t mode; /* others may pass through, and list nothing */
    } folders[] = {
        {&p->cfg.data_dir, "work", 0711}, {&p->cfg.store_dir, "checkpoints", 0711}, {&p->cfg.store_dir, "logs", 0700}};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[FS_PATH_MAX];
        if (!fs_path(path, err, "%.*s/%s", STR_ARG(*folders[i].in), folders[i].name) ||
            !fs_mkdirs(path, folders[i].mode, err))
            return false;
    }
    return true;
}

void work_take(struct process *p, struct attempt *a)
{
    a->request->workdir_made = take(p, SPARE_WORKDIR, a->workdir);
    /* Not a run's first: the launcher makes the run's folders. */
    (void)take(p, SPARE_CHECKPOINT, a->checkpoint);
    if (a->log[0] != '\0') (void)take(p, SPARE_LOG, a->log);
}

/* Has the folder been touched since the attempt began? Then another server may have given it to a later attempt. */
static bool untouched(const struct attempt *a)
{
    struct stat st;
    return lstat(a->checkpoint, &st) == 0 &&
           (int64_t)st.st_ctim.tv_sec * 1000000 + st.st_ctim.tv_nsec / 1000 <= a->end.started_us;
}

void work_give_back(struct process *p, const struct attempt *a)
{
    bool kept = as_made(AT_FDCWD, a->workdir, p->uid, ".tmp") && keep(p, SPARE_WORKDIR, a->workdir);
    if (!kept && access(a->workdir, F_OK) == 0) remove_later(p, a->workdir);
    if (a->result.ok && a->checkpoint != NULL && untouched(a) && as_made(AT_FDCWD, a->checkpoint, p->uid, NULL))
        (void)keep(p, SPARE_CHECKPOINT, a->checkpoint);
    if (a->end.kind == LAUNCHER_ENDED && log_as_made(a->log)) (void)keep(p, SPARE_LOG, a->log);
}

void work_sweep(struct process *p)
{
    char work[FS_PATH_MAX], name[32], swept[FS_PATH_MAX + 40];
    snprintf(work, sizeof work, "%.*s/work", STR_ARG(p->cfg.data_dir));
    snprintf(name, sizeof name, ".swept-%d", (int)getpid());
    snprintf(swept, sizeof swept, "%s/%s", work, name);
    DIR *dir = opendir(work);
    int to = mkdir(swept, 0700) == 0 || errno == EEXIST ? open(swept, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    /* Aside first: an attempt of that name may yet be launched while the worker removes. */
    for (struct dirent *e; dir != NULL && to >= 0 && (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, name) != 0 &&
            !process_knows(p, e->d_name) && renameat(dirfd(dir), e->d_name, to, e->d_name) != 0)
            log_warn("cannot put an old working directory aside", LOG_CSTR("folder", e->d_name),
                     LOG_CSTR("error", strerror(errno)));
    memset(p->n_spare, 0, sizeof p->n_spare); /* swept, too */
    if (dir != NULL) closedir(dir);
    if (to >= 0) close(to);
    remove_later(p, swept);
}
