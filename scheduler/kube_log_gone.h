/* What a kubelet says where it has no log any more. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_LOG_GONE_H
#define MILLRACE_SCHEDULER_KUBE_LOG_GONE_H

#include "engine/base/str.h"

/* Does an answer with status 200 begin as one about a container that is not there any more, as those of an evicted pod?
 * By then the status has been sent, so a kubelet (v1.37) says that as if it were the log: GetContainerLogs in
 * pkg/kubelet/kuberuntime/kuberuntime_container.go. `answer`: its first bytes. */
bool kube_log_gone(struct str answer);

#endif
