/* See unread.h. */
#include "api/unread.h"

#include <stdio.h>
#include <string.h>

size_t unread_size(const struct mg_request_info *info)
{
    const char *last = info->num_headers > 0 ? info->http_headers[info->num_headers - 1].value : info->http_version;
    return (size_t)(last - info->request_method) + strlen(last);
}

/* Line ends become NULs as the library goes: the last header's value is followed by NUL NUL (its CRLF), and then by the
 * CR and the final NUL of the empty line. Heads whose lines end in a bare LF do not come out even, and are refused with
 * the rest. */
bool unread_headers(const struct mg_request_info *info)
{
    if (unread_size(info) > UNREAD_BUFFER - 8) return true; /* do not look beyond it */
    if (info->num_headers <= 0) {                           /* behind the version all white space is NULs */
        const char *behind = info->http_version + strlen(info->http_version);
        return behind[1] != '\0' || behind[2] != '\0';
    }
    const char *value = info->http_headers[info->num_headers - 1].value;
    const char *behind = value + strlen(value) + 1;
    return behind[0] != '\0' || behind[1] != '\r' || behind[2] != '\0';
}

bool unread_blank(const struct mg_header *header)
{
    for (const char *c = header->name + strlen(header->name) + 1; c < header->value; c++)
        if (*c == '\0') return true; /* the colon is one already */
    return false;
}

bool unread_target(const struct mg_connection *conn)
{
    const struct mg_request_info *info = mg_get_request_info(conn);
    return info && info->request_method && info->request_uri && info->request_uri[0] != '/';
}

/* What civetweb refuses before there is a request: bad request lines, too large heads. */
/* ---- refusals ---- */

static const struct refusal {
    int status;
    const char *title, *code, *detail;
} unreadable = {400, "Bad Request", "syntax",
                "the head of the request cannot be read: it holds a control character, such as a tab, or is larger "
                "than 64 KiB"},
  bad_line = {400, "Bad Request", "syntax", "the request does not begin with 'METHOD /path HTTP/1.1'"},
  bad_header = {400, "Bad Request", "syntax", "the head of the request has a line that is not 'Name: value'"},
  bad_target = {400, "Bad Request", "syntax", "the target is neither a path nor an address of this server"},
  bad_length = {400, "Bad Request", "syntax", "Content-Length is not a whole number"},
  late = {408, "Request Timeout", "timeout", "the request did not arrive in time"},
  too_large = {431, "Request Header Fields Too Large", "headers-too-large",
               "the head of the request is larger than 16 KiB"},
  bad_method = {501, "Not Implemented", "method-not-allowed",
                "the method is not known here; methods are GET, HEAD, POST, PATCH and DELETE, in capitals"},
  bad_coding = {501, "Not Implemented", "syntax", "Transfer-Encoding: only 'chunked' is understood"},
  bad_version = {505, "HTTP Version Not Supported", "syntax", "only HTTP/1.0 and HTTP/1.1 are spoken here"},
  no_options = {405, "Method Not Allowed", "method-not-allowed",
                "OPTIONS is not possible; methods are GET, HEAD, POST, PATCH and DELETE"};

static void refuse(struct mg_connection *conn, const struct refusal *r)
{
    char body[500];
    int len = snprintf(
        body, sizeof body,
        "{\"type\":\"urn:millrace:problem:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\",\"code\":\"%s\","
        "\"requestId\":\"\"}",
        r->code, r->title, r->status, r->detail, r->code);
    mg_printf(conn,
              "HTTP/1.1 %d %s\r\n%sContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
              "Connection: close\r\n\r\n%s",
              r->status, r->title, r->status == 405 ? "Allow: GET, HEAD, POST, PATCH, DELETE\r\n" : "", len, body);
}

/* The library tells a status and hardly more; how far it got tells the rest. */
static const struct refusal *why(const struct mg_request_info *info, int status, const char *message)
{
    if (status == 408) return &late;
    if (status == 413 || status == 414 || status == 431) return &too_large;
    if (!info || !info->request_method) return &unreadable;
    if (strstr(message, "URI")) return &bad_target;
    if (!info->http_version || info->http_version[0] < '0' || info->http_version[0] > '9') return &bad_line;
    if (status == 505 || strncmp(info->http_version, "1.", 2) != 0) return &bad_version;
    if (info->num_headers < 0) return &bad_header;
    if (info->num_headers == 0) return &bad_method;
    return status == 411 ? &bad_length : &bad_coding;
}

int unread_error(struct mg_connection *conn, int status, const char *message)
{
    refuse(conn, why(mg_get_request_info(conn), status, message ? message : ""));
    return 0;
}

void unread_refuse(struct mg_connection *conn)
{
    refuse(conn, strcmp(mg_get_request_info(conn)->request_method, "OPTIONS") == 0 ? &no_options : &bad_target);
}
