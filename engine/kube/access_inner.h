/* What the halves of the kubeconfig reader share: access.c finds files and entries, access_entry.c reads the entries.
 */
#ifndef MILLRACE_KUBE_ACCESS_INNER_H
#define MILLRACE_KUBE_ACCESS_INNER_H

#include "engine/base/value.h"
#include "engine/kube/access.h"

#define KUBE_FILE_MAX ((size_t)4 << 20)

struct source { /* one kubeconfig */
    struct str file, folder;
    struct value root;
};

struct entry { /* one cluster, user or context */
    struct arena *a;
    const struct source *source;
    const char *list; /* clusters, users, contexts */
    struct str name;
    const struct value *body; /* NULL = none was named: everything is absent */
    struct pos at;
};

/* "FILE:LINE: …", the path "users.NAME.field", no hint yet. `field` and `at` may be NULL. Returns false. */
__attribute__((format(printf, 6, 7))) bool entry_fail(const struct entry *e, const char *field, const struct value *at,
                                                      enum err_code code, struct err *err, const char *fmt, ...);
/* A member that is text; absent and null give an empty one. */
MUST_CHECK bool entry_text(const struct entry *e, const char *field, struct str *out, struct err *err);

MUST_CHECK bool access_read_cluster(const struct entry *e, struct kube_access *out, struct err *err);
MUST_CHECK bool access_read_user(const struct entry *e, struct kube_access *out, struct err *err);
/* client.authentication.k8s.io/exec among the cluster's extensions. */
void access_read_extension(const struct entry *cluster, struct kube_access *out);

/* A server's address as we keep it: checked, without a slash at the end. False when it is none. */
bool access_server(struct arena *a, struct str text, struct str *out);

#endif
