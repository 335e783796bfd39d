/* The watch over seats, and finding a connection's socket. See seats.h. */
#include "api/seats.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"

#define TICK_MS 50
#define RESERVE(n) ((n) / 8 ? (n) / 8 : 1)

/* How long a phase may last when seats are short. A body or an answer that gets on begins a phase with every piece. */
static const int64_t patience_us[SEAT_PHASES] = {
    [SEAT_HEAD] = 500000, [SEAT_IDLE] = 50000, [SEAT_BODY] = 1000000, [SEAT_WRITE] = 2000000};

/* ---- sockets ---- */

static bool is_peer(const struct sockaddr_in *a, const struct mg_request_info *info)
{
    char text[48];
    return a->sin_family == AF_INET && ntohs(a->sin_port) == info->remote_port &&
           inet_ntop(AF_INET, &a->sin_addr, text, sizeof text) && strcmp(text, info->remote_addr) == 0;
}

/* Looked up by its peer. Rare: only for streams, and for who is sent away. */
int seat_socket(const struct seat *seat)
{
    int found = -1;
    const struct mg_request_info *info = mg_get_request_info(seat->conn);
    DIR *dir = info ? opendir("/proc/self/fd") : NULL;
    const struct dirent *entry;
    while (dir && found < 0 && (entry = readdir(dir)) != NULL) {
        int fd = atoi(entry->d_name);
        struct sockaddr_in peer = {0}, own = {0};
        socklen_t n = sizeof peer, m = sizeof own;
        if (fd <= 2 || getpeername(fd, (struct sockaddr *)&peer, &n) != 0 || !is_peer(&peer, info)) continue;
        if (getsockname(fd, (struct sockaddr *)&own, &m) == 0 && ntohs(own.sin_port) == info->server_port) found = fd;
    }
    if (dir) closedir(dir);
    return found;
}

/* ---- the watch ---- */

/* The thread sees the end of what it reads, answers if it can, and closes. Under the lock, so that the socket is still
 * this connection's. */
static void send_away(struct seat *seat)
{
    int fd = seat_socket(seat);
    if (fd < 0) return; /* it is just beginning or ending */
    seat->shed = true;
    shutdown(fd, seat->phase == SEAT_WRITE ? SHUT_RDWR : SHUT_RD);
    log_debug("connection sent away", LOG_INT("phase", seat->phase));
}

/* Who has outstayed the patience for its phase by most. */
static struct seat *most_overdue(const struct seats *s, int64_t now)
{
    struct seat *worst = NULL;
    int64_t most = 0;
    for (struct seat *seat = s->first; seat; seat = seat->next) {
        if (seat->shed || !patience_us[seat->phase]) continue;
        int64_t over = now - seat->since_us - patience_us[seat->phase];
        if (over <= most) continue;
        most = over;
        worst = seat;
    }
    return worst;
}

static void look(struct seats *s, int64_t now)
{
    unsigned leaving = 0;
    for (struct seat *seat = s->first; seat; seat = seat->next) {
        if (seat->phase == SEAT_FREE) continue;
        if (!seat->shed && seat->until_us && now > seat->until_us) send_away(seat);
        leaving += seat->shed;
    }
    struct seat *worst;
    while (s->n - s->taken + leaving < RESERVE(s->n) && (worst = most_overdue(s, now)) != NULL) {
        send_away(worst);
        if (!worst->shed) break;
        leaving++;
    }
}

static void *watch(void *ctx)
{
    struct seats *s = ctx;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        if (s->taken == 0) {
            pthread_cond_wait(&s->news, &s->lock);
            continue;
        }
        look(s, os_mono_us());
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + TICK_MS * 1000000;
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        pthread_cond_timedwait(&s->news, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void seats_open(struct seats *s)
{
    pthread_condattr_t attr;
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->news, &attr);
    pthread_condattr_destroy(&attr);
    s->watching = pthread_create(&s->watch, NULL, watch, s) == 0;
}

void seats_close(struct seats *s)
{
    if (!s->watching) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->news);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->watch, NULL);
    pthread_cond_destroy(&s->news);
    pthread_mutex_destroy(&s->lock);
    s->watching = false;
}

/* ---- seats ---- */

struct seat *seat_make(struct seats *s, size_t arena_cap)
{
    struct seat *seat = calloc(1, sizeof *seat);
    if (!seat) abort();
    arena_init(&seat->arena, arena_cap);
    seat->of = s;
    pthread_mutex_lock(&s->lock);
    seat->next = s->first;
    s->first = seat;
    s->n++;
    pthread_mutex_unlock(&s->lock);
    return seat;
}

void seat_free(struct seat *seat)
{
    struct seats *s = seat->of;
    pthread_mutex_lock(&s->lock);
    struct seat **at = &s->first;
    while (*at != seat)
        at = &(*at)->next;
    *at = seat->next;
    s->n--;
    pthread_mutex_unlock(&s->lock);
    arena_free(&seat->arena);
    free(seat);
}

static void enter(struct seat *seat, enum seat_phase phase, int64_t until_us)
{
    seat->phase = phase;
    seat->since_us = os_mono_us();
    seat->until_us = until_us;
}

void seat_take(struct seat *seat, const struct mg_connection *conn, int64_t until_us)
{
    struct seats *s = seat->of;
    pthread_mutex_lock(&s->lock);
    seat->conn = conn;
    seat->shed = seat->answered = false;
    enter(seat, SEAT_HEAD, until_us);
    if (s->taken++ == 0) pthread_cond_signal(&s->news);
    pthread_mutex_unlock(&s->lock);
}

void seat_leave(struct seat *seat)
{
    struct seats *s = seat->of;
    pthread_mutex_lock(&s->lock);
    if (seat->phase != SEAT_FREE) s->taken--;
    seat->phase = SEAT_FREE;
    pthread_mutex_unlock(&s->lock);
}

void seat_enter(struct seat *seat, enum seat_phase phase, int64_t until_us)
{
    pthread_mutex_lock(&seat->of->lock);
    enter(seat, phase, until_us);
    pthread_mutex_unlock(&seat->of->lock);
}

bool seat_shed(struct seat *seat)
{
    pthread_mutex_lock(&seat->of->lock);
    bool shed = seat->shed;
    pthread_mutex_unlock(&seat->of->lock);
    return shed;
}
