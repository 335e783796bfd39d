/* What an API server refuses, in rows: whose fault it is, and what a user is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/kube_refusal.h"

struct row {
    long status;
    const char *message;
    enum kube_blame blame;
    const char *text;
};

static void expect(enum kube_refused what, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena a;
        struct str text;
        arena_init(&a, 0);
        enum kube_blame blame = kube_refusal(what, rows[i].status, str_of(rows[i].message), &a, &text);
        if (blame != rows[i].blame || !str_is(text, rows[i].text))
            fail_msg("%ld, %s: %d, '%.*s'", rows[i].status, rows[i].message, (int)blame, STR_ARG(text));
        arena_free(&a);
    }
}

static void refusals_of_jobs(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {403, "jobs.batch \"x\" is forbidden: exceeded quota: jobs", KUBE_BLAME_CLUSTER,
         "waits for quota; Kubernetes says: jobs.batch \"x\" is forbidden: exceeded quota: jobs"},
        {401, "Unauthorized", KUBE_BLAME_CLUSTER,
         "waits for a credential that the API server takes; Kubernetes says: Unauthorized; see the server's "
         "--kubeconfig"},
        {403, "x is forbidden: unable to create new content in namespace y because it is being terminated",
         KUBE_BLAME_CLUSTER,
         "its Job cannot be created; Kubernetes says: x is forbidden: unable to create new content in namespace y "
         "because it is being terminated; the namespace is being deleted: name another by --kube-namespace"},
        {403, "jobs.batch is forbidden: User \"u\" cannot create resource", KUBE_BLAME_CLUSTER,
         "its Job cannot be created; Kubernetes says: jobs.batch is forbidden: User \"u\" cannot create resource; let "
         "the server's account create, list, watch and delete Jobs there"},
        {404, "namespaces \"y\" not found", KUBE_BLAME_CLUSTER,
         "its Job cannot be created; Kubernetes says: namespaces \"y\" not found; create the namespace, or name "
         "another "
         "by --kube-namespace"},
        {404, "the server could not find the requested resource", KUBE_BLAME_CLUSTER,
         "its Job cannot be created; Kubernetes says: the server could not find the requested resource"},
        {403, "admission webhook \"w\" denied the request: no", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: admission webhook \"w\" denied the request: no"},
        {403, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"},
        {400, "admission webhook \"w\" denied the request: spec.template.spec.containers", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: admission webhook \"w\" denied the request: "
         "spec.template.spec.containers"},
        {400, "Job in version \"v1\" cannot be handled: unknown field \"spec.template.spec.x\"", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: Job in version \"v1\" cannot be handled: unknown field "
         "\"spec.template.spec.x\" (spec.template.spec is what the step's 'pod' and other keys for a cluster make)"},
        {422, "Job.batch \"x\" is invalid: spec.template.spec.volumes: Required value", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: Job.batch \"x\" is invalid: spec.template.spec.volumes: Required value "
         "(spec.template.spec is what the step's 'pod' and other keys for a cluster make)"},
        {400, "unknown field \"spec.x\"", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: unknown field \"spec.x\""},
        {422, "Job.batch \"x\" is invalid: metadata.name", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: Job.batch \"x\" is invalid: metadata.name"},
        {413, "Request entity too large", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: Request entity too large"},
        {500, "etcdserver: request timed out", KUBE_BLAME_CLUSTER,
         "its Job cannot be created; Kubernetes says: etcdserver: request timed out"},
    };
    expect(KUBE_REFUSED_JOB, rows, sizeof rows / sizeof *rows);
}

static void refusals_of_templates(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {403, "x is forbidden: exceeded quota: claims", KUBE_BLAME_CLUSTER,
         "waits for quota; Kubernetes says: x is forbidden: exceeded quota: claims"},
        {401, "Unauthorized", KUBE_BLAME_CLUSTER,
         "waits for a credential that the API server takes; Kubernetes says: Unauthorized; see the server's "
         "--kubeconfig"},
        {400, "unknown field \"spec.x\"", KUBE_BLAME_STEP,
         "its claim for devices was refused; Kubernetes says: unknown field \"spec.x\" (see the flavor's devices)"},
        {422, "selectors[0].cel.expression: Invalid value", KUBE_BLAME_STEP,
         "its claim for devices was refused; Kubernetes says: selectors[0].cel.expression: Invalid value (see the "
         "flavor's devices)"},
        {403, "User \"u\" cannot create resource", KUBE_BLAME_ATTEMPT,
         "its claim for devices could not be made; Kubernetes says: User \"u\" cannot create resource; let the "
         "server's account create, list and delete ResourceClaimTemplates there, as deploy/components/gpu-queue does"},
        {404, "the server could not find the requested resource", KUBE_BLAME_ATTEMPT,
         "its claim for devices could not be made; Kubernetes says: the server could not find the requested resource; "
         "Kubernetes has resource.k8s.io/v1 from 1.34 on"},
        {500, "etcdserver: request timed out", KUBE_BLAME_ATTEMPT,
         "its claim for devices could not be made; Kubernetes says: etcdserver: request timed out"},
    };
    expect(KUBE_REFUSED_TEMPLATE, rows, sizeof rows / sizeof *rows);
}

static void refusals_of_what_goes_with_it(void **state)
{
    (void)state;
#define SERVICE "the Service by which its workers find each other "
    static const struct row services[] = {
        {403, "exceeded quota: few", KUBE_BLAME_CLUSTER, "waits for quota; Kubernetes says: exceeded quota: few"},
        {401, "Unauthorized", KUBE_BLAME_CLUSTER,
         "waits for a credential that the API server takes; Kubernetes says: Unauthorized; see the server's "
         "--kubeconfig"},
        {403, "policy 'p' denied request: no", KUBE_BLAME_STEP,
         SERVICE "was refused; Kubernetes says: policy 'p' denied request: no"},
        {403, "admission webhook \"w\"", KUBE_BLAME_STEP,
         SERVICE "was refused; Kubernetes says: admission webhook \"w\""},
        {400, "x", KUBE_BLAME_STEP, SERVICE "was refused; Kubernetes says: x"},
        {413, "x", KUBE_BLAME_STEP, SERVICE "was refused; Kubernetes says: x"},
        {422, "x", KUBE_BLAME_STEP, SERVICE "was refused; Kubernetes says: x"},
        {403, "x", KUBE_BLAME_CLUSTER,
         SERVICE "cannot be created; Kubernetes says: x; let the server's account create Services there, as "
                 "deploy/components/distributed does"},
        {404, "x", KUBE_BLAME_CLUSTER, SERVICE "cannot be created; Kubernetes says: x"},
    };
    static const struct row secrets[] = {
        {403, "x", KUBE_BLAME_CLUSTER,
         "the Secret with what the server gives to it cannot be created; Kubernetes says: x; let the server's account "
         "create Secrets there, as deploy/components/secrets does"},
    };
    expect(KUBE_REFUSED_SERVICE, services, sizeof services / sizeof *services);
    expect(KUBE_REFUSED_SECRET, secrets, sizeof secrets / sizeof *secrets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refusals_of_jobs), cmocka_unit_test(refusals_of_templates),
                                       cmocka_unit_test(refusals_of_what_goes_with_it)};
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
