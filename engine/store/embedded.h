/* A private PostgreSQL under the data folder, for those who give no database URL: initialised, started, supervised and
 * stopped by the server.
 *
 * <data>/postgres/ (0700, owned by the user PostgreSQL runs as) holds data/ (the cluster), run/ (the socket; in /tmp
 * when the path is too long for one) and log. It listens on the socket only, asks for passwords (scram) and gives
 * Millrace a role that is not a superuser. The postmaster is a session of its own: it survives a kill -9 of the server
 * and is adopted by the next one, after its identity was checked. Several servers on one data folder share it; the last
 * one to stop it gracefully ends it. Owner: who called embedded_start; a thread of it supervises. */
#ifndef MILLRACE_STORE_EMBEDDED_H
#define MILLRACE_STORE_EMBEDDED_H

#include <sys/types.h>

#include "engine/base/err.h"

struct embedded_pg;

struct embedded_config {
    struct str data_dir; /* of the server; must exist */
    struct str bin_dir;  /* of initdb and postgres; empty = PATH, then the newest of /usr/lib/postgresql */
    struct str user;     /* to run as when we are root; empty = millrace, postgres or nobody, whichever exists first */
    struct str settings; /* further "-c name=value" words, split at white space: for benchmarks */
    /* Told from the supervising thread when PostgreSQL went away or came back; may be NULL. */
    void (*report)(void *ctx, const char *what, const struct err *err);
    void *ctx;
};

/* Returns when the database accepts connections: about 1 s, 5 s when it must be made first. */
MUST_CHECK bool embedded_start(const struct embedded_config *config, struct embedded_pg **out, struct err *err);
struct str embedded_dsn(const struct embedded_pg *pg); /* of Millrace's role, with its password: never to be logged */
pid_t embedded_pid(struct embedded_pg *pg);            /* of the postmaster */
/* A database of the name exists, owned by our role: made if need be. For tests. */
MUST_CHECK bool embedded_database(struct embedded_pg *pg, struct str name, struct arena *a, struct str *dsn,
                                  struct err *err);
/* Ends the supervision, and PostgreSQL too (a fast shutdown, waited for) unless another server uses it. */
void embedded_stop(struct embedded_pg *pg);

/* The folder of PostgreSQL's programs that has these, as embedded_start looks for its own; false: there is none. */
MUST_CHECK bool embedded_find_bin(struct str wanted, const char *const programs[2], struct arena *a, struct str *out);

#endif
