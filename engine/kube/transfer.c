/* One try of one call as curl's easy handle: what is sent, and what comes into the call's buffers. Nothing calls back
 * from within curl; client.c tells afterwards. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "engine/kube/client_inner.h"
#include "engine/os/clock.h"

#define CONNECT_TIMEOUT_MS 10000L
#define UNANSWERED_MS 30000u /* what was sent and not acknowledged for so long: the connection is dead */

bool kube_transfer_idempotent(const struct kube_call *call)
{
    return strcmp(call->method, "POST") != 0 && strcmp(call->method, "PATCH") != 0;
}

/* ---- what comes ---- */

static void heard(struct kube_call *call)
{
    call->byte_us = call->pool->byte_us = os_mono_us();
}

static size_t on_header(const char *p, size_t size, size_t n, void *ctx)
{
    struct kube_call *call = ctx;
    struct str line = {p, size * n};
    heard(call);
    if (str_starts(line, "HTTP/")) { /* also the interim ones, and a proxy's */
        call->status = 0;
        call->retry_after_ms = 0;
        call->in.n = 0;
    } else if (line.n > 12 && strncasecmp(line.p, "retry-after:", 12) == 0) {
        call->retry_after_ms = kube_retry_after_ms(str_trim(str_sub(line, 12, line.n)), os_now_us() / 1000000);
    } else if (str_trim(line).n == 0) {
        long status = 0;
        curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status < 200) return line.n;
        call->status = status;
        call->begun = status < 300;
        if (call->stream && call->begun) kube_call_news(call);
    }
    return line.n;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct kube_call *call = ctx;
    heard(call);
    if (call->stream && call->begun) {
        kube_call_news(call);
    } else if (call->stream && call->in.n + size * n > KUBE_STATUS_MAX) {
        return size * n; /* a refusal's beginning is enough */
    }
    if (buf_add(&call->in, p, size * n)) return size * n;
    call->too_long = true;
    return 0;
}

/* ---- what is sent ---- */

/* Just before the request leaves on a connection: from here on it may be carried out. When a connection that was used
 * before is lost without an answer, curl takes a new one and sends anew; what is not idempotent is not to be. */
static int on_sent(void *ctx, const char *ip, const char *local, int port, int local_port)
{
    struct kube_call *call = ctx;
    (void)ip, (void)local, (void)port, (void)local_port;
    call->doubled = call->sent && !kube_transfer_idempotent(call);
    call->sent = true;
    return call->doubled ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static int on_connection(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    unsigned ms = UNANSWERED_MS;
    (void)ctx, (void)purpose;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    return CURL_SOCKOPT_OK;
}

static void header(struct kube_call *call, struct str line)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_str(&text, line);
    if (line.n > 0) call->headers = curl_slist_append(call->headers, text.p);
}

static void set_headers(struct kube_call *call, const struct kube_pass *pass)
{
    const struct kube_access *access = call->client->access;
    BUF_AUTO line;
    buf_init(&line, 0);
    header(call, pass->authorization);
    header(call, STR("Expect:")); /* no waiting for 100 Continue */
    if (!call->stream) header(call, STR("Accept: application/json"));
    buf_printf(&line, "Content-Type: %s", call->body.n > 0 ? call->type : "");
    header(call, buf_view(&line));
    const struct {
        const char *name;
        struct str value;
    } as[] = {{"Impersonate-User", access->as}, {"Impersonate-Uid", access->as_uid}};
    for (size_t i = 0; i < 2 + access->n_as_groups; i++) {
        struct str value = i < 2 ? as[i].value : access->as_groups[i - 2];
        buf_reset(&line);
        buf_printf(&line, "%s: %.*s", i < 2 ? as[i].name : "Impersonate-Group", STR_ARG(value));
        if (value.n > 0) header(call, buf_view(&line));
    }
}

/* The certificate names somebody else than the address does: curl is asked for that name, and led to the address. */
static void set_name(struct kube_call *call, CURLU *url)
{
    const struct kube_access *access = call->client->access;
    char *host = NULL, *port = NULL;
    BUF_AUTO text;
    buf_init(&text, 0);
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        buf_printf(&text, "%.*s:%s:%s:%s", STR_ARG(access->server_name), port, host, port);
        call->connect_to = curl_slist_append(NULL, text.p);
        buf_reset(&text);
        buf_printf(&text, "Host: %s:%s", host, port);
        header(call, buf_view(&text));
        buf_reset(&text);
        buf_str(&text, access->server_name);
        curl_url_set(url, CURLUPART_HOST, text.p, 0);
        curl_easy_setopt(call->curl, CURLOPT_CONNECT_TO, call->connect_to);
    }
    curl_free(host);
    curl_free(port);
}

static bool set_url(struct kube_call *call)
{
    const struct kube_access *access = call->client->access;
    CURLU *url = curl_url();
    char *whole = NULL;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_printf(&text, "%.*s%s", STR_ARG(access->server), call->path);
    bool ok = call->path[0] == '/' && curl_url_set(url, CURLUPART_URL, text.p, CURLU_PATH_AS_IS) == CURLUE_OK;
    if (ok && access->server_name.n > 0) set_name(call, url);
    ok = ok && curl_url_get(url, CURLUPART_URL, &whole, 0) == CURLUE_OK &&
         curl_easy_setopt(call->curl, CURLOPT_URL, whole) == CURLE_OK;
    curl_easy_setopt(call->curl, CURLOPT_PATH_AS_IS, 1L);
    curl_free(whole);
    curl_url_cleanup(url);
    if (!ok) snprintf(call->error, sizeof call->error, "'%.200s' is no path that can be asked for", call->path);
    return ok;
}

static void set_blob(CURL *curl, CURLoption option, struct str pem)
{
    /* Copied: a plugin's next certificate takes its place while this one is in use. */
    struct curl_blob blob = {.data = (void *)(uintptr_t)pem.p, .len = pem.n, .flags = CURL_BLOB_COPY};
    if (pem.n > 0) curl_easy_setopt(curl, option, &blob);
}

static void set_security(struct kube_call *call, const struct kube_pass *pass)
{
    const struct kube_access *access = call->client->access;
    CURL *curl = call->curl;
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    set_blob(curl, CURLOPT_CAINFO_BLOB, access->ca_pem);
    if (access->ca_pem.n > 0) curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* else the system's would count, too */
    set_blob(curl, CURLOPT_SSLCERT_BLOB, pass->cert_pem);
    set_blob(curl, CURLOPT_SSLKEY_BLOB, pass->key_pem);
    if (access->insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    /* Without one in the kubeconfig the environment's proxies count, as for kubectl. */
    if (access->proxy_url.n > 0) {
        BUF_AUTO proxy;
        buf_init(&proxy, 0);
        buf_str(&proxy, access->proxy_url);
        curl_easy_setopt(curl, CURLOPT_PROXY, proxy.p);
    }
}

static void set_connection(struct kube_call *call)
{
    CURL *curl = call->curl;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's answer is not the server's */
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, 30L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, 10L);
    curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, on_connection);
    if (call->stream) {
        /* By HTTP/1.1 a stream is its connection: cutting one ends the other. */
        curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        /* Without TLS only an answer would tell that there is no HTTP/2, and until then all would wait for the first.
         */
        curl_easy_setopt(curl, CURLOPT_PIPEWAIT, str_starts(call->client->access->server, "https:") ? 1L : 0L);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    }
}

static void set_callbacks(struct kube_call *call)
{
    CURL *curl = call->curl;
    curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_sent);
    curl_easy_setopt(curl, CURLOPT_PREREQDATA, call);
}

static void set_body(struct kube_call *call)
{
    CURL *curl = call->curl;
    bool posts = strcmp(call->method, "GET") != 0 && strcmp(call->method, "DELETE") != 0;
    if (call->body.n > 0 || posts) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.n > 0 ? call->body.p : "");
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, call->client->user_agent);
}

bool kube_transfer_start(struct kube_call *call, const struct kube_pass *pass, int64_t now_us)
{
    struct kube_client *c = call->client;
    call->curl = curl_easy_init();
    if (call->curl == NULL) abort();
    call->pool = call->stream ? c->streams : c->requests;
    call->pool->running++;
    call->status = 0;
    call->retry_after_ms = 0;
    call->began_us = call->byte_us = now_us;
    call->sent = call->doubled = call->begun = call->too_long = call->idle = call->late = call->over = false;
    call->code = CURLE_OK;
    call->error[0] = '\0';
    call->credential = pass->number;
    buf_reset(&call->in);
    if (!set_url(call)) return false;
    set_callbacks(call);
    set_headers(call, pass);
    set_security(call, pass);
    set_connection(call);
    set_body(call);
    curl_easy_setopt(call->curl, CURLOPT_HTTPHEADER, call->headers);
    CURLMcode code = curl_multi_add_handle(call->pool->multi, call->curl);
    if (code != CURLM_OK) snprintf(call->error, sizeof call->error, "%s", curl_multi_strerror(code));
    return code == CURLM_OK;
}

void kube_transfer_stop(struct kube_call *call)
{
    if (call->curl == NULL) return;
    curl_multi_remove_handle(call->pool->multi, call->curl);
    curl_easy_cleanup(call->curl);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    call->curl = NULL;
    call->headers = call->connect_to = NULL;
    call->pool->running--;
}
