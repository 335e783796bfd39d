/* Values as YAML in block style. A string is written plain only when it cannot be mistaken for anything else: by
 * YAML 1.2, and also by YAML 1.1, since other people's tools read these files too. */
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/text/scalar.h"
#include "engine/text/yaml.h"

/* Words that YAML 1.1 reads as booleans or nulls. */
static bool yaml11_word(struct str s)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (s.n == strlen(words[i]) && strncasecmp(s.p, words[i], s.n) == 0) return true;
    }
    return false;
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
}

static bool plain(struct str s)
{
    if (s.n == 0 || s.n > 120 || !letter(s.p[0]) || yaml11_word(s) || s.p[s.n - 1] == ' ') return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool safe = letter(c) || (c >= '0' && c <= '9') || strchr("-. +=@()", c) ||
                    (c == ':' && i + 1 < s.n && s.p[i + 1] != ' ');
        if (!safe) return false;
    }
    return true;
}

/* Text of several printable lines reads best as a literal block. */
static bool block(struct str s)
{
    if (s.n < 2 || s.p[0] == ' ' || s.p[0] == '\n' || s.p[s.n - 1] != '\n' || s.p[s.n - 2] == '\n') return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool ends_blank = c == '\n' && i && (s.p[i - 1] == ' ' || s.p[i - 1] == '\t');
        if ((c < 0x20 && c != '\n') || c >= 0x7F || ends_blank) return false;
    }
    return true;
}

static void indent(struct buf *out, unsigned level)
{
    for (unsigned i = 0; i < level; i++)
        buf_c(out, "  ");
}

static void quoted(struct buf *out, struct str s)
{
    struct value v = value_string(s);
    value_json(out, &v, false); /* JSON's strings are YAML's */
}

static void emit_string(struct buf *out, struct str s, unsigned level)
{
    if (plain(s)) {
        buf_str(out, s);
        return;
    }
    if (!block(s)) {
        quoted(out, s);
        return;
    }
    struct str rest = {s.p, s.n - 1}, line;
    buf_c(out, "|");
    while (str_split(&rest, '\n', &line)) {
        buf_char(out, '\n');
        if (line.n) indent(out, level);
        buf_str(out, line);
    }
}

static bool empty(const struct value *v)
{
    return (v->type == VALUE_LIST && v->u.list.n == 0) || (v->type == VALUE_MAP && v->u.map.n == 0);
}

static void emit_block(struct buf *out, const struct value *v, unsigned level, bool inline_first);

/* What stands behind "key:" or "-". */
static void emit_child(struct buf *out, const struct value *v, unsigned level, bool in_list)
{
    bool collection = (v->type == VALUE_LIST || v->type == VALUE_MAP) && !empty(v);
    if (!collection) {
        buf_char(out, ' ');
        if (v->type == VALUE_STRING)
            emit_string(out, v->u.s, level);
        else
            value_json(out, v, false);
        buf_char(out, '\n');
    } else if (in_list) {
        buf_char(out, ' ');
        emit_block(out, v, level, true);
    } else {
        buf_char(out, '\n');
        emit_block(out, v, level, false);
    }
}

/* inline_first: the first line is indented already, by the "- " before it. */
static void emit_block(struct buf *out, const struct value *v, unsigned level, bool inline_first)
{
    size_t n = v->type == VALUE_LIST ? v->u.list.n : v->u.map.n;
    for (size_t i = 0; i < n && !out->over; i++) {
        if (i || !inline_first) indent(out, level);
        if (v->type == VALUE_LIST) {
            buf_char(out, '-');
            emit_child(out, &v->u.list.items[i], level + 1, true);
            continue;
        }
        const struct value_entry *entry = &v->u.map.entries[i];
        if (plain(entry->key) && entry->key.p[0] != '<')
            buf_str(out, entry->key);
        else
            quoted(out, entry->key);
        buf_char(out, ':');
        emit_child(out, &entry->value, level + 1, false);
    }
}

void yaml_emit(struct buf *out, const struct value *v)
{
    bool collection = (v->type == VALUE_LIST || v->type == VALUE_MAP) && !empty(v);
    if (collection) {
        emit_block(out, v, 0, false);
        return;
    }
    if (v->type == VALUE_STRING)
        emit_string(out, v->u.s, 1);
    else
        value_json(out, v, false);
    buf_char(out, '\n');
}
