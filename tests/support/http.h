/* A plain HTTP client over a socket, for tests that must see the bytes as they are: heads, chunks, half-sent requests.
 */
#ifndef MILLRACE_TESTS_SUPPORT_HTTP_H
#define MILLRACE_TESTS_SUPPORT_HTTP_H

#include "engine/base/buf.h"
#include "engine/base/value.h"

struct http_answer {
    int status;      /* 0 = no answer */
    struct buf head; /* status line and headers */
    struct buf body; /* chunks joined */
    bool whole;      /* ended as promised: length reached, or last chunk seen */
    struct arena arena;
    struct value json; /* of the body when it is JSON, else null */
};

int http_connect(int port); /* -1 on failure */
bool http_send(int fd, const char *bytes, size_t n);
/* Reads one answer; no_body: to a HEAD. False when none came within 20 s. */
bool http_receive(int fd, bool no_body, struct http_answer *out);
void http_answer_free(struct http_answer *a);
/* Value of a header in the arena; NULL when absent. */
const char *http_header(struct http_answer *a, const char *name);

/* One request on a connection of its own. `headers`: complete lines ("A: b\r\n"), or NULL; body NULL = none. The token,
 * when not NULL, is sent as a bearer. */
struct http_ask {
    int port;
    const char *method, *path, *token, *headers, *type;
    struct str body;
};
bool http_ask(const struct http_ask *ask, struct http_answer *out);

/* A member of the answer's JSON by a path such as "items.0.name"; NULL when absent. */
const struct value *http_member(const struct http_answer *a, const char *path);
const char *http_text(struct http_answer *a, const char *path);     /* of a string member; "" when absent */
int64_t http_number(const struct http_answer *a, const char *path); /* of a whole number; -1 when absent */

#endif
