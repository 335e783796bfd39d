/* Names of a plan's words, and finding a node. */
#include "engine/flow/plan.h"

const char *const plan_roles[PLAN_ROLES] = {"viewer", "operator", "editor", "admin"};

const char *verb_name(enum verb v)
{
    static const char *const names[] = {
        [VERB_RUN] = "run",       [VERB_SCRIPT] = "script", [VERB_IMAGE] = "image", [VERB_PIPELINE] = "pipeline",
        [VERB_EXPR] = "expr",     [VERB_HTTP] = "http",     [VERB_WAIT] = "wait",   [VERB_APPROVAL] = "approval",
        [VERB_IMPORT] = "import", [VERB_NOOP] = "noop",
    };
    return (unsigned)v < sizeof names / sizeof *names ? names[v] : "unknown";
}

const char *rule_name(enum rule r)
{
    static const char *const names[] = {"all-succeeded", "all-done", "any-failed", "one-succeeded"};
    return (unsigned)r < sizeof names / sizeof *names ? names[r] : "unknown";
}

struct str plan_variable(struct arena *a, struct str name)
{
    char *p = arena_cstr(a, name);
    for (size_t i = 0; i < name.n; i++) {
        if (p[i] >= 'a' && p[i] <= 'z')
            p[i] = (char)(p[i] - 'a' + 'A');
        else if (!(p[i] >= 'A' && p[i] <= 'Z') && !(p[i] >= '0' && p[i] <= '9'))
            p[i] = '_';
    }
    return (struct str){p, name.n};
}

uint32_t graph_find(const struct graph *g, struct str name)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (str_eq(g->nodes[i].name, name)) return i;
    }
    return UINT32_MAX;
}
