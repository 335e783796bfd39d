/* Why those wait who were not admitted, each told when it changes. */
#include "engine/base/jsonw.h"
#include "scheduler/placer_inner.h"

/* Owners wait for the rows that a turn writes. What is free changes all the time: it is told to the first of a queue.
 */
#define WHYS_AT_ONCE 500
#define NUMBERS_AT_ONCE 200
#define NUMBERS_FOR 50

static uint64_t mixed(uint64_t h, uint64_t v)
{
    h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    return h * 0xff51afd7ed558ccdu;
}

static uint64_t hash_of(const struct place_why *y)
{
    uint64_t h = mixed(1, y->reason);
    h = mixed(mixed(mixed(mixed(h, y->resource), y->flavor), (uint64_t)y->need), (y->nodes == 0) + 2U * y->cohort);
    return mixed(mixed(h, (uint64_t)y->limit), y->reason == PLACE_PREEMPTED ? y->other : 0) | 1;
}

static uint64_t hash_of_numbers(const struct place_why *y)
{
    return mixed(mixed(mixed(mixed(hash_of(y), (uint64_t)y->free), y->pods_fit), y->closed), y->other) | 1;
}

/* Cores and GPUs, whole where they are; memory in bytes. */
static void why_number(struct jsonw *j, const struct place_why *y, const char *key, int64_t v)
{
    bool bytes = y->resource == PLACE_RESOURCE_MEMORY;
    if (bytes || v % 1000 == 0)
        jsonw_kv_int(j, key, bytes ? v : v / 1000);
    else
        jsonw_kv_double(j, key, (double)v / 1000);
}

static struct str why_json(struct placer *p, const struct place_why *y)
{
    static const char *const resources[] = {"cpu", "memory", "gpu"};
    BUF_AUTO out;
    struct jsonw j;
    const struct placer_work *other = placer_work_by_id(p, (int64_t)y->other);
    buf_init(&out, 0);
    jsonw_to_buf(&j, &out);
    jsonw_object(&j);
    jsonw_kv_cstr(&j, "resource", resources[y->resource]);
    if (y->flavor != PLACE_NONE) jsonw_kv_str(&j, "flavor", p->setup.flavors[y->flavor].name);
    why_number(&j, y, "need", y->need);
    why_number(&j, y, "free", y->free);
    if (y->limit > 0 && y->limit != PLACE_UNLIMITED) why_number(&j, y, "limit", y->limit);
    if (y->pods > 1) {
        jsonw_kv_int(&j, "pods", y->pods);
        jsonw_kv_int(&j, "podsFit", y->pods_fit);
    }
    if (other != NULL) jsonw_kv_cstr(&j, "other", other->name);
    if (y->preempted_times > 0) jsonw_kv_int(&j, "preempted", y->preempted_times);
    jsonw_object_end(&j);
    (void)jsonw_end(&j);
    return arena_str(&p->turn, buf_view(&out));
}

static void tell(struct placer *p, struct placer_work *w, uint64_t hash, struct str reason, struct str why,
                 struct str text)
{
    if (hash == w->told && hash == w->told_numbers) return;
    w->told = w->told_numbers = hash;
    placer_why(p, (struct placing_why){w->id, w->attempt, reason, why, text, false});
}

/* While devices cannot be watched, that none is there would be no reason; other flavors go on meanwhile. */
static bool tell_unseen(struct placer *p, struct placer_work *w, const struct place_why *y)
{
    struct str trouble = p->cfg.source.trouble(p->cfg.source.self);
    if (trouble.n == 0 || y->flavor == PLACE_NONE || p->setup.flavors[y->flavor].device_class.n == 0) return false;
    struct str text = arena_printf(&p->turn, "waits for devices to be known: %.*s", STR_ARG(trouble));
    tell(p, w, str_hash(text) | 1, STR("NodesUnknown"), STR("{}"), text);
    return true;
}

static uint32_t broken_of(const struct placer *p, const struct place_why *y)
{
    const struct placer_source *source = &p->cfg.source;
    bool nodes = y->reason == PLACE_WAITING_FOR_NODES || y->reason == PLACE_WAITING_FOR_GANG;
    bool gpus = nodes && source->broken != NULL && y->gpu > 0 && y->flavor != PLACE_NONE;
    return gpus ? source->broken(source->self, &p->setup, y->flavor) : 0;
}

static void name_work(const void *ctx, uint64_t id, struct buf *out)
{
    const struct placer_work *w = placer_work_by_id(ctx, (int64_t)id);
    buf_c(out, w != NULL ? w->name : "a step that is over");
}

static void tell_reason(struct placer *p, struct placer_work *w, bool numbers)
{
    struct place_why y;
    if (!place_reason(p->setup.place, (uint64_t)w->id, &y)) return;
    if (tell_unseen(p, w, &y)) return;
    uint32_t broken = broken_of(p, &y);
    uint64_t hash = hash_of(&y), all = mixed(hash_of_numbers(&y), broken) | 1;
    if (hash == w->told && (!numbers || all == w->told_numbers)) return;
    BUF_AUTO text;
    buf_init(&text, 0);
    place_why_text(p->setup.place, &y, name_work, p, &text);
    if (broken > 0)
        buf_printf(&text, "; %u GPU%s of that flavor %s not in order", broken, broken == 1 ? "" : "s",
                   broken == 1 ? "is" : "are");
    w->told = 0;
    tell(p, w, hash, str_of(place_reason_name(y.reason)), why_json(p, &y), arena_str(&p->turn, buf_view(&text)));
    w->told_numbers = all;
}

/* Queue by queue, so that each has its turn. */
static void tell_numbers(struct placer *p)
{
    size_t most = p->answers.n_whys + NUMBERS_AT_ONCE;
    for (uint32_t i = 0; i < p->setup.n_queues && p->answers.n_whys < most; i++) {
        const uint64_t *ids;
        p->numbers_at = (p->numbers_at + 1) % p->setup.n_queues;
        size_t n = place_first(p->setup.place, p->setup.numbers[p->numbers_at], NUMBERS_FOR, &p->turn, &ids);
        for (size_t k = 0; k < n; k++) {
            struct placer_work *w = placer_work_by_id(p, (int64_t)ids[k]);
            if (w != NULL && w->phase == PLACER_WAITS) tell_reason(p, w, true);
        }
    }
}

static void tell_held(struct placer *p, struct placer_work *w)
{
    uint64_t hash = str_hash(str_of(w->held)) | 1;
    if (hash == w->told) return;
    bool queue = queue_setup_find(&p->setup, str_of(w->queue)) != SIZE_MAX;
    tell(p, w, hash, queue ? STR("NoSuchFlavor") : STR("NoSuchQueue"), STR("{}"), str_of(w->held));
}

void placer_whys(struct placer *p)
{
    struct str trouble = p->cfg.source.trouble(p->cfg.source.self);
    bool blind = p->source_seen == 0 && p->cfg.source.generation(p->cfg.source.self) == 0;
    struct str unseen = trouble.n > 0 ? arena_printf(&p->turn, "waits for nodes to be known: %.*s", STR_ARG(trouble))
                                      : STR("waits for nodes to be known");
    if (!blind) tell_numbers(p);
    for (struct placer_work *w = p->works; w != NULL && p->answers.n_whys < WHYS_AT_ONCE; w = w->next) {
        if (w->phase == PLACER_HELD)
            tell_held(p, w);
        else if (w->phase == PLACER_WAITS && blind)
            tell(p, w, str_hash(unseen) | 1, STR("NodesUnknown"), STR("{}"), unseen);
        else if (w->phase == PLACER_WAITS)
            tell_reason(p, w, false);
    }
}
