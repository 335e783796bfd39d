/* text.matches(pattern): PCRE2, searching anywhere in the text.
 *
 * Patterns and texts come from users, so that a match must not run for long. PCRE2's own match limit starts anew at
 * every position of the text; the callouts it makes before every item of the pattern do not, so they charge the
 * expression's budget. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/expr/eval.h"
#include "engine/expr/functions.h"

#define MAX_PATTERN 1000
#define STEPS_PER_CHARGE 8 /* a callout is that much cheaper than a step of evaluation */

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

bool match_check(struct str pattern, struct err *err)
{
    pcre2_code *re = compile(pattern, err);
    pcre2_code_free(re);
    return re != NULL;
}

struct budget {
    uint64_t left;
    PCRE2_SIZE at;
};

/* One step an item tried, and one per 16 characters that the item before it ran over. */
static int on_item(pcre2_callout_block *block, void *ctx)
{
    struct budget *b = ctx;
    PCRE2_SIZE ran =
        block->current_position > b->at ? block->current_position - b->at : b->at - block->current_position;
    uint64_t steps = 1 + ran / 16;
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
    if (!eval_charge(ev, at, 20 + text.n / 64)) return false;
    err_clear(&ev->err);
    pcre2_code *re = compile(args[1].u.s, &ev->err);
    if (!re) return text_mark(&ev->err, ev->expr->text, at->kids[1]->from, at->kids[1]->to);
    uint64_t all = (ev->max_cost - ev->cost) * STEPS_PER_CHARGE;
    struct budget budget = {.left = all};
    int rc = search(re, text.n ? text : STR(""), &budget);
    pcre2_code_free(re);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return eval_fail(ev, at, ERR_LIMIT, "the pattern takes too many steps on a text of %zu bytes", text.n);
    *out = value_bool(rc >= 0);
    return eval_charge(ev, at, (all - budget.left) / STEPS_PER_CHARGE);
}
