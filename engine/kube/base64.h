/* Base64 (RFC 4648, section 4): how a kubeconfig carries certificates, and HTTP a password. */
#ifndef MILLRACE_KUBE_BASE64_H
#define MILLRACE_KUBE_BASE64_H

#include "engine/base/arena.h"

/* White space is skipped, padding may be left away; false on anything else that is not Base64. */
bool base64_decode(struct arena *a, struct str text, struct str *out);
struct str base64_encode(struct arena *a, struct str bytes);

#endif
