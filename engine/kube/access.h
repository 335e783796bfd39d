/* Where the API server is and how to prove who we are: from a kubeconfig file, or from what Kubernetes puts into a pod.
 * https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
 *
 * Strings live in the arena of kube_access_load. What can change while we run is asked for anew each time: a token file
 * is read again every minute and after a 401 (the last token stays when it cannot be read), an exec plugin is run again
 * shortly before its credential expires. */
#ifndef MILLRACE_KUBE_ACCESS_H
#define MILLRACE_KUBE_ACCESS_H

#include "engine/base/arena.h"
#include "engine/base/err.h"

struct kube_exec_env {
    struct str name, value;
};

/* client.authentication.k8s.io/v1 (and v1beta1): a program that prints an ExecCredential. */
struct kube_exec {
    struct str api_version, command;
    const struct str *args;
    size_t n_args;
    const struct kube_exec_env *env;
    size_t n_env;
    struct str install_hint;
    bool cluster_info;      /* provideClusterInfo: KUBERNETES_EXEC_INFO, which is set always, says the cluster, too */
    struct str config_json; /* of the cluster's extension for exec plugins; empty = none */
};

struct kube_access {
    struct str server;      /* https://host:port, perhaps with a path; no slash at the end */
    struct str ca_pem;      /* empty = the system's */
    struct str server_name; /* tls-server-name; empty = the host */
    struct str cert_pem, key_pem;
    struct str token;      /* fixed */
    struct str token_file; /* wins over token */
    struct str user, password;
    struct str as, as_uid; /* impersonation; empty = none */
    const struct str *as_groups;
    size_t n_as_groups;
    struct str proxy_url;
    struct str namespace; /* of the context; "default" when it says none */
    struct str origin;    /* for messages: the file and the context, or "in-cluster" */
    bool insecure;        /* insecure-skip-tls-verify */
    bool has_exec;
    struct kube_exec exec;
};

/* `file`: a kubeconfig; empty = $KUBECONFIG (several, separated by colons, merge: the first to say something counts),
 * then in-cluster when its files are there, then ~/.kube/config. `context`: empty = the current one. Errors name file,
 * line and entry, and the cure. Reads files, does not connect; certificates and keys in files are read once, here. */
MUST_CHECK bool kube_access_load(struct arena *a, struct str file, struct str context, struct kube_access *out,
                                 struct err *err);
/* From one kubeconfig's text; `file` is what messages call it, and relative paths in it begin at its folder. */
MUST_CHECK bool kube_access_parse(struct arena *a, struct str text, struct str file, struct str context,
                                  struct kube_access *out, struct err *err);
/* From what a pod is given: a folder with ca.crt, token and namespace, and the server's host and port. */
MUST_CHECK bool kube_access_pod(struct arena *a, struct str folder, struct str host, struct str port,
                                struct kube_access *out, struct err *err);

#endif
