/* AWS's Signature Version 4, by hand: libcurl's own (7.88) leaves the query unsorted and does not know the digest of a
 * body that is streamed, and links that carry their signature in the query it cannot make at all. One signer does both.
 * Pure but for OpenSSL: time and keys come with the call. */
#ifndef MILLRACE_OS_SIGV4_H
#define MILLRACE_OS_SIGV4_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"

#define SIGV4_UNSIGNED STR("UNSIGNED-PAYLOAD") /* in links: the body is not known yet */
#define SIGV4_TIME 17                          /* 20130524T000000Z and NUL */

struct sigv4_key {
    struct str id, secret, token; /* token: of a session; empty = none */
};

struct sigv4_pair {
    struct str name, value;
};

struct sigv4_request {
    const char *method;
    struct str path; /* encoded, as it is sent */
    const struct sigv4_pair *query;
    size_t n_query;
    const struct sigv4_pair *headers; /* all that are signed, names in lower case: host at least */
    size_t n_headers;
    struct str payload; /* hex of the body's SHA-256, or SIGV4_UNSIGNED */
    struct str region, service;
    int64_t now_us;
};

/* Percent-encoding as S3 counts it: all but A-Z a-z 0-9 - . _ ~, and slashes where they are kept. */
struct str sigv4_encode(struct arena *a, struct str text, bool keep_slash);
/* Encoded and sorted, as it is signed and sent; empty for none. */
struct str sigv4_query(struct arena *a, const struct sigv4_pair *query, size_t n);
void sigv4_time(int64_t now_us, char out[SIGV4_TIME]); /* of the header x-amz-date, which must be among the signed */

/* The value of the header Authorization. */
struct str sigv4_authorization(struct arena *a, const struct sigv4_request *r, const struct sigv4_key *key);
/* The whole query of a link that is good for `seconds` from now_us. */
struct str sigv4_link(struct arena *a, const struct sigv4_request *r, const struct sigv4_key *key, int64_t seconds);

#endif
