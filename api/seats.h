/* Who holds the threads: a thread serves one connection at a time, so a client that does not get on with its request
 * would keep everybody else out. A seat is a thread; a watch ends what takes longer than it may by the clock, whatever
 * the pace at which bytes trickle in, and keeps a few seats free by sending away who has been idle or slow for longest.
 *
 * The HTTP library tells nobody its sockets, and its own limits begin anew with every byte. */
#ifndef MILLRACE_API_SEATS_H
#define MILLRACE_API_SEATS_H

#include <pthread.h>

#include "engine/base/arena.h"

enum seat_phase {
    SEAT_FREE,
    SEAT_HEAD,  /* connected, its first request has not arrived whole */
    SEAT_IDLE,  /* kept open after an answer, or sending its next request */
    SEAT_BODY,  /* a piece of a body is awaited */
    SEAT_WORK,  /* the server is at work: never sent away */
    SEAT_WRITE, /* a piece of an answer is going out */
    SEAT_PHASES
};

struct seats;
struct mg_connection;

struct seat {
    struct seats *of;
    struct seat *next;
    struct arena arena; /* of the thread's requests */
    enum seat_phase phase;
    int64_t since_us, until_us;       /* of the phase; until 0 = it has no end of its own */
    const struct mg_connection *conn; /* the library's; it outlives the phases but SEAT_FREE */
    bool shed;                        /* sent away: nothing more is read */
    bool answered;                    /* the request got an answer, be it from the library */
};

struct seats {
    pthread_mutex_t lock;
    pthread_cond_t news;
    pthread_t watch;
    struct seat *first;
    unsigned n, taken;
    bool watching, stop;
};

void seats_open(struct seats *s);
void seats_close(struct seats *s); /* after its threads ended */

/* A thread's seat, from its beginning to its end. */
struct seat *seat_make(struct seats *s, size_t arena_cap);
void seat_free(struct seat *seat);

void seat_take(struct seat *seat, const struct mg_connection *conn, int64_t until_us);
void seat_leave(struct seat *seat);
/* until_us: of the monotonic clock; 0 = no end. */
void seat_enter(struct seat *seat, enum seat_phase phase, int64_t until_us);
bool seat_shed(struct seat *seat);

/* The socket of the connection: -1 = not found. */
int seat_socket(const struct seat *seat);

#endif
