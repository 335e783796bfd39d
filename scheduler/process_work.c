/* Working directories of attempts after their end. One that was left as it was made serves a later attempt: to make and
 * remove two folders a step costs a file system more than to run it (ext4 does not give out a freed inode again for a
 * minute, and looks through all of these for each new one). */
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

static void spare_path(const struct process *p, size_t number, char out[FS_PATH_MAX])
{
    snprintf(out, FS_PATH_MAX, "%.*s/work/.spare-%zu", STR_ARG(p->cfg.data_dir), number);
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

bool work_take(struct process *p, const char *workdir)
{
    char spare[FS_PATH_MAX];
    if (p->n_spare == 0) return false;
    spare_path(p, --p->n_spare, spare);
    return rename(spare, workdir) == 0;
}

void work_give_back(struct process *p, const char *workdir)
{
    char spare[FS_PATH_MAX];
    spare_path(p, p->n_spare, spare);
    if (p->n_spare < SPARE_MAX && as_made(AT_FDCWD, workdir, p->uid, ".tmp") && rename(workdir, spare) == 0)
        p->n_spare++;
    else if (access(workdir, F_OK) == 0)
        remove_later(p, workdir);
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
    p->n_spare = 0; /* swept, too */
    if (dir != NULL) closedir(dir);
    if (to >= 0) close(to);
    remove_later(p, swept);
}
