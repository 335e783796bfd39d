/* Patterns of .millraceignore. */
#include "engine/blob/ignore.h"

#include <string.h>

static const char builtin[] = ".git/\n__pycache__/\n*.pyc\n.millraceignore\n.DS_Store\n.venv/\n.ipynb_checkpoints/\n";

/* ---- globs ---- */

/* "[a-z]" at p[*i]; moves *i behind it. A bracket that does not close is an ordinary character. */
static bool in_class(struct str p, size_t *i, char c)
{
    size_t j = *i + 1;
    bool negate = j < p.n && (p.p[j] == '!' || p.p[j] == '^'), hit = false, first = true;
    if (negate) j++;
    for (; j < p.n && (first || p.p[j] != ']'); j++, first = false) {
        char from = p.p[j];
        if (from == '\\' && j + 1 < p.n) from = p.p[++j];
        char to = from;
        if (j + 2 < p.n && p.p[j + 1] == '-' && p.p[j + 2] != ']') {
            to = p.p[j + 2];
            j += 2;
        }
        hit |= c >= from && c <= to;
    }
    if (j >= p.n) { /* not closed */
        (*i)++;
        return c == '[';
    }
    *i = j + 1;
    return hit != negate && c != '/';
}

/* One element of the pattern against one character. */
static bool one(struct str p, size_t *i, char c)
{
    switch (p.p[*i]) {
    case '?': (*i)++; return c != '/';
    case '[': return in_class(p, i, c);
    case '\\':
        if (*i + 1 < p.n) (*i)++;
        break;
    default: break;
    }
    return p.p[(*i)++] == c;
}

/* Within one name: `*` needs to remember only its last place. */
static bool segment(struct str p, struct str s)
{
    size_t i = 0, j = 0, star = SIZE_MAX, mark = 0;
    while (j < s.n) {
        size_t next = i;
        if (i < p.n && p.p[i] == '*') {
            star = ++i;
            mark = j;
        } else if (i < p.n && one(p, &next, s.p[j])) {
            i = next;
            j++;
        } else if (star != SIZE_MAX) {
            i = star;
            j = ++mark;
        } else {
            return false;
        }
    }
    while (i < p.n && p.p[i] == '*')
        i++;
    return i == p.n;
}

static bool whole(struct str p, struct str s, int depth)
{
    struct str rest_p = p, rest_s = s, part, name;
    while (str_split(&rest_p, '/', &part)) {
        if (str_is(part, "**")) {
            if (rest_p.n == 0) return rest_s.n > 0; /* all below, not the folder itself */
            for (struct str from = rest_s; depth < 8;) {
                if (whole(rest_p, from, depth + 1)) return true;
                if (from.n == 0 || !str_split(&from, '/', &name)) return false;
            }
            return false;
        }
        if (rest_s.n == 0 || !str_split(&rest_s, '/', &name) || !segment(part, name)) return false;
        if (rest_p.n == 0) return rest_s.n == 0;
    }
    return rest_s.n == 0;
}

bool ignore_glob(struct str pattern, struct str text)
{
    return whole(pattern, text, 0);
}

/* ---- rules ---- */

static bool add_lines(struct str text, struct ignore *out, struct err *err)
{
    struct str rest = text, line;
    for (uint32_t number = 1; rest.n > 0 && str_split(&rest, '\n', &line); number++) {
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#') continue;
        if (out->n == IGNORE_BUILTIN + IGNORE_MAX) {
            err_set(err, ERR_LIMIT, ".millraceignore has more than %d lines", IGNORE_MAX);
            return err_at(err, (struct pos){number, 1}, 1);
        }
        struct ignore_rule rule = {0};
        if (line.p[0] == '!') {
            rule.take_back = true;
            line = str_sub(line, 1, line.n);
        }
        if (line.n > 1 && line.p[line.n - 1] == '/') {
            rule.folders_only = true;
            line.n--;
        }
        rule.anchored = line.n > 0 && memchr(line.p, '/', line.n) != NULL;
        if (line.n > 0 && line.p[0] == '/') line = str_sub(line, 1, line.n);
        rule.pattern = line;
        if (line.n > 0) out->rules[out->n++] = rule;
    }
    return true;
}

bool ignore_parse(struct str text, struct ignore *out, struct err *err)
{
    out->n = 0;
    return add_lines(str_of(builtin), out, err) && add_lines(text, out, err);
}

bool ignore_matches(const struct ignore *ig, struct str path, bool folder)
{
    struct str name = path;
    for (size_t i = path.n; i-- > 0;)
        if (path.p[i] == '/') {
            name = str_sub(path, i + 1, path.n);
            break;
        }
    for (size_t i = ig->n; i-- > 0;) {
        const struct ignore_rule *rule = &ig->rules[i];
        if (rule->folders_only && !folder) continue;
        if (ignore_glob(rule->pattern, rule->anchored ? path : name)) return !rule->take_back;
    }
    return false;
}
