/* What the HTTP library leaves unread or refuses by itself, told in our words. It was read once how it leaves its
 * buffer behind (civetweb 1.15); tests/api/test_heads holds it to that. */
#ifndef MILLRACE_API_UNREAD_H
#define MILLRACE_API_UNREAD_H

#include <civetweb.h>
#include <stdbool.h>

/* It stops at its 64th header, and at a line that is folded or has no name: whatever follows would be ignored. */
bool unread_headers(const struct mg_request_info *info);

#endif
