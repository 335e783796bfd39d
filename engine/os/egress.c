/* Outgoing HTTP with an address check. See egress.h. */
#include "engine/os/egress.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "engine/base/buf.h"

#define TIMEOUT_MS 30000
#define CONNECT_TIMEOUT_MS 10000
#define MAX_BYTES ((size_t)1 << 20)

/* ---- which addresses ---- */

struct network {
    uint32_t address, mask;
    bool never; /* not even when private ones are allowed */
};

/* IANA's special-purpose registry (RFC 6890); 169.254/16 holds the clouds' metadata services.
 * The first that fits decides. */
static const struct network networks4[] = {
    {0x00000000, 0xff000000, true},  /* "this" network */
    {0x0a000000, 0xff000000, false}, /* 10/8 */
    {0x646464c8, 0xffffffff, true},  /* 100.100.100.200, a cloud's metadata */
    {0x64400000, 0xffc00000, false}, /* 100.64/10, carrier NAT */
    {0x7f000000, 0xff000000, false}, /* loopback */
    {0xa9fe0000, 0xffff0000, true},  /* link-local, metadata */
    {0xac100000, 0xfff00000, false}, /* 172.16/12 */
    {0xc0000000, 0xffffff00, true},  /* protocol assignments */
    {0xc0a80000, 0xffff0000, false}, /* 192.168/16 */
    {0xc6120000, 0xfffe0000, false}, /* 198.18/15, benchmarks */
    {0xe0000000, 0xf0000000, true},  /* multicast */
    {0xf0000000, 0xf0000000, true},  /* reserved, broadcast */
};

static bool allowed4(uint32_t address, bool allow_private)
{
    for (size_t i = 0; i < sizeof networks4 / sizeof *networks4; i++)
        if ((address & networks4[i].mask) == networks4[i].address) return allow_private && !networks4[i].never;
    return true;
}

static uint32_t last4(const struct in6_addr *a)
{
    uint32_t v;
    memcpy(&v, &a->s6_addr[12], sizeof v);
    return ntohl(v);
}

static bool allowed6(const struct in6_addr *a, bool allow_private)
{
    static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b}; /* 64:ff9b::/96, RFC 6052 */
    uint32_t inner;
    if (IN6_IS_ADDR_LOOPBACK(a)) return allow_private;
    if (IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MULTICAST(a)) return false;
    if (IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a) || memcmp(a, nat64, sizeof nat64) == 0)
        return allowed4(last4(a), allow_private);
    if (a->s6_addr[0] == 0x20 && a->s6_addr[1] == 0x02) { /* 6to4 carries an IPv4 address behind its prefix */
        memcpy(&inner, &a->s6_addr[2], sizeof inner);
        return allowed4(ntohl(inner), allow_private);
    }
    if (a->s6_addr[0] == 0xfd && a->s6_addr[1] == 0x00 && a->s6_addr[2] == 0x0e && a->s6_addr[3] == 0xc2)
        return false; /* metadata */
    if ((a->s6_addr[0] & 0xfe) == 0xfc || (a->s6_addr[0] == 0xfe && (a->s6_addr[1] & 0xc0) == 0xc0))
        return allow_private;
    /* Of the rest only global unicast, 2000::/3, and of that not 2001::/23, protocol assignments, Teredo among them;
     * other translations, such as 64:ff9b:1::/48, may carry any IPv4 address anywhere. */
    bool assignment = a->s6_addr[0] == 0x20 && a->s6_addr[1] == 0x01 && (a->s6_addr[2] & 0xfe) == 0;
    return (a->s6_addr[0] & 0xe0) == 0x20 && !assignment;
}

bool egress_allowed(const struct sockaddr *address, bool allow_private)
{
    if (address->sa_family == AF_INET)
        return allowed4(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr), allow_private);
    if (address->sa_family == AF_INET6)
        return allowed6(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, allow_private);
    return false;
}

/* ---- one call ---- */

struct call {
    CURL *curl;
    CURLU *url;
    struct curl_slist *resolve, *headers;
    struct buf body;
    char *host, *port;
};

static void call_end(struct call *c)
{
    curl_easy_cleanup(c->curl);
    curl_url_cleanup(c->url);
    curl_slist_free_all(c->resolve);
    curl_slist_free_all(c->headers);
    curl_free(c->host);
    curl_free(c->port);
    buf_free(&c->body);
}

static bool read_url(struct call *c, const char *text, struct err *err)
{
    char *scheme = NULL;
    c->url = curl_url();
    bool ok = c->url != NULL && curl_url_set(c->url, CURLUPART_URL, text, 0) == CURLUE_OK &&
              curl_url_get(c->url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
              curl_url_get(c->url, CURLUPART_HOST, &c->host, 0) == CURLUE_OK &&
              curl_url_get(c->url, CURLUPART_PORT, &c->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    curl_free(scheme);
    if (!ok) {
        err_set(err, ERR_INVALID, "'%s' is not a URL that can be called", text);
        err_hint(err, "http://HOST/PATH or https://HOST/PATH");
    }
    return ok;
}

/* Resolves, checks every address, and tells curl to use just these. */
static bool pin(struct call *c, const struct egress_request *req, struct err *err)
{
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    size_t n = strlen(c->host);
    bool brackets = n > 2 && c->host[0] == '[';
    if (n >= sizeof host) return err_set(err, ERR_INVALID, "the host's name is too long");
    snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), brackets ? c->host + 1 : c->host);
    int failed = (req->resolve != NULL ? req->resolve : getaddrinfo)(host, c->port, &hints, &found);
    if (failed != 0) return err_set(err, ERR_UNAVAILABLE, "cannot resolve '%s': %s", host, gai_strerror(failed));
    BUF_AUTO line;
    buf_init(&line, 8192);
    buf_printf(&line, "%s:%s:", host, c->port);
    bool ok = true;
    for (const struct addrinfo *a = found; a != NULL && ok; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN + 16];
        ok = egress_allowed(a->ai_addr, req->allow_private);
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0) continue;
        buf_printf(&line, a->ai_family == AF_INET6 ? "%s[%s]" : "%s%s", a == found ? "" : ",", text);
        if (ok) continue;
        err_set(err, ERR_FORBIDDEN, "'%s' is at %s, an address that steps must not reach", host, text);
        err_hint(
            err,
            "an administrator may allow private addresses with --allow-private-egress; metadata services stay closed");
    }
    freeaddrinfo(found);
    /* An IPv6 address itself cannot change its mind, and curl takes none as a name to pin. */
    if (ok && !brackets) c->resolve = curl_slist_append(NULL, line.p);
    return ok;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct buf *body = ctx;
    return buf_add(body, p, size * n) ? size * n : 0;
}

/* Called once a second at least. */
static int on_progress(void *ctx, curl_off_t dl, curl_off_t dl_now, curl_off_t ul, curl_off_t ul_now)
{
    const struct egress_request *req = ctx;
    (void)dl, (void)dl_now, (void)ul, (void)ul_now;
    return *req->stop ? 1 : 0;
}

static bool add_headers(struct call *c, const struct egress_request *req, struct arena *a, struct err *err)
{
    bool typed = false;
    for (size_t i = 0; i < req->n_headers; i++) {
        const struct egress_header *h = &req->headers[i];
        struct str line = arena_printf(a, "%.*s: %.*s", STR_ARG(h->name), STR_ARG(h->value));
        if (memchr(line.p, '\n', line.n) != NULL || memchr(line.p, '\r', line.n) != NULL)
            return err_set(err, ERR_INVALID, "the header '%.*s' has a line break in it", STR_ARG(h->name));
        c->headers = curl_slist_append(c->headers, line.p);
        typed |= strncasecmp(line.p, "Content-Type:", 13) == 0;
    }
    if (!typed) c->headers = curl_slist_append(c->headers, "Content-Type:"); /* curl would say that it is a form */
    return true;
}

static void set_options(struct call *c, const struct egress_request *req, struct arena *a)
{
    CURL *curl = c->curl;
    long timeout = req->timeout_ms > 0 ? (long)req->timeout_ms : TIMEOUT_MS;
    curl_easy_setopt(curl, CURLOPT_CURLU, c->url);
    curl_easy_setopt(curl, CURLOPT_RESOLVE, c->resolve);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, timeout < CONNECT_TIMEOUT_MS ? timeout : CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace/" MILLRACE_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &c->body);
    if (req->stop != NULL) {
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)req);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, arena_cstr(a, req->method));
    static const char *const bodies[] = {"POST", "PUT", "PATCH"};
    bool has_body = req->body.n > 0; /* with some methods an empty one, too: RFC 9110, 8.6 */
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        has_body |= str_is(req->method, bodies[i]);
    if (has_body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.n);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, req->body.n > 0 ? req->body.p : "");
    }
    if (str_is(req->method, "HEAD")) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
}

static bool perform(struct call *c, struct arena *a, struct egress_response *out, struct err *err)
{
    CURLcode code = curl_easy_perform(c->curl);
    if (c->body.over) return err_set(err, ERR_TOO_LARGE, "the answer of %s is longer than allowed", c->host);
    if (code == CURLE_OPERATION_TIMEDOUT) return err_set(err, ERR_TIMEOUT, "%s did not answer in time", c->host);
    if (code != CURLE_OK) return err_set(err, ERR_UNAVAILABLE, "cannot call %s: %s", c->host, curl_easy_strerror(code));
    char *type = NULL;
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &out->status);
    curl_easy_getinfo(c->curl, CURLINFO_CONTENT_TYPE, &type);
    out->content_type = arena_str(a, str_of(type));
    out->body = arena_str(a, buf_view(&c->body));
    return true;
}

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool egress_call(const struct egress_request *req, struct arena *a, struct egress_response *out, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct call c = {0};
    buf_init(&c.body, req->max_bytes > 0 ? req->max_bytes : MAX_BYTES);
    bool ok = read_url(&c, arena_cstr(a, req->url), err) && pin(&c, req, err) && add_headers(&c, req, a, err);
    if (ok) {
        c.curl = curl_easy_init();
        set_options(&c, req, a);
        ok = perform(&c, a, out, err);
    }
    call_end(&c);
    return ok;
}
