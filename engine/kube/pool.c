/* Curl's multi handles: their sockets in our epoll, their timer among ours, and what has ended. One for requests, which
 * shares HTTP/2 connections, one for streams, each with a connection of its own. */
#include <stdlib.h>
#include <sys/epoll.h>

#include "engine/kube/client_inner.h"
#include "engine/os/clock.h"

#define STREAMS_A_CONNECTION 100L /* what Kubernetes allows at most */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct kube_pool *p = ctx;
    int epoll = p->client->epoll;
    (void)easy, (void)known;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    struct epoll_event e = {.events = events, .data.u64 = (uint64_t)p->id << 32 | (uint32_t)fd};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e) != 0) epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct kube_pool *p = ctx;
    (void)multi;
    p->due_us = timeout_ms < 0 ? KUBE_NEVER : os_mono_us() + timeout_ms * 1000;
    return 0;
}

struct kube_pool *kube_pool_open(struct kube_client *c, bool streams)
{
    struct kube_pool *p = calloc(1, sizeof *p);
    CURLM *multi = curl_multi_init();
    if (p == NULL || multi == NULL) abort(); /* no memory: as everywhere */
    *p = (struct kube_pool){.next = c->pools, .client = c, .multi = multi, .id = ++c->last_pool, .due_us = KUBE_NEVER};
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, streams ? CURLPIPE_NOTHING : CURLPIPE_MULTIPLEX);
    curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, STREAMS_A_CONNECTION);
    c->pools = p;
    return p;
}

void kube_pool_close(struct kube_pool *p)
{
    struct kube_pool **at = &p->client->pools;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    curl_multi_cleanup(p->multi);
    free(p);
}

void kube_pool_ends(struct kube_pool *p)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(p->multi, &left)) != NULL) {
        struct kube_call *call = NULL;
        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        call->code = message->data.result;
        call->over = true;
        call->ended_us = os_mono_us();
        kube_call_news(call);
    }
}
