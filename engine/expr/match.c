/* text.matches(pattern): PCRE2, searching anywhere in the text.
 *
 * Patterns and texts come from users, so that a match must not run for long. PCRE2's own match limit starts anew at
 * every position of the text; the callouts it makes before every item of the pattern do not, so they charge the
 * expression's budget. What an item can do without getting anywhere, they charge beforehand: to compare a text that was
 * found before, or to look for a number of characters of which the last is missing.
 *
 * Patterns are compiled once in an evaluation, and that is charged, too. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/expr/eval.h"
#include "engine/expr/functions.h"

#define MAX_PATTERN 1000
#define STEPS_PER_CHARGE 8 /* a callout is that much cheaper than a step of evaluation */
#define KEPT 8             /* patterns of one evaluation */

struct pattern {
    struct str text;
    pcre2_code *re;
    uint64_t in_vain; /* characters that an item may try without getting on */
    bool looks_back;  /* \1: it may be the whole text, as well */
};

struct patterns {
    struct pattern kept[KEPT];
    size_t next;
};

static pcre2_code *compile(struct str pattern, struct err *err)
{
    int code;
    PCRE2_SIZE at;
    if (pattern.n > MAX_PATTERN) {
        err_set(err, ERR_LIMIT, "the pattern is longer than %d bytes", MAX_PATTERN);
        return NULL;
    }
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
                                   PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT, &code, &at, NULL);
    if (re) return re;
    PCRE2_UCHAR text[160];
    pcre2_get_error_message(code, text, sizeof text);
    err_set(err, ERR_INVALID, "not a regular expression: %s, at character %zu of the pattern", (const char *)text,
            utf8_count(str_sub(pattern, 0, at)) + 1);
    err_hint(err, "in '…' a backslash is written twice; r'…' takes it as it is");
    return NULL;
}

/* ---- compiled once ---- */

/* The largest number of repetitions that the pattern insists on. */
static uint64_t most_wanted(struct str pattern)
{
    uint64_t most = 0;
    for (size_t i = 0; i < pattern.n; i++) {
        uint64_t n = 0;
        if (pattern.p[i] != '{') continue;
        for (size_t k = i + 1; k < pattern.n && k < i + 7 && pattern.p[k] >= '0' && pattern.p[k] <= '9'; k++)
            n = n * 10 + (uint64_t)(pattern.p[k] - '0');
        if (n > most) most = n;
    }
    return most;
}

/* What compiling took grows with what came of it, and for repeated groups with its square. */
static uint64_t compile_cost(const pcre2_code *re)
{
    size_t size = 0;
    pcre2_pattern_info(re, PCRE2_INFO_SIZE, &size);
    return size / 8 + size * size / 131072;
}

bool match_check(struct str pattern, uint64_t *cost, struct err *err)
{
    pcre2_code *re = compile(pattern, err);
    *cost += 20 + pattern.n / 16;
    if (!re) return false;
    *cost += compile_cost(re);
    pcre2_code_free(re);
    return true;
}

static const struct pattern *find(struct eval *ev, const struct ast *at, struct str text)
{
    if (!ev->patterns) ev->patterns = arena_new(ev->arena, struct patterns);
    struct patterns *all = ev->patterns;
    for (size_t i = 0; i < KEPT; i++)
        if (all->kept[i].re && str_eq(all->kept[i].text, text)) return &all->kept[i];
    struct pattern *p = &all->kept[all->next];
    uint32_t back = 0;
    err_clear(&ev->err);
    ev->miss = NULL;
    pcre2_code *re = compile(text, &ev->err);
    if (!re) {
        text_mark(&ev->err, ev->expr->text, at->kids[1]->from, at->kids[1]->to);
        return NULL;
    }
    all->next = (all->next + 1) % KEPT;
    pcre2_code_free(p->re);
    pcre2_pattern_info(re, PCRE2_INFO_BACKREFMAX, &back);
    *p = (struct pattern){text, re, most_wanted(text), back > 0};
    return eval_charge(ev, at, compile_cost(re)) ? p : NULL;
}

void match_end(struct eval *ev)
{
    for (size_t i = 0; ev->patterns && i < KEPT; i++)
        pcre2_code_free(ev->patterns->kept[i].re);
}

/* ---- searching ---- */

struct budget {
    uint64_t left, in_vain;
    PCRE2_SIZE at;
};

/* One step an item tried, and one per 16 characters that the item before it ran over or this one may in vain. */
static int on_item(pcre2_callout_block *block, void *ctx)
{
    struct budget *b = ctx;
    PCRE2_SIZE ran =
        block->current_position > b->at ? block->current_position - b->at : b->at - block->current_position;
    uint64_t steps = 1 + ran / 16 + b->in_vain;
    b->at = block->current_position;
    if (steps > b->left) return PCRE2_ERROR_CALLOUT;
    b->left -= steps;
    return 0;
}

static int search(const pcre2_code *re, struct str text, struct budget *budget)
{
    int rc = PCRE2_ERROR_NOMEMORY;
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (data && limits) {
        pcre2_set_match_limit(limits, 1000000);
        pcre2_set_depth_limit(limits, 10000);
        pcre2_set_heap_limit(limits, 4096); /* KiB */
        pcre2_set_callout(limits, on_item, budget);
        rc = pcre2_match(re, (PCRE2_SPTR)text.p, text.n, 0, 0, data, limits);
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    return rc;
}

bool match_call(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    struct str text = args[0].u.s;
    if (!eval_charge(ev, at, 20 + text.n / 16 + args[1].u.s.n / 16)) return false;
    const struct pattern *p = find(ev, at, args[1].u.s);
    if (!p) return false;
    uint64_t all = (ev->max_cost - ev->cost) * STEPS_PER_CHARGE;
    uint64_t in_vain = (p->in_vain < text.n ? p->in_vain : text.n) / 16 + (p->looks_back ? text.n / 4 : 0);
    struct budget budget = {.left = all, .in_vain = in_vain};
    int rc = search(p->re, text.n ? text : STR(""), &budget);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        ev->cost = ev->max_cost; /* whatever limit it was, it took as long as all the rest */
        return eval_fail(ev, at, ERR_LIMIT, "the pattern takes too many steps on a text of %zu bytes", text.n);
    }
    *out = value_bool(rc >= 0);
    return eval_charge(ev, at, (all - budget.left) / STEPS_PER_CHARGE);
}
