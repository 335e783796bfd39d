/* Signed tokens of steps. See step_token.h. */
#include "engine/os/step_token.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/os/digest.h"

#define BODY_MAX 96

static void sign(struct str key, struct str body, char hex[2 * DIGEST_BYTES + 1])
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (HMAC(EVP_sha256(), key.p, (int)key.n, (const unsigned char *)body.p, body.n, mac, &n) == NULL) abort();
    digest_hex(mac, DIGEST_BYTES, hex);
}

struct str step_token_make(struct arena *a, struct str key, struct step_claim claim)
{
    char hex[2 * DIGEST_BYTES + 1];
    struct str body =
        arena_printf(a, STEP_TOKEN_PREFIX "%" PRId64 ".%" PRIu32 ".%" PRIu32, claim.run, claim.task, claim.attempt);
    sign(key, body, hex);
    return arena_printf(a, "%.*s.%s", STR_ARG(body), hex);
}

bool step_token_read(struct str token, struct str key, struct step_claim *out)
{
    if (!str_starts(token, STEP_TOKEN_PREFIX) || token.n > BODY_MAX + 2 * DIGEST_BYTES) return false;
    struct str rest = str_sub(token, sizeof STEP_TOKEN_PREFIX - 1, token.n), run, task, attempt;
    int64_t r, t, n;
    if (!str_split(&rest, '.', &run) || !str_split(&rest, '.', &task) || !str_split(&rest, '.', &attempt)) return false;
    if (!str_int(run, &r) || !str_int(task, &t) || !str_int(attempt, &n)) return false;
    if (r < 0 || t < 0 || t > UINT32_MAX || n < 0 || n > UINT32_MAX) return false;
    char hex[2 * DIGEST_BYTES + 1];
    sign(key, str_sub(token, 0, token.n - rest.n - (rest.n > 0 ? 1 : 0)), hex);
    if (!digest_same(rest, str_of(hex))) return false;
    *out = (struct step_claim){r, (uint32_t)t, (uint32_t)n};
    return true;
}
