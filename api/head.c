/* See head.h. */
#include "api/head.h"

bool head_check(const struct request *rq, struct err *err)
{
    if (rq->n_headers > HEAD_HEADERS) {
        err_set(err, ERR_HEADERS_TOO_LARGE, "the request has more than %d headers", HEAD_HEADERS);
        return err_hint(err, "leave some out: none is ignored in silence");
    }
    if (!rq->head_cut) return true;
    err_set(err, ERR_SYNTAX, "the head of the request has a line that is no header");
    return err_hint(err, "every line is 'Name: value' and ends in CR LF; none goes on in the next");
}
