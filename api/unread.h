/* What the HTTP library leaves unread or refuses by itself, told in our words. It was read once how it leaves its
 * buffer behind (civetweb 1.15); tests/api/test_heads holds it to that. */
#ifndef MILLRACE_API_UNREAD_H
#define MILLRACE_API_UNREAD_H

#include <civetweb.h>
#include <stdbool.h>
#include <stddef.h>

#define UNREAD_BUFFER 65536 /* of one head; what is larger is told from what is wrong up to here */

/* It stops at its 64th header, and at a line that is folded or has no name: whatever follows would be ignored. */
bool unread_headers(const struct mg_request_info *info);
/* Bytes of the head, up to the last header that was read. */
size_t unread_size(const struct mg_request_info *info);
/* "Name : value" is given out as if there were no blank. */
bool unread_blank(const struct mg_header *header);
/* A connection ends: was a request read whose target the library does not serve, so that nobody answered it? */
bool unread_target(const struct mg_connection *conn);
/* Answers it. */
void unread_refuse(struct mg_connection *conn);
/* The library's own refusals. */
int unread_error(struct mg_connection *conn, int status, const char *message);

#endif
