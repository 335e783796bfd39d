/* Amounts as Kubernetes writes them. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_QUANTITY_H
#define MILLRACE_SCHEDULER_KUBE_QUANTITY_H

#include "engine/base/value.h"

/* A quantity in thousandths: "3920m", "16Gi", "2", "1e3". False = it is none.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
MUST_CHECK bool kube_quantity(const struct value *v, int64_t *milli);

#endif
