/* What a kubelet says of its own in the place of a log, or behind as much of one as it could tell. By then it has sent
 * status 200, so it says that as if it were the log: GetContainerLogs in
 * pkg/kubelet/kuberuntime/kuberuntime_container.go, and ReadLogs in k8s.io/cri-client/pkg/logs/logs.go (v1.37). Such
 * words are an answer's last, and end no line. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_LOG_WORDS_H
#define MILLRACE_SCHEDULER_KUBE_LOG_WORDS_H

#include "engine/base/str.h"

#define KUBE_LOG_WORDS_MOST 4096 /* bytes of them */

/* How much of what has come of an answer is the log for sure: from there on it may be the kubelet that speaks, or
 * begins to. `follows`: the log is followed, so that a kubelet may also fail behind some of it; else it says what it
 * has to say before the first byte, with which `text` begins. */
size_t kube_log_sure(struct str text, bool follows);

/* Is what is left of an answer, once it has ended, the kubelet's? */
bool kube_log_words(struct str left, bool follows);

#endif
