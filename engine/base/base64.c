/* See base64.h. */
#include "engine/base/base64.h"

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct arena *a, struct str text, struct str *out)
{
    char *p = arena_alloc(a, text.n / 4 * 3 + 4);
    size_t n = 0, digits = 0, padding = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        if (c == '=') {
            padding++;
            continue;
        }
        int d = digit(c);
        if (d < 0 || padding > 0) return false;
        bits = bits << 6 | (uint32_t)d;
        if (digits++ % 4 > 0) p[n++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)));
    }
    if (digits % 4 == 1 || padding > 2 || (padding > 0 && (digits + padding) % 4 != 0)) return false;
    p[n] = '\0';
    *out = (struct str){p, n};
    return true;
}

void base64_put(struct buf *b, struct str bytes, bool url)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < bytes.n && !b->over; i += 3) {
        size_t have = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < have ? (unsigned char)bytes.p[i + k] : 0u);
        for (size_t k = 0; k <= have; k++) {
            uint32_t six = bits >> (18 - 6 * k) & 63;
            buf_char(b, six < 62 ? alphabet[six] : six == 62 ? (url ? '-' : '+') : (url ? '_' : '/'));
        }
    }
}

struct str base64_encode(struct arena *a, struct str bytes)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    base64_put(&text, bytes, false);
    while (text.n % 4 != 0)
        buf_char(&text, '=');
    return arena_str(a, buf_view(&text));
}
