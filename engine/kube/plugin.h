/* Exec plugins: a program that prints a credential, run beside us. Its pipes are non-blocking and in the caller's
 * epoll; it is reaped by looking, killed with all it started when it takes too long.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins */
#ifndef MILLRACE_KUBE_PLUGIN_H
#define MILLRACE_KUBE_PLUGIN_H

#include <sys/types.h>

#include "engine/base/buf.h"
#include "engine/kube/access.h"

struct kube_plugin {
    pid_t pid; /* 0 = none is running */
    int epoll, out, err;
    int status; /* of the ended process; -1 = somebody else has reaped it */
    bool ended;
    int64_t deadline_us, look_us, ended_us;
    struct buf text, said; /* of its standard output, and what it said besides */
};

struct kube_exec_credential { /* in the arena it was read into */
    struct str token, cert_pem, key_pem;
    int64_t expires_s; /* since 1970; 0 = it did not say */
};

MUST_CHECK bool kube_plugin_start(struct kube_plugin *p, const struct kube_access *access, int epoll, int64_t now_us,
                                  struct err *err);
/* False while it runs; then *ok says whether `out` was made, else `err` is set. Frees what it used. */
bool kube_plugin_turn(struct kube_plugin *p, const struct kube_access *access, int64_t now_us, struct arena *a,
                      struct kube_exec_credential *out, bool *ok, struct err *err);
void kube_plugin_kill(struct kube_plugin *p);

/* What a plugin printed. */
MUST_CHECK bool kube_exec_credential_read(struct arena *a, struct str text, const struct kube_exec *exec, int64_t now_s,
                                          struct kube_exec_credential *out, struct err *err);

#endif
