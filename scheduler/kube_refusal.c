/* Whose fault a refusal is. See kube_refusal.h. */
#include "scheduler/kube_refusal.h"

#define OF_THE_POD " (spec.template.spec is what the step's 'pod' and other keys for a cluster make)"
#define OF_THE_FLAVOR " (see the flavor's devices)"

/* What the server would not take, whose fault that is, and what can be done; the first row that fits. */
struct row {
    long status;       /* 0 = any */
    const char *words; /* of the message; NULL = any */
    enum kube_blame blame;
    const char *text, *cure;
};

static const struct row of_jobs[] = {
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

static const struct row of_templates[] = {
    {403, "exceeded quota", KUBE_BLAME_CLUSTER, "waits for quota", ""},
    {401, NULL, KUBE_BLAME_CLUSTER, "waits for a credential that the API server takes",
     "; see the server's --kubeconfig"},
    {400, NULL, KUBE_BLAME_STEP, "its claim for devices was refused", OF_THE_FLAVOR},
    {422, NULL, KUBE_BLAME_STEP, "its claim for devices was refused", OF_THE_FLAVOR},
    {403, NULL, KUBE_BLAME_ATTEMPT, "its claim for devices could not be made",
     "; let the server's account create, list and delete ResourceClaimTemplates there, as deploy/components/gpu-queue "
     "does"},
    {404, NULL, KUBE_BLAME_ATTEMPT, "its claim for devices could not be made",
     "; Kubernetes has resource.k8s.io/v1 from 1.34 on"},
    {0, NULL, KUBE_BLAME_ATTEMPT, "its claim for devices could not be made", ""},
};

/* Without them its pods would not do, though they may be there: it waits as its Job would. */
#define OF_A_BELONGING(refused, missing, right)                                                                        \
    {403, "exceeded quota", KUBE_BLAME_CLUSTER, "waits for quota", ""},                                                \
        {401, NULL, KUBE_BLAME_CLUSTER, "waits for a credential that the API server takes",                            \
         "; see the server's --kubeconfig"},                                                                           \
        {0, " denied request", KUBE_BLAME_STEP, refused, ""}, {0, "admission webhook", KUBE_BLAME_STEP, refused, ""},  \
        {400, NULL, KUBE_BLAME_STEP, refused, ""}, {413, NULL, KUBE_BLAME_STEP, refused, ""},                          \
        {422, NULL, KUBE_BLAME_STEP, refused, ""}, {403, NULL, KUBE_BLAME_CLUSTER, missing, right},                    \
    {                                                                                                                  \
        0, NULL, KUBE_BLAME_CLUSTER, missing, ""                                                                       \
    }

#define SERVICE "the Service by which its workers find each other "
static const struct row of_services[] = {
    OF_A_BELONGING(SERVICE "was refused", SERVICE "cannot be created",
                   "; let the server's account create Services there, as deploy/components/distributed does")};

#define SECRET "the Secret with what the server gives to it "
static const struct row of_secrets[] = {OF_A_BELONGING(SECRET "was refused", SECRET "cannot be created",
                                                       "; let the server's account create Secrets there, as "
                                                       "deploy/components/secrets does")};

static const struct row *const tables[] = {[KUBE_REFUSED_JOB] = of_jobs,
                                           [KUBE_REFUSED_TEMPLATE] = of_templates,
                                           [KUBE_REFUSED_SERVICE] = of_services,
                                           [KUBE_REFUSED_SECRET] = of_secrets};

enum kube_blame kube_refusal(enum kube_refused what, long status, struct str message, struct arena *a, struct str *text)
{
    size_t at;
    const struct row *row = tables[what];
    while ((row->status != 0 && row->status != status) ||
           (row->words != NULL && !str_find(message, str_of(row->words), &at)))
        row++; /* the last one always fits */
    *text = arena_printf(a, "%s; Kubernetes says: %.*s%s", row->text, STR_ARG(message), row->cure);
    return row->blame;
}
