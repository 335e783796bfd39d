/* See kube_log_gone.h. */
#include "scheduler/kube_log_gone.h"

bool kube_log_gone(struct str answer)
{
    return str_starts(answer, "unable to retrieve container logs for ");
}
