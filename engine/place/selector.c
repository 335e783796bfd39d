/* Node selectors: on which nodes a workload may be, by their labels and taints. Each that somebody has gets a bit, and
 * each node says by its bits whose node it is, so that a search compares no texts. Bit 0 is for who wishes nothing. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

static bool has(const struct place_pair *labels, size_t n, const struct place_pair *one)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(labels[i].key, one->key) && str_eq(labels[i].value, one->value)) return true;
    return false;
}

bool pairs_within(const struct place_pair *few, size_t n_few, const struct place_pair *labels, size_t n_labels)
{
    for (size_t i = 0; i < n_few; i++)
        if (!has(labels, n_labels, &few[i])) return false;
    return true;
}

bool pairs_same(const struct pairs *own, const struct place_pair *v, size_t n)
{
    return pairs_within(v, n, own->v, own->n) && pairs_within(own->v, own->n, v, n); /* one may stand there twice */
}

static bool tolerated(const struct place_pair *tolerates, size_t n, const struct place_pair *taint)
{
    for (size_t i = 0; i < n; i++) {
        const struct place_pair *t = &tolerates[i];
        bool of_key = t->key.n == 0 || str_eq(t->key, taint->key);
        if (of_key && (t->value.n == 0 || str_eq(str_sub(t->value, 1, t->value.n), taint->value))) return true;
    }
    return false;
}

bool pairs_tolerate(const struct place_pair *tolerates, size_t n, const struct place_pair *taints, size_t n_taints)
{
    for (size_t i = 0; i < n_taints; i++)
        if (!tolerated(tolerates, n, &taints[i])) return false;
    return true;
}

struct pairs pairs_copy(const struct place_pair *from, size_t n)
{
    size_t bytes = n * sizeof *from;
    for (size_t i = 0; i < n; i++)
        bytes += from[i].key.n + from[i].value.n;
    struct pairs out = {n > 0 ? malloc(bytes) : NULL, (uint32_t)n};
    if (n > 0 && out.v == NULL) abort();
    char *at = (char *)(out.v + n);
    for (size_t i = 0; i < 2 * n; i++) {
        struct str *to = i % 2 == 0 ? &out.v[i / 2].key : &out.v[i / 2].value;
        *to = i % 2 == 0 ? from[i / 2].key : from[i / 2].value;
        if (to->n > 0) memcpy(at, to->p, to->n);
        to->p = at;
        at += to->n;
    }
    return out;
}

static void set_bit(uint64_t *words, uint32_t number, bool on)
{
    uint64_t bit = (uint64_t)1 << number % 64;
    words[number / 64] = (words[number / 64] & ~bit) | (on ? bit : 0);
}

static void mark(const struct selector *s, uint32_t number, struct node *n)
{
    set_bit(n->selected, number, n->any_labels || pairs_within(s->labels.v, s->labels.n, n->labels.v, n->labels.n));
    set_bit(n->tolerated, number, pairs_tolerate(s->tolerates.v, s->tolerates.n, n->taints.v, n->taints.n));
}

void selectors_node(const struct place *p, struct node *n)
{
    for (uint32_t i = 0; i < SELECTORS; i++)
        if (i == 0 || p->selectors[i].users > 0) mark(&p->selectors[i], i, n);
}

uint32_t selector_take(struct place *p, const struct place_ask *ask)
{
    size_t n_tolerates = ask->n_flavors > 0 ? 0 : ask->n_tolerates; /* a flavor's count instead */
    uint32_t free_one = 0;
    if (ask->n_selector + n_tolerates == 0) return 0;
    for (uint32_t i = SELECTORS - 1; i > 0; i--) {
        struct selector *s = &p->selectors[i];
        if (s->users == 0) {
            free_one = i;
        } else if (pairs_same(&s->labels, ask->selector, ask->n_selector) &&
                   pairs_same(&s->tolerates, ask->tolerates, n_tolerates)) {
            s->users++;
            return i;
        }
    }
    if (free_one == 0) return 0;
    p->selectors[free_one] =
        (struct selector){pairs_copy(ask->selector, ask->n_selector), pairs_copy(ask->tolerates, n_tolerates), 1};
    for (uint32_t i = 0; i < p->n_nodes; i++)
        mark(&p->selectors[free_one], free_one, &p->nodes[i]);
    return free_one;
}

void selector_leave(struct place *p, uint32_t number)
{
    struct selector *s = &p->selectors[number];
    if (number == 0 || --s->users > 0) return;
    free(s->labels.v);
    free(s->tolerates.v);
    *s = (struct selector){0};
}

void selector_text(const struct place *p, uint32_t number, struct buf *out)
{
    const struct pairs *labels = &p->selectors[number].labels;
    for (uint32_t i = 0; i < labels->n; i++)
        buf_printf(out, "%s%.*s=%.*s", i > 0 ? ", " : "", STR_ARG(labels->v[i].key), STR_ARG(labels->v[i].value));
}
