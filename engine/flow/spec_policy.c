/* Reading how a step is run: conditions and loops, retry, cache, resources. */
#include <string.h>

#include "engine/flow/spec_step.h"

/* ---- rule, after, when ---- */

void spec_rule(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"all-succeeded", "all-done", "any-failed", "one-succeeded"};
    size_t i = spec_word(s, at, v, words, SPEC_COUNT(words));
    if (i != SIZE_MAX) *(enum rule *)out = (enum rule)i;
}

void spec_after(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"success", "failure", "always"};
    size_t i = spec_word(s, at, v, words, SPEC_COUNT(words));
    if (i != SIZE_MAX) *(enum after *)out = (enum after)(i + 1);
}

void spec_when(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *node = out;
    spec_condition(s, at, v, &node->when, &node->when_source);
}

/* ---- foreach ---- */

struct range {
    int64_t from, to, step;
    bool has_to;
};

/* Numbers may be written as text. */
static bool is_number(const struct value *v, int64_t *out)
{
    if (v->type == VALUE_INT) *out = v->u.i;
    return v->type == VALUE_INT || (v->type == VALUE_STRING && str_int(v->u.s, out));
}

static void read_long(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t i;
    if (is_number(v, &i) && i > -1000000000000 && i < 1000000000000)
        *(int64_t *)out = i;
    else
        err_hint(spec_expected(s, at, v, "a whole number"), "for a count known only at run time write ${{ range(n) }}");
}

static const struct spec_field range_fields[] = {
    {"from", read_long, offsetof(struct range, from), 0, false},
    {"to", read_long, offsetof(struct range, to), 0, true},
    {"step", read_long, offsetof(struct range, step), 0, false},
};

/* {range: N} or {range: {from, to, step}}; `to` is no part of it. */
static void read_range(struct spec *s, const struct spec_at *at, const struct value *v, struct node *node)
{
    struct range r = {.step = 1};
    if (v->type == VALUE_MAP)
        spec_fields(s, at, v, range_fields, SPEC_COUNT(range_fields), 0, "a range", &r);
    else
        read_long(s, at, v, &r.to);
    if (r.step == 0) {
        spec_error(s, at, v, "the step of a range cannot be 0");
        return;
    }
    int64_t span = r.step > 0 ? r.to - r.from : r.from - r.to, step = r.step > 0 ? r.step : -r.step;
    if (span > 0 && (span + step - 1) / step > PLAN_MAX_ITEMS) {
        spec_error(s, at, v, "the range has more than %d items", PLAN_MAX_ITEMS);
        return;
    }
    struct value text = value_string(arena_printf(s->arena, "${{ range(%lld, %lld, %lld) }}", (long long)r.from,
                                                  (long long)r.to, (long long)r.step));
    text.at = v->at;
    spec_typed(s, at, &text, WHERE_FOREACH, &node->foreach);
}

struct product {
    struct value_map_builder map;
    struct expr_template *values;
};

static void one_factor(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                       size_t i)
{
    struct product *p = out;
    spec_check_name(s, at, key, NULL, "a loop variable");
    if (v->type != VALUE_LIST && v->type != VALUE_STRING)
        spec_expected(s, at, v, "a list, or an expression that gives one");
    else
        (void)spec_typed(s, at, v, WHERE_FOREACH, &p->values[i]);
    value_map_put(&p->map, key, value_string(p->values[i].source));
    if (v->type == VALUE_STRING && p->values[i].literal)
        err_hint(spec_error(s, at, v, "a loop runs over a list"), "[a, b], or an expression");
}

/* How many items the lists make; 0 when that is not known, as a list that is yet to come may be empty. */
static size_t product_size(const struct value *lists)
{
    size_t items = 1;
    for (size_t i = 0; i < lists->u.map.n; i++) {
        const struct value *list = &lists->u.map.entries[i].value;
        if (list->type != VALUE_LIST || list->u.list.n == 0) return 0;
        if (items <= PLAN_MAX_ITEMS) items *= list->u.list.n;
    }
    return items;
}

void spec_foreach(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *node = out;
    const struct value *range = value_get(v, "range");
    int64_t i;
    node->loop = true;
    if (v->type == VALUE_STRING || v->type == VALUE_LIST) {
        spec_typed(s, at, v, WHERE_FOREACH, &node->foreach);
        if (v->type == VALUE_STRING && node->foreach.literal)
            err_hint(spec_error(s, at, v, "a loop runs over a list"),
                     "[a, b], an expression, {range: 10}, or a map of lists");
        return;
    }
    if (v->type != VALUE_MAP || v->u.map.n == 0) {
        struct err *e = spec_expected(s, at, v, "a list, an expression, {range: N} or a map of lists");
        if (v->type == VALUE_INT) err_hint(e, "write {range: %lld}", (long long)v->u.i);
        return;
    }
    if (range && v->u.map.n == 1 && range->type != VALUE_LIST &&
        (range->type != VALUE_STRING || is_number(range, &i))) {
        struct spec_at here = {at, str_of("range"), SIZE_MAX, {0, 0}};
        read_range(s, &here, range, node);
        return;
    }
    struct product p = {.values = arena_array(s->arena, struct expr_template, v->u.map.n)};
    value_map_begin(&p.map, s->arena);
    spec_each(s, at, v, one_factor, &p);
    if (product_size(v) > PLAN_MAX_ITEMS) spec_error(s, at, v, "the lists make more than %d items", PLAN_MAX_ITEMS);
    struct value *map = arena_new(s->arena, struct value);
    *map = value_map_end(&p.map);
    node->product = map;
    node->product_values = p.values;
}

/* ---- retry ---- */

struct retry_for {
    uint32_t bits;
};

static void one_failure(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                        size_t i)
{
    static const char *const words[] = {"error", "oom", "timeout"};
    (void)key;
    (void)i;
    size_t word = spec_word(s, at, v, words, SPEC_COUNT(words));
    if (word != SIZE_MAX) ((struct retry_for *)out)->bits |= 1u << word;
}

static void read_for(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct retry_for f = {0};
    if (v->type == VALUE_LIST && v->u.list.n == 0)
        err_hint(spec_error(s, at, v, "no failure is worth another attempt"),
                 "for: [error, oom, timeout], or limit: 0");
    else if (v->type == VALUE_LIST)
        spec_each(s, at, v, one_failure, &f);
    else
        one_failure(s, at, STR(""), v, &f, 0);
    if (f.bits) *(uint32_t *)out = f.bits;
}

static void one_code(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                     size_t i)
{
    (void)key;
    int32_t *codes = out;
    codes[i] = 1;
    spec_int32(s, at, v, &codes[i]);
    if (codes[i] < 1 || codes[i] > 255) spec_error(s, at, v, "an exit code lies between 1 and 255");
}

static void read_exit_codes(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct retry *retry = out;
    if (v->type != VALUE_LIST || v->u.list.n == 0) {
        spec_expected(s, at, v, "a list of exit codes");
        return;
    }
    int32_t *codes = arena_array(s->arena, int32_t, v->u.list.n);
    spec_each(s, at, v, one_code, codes);
    retry->exit_codes = codes;
    retry->n_exit_codes = v->u.list.n;
}

static void read_factor(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    double d = *(double *)out;
    spec_double(s, at, v, &d);
    if (d < 1 || d > 100)
        spec_error(s, at, v, "the factor lies between 1 and 100");
    else
        *(double *)out = d;
}

static void read_jitter(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    double d = *(double *)out;
    spec_percent(s, at, v, &d);
    if (d < 0 || d > 1)
        spec_error(s, at, v, "the jitter lies between 0%% and 100%%");
    else
        *(double *)out = d;
}

static const struct spec_field backoff_fields[] = {
    {"base", spec_duration, offsetof(struct retry, base_ms), 0, false},
    {"max", spec_duration, offsetof(struct retry, max_ms), 0, false},
    {"factor", read_factor, offsetof(struct retry, factor), 0, false},
    {"jitter", read_jitter, offsetof(struct retry, jitter), 0, false},
};

static void read_backoff(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct retry *retry = out;
    if (v->type != VALUE_MAP) { /* the same pause each time */
        spec_duration(s, at, v, &retry->base_ms);
        retry->max_ms = retry->base_ms;
        retry->factor = 1;
        return;
    }
    if (!spec_fields(s, at, v, backoff_fields, SPEC_COUNT(backoff_fields), 0, "backoff", retry)) return;
    if (retry->max_ms < retry->base_ms) {
        if (value_get(v, "max"))
            spec_error(s, at, v, "the longest pause is shorter than the first");
        else
            retry->max_ms = retry->base_ms;
    }
}

static const struct spec_field memory_fields[] = {
    {"factor", read_factor, offsetof(struct retry, memory_factor), 0, false},
    {"max", spec_bytes, offsetof(struct retry, memory_most), 0, false},
};

static void read_memory(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct retry *retry = out;
    if (retry->memory_factor == 0) retry->memory_factor = 2;
    if (v->type != VALUE_MAP)
        err_hint(spec_expected(s, at, v, "a map"), "memory: {factor: 2, max: 16Gi}");
    else
        spec_fields(s, at, v, memory_fields, SPEC_COUNT(memory_fields), 0, "memory", retry);
}

static void read_limit(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t i;
    if (spec_whole(s, at, v, 0, 100, &i)) ((struct retry *)out)->limit = (uint32_t)i;
}

static const struct spec_field retry_fields[] = {
    {"limit", read_limit, 0, 0, true},           {"for", read_for, offsetof(struct retry, on), 0, false},
    {"exitCodes", read_exit_codes, 0, 0, false}, {"backoff", read_backoff, 0, 0, false},
    {"memory", read_memory, 0, 0, false},
};

void spec_retry(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct retry *retry = out;
    int64_t i;
    if (is_number(v, &i))
        read_limit(s, at, v, retry);
    else if (v->type != VALUE_MAP)
        spec_expected(s, at, v, "a number of retries, or a map");
    else
        spec_fields(s, at, v, retry_fields, SPEC_COUNT(retry_fields), 0, "retry", retry);
    const struct value *codes = value_get(v, "exitCodes");
    if (codes && !(retry->on & FAILURE_ERROR))
        err_hint(spec_error(s, at, codes, "exit codes choose among errors, and 'for' leaves errors out"),
                 "for: [error, oom], or leave 'for' away");
    const struct value *memory = value_get(v, "memory");
    if (memory && !(retry->on & FAILURE_OOM))
        err_hint(spec_error(s, at, memory, "memory grows after an oom, and 'for' leaves that out"),
                 "for: [oom, …], or leave 'for' away");
}

void spec_check_memory(struct spec *s, const struct spec_at *at, const struct value *v, const struct node *node,
                       bool process)
{
    const struct retry *retry = &node->retry;
    const struct value *own = value_get(value_get(v, "retry"), "memory");
    struct spec_at retry_at = {at, STR("retry"), SIZE_MAX, {0, 0}}, here = {&retry_at, STR("memory"), SIZE_MAX, {0, 0}};
    if (retry->memory_factor == 0) return;
    if (!process)
        spec_error(s, &here, own ? own : v, "only a process has memory that could grow");
    else if (node->resources.memory_bytes == 0)
        err_hint(spec_error(s, &here, own ? own : v, "there is no memory that could grow"), "say resources.memory");
    else if (retry->memory_most > 0 && retry->memory_most < node->resources.memory_bytes)
        spec_error(s, &here, own ? own : v, "the most is less than resources.memory, with which it begins");
}

/* ---- cache ---- */

static void read_key(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_template(s, at, v, WHERE_FIELD, out);
}

static const struct spec_field cache_fields[] = {
    {"ttl", spec_duration, offsetof(struct cache_policy, ttl_ms), 0, false},
    {"key", read_key, offsetof(struct cache_policy, key), 0, false},
};

void spec_cache(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct cache_policy *cache = out;
    if (v->type == VALUE_BOOL) {
        cache->on = v->u.b;
        return;
    }
    cache->on = true;
    if (v->type != VALUE_MAP)
        spec_expected(s, at, v, "true, false or {ttl, key}");
    else
        spec_fields(s, at, v, cache_fields, SPEC_COUNT(cache_fields), 0, "cache", cache);
}

/* ---- resources ---- */

static void read_share(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    double d = 0;
    size_t before = s->errors->total;
    spec_percent(s, at, v, &d);
    if (s->errors->total != before) return;
    if (d <= 0 || d > 1)
        spec_error(s, at, v, "a share of a GPU is above 0%%, and at most 100%%");
    else
        *(double *)out = d == 1 ? 0 : d;
}

static const struct spec_field gpu_fields[] = {
    {"count", spec_positive, offsetof(struct resources, gpu_count), 0, false},
    {"flavor", spec_name, offsetof(struct resources, gpu_flavor), 0, false},
    {"share", read_share, offsetof(struct resources, gpu_share), 0, false},
};

static void read_gpu(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct resources *r = out;
    int64_t i;
    if (is_number(v, &i)) {
        spec_count(s, at, v, &r->gpu_count);
        return;
    }
    r->gpu_count = 1;
    if (v->type != VALUE_MAP) {
        err_hint(spec_expected(s, at, v, "a number of GPUs, or a map"),
                 "2, {count: 2, flavor: h100}, or a part of one: {share: 50%%}");
        return;
    }
    if (!spec_fields(s, at, v, gpu_fields, SPEC_COUNT(gpu_fields), 0, "gpu", r)) return;
    if (r->gpu_share > 0 && r->gpu_count > 1)
        err_hint(spec_error(s, at, v, "a share is of one GPU"), "give a count or a share, not both");
}

static const struct spec_field resource_fields[] = {
    {"cpu", spec_cpu, offsetof(struct resources, cpu_milli), 0, false},
    {"memory", spec_bytes, offsetof(struct resources, memory_bytes), 0, false},
    {"storage", spec_bytes, offsetof(struct resources, ephemeral_bytes), 0, false},
    {"shm", spec_bytes, offsetof(struct resources, shm_bytes), 0, false},
    {"gpu", read_gpu, 0, 0, false},
};

static void place_of(const struct value *map, const char *key, struct pos *at)
{
    const struct value *v = value_get(map, key);
    if (v) *at = v->at;
}

/* What came from the defaults has been told there. */
static void too_much(struct spec *s, const struct spec_at *at, const struct value *map, const char *key,
                     const char *message)
{
    struct spec_at here = {at, str_of(key), SIZE_MAX, {0, 0}};
    const struct value *v = value_get(map, key);
    if (v) spec_error(s, &here, v, "%s", message);
}

void spec_resources(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct resources *r = out;
    if (!spec_fields(s, at, v, resource_fields, SPEC_COUNT(resource_fields), 0, "resources", out)) return;
    place_of(v, "cpu", &r->cpu_at);
    place_of(v, "memory", &r->memory_at);
    place_of(v, "gpu", &r->gpu_at);
    if (r->cpu_milli > 4096 * 1000) too_much(s, at, v, "cpu", "no machine has more than 4096 CPUs");
    if (r->memory_bytes > (int64_t)1 << 50) too_much(s, at, v, "memory", "no machine has more than 1Pi of memory");
    if (r->shm_bytes > 0 && r->memory_bytes > 0 && r->shm_bytes >= r->memory_bytes) {
        struct spec_at here = {at, STR("shm"), SIZE_MAX, {0, 0}};
        const struct value *shm = value_get(v, "shm");
        err_hint(spec_error(s, &here, shm ? shm : v, "/dev/shm is part of the step's memory, and would take all of it"),
                 "raise resources.memory");
    }
    if (r->gpu_count > 1024) too_much(s, at, v, "gpu", "no step has more than 1024 GPUs");
}

#define UPLOAD_MOST_MS ((int64_t)7 * 24 * 3600 * 1000)

void spec_upload(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t ms = 1000;
    spec_duration(s, at, v, &ms);
    if (ms < 1000 || ms > UPLOAD_MOST_MS)
        err_hint(spec_error(s, at, v, "outputs cannot be kept in no time, nor for ever"), "write 1s to 7d");
    else
        *(int64_t *)out = ms;
}
