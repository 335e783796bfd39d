/* The one way out: every HTTP request that a user's text can cause goes through here. The name is resolved once, every
 * address is checked, and the connection is pinned to what was checked, so that a name cannot change its mind between
 * check and use (DNS rebinding). http and https only, no redirects, no proxies from the environment, caps on bytes and
 * time. Blocks: for worker threads. */
#ifndef MILLRACE_OS_EGRESS_H
#define MILLRACE_OS_EGRESS_H

#include "engine/base/arena.h"
#include "engine/base/err.h"

struct addrinfo;

struct egress_header {
    struct str name, value;
};

struct egress_request {
    struct str method, url, body;
    const struct egress_header *headers;
    size_t n_headers;
    int64_t timeout_ms;       /* of it all; 0 = 30 s */
    size_t max_bytes;         /* of the answer's body; 0 = 1 MiB */
    const _Atomic bool *stop; /* given up once it is true; may be NULL */
    bool allow_private;       /* loopback, private, link-local addresses too; metadata services never */
    /* Instead of getaddrinfo, whose terms it keeps; NULL but in tests. */
    int (*resolve)(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);
};
struct egress_response {
    long status;
    struct str body, content_type;
};

/* True whatever the status; ERR_FORBIDDEN for what must not be reached, ERR_TIMEOUT, ERR_UNAVAILABLE (also when it was
 * stopped), ERR_TOO_LARGE, ERR_INVALID for the URL. */
MUST_CHECK bool egress_call(const struct egress_request *req, struct arena *a, struct egress_response *out,
                            struct err *err);

struct sockaddr;
/* Whether an address may be reached; for tests. IPv4 inside IPv6 is looked through. */
bool egress_allowed(const struct sockaddr *address, bool allow_private);

#endif
