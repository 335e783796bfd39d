/* The API's own state, shared by its threads; immutable after start but for the counters. Private to api/. */
#ifndef MILLRACE_API_API_H
#define MILLRACE_API_API_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/server.h"
#include "engine/blob/store.h"

struct api {
    struct api_config cfg;
    struct mg_context *main, *health;
    int port, health_port;
    struct blob_store *blobs; /* NULL without a data folder */
    struct str step_key;      /* of step tokens: bytes below */
    char step_key_bytes[128];
    bool loopback;       /* only this machine can reach it: Host names are checked */
    bool keep_alive;     /* connections outlive a request */
    atomic_uint streams; /* open event streams and polls that wait */
    unsigned max_streams;
    atomic_bool stopping;
    /* Waiters for news sleep here; a tick wakes them all. */
    pthread_mutex_t news_lock;
    pthread_cond_t news;
    uint64_t news_tick;
};

/* Without sockets: for the server, tests and fuzzers. */
void api_init(struct api *api, const struct api_config *cfg);
void api_deinit(struct api *api);

/* Sleeps until news, or `ms` passed, or the server stops (false). *tick holds the last tick seen. */
bool api_wait_news(struct api *api, uint64_t *tick, int64_t ms);
bool api_wait_stop(struct api *api, int64_t ms); /* whatever the news; false = the server stops */
void api_hint(struct api *api);                  /* something was committed that the scheduler should see */

#endif
