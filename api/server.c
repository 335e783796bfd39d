/* The shell around the dispatcher: civetweb's two contexts (the API; health on a port of its own, which followers of
 * logs cannot starve), threads' arenas, and what wakes event streams. */
#include "api/server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/auth.h"
#include "api/dispatch.h"
#include "api/seats.h"
#include "api/stack.h"
#include "api/unread.h"
#include "engine/os/clock.h"
#include "engine/os/log.h"

#define HEALTH_THREADS "4"
#define HEAD_MS 10000 /* to send one request but its body */
#define CALM_MS 30000 /* a connection stays open after an answer while seats are not short; then see seats.c */
#define PIECE 16384
#define WRITE_PIECE 65536
#define ARENA_CAP ((size_t)256 << 20)
#define ARENA_KEEP ((size_t)128 << 10)
#define ARENA_HUGE ((size_t)4 << 20)

static int64_t head_limit_ms(const struct api *api)
{
    return api->cfg.body_timeout_ms < HEAD_MS ? api->cfg.body_timeout_ms : HEAD_MS;
}

/* ---- one request ---- */

struct wire {
    struct mg_connection *conn;
    struct seat *seat;
    int fd; /* looked up when needed: -1 = not yet, -2 = not found */
};

/* The library fills the whole buffer before it returns: small pieces tell whether a body gets on. */
static ssize_t wire_read(void *ctx, void *buf, size_t n, int64_t until_us)
{
    struct wire *w = ctx;
    seat_enter(w->seat, SEAT_BODY, until_us);
    int got = mg_read(w->conn, buf, n < PIECE ? n : PIECE);
    seat_enter(w->seat, SEAT_WORK, 0);
    return got <= 0 && seat_shed(w->seat) ? TRANSPORT_LATE : got;
}

static bool wire_write(void *ctx, const void *bytes, size_t n)
{
    struct wire *w = ctx;
    const char *p = bytes;
    bool ok = true;
    for (size_t piece; ok && n > 0; p += piece, n -= piece) {
        piece = n < WRITE_PIECE ? n : WRITE_PIECE;
        seat_enter(w->seat, SEAT_WRITE, 0);
        ok = mg_write(w->conn, p, piece) == (int)piece;
    }
    seat_enter(w->seat, SEAT_WORK, 0);
    return ok;
}

static int wire_fd(struct wire *w)
{
    if (w->fd != -1) return w->fd;
    w->fd = seat_socket(w->seat);
    if (w->fd == -1) w->fd = -2;
    return w->fd;
}

/* A follower that went away must not hold its thread until the next heartbeat. */
static bool wire_gone(void *ctx)
{
    struct pollfd p = {.fd = wire_fd(ctx), .events = POLLRDHUP};
    return p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* civetweb reads the rest of an unwanted body to its end, however slowly it comes: unless there is nothing more to
 * read. */
static void wire_abort(void *ctx)
{
    int fd = wire_fd(ctx);
    if (fd >= 0) shutdown(fd, SHUT_RD);
}

struct front { /* user data of a context */
    struct api *api;
    struct seats *seats;
    bool health;
};

static int64_t head_until(const struct front *front)
{
    return os_mono_us() + head_limit_ms(front->api) * 1000;
}

static int on_request(struct mg_connection *conn)
{
    const struct mg_request_info *info = mg_get_request_info(conn);
    const struct front *front = info->user_data;
    struct seat *seat = mg_get_thread_pointer(conn);
    struct arena *arena = &seat->arena;
    struct header headers[MG_MAX_HEADERS];
    struct wire wire = {conn, seat, -1};
    struct request rq = {
        .api = front->api,
        .arena = arena,
        .wire = {&wire, wire_read, wire_write, wire_gone, wire_abort},
        .method = str_of(info->request_method),
        .path = str_of(info->local_uri_raw ? info->local_uri_raw : "*"),
        .query = str_of(info->query_string),
        .target = str_of(info->request_uri),
        .headers = headers,
        .content_length = info->content_length,
        .head_bytes = unread_size(info),
        .head_cut = unread_headers(info),
        .http11 = info->http_version && strcmp(info->http_version, "1.1") == 0,
        .health_only = front->health,
    };
    for (int i = 0; i < info->num_headers && i < MG_MAX_HEADERS; i++)
        headers[rq.n_headers++] = (struct header){
            unread_blank(&info->http_headers[i]) ? "" : info->http_headers[i].name, info->http_headers[i].value};
    seat->answered = !str_starts(rq.target, "/");
    seat_enter(seat, SEAT_WORK, 0);
    int status = dispatch(&rq);
    if (rq.res.close) wire_abort(&wire);
    /* A thread that once had a huge document keeps nothing of it: there are many threads. */
    bool huge = arena->used > ARENA_HUGE;
    if (arena->used > ARENA_KEEP) {
        arena_free(arena);
        arena_init(arena, ARENA_CAP);
        if (huge) malloc_trim(0);
    } else {
        arena_reset(arena);
    }
    seat_enter(seat, SEAT_IDLE, os_mono_us() + CALM_MS * 1000);
    return status > 0 ? status : 500;
}

static int on_http_error(struct mg_connection *conn, int status, const char *message)
{
    struct seat *seat = mg_get_thread_pointer(conn);
    seat->answered = true;
    return unread_error(conn, status, message);
}

static int on_log(const struct mg_connection *conn, const char *message)
{
    (void)conn;
    log_debug("http", LOG_CSTR("detail", message));
    return 1;
}

static void *on_thread(const struct mg_context *ctx, int type)
{
    const struct front *front = mg_get_user_data(ctx);
    if (type != 1) return NULL;
    if (!stack_suffices()) abort();
    return seat_make(front->seats, ARENA_CAP);
}

static void on_thread_end(const struct mg_context *ctx, int type, void *pointer)
{
    (void)ctx;
    if (type == 1) seat_free(pointer);
}

static int on_connection(const struct mg_connection *conn, void **data)
{
    (void)data;
    const struct front *front = mg_get_user_data(mg_get_context(conn));
    seat_take(mg_get_thread_pointer(conn), conn, head_until(front));
    return 0;
}

static void on_connection_end(const struct mg_connection *conn)
{
    struct seat *seat = mg_get_thread_pointer(conn);
    if (!seat->answered && unread_target(conn)) unread_refuse((struct mg_connection *)(uintptr_t)conn);
    seat_leave(seat);
}

/* ---- start and stop ---- */

/* "host:port" for civetweb, which knows only addresses and bare ports. */
static bool listen_text(const char *listen, char out[80], bool *loopback, struct err *err)
{
    struct str rest = str_of(listen), host, port = rest;
    size_t at;
    if (str_find(rest, STR(":"), &at)) {
        host = str_sub(rest, 0, at);
        port = str_sub(rest, at + 1, rest.n);
    } else {
        host = STR("127.0.0.1");
    }
    if (str_is(host, "localhost")) host = STR("127.0.0.1");
    if (str_is(host, "*") || host.n == 0) host = STR("0.0.0.0");
    int64_t number;
    char address[64];
    struct in_addr in;
    snprintf(address, sizeof address, "%.*s", STR_ARG(host));
    if (!str_int(port, &number) || number < 0 || number > 65535 || inet_pton(AF_INET, address, &in) != 1) {
        err_set(err, ERR_INVALID, "cannot listen on '%s'", listen);
        err_path(err, "listen");
        return err_hint(err, "write an IPv4 address and a port, such as 127.0.0.1:7070");
    }
    *loopback = (ntohl(in.s_addr) >> 24) == 127;
    snprintf(out, 80, "%s:%lld", address, (long long)number);
    return true;
}

static int bound_port(const struct mg_context *ctx)
{
    struct mg_server_port port;
    return mg_get_server_ports(ctx, 1, &port) == 1 ? port.port : 0;
}

static struct mg_context *start_context(struct front *front, const char *listen, const char *threads, struct err *err)
{
    char timeout[24], buffer[24], calm[24];
    snprintf(calm, sizeof calm, "%d", CALM_MS);
    snprintf(buffer, sizeof buffer, "%d", UNREAD_BUFFER);
    snprintf(timeout, sizeof timeout, "%lld", (long long)head_limit_ms(front->api)); /* of one read or write */
    const char *options[] = {"listening_ports",
                             listen,
                             "num_threads",
                             threads,
                             "tcp_nodelay",
                             "1",
                             "max_request_size",
                             buffer,
                             "request_timeout_ms",
                             timeout,
                             "enable_keep_alive",
                             "yes",
                             "keep_alive_timeout_ms",
                             calm,
                             "linger_timeout_ms",
                             "1000",
                             "connection_queue",
                             "128",
                             "listen_backlog",
                             "512",
                             "decode_url",
                             "no",
                             "decode_query_string",
                             "no",
                             "enable_directory_listing",
                             "no",
                             "enable_auth_domain_check",
                             "no",
                             NULL};
    struct mg_callbacks callbacks = {
        .begin_request = on_request,
        .http_error = on_http_error,
        .log_message = on_log,
        .init_thread = on_thread,
        .exit_thread = on_thread_end,
        .init_connection = on_connection,
        .connection_close = on_connection_end,
    };
    /* civetweb sets SIGCHLD and SIGPIPE to be ignored; who waits for children would then miss them. Its threads take no
     * signals. */
    struct sigaction child;
    sigset_t all, before;
    sigaction(SIGCHLD, NULL, &child);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = 0;
    struct mg_context *ctx = mg_start(&callbacks, front, options);
    int why = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGCHLD, &child, NULL);
    if (ctx) return ctx;
    err_set(err, ERR_UNAVAILABLE, "cannot listen on %s: %s", listen, why ? strerror(why) : "the port is in use");
    err_hint(err, "is another server running? --listen chooses another port");
    return NULL;
}

static void fill_defaults(struct api_config *cfg)
{
    if (!cfg->threads) cfg->threads = 50;
    if (!cfg->max_body) cfg->max_body = 16 << 20;
    if (!cfg->max_upload) cfg->max_upload = (int64_t)1 << 40;
    if (!cfg->body_timeout_ms) cfg->body_timeout_ms = 30000;
    if (!cfg->listen) cfg->listen = "127.0.0.1:7070";
}

void api_init(struct api *api, const struct api_config *cfg)
{
    memset(api, 0, sizeof *api);
    api->cfg = *cfg;
    fill_defaults(&api->cfg);
    api->max_streams = api->cfg.threads / 2 ? api->cfg.threads / 2 : 1;
    pthread_mutex_init(&api->news_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&api->news, &attr);
    pthread_condattr_destroy(&attr);
}

void api_deinit(struct api *api)
{
    store_close(api->blobs);
    pthread_cond_destroy(&api->news);
    pthread_mutex_destroy(&api->news_lock);
}

struct running { /* an api with what civetweb needs of it */
    struct api api;
    struct front main, health;
    struct seats main_seats, health_seats;
};

static bool open_blobs(struct api *api, struct err *err)
{
    if (!api->cfg.store_dir) return true;
    const struct store_config alone = {.store_dir = str_of(api->cfg.store_dir)};
    return store_open(api->cfg.blobs ? api->cfg.blobs : &alone, &api->blobs, err);
}

static bool start_all(struct running *r, struct err *err)
{
    struct api *api = &r->api;
    char listen[80], threads[16];
    bool ignored;
    if (!listen_text(api->cfg.listen, listen, &api->loopback, err)) return false;
    if (!open_blobs(api, err)) return false;
    if (!auth_start(api, err)) return false;
    api->keep_alive = true;
    r->main = (struct front){api, &r->main_seats, false};
    r->health = (struct front){api, &r->health_seats, true};
    seats_open(&r->main_seats);
    seats_open(&r->health_seats);
    snprintf(threads, sizeof threads, "%u", api->cfg.threads);
    mg_init_library(0);
    api->main = start_context(&r->main, listen, threads, err);
    if (!api->main) return false;
    api->port = bound_port(api->main);
    if (!api->cfg.health_listen || !*api->cfg.health_listen) return true;
    if (!listen_text(api->cfg.health_listen, listen, &ignored, err)) return false;
    api->health = start_context(&r->health, listen, HEALTH_THREADS, err);
    if (api->health) api->health_port = bound_port(api->health);
    return api->health != NULL;
}

bool api_start(const struct api_config *cfg, struct api **out, struct err *err)
{
    struct running *r = calloc(1, sizeof *r);
    if (!r) abort();
    api_init(&r->api, cfg);
    if (!start_all(r, err)) {
        api_stop(&r->api);
        return false;
    }
    *out = &r->api;
    return true;
}

/* civetweb's acceptor looks at its stop flag every two seconds, or when somebody connects. */
struct knock {
    pthread_t thread;
    atomic_bool done;
    int port;
};

static void *knock(void *ctx)
{
    struct knock *k = ctx;
    while (!atomic_load(&k->done)) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)k->port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0) {
            if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) errno = 0;
            usleep(10000);
            close(fd);
        }
    }
    return NULL;
}

static void stop_context(struct mg_context *ctx, int port)
{
    struct knock k = {.port = port};
    bool knocking = pthread_create(&k.thread, NULL, knock, &k) == 0;
    mg_stop(ctx);
    atomic_store(&k.done, true);
    if (knocking) pthread_join(k.thread, NULL);
}

void api_stop(struct api *api)
{
    if (!api) return;
    atomic_store(&api->stopping, true);
    api_wake(api);
    if (api->main) stop_context(api->main, api->port);
    if (api->health) stop_context(api->health, api->health_port);
    struct running *r = (struct running *)api; /* its first member */
    seats_close(&r->main_seats);
    seats_close(&r->health_seats);
    api_deinit(api);
    free(r);
}

int api_port(const struct api *api)
{
    return api->port;
}

int api_health_port(const struct api *api)
{
    return api->health_port;
}

/* ---- news ---- */

void api_wake(struct api *api)
{
    pthread_mutex_lock(&api->news_lock);
    api->news_tick++;
    pthread_cond_broadcast(&api->news);
    pthread_mutex_unlock(&api->news_lock);
}

static bool wait_until(struct api *api, uint64_t *tick, int64_t ms, bool any_news)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&api->news_lock);
    while (!atomic_load(&api->stopping) && (!any_news || api->news_tick == *tick))
        if (pthread_cond_timedwait(&api->news, &api->news_lock, &until) != 0) break;
    *tick = api->news_tick;
    pthread_mutex_unlock(&api->news_lock);
    return !atomic_load(&api->stopping);
}

bool api_wait_news(struct api *api, uint64_t *tick, int64_t ms)
{
    return wait_until(api, tick, ms, true);
}

bool api_wait_stop(struct api *api, int64_t ms)
{
    uint64_t ignored;
    return wait_until(api, &ignored, ms, false);
}

void api_hint(struct api *api)
{
    if (api->cfg.hint) api->cfg.hint(api->cfg.hint_ctx);
}
