/* JSON as API servers write it, to values: see client.h. */
#include <string.h>

#include "engine/kube/client.h"
#include "engine/text/json.h"

#define DEPTH 512 /* of objects: a custom resource nests as it likes */

/* Every \u0000 that is an escape, not an escaped backslash before "u0000", in a copy. */
static struct str without_nul(struct arena *a, struct str text)
{
    struct str copy = arena_str(a, text);
    char *p = (char *)(uintptr_t)copy.p;
    for (size_t i = 0; i + 6 <= copy.n; i++) {
        if (p[i] != '\\') continue;
        if (memcmp(p + i, "\\u0000", 6) == 0) memcpy(p + i, "\\ufffd", 6);
        i++;
    }
    return copy;
}

/* Bytes of the list or map that begins the text, up to behind its bracket; 0 when it does not end. */
static size_t bracket_length(struct str text)
{
    size_t depth = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '"') {
            while (++i < text.n && text.p[i] != '"')
                i += text.p[i] == '\\';
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            if (--depth == 0) return i + 1;
        }
    }
    return 0;
}

/* What nobody here asks. A third of every object tells who manages which of its fields: that is not worth its parsing.
 * And what people give to drivers is passed on as they wrote it: of numbers without end or doubled keys in it one
 * object would make a whole list unreadable. No text can hold such a mark, since its quotes would be escaped there. */
static const char *const unasked[] = {"\"managedFields\":[", "\"opaque\":{", "\"data\":{"};

static struct str without(struct arena *a, struct str text, const char *mark)
{
    size_t n = strlen(mark);
    const char *from = text.p, *end = text.p + text.n, *at = memmem(from, text.n, mark, n);
    if (at == NULL) return text;
    char *copy = arena_alloc(a, text.n + 1), *to = copy;
    for (; at != NULL; at = memmem(from, (size_t)(end - from), mark, n)) {
        const char *value = at + n - 1;
        size_t skipped = bracket_length((struct str){value, (size_t)(end - value)});
        if (skipped == 0) break; /* broken: the parser says where */
        memcpy(to, from, (size_t)(value - from));
        to += value - from;
        *to++ = value[0];
        *to++ = value[0] == '[' ? ']' : '}';
        from = value + skipped;
    }
    memcpy(to, from, (size_t)(end - from));
    to += end - from;
    return (struct str){copy, (size_t)(to - copy)};
}

bool kube_json(struct arena *a, struct str text, struct value *out, struct err *err)
{
    if (text.n == 0) return json_parse(a, text, DEPTH, out, err);
    for (size_t i = 0; i < sizeof unasked / sizeof *unasked; i++)
        text = without(a, text, unasked[i]);
    if (memmem(text.p, text.n, "\\u0000", 6) != NULL) text = without_nul(a, text);
    return json_parse(a, text, DEPTH, out, err);
}

const struct value *kube_items(struct arena *a, const struct kube_answer *answer)
{
    struct value *list = arena_new(a, struct value);
    struct err ignored;
    if (answer->outcome != KUBE_DONE || !kube_json(a, answer->body, list, &ignored)) return NULL;
    const struct value *items = value_get(list, "items");
    return items != NULL && items->type == VALUE_LIST ? items : NULL;
}

struct str kube_text(const struct value *v, const char *path)
{
    struct str rest = str_of(path), key;
    while (v != NULL && str_split(&rest, '.', &key))
        v = value_find(v, key);
    return v != NULL && v->type == VALUE_STRING ? v->u.s : (struct str){"", 0};
}
