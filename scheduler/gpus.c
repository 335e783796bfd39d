/* See gpus.h. */
#include "scheduler/gpus.h"

#include <stdlib.h>
#include <string.h>

#define SHARE_MARK '@'

struct device {
    struct gpu gpu;
    uint32_t used;  /* thousandths; found ones may be more than there is */
    struct str why; /* in `text`; empty = in order */
    char text[96];
};

struct hold {
    struct attempt_id id;
    bool owned;      /* by the executor */
    bool expected;   /* of which devices is not known */
    uint32_t milli;  /* of each */
    uint32_t *which; /* devices */
    uint32_t n_which;
};

struct gpus {
    struct device *devices;
    struct gpu *list; /* the same, as engine/flow asks about them */
    size_t n;
    bool *serves; /* of the question that is being answered */
    uint32_t *chosen;
    bool ready;
    struct hold *holds;
    size_t n_holds, room;
    size_t n_expected;
    uint64_t version;
    struct arena arena;
};

static void *checked(void *p)
{
    if (p == NULL) abort();
    return p;
}

struct gpus *gpus_new(const struct gpu *devices, size_t n)
{
    struct gpus *g = checked(calloc(1, sizeof *g));
    arena_init(&g->arena, 0);
    g->n = n;
    g->devices = arena_array(&g->arena, struct device, n + 1);
    g->list = arena_array(&g->arena, struct gpu, n + 1);
    g->serves = arena_array(&g->arena, bool, n + 1);
    g->chosen = arena_array(&g->arena, uint32_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        g->list[i] = devices[i];
        g->list[i].uuid = arena_str(&g->arena, devices[i].uuid);
        g->list[i].product = arena_str(&g->arena, devices[i].product);
        g->devices[i].gpu = g->list[i];
    }
    return g;
}

void gpus_free(struct gpus *g)
{
    if (g == NULL) return;
    for (size_t i = 0; i < g->n_holds; i++)
        free(g->holds[i].which);
    free(g->holds);
    arena_free(&g->arena);
    free(g);
}

void gpus_ready(struct gpus *g)
{
    g->ready = true;
    g->version++;
}

size_t gpus_count(const struct gpus *g)
{
    return g->n;
}

const struct gpu *gpus_device(const struct gpus *g, size_t i)
{
    return &g->list[i];
}

bool gpus_fault(struct gpus *g, size_t i, struct str why)
{
    struct device *d = &g->devices[i];
    why = str_sub(why, 0, sizeof d->text);
    if (str_eq(why, d->why)) return false;
    memcpy(d->text, why.p, why.n);
    d->why = (struct str){d->text, why.n};
    g->version++;
    return true;
}

/* ---- holds ---- */

static struct hold *find(const struct gpus *g, struct attempt_id id)
{
    for (size_t i = 0; i < g->n_holds; i++) {
        const struct attempt_id *other = &g->holds[i].id;
        if (other->run == id.run && other->task == id.task && other->attempt == id.attempt &&
            other->made_us == id.made_us)
            return &g->holds[i];
    }
    return NULL;
}

static struct hold *add(struct gpus *g, struct attempt_id id, uint32_t milli)
{
    if (g->n_holds == g->room) {
        g->room = g->room > 0 ? g->room * 2 : 16;
        g->holds = checked(realloc(g->holds, g->room * sizeof *g->holds));
    }
    struct hold *h = &g->holds[g->n_holds++];
    *h = (struct hold){.id = id, .milli = milli, .which = checked(calloc(g->n + 1, sizeof(uint32_t)))};
    return h;
}

static void add_device(struct gpus *g, struct hold *h, size_t i)
{
    h->which[h->n_which++] = (uint32_t)i;
    g->devices[i].used += h->milli;
    g->version++;
}

static void drop(struct gpus *g, struct hold *h)
{
    for (uint32_t i = 0; i < h->n_which; i++)
        g->devices[h->which[i]].used -= h->milli;
    g->n_expected -= h->expected;
    g->version++;
    free(h->which);
    *h = g->holds[--g->n_holds];
}

/* ---- what is free ---- */

static bool has_room(const struct gpus *g, size_t i, uint32_t milli)
{
    const struct device *d = &g->devices[i];
    return g->serves[i] && d->why.n == 0 && d->used + milli <= GPU_WHOLE;
}

/* Whole ones by their order. A share goes where the least is left, so that whole ones stay whole. What it would get is
 * in g->chosen; returns how many. */
static uint32_t choose(const struct gpus *g, const struct gpu_want *w)
{
    uint32_t n = 0;
    gpu_serving(g->list, g->n, w, g->serves);
    for (size_t i = 0; i < g->n && n < w->count; i++)
        if (w->milli == GPU_WHOLE && has_room(g, i, w->milli)) g->chosen[n++] = (uint32_t)i;
    for (size_t i = 0; i < g->n && w->milli < GPU_WHOLE; i++) {
        if (!has_room(g, i, w->milli) || (n > 0 && g->devices[i].used <= g->devices[g->chosen[0]].used)) continue;
        g->chosen[0] = (uint32_t)i;
        n = 1;
    }
    return n;
}

bool gpus_settled(const struct gpus *g)
{
    return g->ready && g->n_expected == 0;
}

/* ---- for who counts them, too ---- */

void gpus_each(const struct gpus *g, void (*one)(void *ctx, const struct gpus_held *h), void *ctx)
{
    for (size_t i = 0; i < g->n_holds; i++)
        one(ctx, &(struct gpus_held){g->holds[i].id, g->holds[i].which, g->holds[i].n_which, g->holds[i].milli});
}

uint64_t gpus_version(const struct gpus *g)
{
    return g->version;
}

bool gpus_broken(const struct gpus *g, size_t i)
{
    return g->devices[i].why.n > 0;
}

/* ---- what fits ---- */

bool gpus_fit(const struct gpus *g, const struct gpu_want *w)
{
    return w->count == 0 || (gpus_settled(g) && choose(g, w) == w->count);
}

/* ---- the scheduler's ---- */

static bool take(struct gpus *g, struct hold *h, const struct gpu_want *w)
{
    if (choose(g, w) != w->count) return false;
    for (uint32_t i = 0; i < w->count; i++)
        add_device(g, h, g->chosen[i]);
    return true;
}

void gpus_take(struct gpus *g, struct attempt_id id, const struct gpu_want *w)
{
    if (w->count == 0 || find(g, id) != NULL) return;
    struct hold *h = add(g, id, w->milli);
    if (!take(g, h, w)) abort(); /* who takes has asked */
}

void gpus_expect(struct gpus *g, struct attempt_id id, const struct gpu_want *w)
{
    if (w->count == 0 || find(g, id) != NULL) return;
    add(g, id, w->milli)->expected = true;
    g->n_expected++;
    g->version++;
}

void gpus_release(struct gpus *g, struct attempt_id id)
{
    struct hold *h = find(g, id);
    if (h != NULL && !h->owned) drop(g, h);
}

void gpus_release_all(struct gpus *g)
{
    for (size_t i = g->n_holds; i-- > 0;)
        if (!g->holds[i].owned) drop(g, &g->holds[i]);
}

/* ---- why not ---- */

struct count {
    uint32_t serving, broken, free; /* of the flavor; of these; of these in order and unused */
    uint32_t most;                  /* thousandths that are free of one of them */
    const struct device *example;   /* a broken one */
};

static struct count look(const struct gpus *g, const struct gpu_want *w)
{
    struct count c = {.serving = gpu_serving(g->list, g->n, w, g->serves)};
    for (size_t i = 0; i < g->n; i++) {
        const struct device *d = &g->devices[i];
        if (!g->serves[i]) continue;
        if (d->why.n > 0) {
            c.broken++;
            c.example = d;
            continue;
        }
        uint32_t left = d->used < GPU_WHOLE ? GPU_WHOLE - d->used : 0;
        c.free += d->used == 0;
        if (left > c.most) c.most = left;
    }
    return c;
}

static void say_broken(const struct count *c, struct buf *out)
{
    if (c->broken == 0) return;
    const struct gpu *g = &c->example->gpu;
    buf_printf(out, "; %u of them %s not in order: GPU %u %.*s", c->broken, c->broken == 1 ? "is" : "are", g->index,
               STR_ARG(c->example->why));
}

void gpus_reason(const struct gpus *g, const struct gpu_want *w, struct buf *out)
{
    struct count c = look(g, w);
    buf_c(out, "needs ");
    gpu_want_text(w, out);
    if (c.serving - c.broken < w->count) {
        buf_printf(out, ", this machine has %u", c.serving);
    } else if (!gpus_settled(g)) {
        buf_c(out, ", and waits to hear which ones running steps have");
        return;
    } else if (w->milli == GPU_WHOLE) {
        buf_printf(out, ", %u of %u %s free", c.free, c.serving, c.free == 1 ? "is" : "are");
    } else {
        buf_c(out, ", at most ");
        gpu_share_text(c.most, out);
        buf_c(out, " of one is free");
    }
    say_broken(&c, out);
}

/* ---- the executor's ---- */

/* One that runs, and nobody knows with what. */
static bool any_blind(const struct gpus *g)
{
    for (size_t i = 0; g->n_expected > 0 && i < g->n_holds; i++)
        if (g->holds[i].owned && g->holds[i].expected) return true;
    return false;
}

bool gpus_own(struct gpus *g, struct attempt_id id, const struct gpu_want *w, struct err *err)
{
    if (w->count == 0) return true;
    struct hold *h = find(g, id);
    if (h == NULL) h = add(g, id, w->milli);
    if (h->n_which == 0 && (!g->ready || any_blind(g) || !take(g, h, w))) {
        drop(g, h);
        return err_set(err, ERR_UNAVAILABLE, "others have the GPUs by now that it had before the server was restarted");
    }
    g->n_expected -= h->expected;
    g->version++;
    h->expected = false;
    h->owned = true;
    return true;
}

static bool device_of(const struct gpus *g, struct str uuid, size_t *out)
{
    for (size_t i = 0; i < g->n; i++) {
        if (!str_eq(g->list[i].uuid, uuid)) continue;
        *out = i;
        return true;
    }
    return false;
}

/* "UUID@500": uuid and thousandths. */
static struct str split_share(struct str piece, uint32_t *milli)
{
    const char *mark = piece.n > 0 ? memchr(piece.p, SHARE_MARK, piece.n) : NULL;
    size_t at = mark != NULL ? (size_t)(mark - piece.p) : piece.n;
    int64_t share;
    *milli = GPU_WHOLE;
    if (mark != NULL && str_int(str_sub(piece, at + 1, piece.n), &share) && share > 0 && share < GPU_WHOLE)
        *milli = (uint32_t)share;
    return str_sub(piece, 0, at);
}

void gpus_found(struct gpus *g, struct attempt_id id, struct str note)
{
    struct hold *h = find(g, id);
    struct str piece;
    uint32_t milli;
    size_t i;
    if (h != NULL &&
        (h->n_which > 0 || note.n == 0)) { /* it is known; or it is not, and stays expected until its end */
        h->owned = true;
        return;
    }
    if (h != NULL) drop(g, h);
    h = NULL;
    while (note.n > 0 && str_split(&note, ',', &piece)) {
        struct str uuid = split_share(piece, &milli);
        if (!device_of(g, uuid, &i)) continue;
        if (h == NULL) h = add(g, id, milli);
        h->owned = true;
        if (h->n_which < g->n) add_device(g, h, i);
    }
}

void gpus_give(struct gpus *g, struct attempt_id id)
{
    struct hold *h = find(g, id);
    if (h != NULL) drop(g, h);
}

/* ---- notes ---- */

void gpus_note(const struct gpus *g, struct attempt_id id, struct buf *out)
{
    const struct hold *h = find(g, id);
    for (uint32_t i = 0; h != NULL && i < h->n_which; i++) {
        buf_printf(out, "%s%.*s", i > 0 ? "," : "", STR_ARG(g->list[h->which[i]].uuid));
        if (h->milli < GPU_WHOLE) buf_printf(out, "%c%u", SHARE_MARK, h->milli);
    }
}

struct str gpus_visible(struct arena *a, struct str note)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    struct str piece;
    uint32_t milli;
    while (note.n > 0 && str_split(&note, ',', &piece))
        buf_printf(&out, "%s%.*s", out.n > 0 ? "," : "", STR_ARG(split_share(piece, &milli)));
    return arena_str(a, buf_view(&out));
}

bool gpus_verify(const struct gpus *g, struct err *err)
{
    size_t expected = 0;
    for (size_t i = 0; i < g->n; i++) {
        uint32_t used = 0, holders = 0, whole = 0;
        for (size_t k = 0; k < g->n_holds; k++)
            for (uint32_t j = 0; j < g->holds[k].n_which; j++) {
                if (g->holds[k].which[j] != i) continue;
                used += g->holds[k].milli;
                holders++;
                whole += g->holds[k].milli == GPU_WHOLE;
            }
        if (used != g->devices[i].used)
            return err_set(err, ERR_INTERNAL, "device %zu: %u is booked, %u held", i, g->devices[i].used, used);
        if (used > GPU_WHOLE || (whole > 0 && holders > 1))
            return err_set(err, ERR_INTERNAL, "device %zu has %u holders of %u", i, holders, used);
    }
    for (size_t k = 0; k < g->n_holds; k++)
        expected += g->holds[k].expected;
    return expected == g->n_expected ||
           err_set(err, ERR_INTERNAL, "%zu are expected, not %zu", expected, g->n_expected);
}
