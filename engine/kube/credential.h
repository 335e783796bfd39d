/* What a request shows to prove who we are, and that it is still good: a token file is read again every minute, an exec
 * plugin is run again before its credential expires, both after a 401. Never blocks: a plugin runs beside us, its pipes
 * are in the client's epoll. */
#ifndef MILLRACE_KUBE_CREDENTIAL_H
#define MILLRACE_KUBE_CREDENTIAL_H

#include "engine/kube/access.h"

struct kube_credential;

struct kube_pass {            /* valid until the next call of these functions */
    struct str authorization; /* the whole header line; empty = none */
    struct str cert_pem, key_pem;
    uint64_t number; /* another one has another number */
};

enum kube_pass_state {
    KUBE_PASS_READY,
    KUBE_PASS_WAIT,   /* a plugin is at work */
    KUBE_PASS_MISSING /* there is none: err says why */
};

/* Descriptors are added to `epoll` with data.u64 = the descriptor. */
struct kube_credential *kube_credential_open(const struct kube_access *access, int epoll);
void kube_credential_close(struct kube_credential *cr); /* kills a plugin under way */

enum kube_pass_state kube_credential_get(struct kube_credential *cr, int64_t now_us, struct kube_pass *out,
                                         struct err *err);
/* The server did not accept that one (401). True when another may be had, now or soon. */
bool kube_credential_rejected(struct kube_credential *cr, uint64_t number, int64_t now_us);
/* Whenever one of its descriptors is readable or kube_credential_due is over. */
void kube_credential_turn(struct kube_credential *cr, int64_t now_us);
int64_t kube_credential_due(const struct kube_credential *cr); /* INT64_MAX = nothing is due */

#endif
