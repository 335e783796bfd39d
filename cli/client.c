/* REST over libcurl: see client.h. */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/os/clock.h"
#include "engine/text/json.h"

#define TRIES 5
#define WAIT_MOST_MS 10000 /* that much of a Retry-After is honoured */
#define CONNECT_MS 5000L
#define STALLED_S 60L /* nothing at all came for so long: the peer is gone */

struct client {
    CURL *curl;
    struct arena *arena;
    struct settings settings;
    const char *of_file;                                /* project of the file at hand, for when nobody named one */
    bool local;                                         /* never through a proxy */
    void (*on_retry)(void *ctx, const struct err *why); /* NULL = nobody asks */
    void *retry_ctx;
};

bool client_open(struct arena *a, const struct settings *settings, struct client **out, struct err *err)
{
    struct client *c = calloc(1, sizeof *c);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !c || !(c->curl = curl_easy_init())) {
        free(c);
        return err_set(err, ERR_INTERNAL, "the HTTP library could not start");
    }
    c->arena = a;
    c->settings = *settings;
    c->local = strstr(settings->server, "//127.") || strstr(settings->server, "//localhost") ||
               strstr(settings->server, "//[::1]");
    *out = c;
    return true;
}

void client_on_retry(struct client *c, void (*fn)(void *ctx, const struct err *why), void *ctx)
{
    c->on_retry = fn;
    c->retry_ctx = ctx;
}

void client_retries(const struct client *c, const struct err *why)
{
    if (c->on_retry != NULL) c->on_retry(c->retry_ctx, why);
}

void client_close(struct client *c)
{
    if (!c) return;
    curl_easy_cleanup(c->curl);
    free(c);
    curl_global_cleanup();
}

/* ---- paths ---- */

const char *client_path(struct arena *a, const char *fmt, ...)
{
    BUF_AUTO out;
    buf_init(&out, 64 << 10);
    va_list args;
    va_start(args, fmt);
    for (const char *p = fmt; *p; p++) {
        if (strncmp(p, "%s", 2) == 0) {
            buf_url(&out, str_of(va_arg(args, const char *)));
            p++;
        } else if (strncmp(p, "%lld", 4) == 0) {
            buf_printf(&out, "%lld", va_arg(args, long long));
            p += 3;
        } else {
            buf_char(&out, *p);
        }
    }
    va_end(args);
    return arena_cstr(a, buf_view(&out));
}

const char *client_with(struct arena *a, const char *path, const char *part)
{
    return arena_printf(a, "%s%s%s", path, strchr(path, '?') ? "&" : "?", part).p;
}

void client_file_project(struct client *c, const char *project)
{
    c->of_file = project;
}

const char *client_project(struct client *c, struct arena *a, const char *path)
{
    const char *project = c->settings.project ? c->settings.project : c->of_file;
    if (!project) return path;
    return client_with(a, path, client_path(a, "project=%s", project));
}

/* ---- one exchange ---- */

struct exchange {
    struct client *client;
    const struct client_request *request;
    struct buf body;
    bool refused; /* by the sink */
};

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    long status = 0;
    curl_easy_getinfo(x->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (x->request->sink && status < 400) {
        x->refused = !x->request->sink(x->request->sink_ctx, p, size * n);
        return x->refused ? 0 : size * n;
    }
    return buf_add(&x->body, p, size * n) ? size * n : 0;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)ctx, (void)a, (void)b, (void)c, (void)d;
    return cli_interrupted();
}

static void add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    if (more) *list = more;
}

/* What every request has in common. The caller frees the list when the exchange is over. */
static struct curl_slist *prepare(struct client *c, CURL *curl, const char *path, const char *accept)
{
    char line[4200]; /* a token is shorter: see config.c */
    struct curl_slist *headers = NULL;
    BUF_AUTO url;
    buf_init(&url, 0);
    buf_printf(&url, "%s%s", c->settings.server, path);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.p); /* copied */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALLED_S);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace/" MILLRACE_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    if (c->local) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    if (c->settings.token) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", c->settings.token);
        add_header(&headers, line);
    }
    snprintf(line, sizeof line, "Accept: %s", accept ? accept : "application/json");
    add_header(&headers, line);
    add_header(&headers, "Expect:"); /* no round trip before a body */
    return headers;
}

static CURLcode exchange(struct exchange *x)
{
    const struct client_request *r = x->request;
    CURL *curl = x->client->curl;
    struct curl_slist *headers = prepare(x->client, curl, r->path, r->accept);
    char line[512];
    for (size_t i = 0; i < 4 && r->headers[i]; i++)
        add_header(&headers, r->headers[i]);
    const char *method = r->method ? r->method : "GET";
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (strcmp(method, "HEAD") == 0) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (strcmp(method, "POST") == 0 || strcmp(method, "PATCH") == 0 || r->body.n) {
        snprintf(line, sizeof line, "Content-Type: %s", r->type ? r->type : "application/json");
        add_header(&headers, line);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body.n ? r->body.p : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
    }
    if (r->range_from > 0) {
        snprintf(line, sizeof line, "Range: bytes=%lld-", (long long)r->range_from);
        add_header(&headers, line);
    }
    if (r->direct) curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L); /* to others it says nothing of the token */
    if (!r->sink) curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    if (r->timeout_ms) curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    buf_reset(&x->body);
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    return code;
}

static struct str header_of(struct client *c, struct arena *a, const char *name)
{
    struct curl_header *h = NULL;
    if (curl_easy_header(c->curl, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK) return STR("");
    return arena_str(a, str_of(h->value));
}

static bool no_answer(struct client *c, CURLcode code, const struct exchange *x, struct err *err)
{
    if (cli_interrupted()) return err_set(err, ERR_UNAVAILABLE, "interrupted");
    if (x->refused) return err_set(err, ERR_IO, "what the server sent could not be written");
    if (code == CURLE_WRITE_ERROR) return err_set(err, ERR_TOO_LARGE, "the server's answer is too long");
    err_set(err, ERR_UNAVAILABLE, "cannot reach %s: %s", c->settings.server, curl_easy_strerror(code));
    if (code == CURLE_COULDNT_CONNECT && c->local) return err_hint(err, "start it with: millrace serve");
    return err_hint(err, "--server, MILLRACE_URL or a context (millrace config) name the server");
}

static void add_auth_hint(struct client *c, struct err *err)
{
    if (err->code != ERR_UNAUTHENTICATED || (err->hint[0] && c->settings.token)) return;
    if (c->settings.token)
        err_hint(err, "the token is from %s", c->settings.token_place);
    else if (c->settings.token_place)
        err_hint(err, "no token in %s; give one with --token-file or MILLRACE_TOKEN", c->settings.token_place);
    else
        err_hint(err, "give a token with --token-file or MILLRACE_TOKEN");
}

/* How long to wait before the next try; -1 = there is none. */
static int64_t wait_before(struct client *c, struct arena *a, const struct client_request *r, CURLcode code, int status,
                           int tries)
{
    bool safe = !r->method || strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0 || r->repeatable;
    if (r->once || tries >= TRIES || cli_interrupted()) return -1;
    if (code == CURLE_COULDNT_CONNECT) return tries < 3 ? 200 * tries : -1; /* it never arrived */
    if (code == CURLE_WRITE_ERROR || code == CURLE_ABORTED_BY_CALLBACK || r->sink) return -1;
    if (code != CURLE_OK) return safe ? 200 << tries : -1;
    if (status != 429 && !(status == 503 && safe)) return -1;
    int64_t seconds;
    if (!str_int(header_of(c, a, "Retry-After"), &seconds) || seconds < 0) return 200 << tries;
    return seconds * 1000 > WAIT_MOST_MS ? WAIT_MOST_MS : seconds * 1000;
}

static void tell_retry(struct client *c, struct arena *a, CURLcode code, const struct exchange *x,
                       const struct client_reply *found)
{
    struct err why = {0};
    if (c->on_retry == NULL) return;
    if (code != CURLE_OK)
        no_answer(c, code, x, &why);
    else
        problem_read(a, found->status, found->body, NULL, &why);
    client_retries(c, &why);
}

static void read_reply(struct client *c, struct arena *a, struct exchange *x, struct client_reply *out)
{
    long status = 0;
    struct str range = header_of(c, a, "Content-Range"), piece = STR("");
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    *out = (struct client_reply){.status = (int)status, .total = -1, .value = value_null()};
    out->location = header_of(c, a, "Location");
    out->etag = header_of(c, a, "ETag");
    out->type = header_of(c, a, "Content-Type");
    out->body = arena_str(a, buf_view(&x->body));
    while (str_split(&range, '/', &piece))
        ; /* bytes 5-9/10: the last piece */
    if (!str_int(header_of(c, a, "X-Offset"), &out->from)) out->from = 0;
    if (!str_int(piece, &out->total) && !str_int(header_of(c, a, "Content-Length"), &out->total)) out->total = -1;
}

bool client_send(struct client *c, struct arena *a, const struct client_request *request, struct client_reply *reply,
                 struct err_list *errors, struct err *err)
{
    struct exchange x = {.client = c, .request = request};
    struct client_reply found;
    struct err why;
    if (!settings_token(c->arena, &c->settings, &why)) {
        if (errors) *err_list_next(errors) = why;
        if (err) *err = why;
        return false;
    }
    buf_init(&x.body, CLIENT_ANSWER_MAX);
    CURLcode code;
    for (int tries = 1;; tries++) {
        code = exchange(&x);
        read_reply(c, a, &x, &found);
        int64_t wait = wait_before(c, a, request, code, found.status, tries);
        if (wait < 0) break;
        tell_retry(c, a, code, &x, &found);
        poll(NULL, 0, (int)wait); /* ends early by a signal, which the next try sees */
    }
    buf_free(&x.body);
    if (code != CURLE_OK) {
        no_answer(c, code, &x, &why);
    } else if (found.status >= 400) {
        problem_read(a, found.status, found.body, errors, &why);
        add_auth_hint(c, &why);
    } else if (found.status >= 300 && found.status != 304) {
        err_set(&why, ERR_UNAVAILABLE, "%s answered %d, a redirection", c->settings.server, found.status);
    } else {
        bool json = str_starts(found.type, "application/json") && found.body.n;
        if (json && !json_parse(a, found.body, 0, &found.value, err)) return false;
        *reply = found;
        return true;
    }
    if (errors && !errors->total) *err_list_next(errors) = why;
    if (err) *err = why;
    return false;
}

bool client_get(struct client *c, struct arena *a, const char *path, struct value *out, struct err *err)
{
    struct client_reply reply;
    if (!client_send(c, a, &(struct client_request){.path = path}, &reply, NULL, err)) return false;
    *out = reply.value;
    return true;
}

bool client_post(struct client *c, struct arena *a, const char *path, struct str body, struct value *out,
                 struct err_list *errors, struct err *err)
{
    struct client_reply reply;
    struct client_request request = {.method = "POST", .path = path, .body = body, .repeatable = true};
    if (!client_send(c, a, &request, &reply, errors, err)) return false;
    if (out) *out = reply.value;
    return true;
}

/* What the store says of it. */
static size_t leave(void *p, size_t size, size_t n, void *ctx)
{
    (void)p, (void)ctx;
    return size * n;
}

static size_t from_file(char *p, size_t size, size_t n, void *ctx)
{
    ssize_t got = read(*(int *)ctx, p, size * n);
    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

bool client_put_there(struct client *c, const char *url, const char *header, int fd, int64_t size, struct err *err)
{
    struct curl_slist *headers = NULL;
    CURL *curl = c->curl;
    long status = 0;
    if (lseek(fd, 0, SEEK_SET) != 0) return err_set(err, ERR_IO, "cannot read it again: %s", strerror(errno));
    curl_easy_reset(curl);
    add_header(&headers, header);
    add_header(&headers, "Expect:");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALLED_S);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, from_file);
    curl_easy_setopt(curl, CURLOPT_READDATA, &fd);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, leave);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) return err_set(err, ERR_UNAVAILABLE, "cannot reach the store: %s", curl_easy_strerror(code));
    return status < 300 || err_set(err, ERR_UNAVAILABLE, "the store answered %ld", status);
}

/* ---- streams ---- */

struct following {
    struct client *client;
    CURL *curl; /* its own: the callback may use the client meanwhile */
    struct client_stream *stream;
    struct sse sse;
    struct buf refusal; /* body of an answer ≥ 400 */
    bool any;           /* something came: the next break begins with a short pause again */
};

static bool on_event(void *ctx, const struct client_event *event)
{
    struct following *f = ctx;
    f->any = true;
    bool go_on = f->stream->fn(f->stream->ctx, event);
    if (!go_on) f->stream->stopped = true;
    return go_on;
}

static size_t on_stream(char *p, size_t size, size_t n, void *ctx)
{
    struct following *f = ctx;
    long status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400) return buf_add(&f->refusal, p, size * n) ? size * n : 0;
    return sse_feed(&f->sse, p, size * n) ? size * n : 0;
}

static bool tick(struct following *f)
{
    if (cli_interrupted() || !f->stream->fn(f->stream->ctx, NULL)) f->stream->stopped = true;
    return !f->stream->stopped;
}

/* One connection, until it ends or is stopped. Returns curl's verdict. */
static CURLcode stream_once(struct following *f, CURLM *multi)
{
    CURL *curl = f->curl;
    struct curl_slist *headers = prepare(f->client, curl, f->stream->path, "text/event-stream");
    char line[1100];
    struct str id = buf_view(&f->sse.id);
    if (id.n) {
        snprintf(line, sizeof line, "Last-Event-ID: %.*s", STR_ARG(id));
        add_header(&headers, line);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_stream);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
    sse_reset(&f->sse);
    buf_reset(&f->refusal);
    curl_multi_add_handle(multi, curl);
    CURLcode result = CURLE_OK;
    int running = 1;
    while (running && tick(f)) {
        if (curl_multi_perform(multi, &running) != CURLM_OK) break;
        if (running) curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));) {
        if (m->msg == CURLMSG_DONE) result = m->data.result;
    }
    curl_multi_remove_handle(multi, curl);
    curl_slist_free_all(headers);
    return result;
}

static bool refused(struct following *f, struct err *err)
{
    long status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 400) return false;
    struct arena a;
    arena_init(&a, 0);
    problem_read(&a, (int)status, buf_view(&f->refusal), NULL, err);
    arena_free(&a);
    add_auth_hint(f->client, err);
    return true;
}

bool client_follow(struct client *c, struct client_stream *stream, struct err *err)
{
    struct following f = {.client = c, .stream = stream};
    struct err why = {0};
    if (!settings_token(c->arena, &c->settings, err)) return false;
    sse_init(&f.sse, on_event, &f);
    buf_str(&f.sse.id, stream->last_id);
    buf_init(&f.refusal, 1 << 20);
    CURLM *multi = curl_multi_init();
    f.curl = curl_easy_init();
    bool ok = multi && f.curl;
    if (!ok) err_set(&why, ERR_INTERNAL, "the HTTP library could not start");
    for (int64_t pause = 100; ok && !stream->stopped;) {
        f.any = false;
        CURLcode code = stream_once(&f, multi);
        if (stream->stopped) break;
        if (code == CURLE_OK && refused(&f, &why)) {
            ok = false;
            break;
        }
        pause = f.any ? 100 : pause < 4000 ? pause * 2 : 4000;
        for (int64_t until = os_mono_us() + pause * 1000; os_mono_us() < until && tick(&f);)
            poll(NULL, 0, 100);
    }
    curl_easy_cleanup(f.curl);
    curl_multi_cleanup(multi);
    sse_free(&f.sse);
    buf_free(&f.refusal);
    if (!ok && err) *err = why;
    return ok;
}
