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
    struct str body = arena_printf(a, STEP_TOKEN_PREFIX "%" PRId64 ".%" PRIu32 ".%" PRIu32 ".%" PRId64, claim.run,
                                   claim.task, claim.attempt, claim.made_us);
    sign(key, body, hex);
    return arena_printf(a, "%.*s.%s", STR_ARG(body), hex);
}

bool step_token_read(struct str token, struct str key, struct step_claim *out)
{
    if (!str_starts(token, STEP_TOKEN_PREFIX) || token.n > BODY_MAX + 2 * DIGEST_BYTES) return false;
    struct str rest = str_sub(token, sizeof STEP_TOKEN_PREFIX - 1, token.n), part;
    int64_t n[4]; /* run, task, attempt, made */
    for (size_t i = 0; i < 4; i++)
        if (!str_split(&rest, '.', &part) || !str_int(part, &n[i]) || n[i] < 0) return false;
    if (n[1] > UINT32_MAX || n[2] > UINT32_MAX) return false;
    char hex[2 * DIGEST_BYTES + 1];
    sign(key, str_sub(token, 0, token.n - rest.n - (rest.n > 0 ? 1 : 0)), hex);
    if (!digest_same(rest, str_of(hex))) return false;
    *out = (struct step_claim){n[0], (uint32_t)n[1], (uint32_t)n[2], n[3]};
    return true;
}
