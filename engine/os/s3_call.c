/* One request to S3 and what comes of it: signed, sent, tried again while that may help, and its errors told with what
 * S3 said. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/base/mask.h"
#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "engine/os/s3_inner.h"

#define ANSWER_MAX ((size_t)8 << 20) /* a page of a list */
#define CONNECT_MS 10000L
#define SILENCE_S 90L /* S3 may think about a completed upload for long */
#define WAIT_MOST_MS 10000
#define REFUSED_TRIES 5 /* of connections, where that is to be known soon: two or three seconds */
#define TROUBLE_AGAIN_US ((int64_t)60 * 1000000)
#define SKEW_MOST_S 900 /* what S3 bears */

struct trial {
    struct s3 *s;
    const struct s3_call *call;
    struct s3_answer *answer;
    struct arena *arena;
    CURL *curl;
    struct curl_slist *headers;
    struct sigv4_key key;
    int64_t sent, got; /* of the file; by the sink, over all tries */
    bool resumed;      /* not from the begin */
    bool refused;      /* by the sink */
    bool too_much;
    bool unreadable;     /* the file, by errno */
    int64_t their_clock; /* seconds; 0 = not said */
    int64_t our_clock;
};

void s3_answer_free(struct s3_answer *a)
{
    buf_free(&a->body);
}

/* ---- XML ---- */

bool s3_element(struct str xml, const char *name, struct str *inside, struct str *after)
{
    char open[64], shut[64];
    size_t from, to;
    snprintf(open, sizeof open, "<%s>", name);
    snprintf(shut, sizeof shut, "</%s>", name);
    if (!str_find(xml, str_of(open), &from)) return false;
    struct str rest = str_sub(xml, from + strlen(open), xml.n);
    if (!str_find(rest, str_of(shut), &to)) return false;
    *inside = str_sub(rest, 0, to);
    if (after != NULL) *after = str_sub(rest, to + strlen(shut), rest.n);
    return true;
}

struct str s3_text(struct arena *a, struct str xml, const char *name)
{
    static const struct {
        const char *entity;
        char c;
    } entities[] = {{"&lt;", '<'},  {"&gt;", '>'},  {"&quot;", '"'}, {"&apos;", '\''},
                    {"&amp;", '&'}, {"&#34;", '"'}, {"&#39;", '\''}};
    struct str in;
    if (!s3_element(xml, name, &in, NULL)) return (struct str){"", 0};
    char *out = arena_alloc(a, in.n + 1);
    size_t n = 0;
    while (in.n > 0) {
        size_t skip = 1;
        out[n] = in.p[0];
        for (size_t i = 0; in.p[0] == '&' && i < sizeof entities / sizeof *entities; i++) {
            if (!str_starts(in, entities[i].entity)) continue;
            out[n] = entities[i].c;
            skip = strlen(entities[i].entity);
            break;
        }
        n++;
        in = str_sub(in, skip, in.n);
    }
    return (struct str){out, n};
}

/* ---- what curl asks of us ---- */

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct trial *t = ctx;
    long status = 0;
    n *= size;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->call->sink == NULL || status >= 300) return buf_add(&t->answer->body, p, n) ? n : 0;
    t->too_much = (int64_t)n > t->call->size - t->got || (status == 200 && (t->call->ranged || t->resumed));
    if (t->too_much) return 0;
    t->refused = !t->call->sink(t->call->ctx, p, n);
    if (t->refused) return 0;
    t->got += (int64_t)n;
    return n;
}

static size_t on_read(char *p, size_t size, size_t n, void *ctx)
{
    struct trial *t = ctx;
    int64_t left = t->call->size - t->sent;
    n *= size;
    if ((int64_t)n > left) n = (size_t)left;
    ssize_t got;
    do
        got = pread(t->call->fd, p, n, t->call->from + t->sent);
    while (got < 0 && errno == EINTR);
    t->unreadable = got < 0 || (got == 0 && n > 0);
    if (t->unreadable) return CURL_READFUNC_ABORT;
    t->sent += got;
    return (size_t)got;
}

/* For curl, which begins anew by itself when a kept connection turns out to be dead. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct trial *t = ctx;
    if (origin != SEEK_SET) return CURL_SEEKFUNC_FAIL;
    t->sent = offset;
    return CURL_SEEKFUNC_OK;
}

static int on_progress(void *ctx, curl_off_t dl, curl_off_t dl_now, curl_off_t ul, curl_off_t ul_now)
{
    const struct trial *t = ctx;
    (void)dl, (void)dl_now, (void)ul, (void)ul_now;
    return atomic_load(&t->s->stopping) ? 1 : 0;
}

/* ---- one try ---- */

static void add_header(struct trial *t, struct str name, struct str value)
{
    struct str line = arena_printf(t->arena, "%.*s: %.*s", STR_ARG(name), STR_ARG(value));
    t->headers = curl_slist_append(t->headers, line.p);
}

static struct str copy_source(struct trial *t)
{
    struct str key = sigv4_encode(t->arena, s3_full_key(t->s, t->arena, t->call->copied), true);
    return arena_printf(t->arena, "/%.*s/%.*s", STR_ARG(t->s->cfg.bucket), STR_ARG(key));
}

static void sign(struct trial *t)
{
    const struct s3_call *call = t->call;
    unsigned char sum[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1], when[SIGV4_TIME];
    int64_t now = os_now_us();
    if (call->sum == NULL) digest_raw(call->text, sum);
    digest_hex(call->sum != NULL ? call->sum : sum, DIGEST_BYTES, hex);
    sigv4_time(now, when);
    t->our_clock = now / 1000000;
    struct sigv4_pair headers[5] = {{STR("host"), t->s->host}, {STR("x-amz-content-sha256"), str_of(hex)}};
    size_t n = 2; /* in the order of their names */
    if (call->copied.n > 0) headers[n++] = (struct sigv4_pair){STR("x-amz-copy-source"), copy_source(t)};
    headers[n++] = (struct sigv4_pair){STR("x-amz-date"), str_of(when)};
    if (t->key.token.n > 0) headers[n++] = (struct sigv4_pair){STR("x-amz-security-token"), t->key.token};
    const struct sigv4_request r = {.method = call->method,
                                    .path = s3_path(t->s, t->arena, call->key),
                                    .query = call->query,
                                    .n_query = call->n_query,
                                    .headers = headers,
                                    .n_headers = n,
                                    .payload = str_of(hex),
                                    .region = t->s->cfg.region,
                                    .service = STR("s3"),
                                    .now_us = now};
    for (size_t i = 0; i < r.n_headers; i++)
        add_header(t, headers[i].name, headers[i].value);
    add_header(t, STR("Authorization"), sigv4_authorization(t->arena, &r, &t->key));
    struct str query = sigv4_query(t->arena, call->query, call->n_query);
    struct str url = arena_printf(t->arena, "%.*s%.*s%s%.*s", STR_ARG(t->s->base), STR_ARG(r.path),
                                  query.n > 0 ? "?" : "", STR_ARG(query));
    curl_easy_setopt(t->curl, CURLOPT_URL, url.p);
}

static void set_body(struct trial *t)
{
    const struct s3_call *call = t->call;
    CURL *curl = t->curl;
    if (call->sum != NULL && call->size > 0) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->size);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(curl, CURLOPT_READDATA, t);
        curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(curl, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);
    } else if (strcmp(call->method, "PUT") == 0 || strcmp(call->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->text.n);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->text.n > 0 ? call->text.p : "");
    } else if (strcmp(call->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
}

static void set_options(struct trial *t)
{
    CURL *curl = t->curl;
    const struct s3_call *call = t->call;
    curl_easy_reset(curl); /* its connections stay */
    sign(t);
    if (call->sink != NULL && (call->ranged || t->got > 0))
        add_header(
            t, STR("Range"),
            arena_printf(t->arena, "bytes=%" PRId64 "-%" PRId64, call->from + t->got, call->from + call->size - 1));
    t->headers = curl_slist_append(t->headers, "Expect:"); /* servers that do not know it would cost a second */
    t->headers = curl_slist_append(t->headers, "Content-Type:");
    set_body(t);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace/" MILLRACE_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
}

static const char *header_of(struct trial *t, const char *name)
{
    struct curl_header *h;
    return curl_easy_header(t->curl, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

static void read_head(struct trial *t)
{
    struct s3_answer *a = t->answer;
    curl_off_t size = -1;
    const char *text = header_of(t, "ETag");
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &a->status);
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    a->size = size;
    snprintf(a->etag, sizeof a->etag, "%s", text != NULL ? text : "");
    text = header_of(t, "Last-Modified");
    a->modified_us = text != NULL ? (int64_t)curl_getdate(text, NULL) * 1000000 : 0;
    text = header_of(t, "Date");
    t->their_clock = text != NULL ? (int64_t)curl_getdate(text, NULL) : 0;
}

static CURL *take_curl(struct s3 *s)
{
    pthread_mutex_lock(&s->lock);
    CURL *curl = s->n_idle > 0 ? s->idle[--s->n_idle] : NULL;
    pthread_mutex_unlock(&s->lock);
    if (curl == NULL) curl = curl_easy_init();
    if (curl == NULL) abort();
    return curl;
}

static void give_curl(struct s3 *s, CURL *curl)
{
    pthread_mutex_lock(&s->lock);
    bool room = s->n_idle < S3_IDLE;
    if (room) s->idle[s->n_idle++] = curl;
    pthread_mutex_unlock(&s->lock);
    if (!room) curl_easy_cleanup(curl);
}

static CURLcode perform(struct trial *t)
{
    t->sent = 0;
    t->too_much = t->refused = t->unreadable = false;
    buf_reset(&t->answer->body);
    t->curl = take_curl(t->s);
    t->resumed = t->got > 0; /* an answer that begins anew would then be wrong */
    set_options(t);
    CURLcode code = curl_easy_perform(t->curl);
    read_head(t);
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    give_curl(t->s, t->curl);
    return code;
}

/* ---- what comes of it ---- */

static bool among(struct str word, const char *const *words)
{
    for (; *words != NULL; words++)
        if (str_is(word, *words)) return true;
    return false;
}

static bool may_help(const struct trial *t, CURLcode code, struct str said)
{
    static const char *const passing[] = {
        "SlowDown",   "InternalError",       "ServiceUnavailable",   "RequestTimeout",
        "Throttling", "ThrottlingException", "RequestLimitExceeded", "OperationAborted",
        NULL};
    long status = t->answer->status;
    if (t->refused || t->too_much || t->unreadable || t->answer->body.over || atomic_load(&t->s->stopping))
        return false;
    if (code != CURLE_OK) return code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_URL_MALFORMAT;
    return status == 429 || (status >= 500 && status != 501 && status != 505 && status != 507) || among(said, passing);
}

static void name_place(const struct trial *t, char *out, size_t n)
{
    const struct s3 *s = t->s;
    struct str full = t->call->key.n > 0 ? s3_full_key(s, t->arena, t->call->key) : s->cfg.prefix;
    snprintf(out, n, "s3://%.*s/%.*s", STR_ARG(s->cfg.bucket), STR_ARG(str_sub(full, 0, 160)));
}

static bool no_answer(const struct trial *t, CURLcode code, const char *place, struct err *err)
{
    if (atomic_load(&t->s->stopping)) return err_set(err, ERR_UNAVAILABLE, "%s: the server is being stopped", place);
    if (t->refused) return err->code != ERR_NONE ? false : err_set(err, ERR_IO, "%s: its bytes were not taken", place);
    if (t->unreadable) return err_set(err, ERR_IO, "%s: what is to be stored cannot be read, or got shorter", place);
    if (t->too_much || t->answer->body.over)
        return err_set(err, ERR_UNAVAILABLE, "%s: the store sends more than was asked for", place);
    if (code == CURLE_OK) code = CURLE_PARTIAL_FILE;
    err_set(err, ERR_UNAVAILABLE, "%s: %s does not answer as it should: %s", place, t->s->base.p,
            curl_easy_strerror(code));
    if (code != CURLE_COULDNT_RESOLVE_HOST) return false;
    if (t->s->cfg.path_style) return err_hint(err, "does --s3-endpoint name the right host?");
    return err_hint(err,
                    "the host is the bucket's, %.*s. before the endpoint's: --s3-path-style if the store has no such "
                    "hosts, as most but AWS have none; else, does --s3-endpoint name the right host?",
                    STR_ARG(t->s->cfg.bucket));
}

static bool skewed(const struct trial *t, struct str code, const char *place, struct err *err)
{
    int64_t ahead = t->our_clock - t->their_clock;
    bool far = t->their_clock > 0 && (ahead > SKEW_MOST_S || ahead < -SKEW_MOST_S);
    if (!str_is(code, "RequestTimeTooSkewed") && !far) return false;
    err_set(err, ERR_UNAVAILABLE, "%s: %s: this machine's clock and that of %s differ by %lld s", place,
            code.n > 0 ? code.p : "refused", t->s->host.p, (long long)(ahead < 0 ? -ahead : ahead));
    err_hint(err, "this machine's is %s: set it by NTP", ahead < 0 ? "behind" : "ahead");
    return true;
}

static const char *hint_for(struct str code, long status)
{
    static const struct {
        const char *code, *hint;
    } hints[] = {{"NoSuchBucket", "make the bucket, or correct --artifact-store"},
                 {"PermanentRedirect", "the bucket is in another region: --s3-region, --s3-endpoint"},
                 {"AuthorizationHeaderMalformed", "the bucket is in another region: --s3-region"},
                 {"ExpiredToken", "put a new session's keys into the file of --s3-credentials"}};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (str_is(code, hints[i].code)) return hints[i].hint;
    if (status == 403 || status == 401) return "do the keys of --s3-credentials belong to who may use this bucket?";
    if (status == 301 || status == 307) return "the bucket is elsewhere: --s3-region, --s3-endpoint";
    return NULL;
}

/* A store may repeat what it was sent: keys are covered, whatever it says. */
static void cover(struct trial *t, struct err *err)
{
    struct mask m = {0};
    mask_add(&m, t->arena, t->key.id);
    mask_add(&m, t->arena, t->key.secret);
    mask_add(&m, t->arena, t->key.token);
    mask_forms(&m, t->arena);
    mask_sort(&m);
    (void)mask_cover(&m, err->message, strlen(err->message));
}

static bool failed(struct trial *t, CURLcode curl, struct str code, struct err *err)
{
    char place[300];
    struct err unused = {0};
    long status = t->answer->status;
    if (err == NULL) err = &unused;
    name_place(t, place, sizeof place);
    if (curl != CURLE_OK || (status < 300 && code.n == 0)) return no_answer(t, curl, place, err);
    if (status == 404 && (code.n == 0 || str_is(code, "NoSuchKey") || str_is(code, "NoSuchUpload")))
        return err_set(err, ERR_NOT_FOUND, "there is no %s", place);
    if ((status == 403 || status == 400) && skewed(t, code, place, err)) return false;
    struct str message = s3_text(t->arena, buf_view(&t->answer->body), "Message");
    err_set(err, ERR_UNAVAILABLE, "%s: %s%s%.*s%s%.*s (HTTP %ld)", place, t->call->method, code.n > 0 ? " " : "",
            STR_ARG(code), message.n > 0 ? ": " : "", STR_ARG(message), status);
    cover(t, err);
    const char *hint = hint_for(code, status);
    return hint != NULL ? err_hint(err, "%s", hint) : false;
}

static bool another(const struct trial *t, CURLcode code, struct str said, int tries)
{
    bool soon = t->call->soon && code == CURLE_COULDNT_CONNECT;
    return tries < t->s->cfg.tries && (!soon || tries < REFUSED_TRIES) && may_help(t, code, said);
}

static void wait_before(struct trial *t, int tries)
{
    int64_t wait = t->s->cfg.wait_ms << (tries < 16 ? tries : 16);
    if (wait > WAIT_MOST_MS) wait = WAIT_MOST_MS;
    wait = wait / 2 + (int64_t)(os_random_u64() % (uint64_t)(wait / 2 + 1)); /* many servers, not all at once */
    for (int64_t end = os_mono_us() + wait * 1000, now; !atomic_load(&t->s->stopping);) {
        now = os_mono_us();
        if (now >= end) return;
        int64_t left = (end - now) / 1000 + 1;
        poll(NULL, 0, left < 50 ? (int)left : 50);
    }
}

static bool enough(const struct trial *t, CURLcode code)
{
    return code == CURLE_OK && t->answer->status >= 200 && t->answer->status < 300 &&
           (t->call->sink == NULL || t->got == t->call->size);
}

/* ---- what the log says of it ---- */

/* Not of each try of each request: that it began, and again while it lasts. */
static void note_trouble(struct trial *t, CURLcode code, struct str said)
{
    struct err why = {0};
    int64_t now = os_mono_us(), last = atomic_load(&t->s->troubled_us);
    if (last != 0 && now - last < TROUBLE_AGAIN_US) return;
    if (!atomic_compare_exchange_strong(&t->s->troubled_us, &last, now)) return;
    (void)failed(t, code, said, &why);
    log_err(LEVEL_WARN, "the artifact store fails, and is tried again", &why);
}

static void note_answer(struct s3 *s)
{
    if (atomic_load(&s->troubled_us) != 0 && atomic_exchange(&s->troubled_us, 0) != 0)
        log_info("the artifact store answers again", LOG_STR("store", s->base));
}

bool s3_is_away(const struct s3 *s)
{
    return atomic_load(&s->troubled_us) != 0;
}

bool s3_do(struct s3 *s, const struct s3_call *call, struct s3_answer *out, struct err *err)
{
    struct arena a;
    struct trial t = {.s = s, .call = call, .answer = out, .arena = &a};
    bool done = false, again = true;
    buf_init(&out->body, ANSWER_MAX);
    arena_init(&a, 0);
    for (int tries = 0; again; tries++) {
        int64_t before = t.got;
        arena_reset(&a);
        if (!s3_key(s, &a, &t.key, err)) break;
        CURLcode code = perform(&t);
        struct str said = {"", 0}, error;
        if (call->sink == NULL || out->status >= 300) { /* some errors come as 200: those of what takes long */
            if (s3_element(buf_view(&out->body), "Error", &error, NULL)) said = s3_text(&a, error, "Code");
        }
        done = enough(&t, code) && said.n == 0;
        if (done || (code == CURLE_OK && !may_help(&t, code, said))) note_answer(s); /* also if it refuses */
        if (done) break;
        if (t.got > before) tries = 0; /* it gets on */
        again = another(&t, code, said, tries + 1);
        if (again) note_trouble(&t, code, said);
        if (again)
            wait_before(&t, tries);
        else
            failed(&t, code, said, err);
    }
    arena_free(&a);
    return done;
}
