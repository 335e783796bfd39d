/* See head.h. */
#include "api/head.h"

#include <string.h>
#include <strings.h>

/* Those of which only one is ever looked at: a second one would be understood by somebody else. */
static const char *const single[] = {"Host",
                                     "Content-Length",
                                     "Transfer-Encoding",
                                     "Content-Type",
                                     "Origin",
                                     "Authorization",
                                     "Content-Encoding",
                                     "Expect",
                                     "If-Match",
                                     "If-Range",
                                     "Range",
                                     "Idempotency-Key",
                                     "Last-Event-ID",
                                     "Upload-Offset"};

static bool is_token(const char *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    const char *c = name;
    while ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
           (*c && strchr(others, *c)))
        c++;
    return c > name && *c == '\0';
}

static bool check_names(const struct request *rq, struct err *err)
{
    for (size_t i = 0; i < rq->n_headers; i++) {
        if (is_token(rq->headers[i].name)) continue;
        err_set(err, ERR_SYNTAX, "a header's name is not valid");
        return err_hint(err, "names have letters, digits and '-', and no blank before the colon");
    }
    for (size_t k = 0; k < sizeof single / sizeof *single; k++) {
        size_t n = 0;
        for (size_t i = 0; i < rq->n_headers; i++)
            n += strcasecmp(rq->headers[i].name, single[k]) == 0;
        if (n <= 1) continue;
        err_set(err, ERR_SYNTAX, "there are %zu headers %s", n, single[k]);
        return err_path(err, "%s", single[k]);
    }
    return true;
}

/* One way to tell where the body ends. */
static bool check_length(const struct request *rq, struct err *err)
{
    const char *length = request_header(rq, "Content-Length"), *coding = request_header(rq, "Transfer-Encoding");
    if (length && (!*length || strspn(length, "0123456789") != strlen(length))) {
        err_set(err, ERR_SYNTAX, "the length '%.40s' is not a whole number", length);
        return err_path(err, "Content-Length");
    }
    if (!coding || (!length && rq->http11)) return true;
    err_set(err, ERR_SYNTAX,
            length ? "a body has a Content-Length or a Transfer-Encoding, not both" : "HTTP/1.0 knows no chunks");
    return err_path(err, "Transfer-Encoding");
}

/* "GET http://host/path": the host is told twice. */
static bool check_target(const struct request *rq, struct err *err)
{
    size_t at;
    struct str host, rest = rq->target;
    const char *header = request_header(rq, "Host");
    if (rest.n == 0 || rest.p[0] == '/' || !str_find(rest, STR("://"), &at)) return true;
    rest = str_sub(rest, at + 3, rest.n);
    str_split(&rest, '/', &host);
    if (header && host.n == strlen(header) && strncasecmp(header, host.p, host.n) == 0) return true;
    err_set(err, ERR_SYNTAX, "the target is at '%.*s', the Host header says otherwise", STR_ARG(str_sub(host, 0, 80)));
    return err_path(err, "Host");
}

bool head_check(const struct request *rq, struct err *err)
{
    if (rq->n_headers > HEAD_HEADERS) {
        err_set(err, ERR_HEADERS_TOO_LARGE, "the request has more than %d headers", HEAD_HEADERS);
        return err_hint(err, "leave some out: none is ignored in silence");
    }
    if (rq->head_bytes > HEAD_BYTES)
        return err_set(err, ERR_HEADERS_TOO_LARGE, "the head of the request is larger than %d KiB", HEAD_BYTES / 1024);
    if (rq->head_cut) {
        err_set(err, ERR_SYNTAX, "the head of the request has a line that is no header");
        return err_hint(err, "every line is 'Name: value' and ends in CR LF; none goes on in the next");
    }
    return check_names(rq, err) && check_length(rq, err) && check_target(rq, err);
}
