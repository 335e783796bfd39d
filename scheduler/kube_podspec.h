/* What a step says of its pod itself: its keys for a cluster, as the plan has them (engine/flow/spec_cluster.c),
 * written as the parts of a PodSpec; and `pod`, which is merged into the finished one. Pure.
 * https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ */
#ifndef MILLRACE_SCHEDULER_KUBE_PODSPEC_H
#define MILLRACE_SCHEDULER_KUBE_PODSPEC_H

#include "engine/base/jsonw.h"
#include "scheduler/kube_job.h"

/* Fields of the PodSpec, of the step's container, items of `volumes` and of the container's `volumeMounts`; the writer
 * stands within the object or list. */
void kube_podspec_fields(struct jsonw *w, const struct kube_job *j);
void kube_podspec_container(struct jsonw *w, const struct kube_job *j);
void kube_podspec_volumes(struct jsonw *w, const struct kube_job *j, struct arena *a);
void kube_podspec_claimed(struct jsonw *w, const struct kube_job *j); /* within the container's resources */
void kube_podspec_mounts(struct jsonw *w, const struct kube_job *j, struct arena *a);

/* Who the containers of the pod are, unless they say it themselves. */
enum kube_user {
    KUBE_USER_ANY,
    KUBE_USER_NOT_ROOT,
    KUBE_USER_GIVEN /* by its number */
};
enum kube_user kube_podspec_user(const struct kube_job *j);

/* `more` over a PodSpec: maps by key; items of lists that have the same name (mounts: the same path) as one that is
 * there go over that, a variable replaces it, all others are added at the end; anything else replaces. */
struct value kube_podspec_merge(struct arena *a, const struct value *spec, const struct value *more);

/* Sidecars are told to stop in the reverse of their order, each when the ones behind it have ended: whoever keeps the
 * outputs is the first, before a proxy that it needs, and one that does not listen. */
void kube_podspec_collect_last(struct value *spec);

/* What the user's own that run before the step wrote last comes back as their message, if they fail and say nothing
 * else, as it does of the step. */
void kube_podspec_last_lines(struct arena *a, struct value *spec);

#endif
