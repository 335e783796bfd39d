/* See spec_kube.h. */
#include "engine/flow/spec_kube.h"

#define LONGEST_OBJECT 253
#define LONGEST_LABEL 63

static bool small(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool plain(char c)
{
    return small(c) || (c >= 'A' && c <= 'Z');
}

/* What begins and ends with a letter or digit, and has these others within. */
static bool shape(struct str text, bool (*ends)(char c), const char *within, size_t most)
{
    for (size_t i = 0; i < text.n; i++) {
        bool inner = i > 0 && i + 1 < text.n, other = false;
        for (const char *w = within; inner && *w != '\0'; w++)
            other |= text.p[i] == *w;
        if (!ends(text.p[i]) && !other) return false;
    }
    return text.n > 0 && text.n <= most;
}

/* Labels of a domain, of which none is empty. */
static bool domain(struct str text)
{
    struct str rest = text, piece;
    if (text.n == 0 || text.n > LONGEST_OBJECT) return false;
    while (str_split(&rest, '.', &piece))
        if (!shape(piece, small, "-", LONGEST_OBJECT)) return false;
    return text.p[text.n - 1] != '.';
}

/* False when it is no text, which is said. */
static bool text_of(struct spec *s, const struct spec_at *at, const struct value *v, struct str *out)
{
    *out = (struct str){NULL, 0};
    spec_str(s, at, v, out);
    return out->p != NULL;
}

void spec_kube_object(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str name;
    if (!text_of(s, at, v, &name)) return;
    if (!domain(name))
        err_hint(spec_error(s, at, v, "this cannot be the name of an object of Kubernetes"),
                 "small letters, digits, '-' and '.' between them, at most %d", LONGEST_OBJECT);
    else if (out != NULL)
        *(struct str *)out = name;
}

void spec_kube_part(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str name;
    if (!text_of(s, at, v, &name)) return;
    if (!shape(name, small, "-", LONGEST_LABEL))
        err_hint(spec_error(s, at, v, "this cannot be the name of a part of a pod"),
                 "small letters, digits and '-' between them, at most %d", LONGEST_LABEL);
    else if (out != NULL)
        *(struct str *)out = name;
}

void spec_kube_label(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str text;
    if (!text_of(s, at, v, &text)) return;
    if (text.n > 0 && !shape(text, plain, "-_.", LONGEST_LABEL))
        err_hint(spec_error(s, at, v, "this cannot be the value of a label or a taint of Kubernetes"),
                 "letters, digits, and '-', '_', '.' between them, at most %d", LONGEST_LABEL);
    else if (out != NULL)
        *(struct str *)out = text;
}

bool spec_kube_key(struct spec *s, const struct spec_at *at, struct str key, const struct value *v)
{
    size_t slash;
    bool prefixed = str_find(key, STR("/"), &slash);
    struct str name = prefixed ? str_sub(key, slash + 1, key.n) : key;
    if (shape(name, plain, "-_.", LONGEST_LABEL) && (!prefixed || domain(str_sub(key, 0, slash)))) return true;
    err_hint(spec_error(s, at, v, "'%.*s' cannot be a key of Kubernetes", STR_ARG(utf8_sub(key, 80))),
             "NAME or DOMAIN/NAME: letters, digits, and '-', '_', '.' between them, a name of at most %d",
             LONGEST_LABEL);
    return false;
}

void spec_kube_taint(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str key;
    if (text_of(s, at, v, &key) && spec_kube_key(s, at, key, v) && out != NULL) *(struct str *)out = key;
}

/* What a file in a volume may be called, but for "." and "..". */
static bool data_key(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (!plain(c) && c != '-' && c != '_' && c != '.') return false;
    }
    return key.n > 0 && key.n <= LONGEST_OBJECT && !str_is(key, ".") && !str_is(key, "..");
}

void spec_kube_secret(struct spec *s, const struct spec_at *at, const struct value *v, struct str secret)
{
    struct str key = secret, name;
    if (!str_split(&key, '/', &name) || !domain(name))
        err_hint(spec_error(s, at, v, "this cannot be the name of a Secret of Kubernetes"),
                 "small letters, digits, '-' and '.' between them, at most %d", LONGEST_OBJECT);
    else if (!data_key(key))
        err_hint(spec_error(s, at, v, "this cannot be a key of a Secret of Kubernetes"),
                 "NAME/KEY: letters, digits, '-', '_' and '.', at most %d", LONGEST_OBJECT);
}

void spec_kube_pair(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                    size_t i)
{
    (void)out;
    (void)i;
    spec_kube_key(s, at, key, NULL);
    spec_kube_label(s, at, v, NULL);
}
