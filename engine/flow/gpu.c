/* See gpu.h. */
#include "engine/flow/gpu.h"

#include <math.h>

struct gpu_want gpu_wanted(const struct resources *r)
{
    struct gpu_want w = {.count = r->gpu_count, .milli = GPU_WHOLE, .flavor = r->gpu_flavor};
    if (r->gpu_share > 0 && r->gpu_share < 1) w.milli = (uint32_t)lround(r->gpu_share * GPU_WHOLE);
    if (w.milli == 0) w.milli = 1; /* however small, it is not nothing */
    if (w.milli < GPU_WHOLE && w.count > 1) w.count = 1;
    return w;
}

/* ---- names ---- */

static const char mig[] = "-MIG-";

struct str gpu_product(struct arena *a, struct str name, struct str profile)
{
    struct str product =
        profile.n > 0 ? arena_printf(a, "%.*s%s%.*s", STR_ARG(name), mig, STR_ARG(profile)) : arena_str(a, name);
    char *text = arena_cstr(a, product);
    for (size_t i = 0; i < product.n; i++)
        if (text[i] == ' ') text[i] = '-';
    return (struct str){text, product.n};
}

struct str gpu_profile(struct str product, struct str *name)
{
    size_t at = product.n;
    (void)str_find(product, STR("-MIG-"), &at);
    *name = str_sub(product, 0, at);
    return at < product.n ? str_sub(product, at + sizeof mig - 1, product.n) : STR("");
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_word(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The next word; *at moves behind it. */
static bool next_word(struct str s, size_t *at, struct str *word)
{
    while (*at < s.n && !is_word(s.p[*at]))
        ++*at;
    size_t from = *at;
    while (*at < s.n && is_word(s.p[*at]))
        ++*at;
    *word = str_sub(s, from, *at - from);
    return word->n > 0;
}

static bool same_word(struct str a, struct str b)
{
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i])) return false;
    return true;
}

bool gpu_is_of(const struct gpu *g, struct str flavor)
{
    size_t wanted_at = 0, at = 0, profile = g->product.n;
    struct str wanted, word;
    if (g->part && str_find(g->product, STR("-MIG-"), &profile)) profile += sizeof mig - 1;
    bool named = !g->part;
    while (next_word(flavor, &wanted_at, &wanted)) {
        do
            if (!next_word(g->product, &at, &word)) return false;
        while (!same_word(word, wanted));
        named |= (size_t)(word.p - g->product.p) >= profile;
    }
    return named;
}

static bool is_among(const struct gpu *g, struct str products)
{
    struct str product;
    while (products.n > 0 && str_split(&products, '\n', &product))
        if (str_eq(product, g->product)) return true;
    return false;
}

uint32_t gpu_serving(const struct gpu *gpus, size_t n, const struct gpu_want *w, bool *serves)
{
    uint32_t count = 0;
    bool whole = false;
    for (size_t i = 0; i < n; i++)
        whole |= !gpus[i].part;
    for (size_t i = 0; i < n; i++) {
        bool does = w->products.n > 0 ? is_among(&gpus[i], w->products)
                    : w->flavor.n > 0 ? gpu_is_of(&gpus[i], w->flavor)
                                      : !gpus[i].part || !whole;
        if (serves != NULL) serves[i] = does;
        count += does;
    }
    return count;
}

/* ---- words ---- */

void gpu_share_text(uint32_t milli, struct buf *out)
{
    buf_printf(out, "%u", milli / 10);
    if (milli % 10 != 0) buf_printf(out, ".%u", milli % 10);
    buf_char(out, '%');
}

void gpu_want_text(const struct gpu_want *w, struct buf *out)
{
    struct str flavor = w->flavor;
    if (w->milli < GPU_WHOLE) {
        gpu_share_text(w->milli, out);
        buf_c(out, " of one ");
        buf_str(out, flavor.n > 0 ? flavor : STR("GPU"));
    } else if (flavor.n > 0) {
        buf_printf(out, "%u × %.*s", w->count, STR_ARG(flavor));
    } else {
        buf_printf(out, "%u GPU%s", w->count, w->count == 1 ? "" : "s");
    }
}
