/* Base64 (RFC 4648): how a kubeconfig carries certificates, HTTP a password, and a log sometimes a secret. */
#ifndef MILLRACE_BASE_BASE64_H
#define MILLRACE_BASE_BASE64_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"

/* White space is skipped, padding may be left away; false on anything else that is not Base64. */
bool base64_decode(struct arena *a, struct str text, struct str *out);
struct str base64_encode(struct arena *a, struct str bytes);
/* Without padding; `url`: in the alphabet for file names and URLs (section 5). */
void base64_put(struct buf *b, struct str bytes, bool url);

#endif
