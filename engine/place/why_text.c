/* Reasons in words, for people: "needs 4 × a100, 2 free in queue research". */
#include "engine/place/place_inner.h"

static void number(struct buf *out, enum place_resource resource, int64_t n)
{
    if (n == PLACE_UNLIMITED) {
        buf_c(out, "any number");
    } else if (resource == PLACE_RESOURCE_GPU || resource == PLACE_RESOURCE_CPU) {
        char text[32];
        double_text((double)n / 1000, text);
        buf_c(out, n % 1000 == 0 ? "" : text);
        if (n % 1000 == 0) buf_printf(out, "%lld", (long long)(n / 1000));
    } else if (n % (1 << 30) == 0 || n >= (int64_t)10 << 30) {
        buf_printf(out, "%.0f GiB", (double)n / (1 << 30));
    } else {
        buf_printf(out, "%.0f MiB", (double)n / (1 << 20));
    }
}

/* Each letter behind a % is one piece of the sentence. */
static const char *const sentences[PLACE_REASON_COUNT] = {
    [PLACE_NO_REASON] = "no cycle has looked at it yet",
    [PLACE_NO_SUCH_FLAVOR] = "queue %q offers none of its flavors",
    [PLACE_EXCEEDS_QUOTA] = "needs %n%u, queue %q can have at most %l, borrowed ones included",
    [PLACE_UNSCHEDULABLE] = "each pod needs %n%u%g%s; empty nodes would have room for %f of %p, the largest has %l",
    [PLACE_WAITING_FOR_QUOTA] = "needs %n%u, %a free in queue %q%b%h",
    [PLACE_WAITING_FOR_NODES] = "each pod needs %n%u%g%s, the most that a node has free is %a%h",
    [PLACE_WAITING_FOR_GANG] = "each pod needs %n%u%g%s; there is room for %f of its %p pods, which start together%h%c",
    [PLACE_WAITING_FOR_VICTIMS] = "waits for others to stop that were preempted for it",
    [PLACE_PREEMPTED] = "was preempted by %o, and will run again",
};

/* What there is no node for has other words. */
static const char *sentence(const struct place *p, const struct place_why *why)
{
    bool none = why->nodes == 0, labels = p->selectors[why->selector].labels.n > 0;
    if (none && why->reason == PLACE_UNSCHEDULABLE && why->flavor != PLACE_NONE)
        return labels ? "each pod needs %n%u%s, and there is no such node"
                      : "each pod needs %n%u, and there is no node of that flavor";
    if (none && why->reason == PLACE_UNSCHEDULABLE)
        return labels ? "each pod needs to be%s, and there is no such node"
                      : "each pod needs %n%u, and there is no node whose taints it tolerates";
    if (none && (why->reason == PLACE_WAITING_FOR_NODES || why->reason == PLACE_WAITING_FOR_GANG))
        return "each pod needs %n%u%s, and no node that has that is schedulable%h";
    return sentences[why->reason];
}

static void flavored(struct buf *out, const struct place *p, const struct place_why *why)
{
    if (why->flavor < p->n_flavors) buf_printf(out, " × %.*s", STR_ARG(p->flavors[why->flavor].name));
}

static void unit(struct buf *out, const struct place *p, const struct place_why *why)
{
    static const char *const units[] = {[PLACE_RESOURCE_CPU] = " CPUs", [PLACE_RESOURCE_MEMORY] = " of memory"};
    if (why->resource != PLACE_RESOURCE_GPU)
        buf_c(out, units[why->resource]);
    else
        flavored(out, p, why);
}

struct telling {
    const struct place *p;
    const struct place_why *why;
    place_name_fn *name;
    const void *ctx;
};

static void other(struct buf *out, const struct telling *t)
{
    if (t->name != NULL)
        t->name(t->ctx, t->why->other, out);
    else
        buf_printf(out, "workload %llu", (unsigned long long)t->why->other);
}

static void piece(struct buf *out, const struct telling *t, char what)
{
    const struct place *p = t->p;
    const struct place_why *why = t->why;
    struct str queue = why->queue < p->n_queues ? p->queues[why->queue].name : STR("?");
    switch (what) {
    case 'q': buf_str(out, queue); break;
    case 'u': unit(out, p, why); break;
    case 'n': number(out, why->resource, why->need); break;
    case 'l': number(out, why->resource, why->limit); break;
    case 'a': number(out, why->resource, why->free); break;
    case 'f': buf_printf(out, "%u", why->pods_fit); break;
    case 'p': buf_printf(out, "%u", why->pods); break;
    case 'o': other(out, t); break;
    case 'g':
        if (why->resource == PLACE_RESOURCE_GPU || why->gpu == 0) break;
        buf_c(out, " beside ");
        number(out, PLACE_RESOURCE_GPU, why->gpu);
        flavored(out, p, why);
        break;
    case 'b':
        if (why->cohort == PLACE_LENT) buf_c(out, ": others of its cohort have borrowed them");
        if (why->cohort == PLACE_BORROWS)
            buf_c(out, ": for more than the queue's own quota nothing is taken back from others");
        break;
    case 's':
        if (p->selectors[why->selector].labels.n == 0) break;
        buf_c(out, " on a node with ");
        selector_text(p, why->selector, out);
        break;
    case 'c':
        if (why->closed == 0) break;
        buf_printf(out, "; %u such node%s not schedulable", why->closed, why->closed == 1 ? " is" : "s are");
        break;
    case 'h':
        if (why->other == 0) break;
        buf_c(out, ", kept for ");
        other(out, t);
        if (why->cohort == PLACE_BEHIND) buf_c(out, ", which wants more than the queue's own quota");
        break;
    default: break;
    }
}

void place_why_text(const struct place *p, const struct place_why *why, place_name_fn *name, const void *ctx,
                    struct buf *out)
{
    const struct telling t = {p, why, name, ctx};
    if (why->reason >= PLACE_REASON_COUNT) return;
    for (const char *c = sentence(p, why); *c != '\0'; c++) {
        if (*c == '%')
            piece(out, &t, *++c);
        else
            buf_char(out, *c);
    }
    if (why->position > 0) buf_printf(out, "; position %u of %u", why->position, why->of);
}
