/* Inside the embedded PostgreSQL: what its three files share. Nobody else includes this. */
#ifndef MILLRACE_STORE_EMBEDDED_INT_H
#define MILLRACE_STORE_EMBEDDED_INT_H

#include "engine/os/fs.h"
#include "engine/store/embedded.h"

#define PG_GROUPS_MAX 64
#define PG_PASSWORD 49 /* 24 random bytes in hex, and NUL */

struct pg_user {
    bool drop; /* we are root: become this user before exec */
    uid_t uid;
    gid_t gid;
    char name[64];
    gid_t groups[PG_GROUPS_MAX];
    int n_groups;
};

struct pg_paths {
    char data[FS_PATH_MAX];    /* of the server, resolved */
    char root[FS_PATH_MAX];    /* <data>/postgres */
    char cluster[FS_PATH_MAX]; /* <data>/postgres/data */
    char socket[FS_PATH_MAX];
    char log[FS_PATH_MAX];
    char bin[FS_PATH_MAX];
};

struct pg_secret {
    char super[PG_PASSWORD], role[PG_PASSWORD];
};

/* ---- embedded_env.c: where things are, as whom they run ---- */
MUST_CHECK bool pg_paths_resolve(const struct embedded_config *config, struct pg_paths *out, struct err *err);
MUST_CHECK bool pg_user_choose(struct str wanted, const struct pg_paths *paths, struct pg_user *out, struct err *err);
MUST_CHECK bool pg_folders_make(const struct pg_paths *paths, const struct pg_user *user, struct err *err);
/* Forks and executes as the user, in a session of its own, with standard input from /dev/null and output to out_fd.
 * `bound`: it dies with the calling thread. */
MUST_CHECK bool pg_spawn(const struct pg_user *user, char *const argv[], int out_fd, bool bound, pid_t *pid,
                         struct err *err);

/* ---- embedded_init.c: a cluster with our role and database ---- */
MUST_CHECK bool pg_secret_load(const struct pg_paths *paths, bool cluster_exists, struct pg_secret *out,
                               struct err *err);
MUST_CHECK bool pg_cluster_init(const struct pg_paths *paths, const struct pg_user *user,
                                const struct pg_secret *secret, struct err *err);
bool pg_cluster_exists(const struct pg_paths *paths);
MUST_CHECK bool pg_dsn(const struct pg_paths *paths, const char *user, const char *password, struct str database,
                       struct buf *out);
/* Makes role and database where they are missing, and checks that who answers is this cluster. */
MUST_CHECK bool pg_cluster_ready(const struct pg_paths *paths, const struct pg_secret *secret, struct err *err);
MUST_CHECK bool pg_database_make(const struct pg_paths *paths, const struct pg_secret *secret, struct str name,
                                 struct err *err);

#endif
