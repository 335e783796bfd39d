/* How programs usually write a value that they were given: a row for each of those that are met in the wild. What a
 * value has in it tells most rows apart; for one of letters and digits all but base64 are the value itself. */
#include <string.h>

#include "engine/base/base64.h"
#include "engine/base/mask.h"

/* The text within the quotes. */
static const struct json_form {
    const char *also; /* characters that are escaped besides those that must be; '/' with a backslash */
    bool ascii, upper;
} json_forms[] = {
    {"", false, false},    {"/", false, false},   {"", true, false},        {"", true, true},
    {"/", true, false},    {"<>&", false, false}, {"<>&'", false, false},   {"<>&", true, false},
    {"<>&'", true, false}, {"<>&'", true, true},  {"<>&'\"+`", true, true},
};

static const struct url_form {
    const char *kept; /* besides letters and digits */
    bool plus;        /* a blank is '+' */
    bool lower;       /* hexadecimal digits */
} url_forms[] = {
    {"-._~", false, false},                                                       /* RFC 3986 */
    {"-._~", false, true},  {"-._~/", false, false}, {"-_.!~*'()", false, false}, /* encodeURIComponent */
    {"-._~", true, false},  {"-._~", true, true},    {"*-._", true, false},       /* of HTML forms */
};

static bool among(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static void put_unit(struct buf *b, const struct json_form *f, uint32_t unit)
{
    if (f->upper)
        buf_printf(b, "\\u%04X", unit);
    else
        buf_printf(b, "\\u%04x", unit);
}

/* Of valid UTF-8: the character at p, and how many bytes it has. */
static size_t character(const char *p, uint32_t *c)
{
    unsigned char lead = (unsigned char)*p;
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    *c = n == 1 ? lead : lead & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        *c = *c << 6 | ((unsigned char)p[i] & 0x3Fu);
    return n;
}

static void put_json(struct buf *b, const struct json_form *f, struct str v)
{
    static const char shorts[32] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    for (size_t i = 0, n; i < v.n && !b->over; i += n) {
        uint32_t c;
        n = character(v.p + i, &c);
        if (c < 0x20 && shorts[c] != '\0')
            buf_add(b, (char[]){'\\', shorts[c]}, 2);
        else if (c == '/' && among(f->also, '/'))
            buf_add(b, "\\/", 2);
        else if (c < 0x20 || (c < 0x80 && among(f->also, (char)c)))
            put_unit(b, f, c);
        else if (c == '"' || c == '\\')
            buf_add(b, (char[]){'\\', (char)c}, 2);
        else if (c < 0x80 || !f->ascii)
            buf_add(b, v.p + i, n);
        else if (c < 0x10000)
            put_unit(b, f, c);
        else {
            put_unit(b, f, 0xD800 + ((c - 0x10000) >> 10));
            put_unit(b, f, 0xDC00 + ((c - 0x10000) & 0x3FF));
        }
    }
}

static void put_url(struct buf *b, const struct url_form *f, struct str v)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    for (size_t i = 0; i < v.n && !b->over; i++) {
        char c = v.p[i];
        unsigned byte = (unsigned char)c;
        const char *hex = digits + (f->lower ? 16 : 0);
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || among(f->kept, c))
            buf_char(b, c);
        else if (c == ' ' && f->plus)
            buf_char(b, '+');
        else
            buf_add(b, (char[]){'%', hex[byte >> 4], hex[byte & 15]}, 3);
    }
}

/* Unless it is the value, or another of its forms, which are those from `first` on. */
static void keep(struct mask *m, struct arena *a, size_t first, struct str v, struct buf *form)
{
    struct str s = buf_view(form);
    bool known = form->over || str_eq(s, v);
    for (size_t i = first; !known && i < m->n; i++)
        known = str_eq(s, m->values[i]);
    if (!known) mask_add(m, a, arena_str(a, s));
    buf_reset(form);
}

static void forms_of(struct mask *m, struct arena *a, struct str v)
{
    BUF_AUTO form;
    size_t first = m->n;
    char *line = arena_alloc(a, v.n + 1); /* as programs read it that do not cut it off */
    memcpy(line, v.p, v.n);
    line[v.n] = '\n';
    buf_init(&form, MASK_LONGEST_FORM);
    for (size_t i = 0; i < sizeof json_forms / sizeof *json_forms && utf8_valid(v, NULL); i++) {
        put_json(&form, &json_forms[i], v);
        keep(m, a, first, v, &form);
    }
    for (size_t i = 0; i < sizeof url_forms / sizeof *url_forms; i++) {
        put_url(&form, &url_forms[i], v);
        keep(m, a, first, v, &form);
    }
    for (int i = 0; i < 4; i++) { /* some leave the padding out, and it tells nothing */
        base64_put(&form, (i & 2) != 0 ? (struct str){line, v.n + 1} : v, (i & 1) != 0);
        keep(m, a, first, v, &form);
    }
}

void mask_forms(struct mask *m, struct arena *a)
{
    size_t n = m->n;
    for (size_t i = 0; i < n; i++)
        if (m->values[i].n >= MASK_SHORTEST) forms_of(m, a, m->values[i]);
}
