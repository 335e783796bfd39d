/* Is the head of a request what it says it is? Whatever two readers could understand differently is refused (RFC 9112):
 * a proxy in front of the server may be the other reader. */
#ifndef MILLRACE_API_HEAD_H
#define MILLRACE_API_HEAD_H

#include "api/request.h"

#define HEAD_BYTES 16384
#define HEAD_HEADERS 63 /* as many as the library reads, less the one at which it stops */

MUST_CHECK bool head_check(const struct request *rq, struct err *err);

#endif
