/* See sigv4.h. The steps are those of AWS's documentation, "Create a signed AWS API request". */
#include "engine/os/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/os/digest.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define DAY 8 /* of SIGV4_TIME */
#define HEX (2 * DIGEST_BYTES + 1)

struct str sigv4_encode(struct arena *a, struct str text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, 3 * text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-._~", c) != NULL) || (keep_slash && c == '/');
        if (plain) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    return (struct str){out, n};
}

static int by_name(const void *a, const void *b)
{
    const struct sigv4_pair *x = a, *y = b;
    int names = str_cmp(x->name, y->name);
    return names != 0 ? names : str_cmp(x->value, y->value);
}

static struct sigv4_pair *sorted(struct arena *a, const struct sigv4_pair *pairs, size_t n, bool encoded)
{
    struct sigv4_pair *out = arena_array(a, struct sigv4_pair, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] =
            encoded ? (struct sigv4_pair){sigv4_encode(a, pairs[i].name, false), sigv4_encode(a, pairs[i].value, false)}
                    : pairs[i];
    qsort(out, n, sizeof *out, by_name);
    return out;
}

struct str sigv4_query(struct arena *a, const struct sigv4_pair *query, size_t n)
{
    struct sigv4_pair *pairs = sorted(a, query, n, true);
    BUF_AUTO out;
    buf_init(&out, 0);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "%s%.*s=%.*s", i > 0 ? "&" : "", STR_ARG(pairs[i].name), STR_ARG(pairs[i].value));
    return arena_str(a, buf_view(&out));
}

void sigv4_time(int64_t now_us, char out[SIGV4_TIME])
{
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    if (strftime(out, SIGV4_TIME, "%Y%m%dT%H%M%SZ", &tm) == 0) out[0] = '\0';
}

static struct str signed_names(struct arena *a, const struct sigv4_pair *headers, size_t n)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "%s%.*s", i > 0 ? ";" : "", STR_ARG(headers[i].name));
    return arena_str(a, buf_view(&out));
}

static void hmac(const unsigned char *key, size_t key_n, struct str text, unsigned char out[DIGEST_BYTES])
{
    unsigned n = 0;
    if (HMAC(EVP_sha256(), key, (int)key_n, (const unsigned char *)text.p, text.n, out, &n) == NULL) abort();
}

static struct str scope_of(struct arena *a, const struct sigv4_request *r, const char *when)
{
    return arena_printf(a, "%.*s/%.*s/%.*s/aws4_request", DAY, when, STR_ARG(r->region), STR_ARG(r->service));
}

static void sign(struct arena *a, const struct sigv4_request *r, struct str secret, const char *when, struct str query,
                 const struct sigv4_pair *headers, char hex[HEX])
{
    unsigned char sum[DIGEST_BYTES];
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_printf(&text, "%s\n%.*s\n%.*s\n", r->method, STR_ARG(r->path), STR_ARG(query));
    for (size_t i = 0; i < r->n_headers; i++)
        buf_printf(&text, "%.*s:%.*s\n", STR_ARG(headers[i].name), STR_ARG(str_trim(headers[i].value)));
    struct str names = signed_names(a, headers, r->n_headers);
    buf_printf(&text, "\n%.*s\n%.*s", STR_ARG(names), STR_ARG(r->payload));
    digest_raw(buf_view(&text), sum);
    digest_hex(sum, sizeof sum, hex);
    struct str scope = scope_of(a, r, when);
    struct str to_sign = arena_printf(a, ALGORITHM "\n%s\n%.*s\n%s", when, STR_ARG(scope), hex);
    BUF_AUTO first;
    buf_init(&first, 0);
    buf_printf(&first, "AWS4%.*s", STR_ARG(secret));
    hmac((const unsigned char *)first.p, first.n, (struct str){when, DAY}, sum);
    hmac(sum, sizeof sum, r->region, sum);
    hmac(sum, sizeof sum, r->service, sum);
    hmac(sum, sizeof sum, STR("aws4_request"), sum);
    hmac(sum, sizeof sum, to_sign, sum);
    digest_hex(sum, sizeof sum, hex);
}

struct str sigv4_authorization(struct arena *a, const struct sigv4_request *r, const struct sigv4_key *key)
{
    char when[SIGV4_TIME], hex[HEX];
    sigv4_time(r->now_us, when);
    struct sigv4_pair *headers = sorted(a, r->headers, r->n_headers, false);
    sign(a, r, key->secret, when, sigv4_query(a, r->query, r->n_query), headers, hex);
    struct str scope = scope_of(a, r, when), names = signed_names(a, headers, r->n_headers);
    return arena_printf(a, ALGORITHM " Credential=%.*s/%.*s,SignedHeaders=%.*s,Signature=%s", STR_ARG(key->id),
                        STR_ARG(scope), STR_ARG(names), hex);
}

struct str sigv4_link(struct arena *a, const struct sigv4_request *r, const struct sigv4_key *key, int64_t seconds)
{
    char when[SIGV4_TIME], hex[HEX];
    sigv4_time(r->now_us, when);
    struct sigv4_pair *headers = sorted(a, r->headers, r->n_headers, false);
    struct sigv4_pair *query = arena_array(a, struct sigv4_pair, r->n_query + 6);
    size_t n = r->n_query;
    if (n > 0) memcpy(query, r->query, n * sizeof *query);
    struct str scope = scope_of(a, r, when);
    query[n++] = (struct sigv4_pair){STR("X-Amz-Algorithm"), STR(ALGORITHM)};
    query[n++] =
        (struct sigv4_pair){STR("X-Amz-Credential"), arena_printf(a, "%.*s/%.*s", STR_ARG(key->id), STR_ARG(scope))};
    query[n++] = (struct sigv4_pair){STR("X-Amz-Date"), arena_str(a, str_of(when))};
    query[n++] = (struct sigv4_pair){STR("X-Amz-Expires"), arena_printf(a, "%lld", (long long)seconds)};
    query[n++] = (struct sigv4_pair){STR("X-Amz-SignedHeaders"), signed_names(a, headers, r->n_headers)};
    if (key->token.n > 0) query[n++] = (struct sigv4_pair){STR("X-Amz-Security-Token"), key->token};
    struct str text = sigv4_query(a, query, n);
    sign(a, r, key->secret, when, text, headers, hex);
    return arena_printf(a, "%.*s&X-Amz-Signature=%s", STR_ARG(text), hex);
}
