/* What an API server refuses, in rows: whose fault it is, and what a user is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/kube_refusal.h"

static void refusals_are_classified(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *message;
        enum kube_blame blame;
        const char *text;
    } rows[] = {
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
        {422, "Job.batch \"x\" is invalid: spec.template.spec.volumes: Required value", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: Job.batch \"x\" is invalid: spec.template.spec.volumes: Required value "
         "(spec.template.spec is what the step's 'pod' and other keys for a cluster make)"},
        {413, "Request entity too large", KUBE_BLAME_STEP,
         "its Job was refused; Kubernetes says: Request entity too large"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        struct str text;
        arena_init(&a, 0);
        enum kube_blame blame = kube_refusal(rows[i].status, str_of(rows[i].message), &a, &text);
        if (blame != rows[i].blame || !str_is(text, rows[i].text))
            fail_msg("%s: %d, '%.*s'", rows[i].message, (int)blame, STR_ARG(text));
        arena_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refusals_are_classified)};
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
