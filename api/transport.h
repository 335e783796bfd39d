/* What carries a request: civetweb in the server, memory in tests and fuzzers. Handlers never know which. */
#ifndef MILLRACE_API_TRANSPORT_H
#define MILLRACE_API_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TRANSPORT_LATE (-2) /* of read: the clock, or others in need of the thread, ended it */

struct transport {
    void *ctx;
    /* Of the body; 0 = its end, < 0 = broken, or not all there by until_us of the monotonic clock. */
    ssize_t (*read)(void *ctx, void *buf, size_t n, int64_t until_us);
    bool (*write)(void *ctx, const void *bytes, size_t n); /* all of it, or false: the peer is gone */
    bool (*gone)(void *ctx);                               /* the peer has hung up; NULL = cannot be known */
    void (*abort)(void *ctx);                              /* nothing more is read from the peer */
};

#endif
