/* See unread.h. */
#include "api/unread.h"

#include <string.h>

/* Line ends become NULs as the library goes: the last header's value is followed by NUL NUL (its CRLF), and then by the
 * CR and the final NUL of the empty line. Heads whose lines end in a bare LF do not come out even, and are refused with
 * the rest. */
bool unread_headers(const struct mg_request_info *info)
{
    if (info->num_headers <= 0) { /* behind the version all white space is NULs */
        const char *behind = info->http_version + strlen(info->http_version);
        return behind[1] != '\0' || behind[2] != '\0';
    }
    const char *value = info->http_headers[info->num_headers - 1].value;
    const char *behind = value + strlen(value) + 1;
    return behind[0] != '\0' || behind[1] != '\r' || behind[2] != '\0';
}
