/* How a step asks for devices of Dynamic Resource Allocation: a ResourceClaimTemplate, of which Kubernetes makes a
 * claim for each pod. Pure.
 *
 * Its name is made of what it says: all steps that ask for the same share one, so that it costs none of them a request
 * (kube_templates.c makes it and takes it away). A template cannot be changed; one that says something else is another.
 * https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/resource-claim-template-v1/ */
#ifndef MILLRACE_SCHEDULER_KUBE_CLAIM_H
#define MILLRACE_SCHEDULER_KUBE_CLAIM_H

#include "engine/base/buf.h"
#include "engine/flow/queue_doc.h"

#define KUBE_CLAIM "millrace-gpu" /* the claim's name within a pod */
#define KUBE_TEMPLATE_NAME 64     /* 63 characters */
#define KUBE_TEMPLATES "/apis/resource.k8s.io/v1/namespaces/%.*s/resourceclaimtemplates"

/* The expression (CEL) by which exactly those devices are chosen that kube_device_fits() takes.
 * https://kubernetes.io/docs/reference/using-api/cel/ */
void kube_claim_selector(const struct queue_devices *want, struct buf *out);

struct kube_claim {
    struct str device_class, selector;
    uint32_t count;
};
/* Of the installation: two of them may share a namespace. */
void kube_claim_template_name(const struct kube_claim *c, struct str instance, char out[KUBE_TEMPLATE_NAME]);
void kube_claim_template_json(const struct kube_claim *c, struct str instance, struct buf *out);

#endif
