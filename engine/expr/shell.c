/* Expressions in a shell line. Each becomes one word in single quotes, which the shell takes as it is: no value,
 * wherever it comes from, can become a command. That holds only where the shell is ready for a new word or the rest of
 * one. So this file follows the author's own text with the shell's rules of quoting, and refuses an expression in every
 * other place.
 *
 * Where the rules are too tangled to follow (here-documents, case inside of $(…), quotes inside of ${…}, …) it gives
 * up: then no expression may stand in the rest of the line. Giving up is always safe, guessing never. */
#include <string.h>

#include "engine/base/buf.h"
#include "engine/expr/eval.h"

#define MAX_NESTING 32
#define CURE "use env: and write \"$NAME\", or give run: as a list"

enum context {
    IN_COMMAND,  /* words are read here: the only place for an expression */
    IN_SINGLE,   /* '…' */
    IN_DOUBLE,   /* "…" */
    IN_COMMENT,  /* # … */
    IN_BACKTICK, /* `…` */
    IN_BRACES,   /* ${…} */
    IN_MATH,     /* $((…)) or ((…)) */
    IN_ESCAPE,   /* behind a backslash */
    LOST,        /* see above */
};

struct reader {
    enum context stack[MAX_NESTING];
    uint32_t parens[MAX_NESTING]; /* open ones within a context */
    size_t n;                     /* depth; the innermost is stack[n - 1] */
    bool lost, escaped;
    bool word_start; /* a # here begins a comment */
    char before;     /* the byte before */
    char word[8];    /* the word being read, to notice `case` */
    size_t word_n;
};

static enum context now(const struct reader *r)
{
    return r->stack[r->n - 1];
}

static void enter(struct reader *r, enum context c)
{
    if (r->n == MAX_NESTING) {
        r->lost = true;
        return;
    }
    r->stack[r->n] = c;
    r->parens[r->n++] = 0;
    r->word_start = true;
    r->word_n = 0;
}

static void leave(struct reader *r)
{
    if (r->n > 1) r->n--;
    r->word_start = false;
    r->word_n = 0;
}

/* The nested constructs that begin with a dollar, in commands and in double quotes. Returns how many bytes are taken.
 */
static size_t read_dollar(struct reader *r, struct str rest)
{
    if (str_starts(rest, "$((")) {
        enter(r, IN_MATH);
        return 3;
    }
    if (str_starts(rest, "$(")) {
        enter(r, IN_COMMAND);
        return 2;
    }
    if (str_starts(rest, "${")) {
        enter(r, IN_BRACES);
        return 2;
    }
    /* $'…' is a string with escapes to some shells, and a dollar before '…' to others */
    if (str_starts(rest, "$'") && now(r) == IN_COMMAND) r->lost = true;
    r->word_start = false;
    return rest.n > 1 && rest.p[1] && strchr("$#?!@*-", rest.p[1])
               ? 2
               : 1; /* $$ is a name: the second one begins nothing */
}

static void note_word(struct reader *r, char c)
{
    bool ends = strchr(" \t\n;&|()<>", c) != NULL;
    if (!ends && r->word_n < sizeof r->word) r->word[r->word_n++] = c;
    if (!ends) return;
    /* inside of $(…) the unpaired ) of a case pattern cannot be told from the end */
    if (r->n > 1 && r->word_n == 4 && memcmp(r->word, "case", 4) == 0) r->lost = true;
    r->word_n = 0;
}

static size_t read_command(struct reader *r, struct str rest)
{
    char c = rest.p[0];
    bool fresh = r->word_start;
    note_word(r, c);
    r->word_start = strchr(" \t\n;&|()<>", c) != NULL;
    switch (c) {
    case '\'': enter(r, IN_SINGLE); break;
    case '"': enter(r, IN_DOUBLE); break;
    case '`': enter(r, IN_BACKTICK); break;
    case '\\': r->escaped = true; break;
    case '$': return read_dollar(r, rest);
    case '#':
        if (fresh) enter(r, IN_COMMENT);
        break;
    case '<':
        if (str_starts(rest, "<<")) r->lost = true;
        break;
    case '(':
        if (str_starts(rest, "((")) {
            enter(r, IN_MATH);
            return 2;
        }
        r->parens[r->n - 1]++;
        break;
    case ')':
        if (r->parens[r->n - 1] > 0)
            r->parens[r->n - 1]--;
        else if (r->n > 1)
            leave(r);
        break;
    default: break;
    }
    return 1;
}

static size_t read_double(struct reader *r, struct str rest)
{
    switch (rest.p[0]) {
    case '"': leave(r); break;
    case '`': enter(r, IN_BACKTICK); break;
    case '\\': r->escaped = true; break;
    case '$': return read_dollar(r, rest);
    default: break;
    }
    return 1;
}

/* Inside of ${…}, $((…)) and `…`: followed only as long as nothing nests there. */
static bool nests(const struct reader *r, struct str rest)
{
    char c = rest.p[0];
    return c == '\'' || c == '"' || c == '\\' || (c == '`' && now(r) != IN_BACKTICK) ||
           (c == '#' && now(r) != IN_BRACES) || str_starts(rest, "$(") || str_starts(rest, "${");
}

static size_t read_math(struct reader *r, struct str rest)
{
    uint32_t *open = &r->parens[r->n - 1];
    if (rest.p[0] == '(') {
        ++*open;
    } else if (rest.p[0] == ')' && *open > 0) {
        --*open;
    } else if (str_starts(rest, "))")) {
        leave(r);
        return 2;
    } else if (rest.p[0] == ')') {
        r->lost = true; /* $((cmd) | cmd): not mathematics after all */
    }
    return 1;
}

static size_t read_plain(struct reader *r, struct str rest)
{
    if (nests(r, rest)) {
        r->lost = true;
        return 1;
    }
    if (now(r) == IN_MATH) return read_math(r, rest);
    if (rest.p[0] == (now(r) == IN_BACKTICK ? '`' : '}')) leave(r);
    return 1;
}

/* A backslash before a line break: the shell reads on as if neither were there. */
static bool continues_line(struct reader *r, struct str rest)
{
    bool yes = !r->escaped && str_starts(rest, "\\\n") && (now(r) == IN_COMMAND || now(r) == IN_DOUBLE);
    if (yes && r->before && strchr("$<(", r->before)) r->lost = true; /* $( and << can be taken apart by it */
    return yes;
}

static size_t read_one(struct reader *r, struct str rest)
{
    if (continues_line(r, rest)) return 2;
    if (r->escaped) {
        r->escaped = false;
        r->word_start = false;
        r->word_n = sizeof r->word;
        return 1;
    }
    switch (now(r)) {
    case IN_SINGLE:
        if (rest.p[0] == '\'') leave(r);
        return 1;
    case IN_DOUBLE: return read_double(r, rest);
    case IN_COMMENT:
        if (rest.p[0] == '\n') {
            leave(r);
            r->word_start = true;
        }
        return 1;
    case IN_BACKTICK:
    case IN_BRACES:
    case IN_MATH: return read_plain(r, rest);
    case IN_COMMAND:
    case IN_ESCAPE:
    case LOST: break;
    }
    return read_command(r, rest);
}

static void read_text(struct reader *r, struct str text)
{
    for (size_t at = 0; at < text.n && !r->lost;) {
        struct str rest = str_sub(text, at, text.n);
        size_t n = read_one(r, rest);
        if (!str_starts(rest, "\\\n")) r->before = rest.p[n - 1];
        at += n;
    }
}

static enum context place(const struct reader *r)
{
    return r->lost ? LOST : r->escaped ? IN_ESCAPE : now(r);
}

/* Reads on from part *at to the next expression that must not stand where it does, and says why in err. */
static bool next_refusal(struct reader *r, const struct expr_template *t, size_t *at, struct err *err)
{
    static const char *const refusals[] = {
        [IN_COMMAND] = "",
        [IN_SINGLE] = "an expression stands inside '…'",
        [IN_DOUBLE] = "an expression stands inside \"…\"",
        [IN_COMMENT] = "an expression stands in a comment",
        [IN_BACKTICK] = "an expression stands inside `…`",
        [IN_BRACES] = "an expression stands inside ${…}",
        [IN_MATH] = "an expression stands inside ((…))",
        [IN_ESCAPE] = "an expression stands behind a backslash",
        [LOST] = "an expression stands where it is not certain how the shell will read it",
    };
    while (*at < t->n) {
        const struct expr_part *part = &t->parts[(*at)++];
        if (!part->expr) {
            read_text(r, part->text);
            continue;
        }
        enum context c = place(r);
        r->word_start = false;
        r->word_n = sizeof r->word;
        r->before = '\'';
        if (c == IN_COMMAND) continue;
        r->escaped = false;
        if (c == LOST) *at = t->n; /* and so do all that follow */
        err_set(err, ERR_INVALID, "%s", refusals[c]);
        err_hint(err, c == LOST ? "here-documents, case and nested quotes come before it: " CURE
                                : "it becomes one quoted word by itself; " CURE);
        err_at(err, part->at, text_len(part->text, 0, part->text.n));
        return true;
    }
    return false;
}

static struct reader at_start(void)
{
    return (struct reader){.stack = {IN_COMMAND}, .n = 1, .word_start = true};
}

bool expr_shell_check(const struct expr_template *t, struct err_list *errors)
{
    struct reader r = at_start();
    struct err err;
    size_t at = 0, before = errors->total;
    while (next_refusal(&r, t, &at, &err))
        *err_list_next(errors) = err;
    return errors->total == before;
}

/* ---- filling in ---- */

static void add_word(struct buf *out, struct str s)
{
    buf_char(out, '\'');
    struct str piece;
    for (bool first = true; str_split(&s, '\'', &piece); first = false) {
        if (!first) buf_c(out, "'\\''");
        buf_str(out, piece);
    }
    buf_char(out, '\'');
}

static bool add_value(struct buf *out, const struct value *v, struct arena *a, struct err *err)
{
    struct str s;
    if (!expr_text(a, v, &s, err)) return false;
    add_word(out, s);
    return true;
}

bool expr_shell_alone(const struct expr_template *t, size_t i)
{
    static const char ends[] = " \t\n;&|()<>";
    bool left = i == 0, right = i + 1 == t->n;
    if (i > 0 && !t->parts[i - 1].expr) {
        struct str s = t->parts[i - 1].text;
        left = strchr(ends, s.p[s.n - 1]) != NULL;
    }
    if (i + 1 < t->n && !t->parts[i + 1].expr) right = strchr(ends, t->parts[i + 1].text.p[0]) != NULL;
    return left && right;
}

static bool add_part(struct buf *out, const struct expr_template *t, size_t i, const struct value *v, struct arena *a,
                     struct err *err)
{
    if (v->type != VALUE_LIST) return add_value(out, v, a, err);
    if (!expr_shell_alone(t, i)) {
        err_set(err, ERR_INVALID, "a list becomes one word per item, but text stands beside it");
        return err_hint(err, "put blanks around it, or make one word of it: string(…)");
    }
    for (size_t k = 0; k < v->u.list.n && !out->over; k++) {
        if (k) buf_char(out, ' ');
        if (!add_value(out, &v->u.list.items[k], a, err)) return false;
    }
    return true;
}

bool expr_shell_eval(const struct expr_template *t, const struct expr_env *env, struct arena *a, struct str *out,
                     struct err *err)
{
    struct reader r = at_start();
    size_t at = 0;
    if (next_refusal(&r, t, &at, err)) return false;
    BUF_AUTO line;
    buf_init(&line, EVAL_MAX_TEXT);
    for (size_t i = 0; i < t->n; i++) {
        const struct expr_part *part = &t->parts[i];
        struct value v;
        if (!part->expr) {
            buf_str(&line, part->text);
            continue;
        }
        if (!eval_part(part, env, a, &v, err)) return false;
        if (!add_part(&line, t, i, &v, a, err)) return err_at(err, part->at, text_len(part->text, 0, part->text.n));
    }
    if (line.over) return err_set(err, ERR_LIMIT, "the line is longer than %u bytes", EVAL_MAX_TEXT);
    *out = arena_str(a, buf_view(&line));
    return true;
}
