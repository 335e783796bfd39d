/* Whose fault a refusal is. See kube_refusal.h. */
#include "scheduler/kube_refusal.h"

#define OF_THE_POD " (spec.template.spec is what the step's 'pod' and other keys for a cluster make)"

/* What the server would not take, whose fault that is, and what can be done; the first row that fits. */
static const struct {
    long status;       /* 0 = any */
    const char *words; /* of the message; NULL = any */
    enum kube_blame blame;
    const char *text, *cure;
} refusals[] = {
    {403, "exceeded quota", KUBE_BLAME_CLUSTER, "waits for quota", ""},
    {401, NULL, KUBE_BLAME_CLUSTER, "waits for a credential that the API server takes",
     "; see the server's --kubeconfig"},
    {0, " denied request", KUBE_BLAME_STEP, "its Job was refused", ""}, /* by a policy */
    {0, "admission webhook", KUBE_BLAME_STEP, "its Job was refused", ""},
    {400, "spec.template.spec.", KUBE_BLAME_STEP, "its Job was refused", OF_THE_POD},
    {422, "spec.template.spec.", KUBE_BLAME_STEP, "its Job was refused", OF_THE_POD},
    {400, NULL, KUBE_BLAME_STEP, "its Job was refused", ""},
    {413, NULL, KUBE_BLAME_STEP, "its Job was refused", ""},
    {422, NULL, KUBE_BLAME_STEP, "its Job was refused", ""},
    {403, "being terminated", KUBE_BLAME_CLUSTER, "its Job cannot be created",
     "; the namespace is being deleted: name another by --kube-namespace"},
    {403, NULL, KUBE_BLAME_CLUSTER, "its Job cannot be created",
     "; let the server's account create, list, watch and delete Jobs there"},
    {404, "namespaces ", KUBE_BLAME_CLUSTER, "its Job cannot be created",
     "; create the namespace, or name another by --kube-namespace"},
    {0, NULL, KUBE_BLAME_CLUSTER, "its Job cannot be created", ""},
};

enum kube_blame kube_refusal(long status, struct str message, struct arena *a, struct str *text)
{
    size_t at, i = 0;
    while ((refusals[i].status != 0 && refusals[i].status != status) ||
           (refusals[i].words != NULL && !str_find(message, str_of(refusals[i].words), &at)))
        i++; /* the last one always fits */
    *text = arena_printf(a, "%s; Kubernetes says: %.*s%s", refusals[i].text, STR_ARG(message), refusals[i].cure);
    return refusals[i].blame;
}
