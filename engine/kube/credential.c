/* See credential.h. */
#include "engine/kube/credential.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/base64.h"
#include "engine/base/buf.h"
#include "engine/kube/budget.h"
#include "engine/kube/plugin.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"

#define NEVER INT64_MAX
#define S_US ((int64_t)1000000)
#define REREAD_US (60 * S_US)       /* a token file; kubelet renews it when a fifth of its time is left */
#define REREAD_FAILED_US (5 * S_US) /* when it could not be read */
#define FORCED_US (5 * S_US) /* between renewals because of a 401: a server that likes none is no reason to spin */
#define EARLY_US (60 * S_US) /* a plugin is run again before its credential expires */
#define TOKEN_MAX ((size_t)64 << 10)

struct kube_credential {
    const struct kube_access *access;
    int epoll;
    struct arena arena; /* of what counts now */
    struct kube_pass pass;
    bool have;
    int64_t read_us;                         /* token file: the last reading */
    int64_t expires_us, renew_us, forced_us; /* plugin */
    int64_t failed_until_us;
    uint32_t failures;
    struct kube_plugin plugin;
    struct err why; /* of the last failure */
};

static bool uses_exec(const struct kube_access *access)
{
    return access->has_exec && access->token.n == 0 && access->token_file.n == 0 && access->user.n == 0;
}

static void bearer(struct kube_credential *cr, struct str token)
{
    if (token.n > 0) cr->pass.authorization = arena_printf(&cr->arena, "Authorization: Bearer %.*s", STR_ARG(token));
}

static void fixed(struct kube_credential *cr)
{
    const struct kube_access *access = cr->access;
    cr->pass.cert_pem = access->cert_pem;
    cr->pass.key_pem = access->key_pem;
    cr->have = true;
    bearer(cr, access->token);
    if (access->token.n > 0 || access->user.n == 0) return;
    struct str both = arena_printf(&cr->arena, "%.*s:%.*s", STR_ARG(access->user), STR_ARG(access->password));
    cr->pass.authorization =
        arena_printf(&cr->arena, "Authorization: Basic %.*s", STR_ARG(base64_encode(&cr->arena, both)));
}

struct kube_credential *kube_credential_open(const struct kube_access *access, int epoll)
{
    struct kube_credential *cr = calloc(1, sizeof *cr);
    if (cr == NULL) abort();
    cr->access = access;
    cr->epoll = epoll;
    cr->pass.number = 1;
    cr->forced_us = cr->read_us = INT64_MIN / 2;
    cr->expires_us = cr->renew_us = NEVER;
    arena_init(&cr->arena, 0);
    if (!uses_exec(access) && access->token_file.n == 0) fixed(cr);
    return cr;
}

void kube_credential_close(struct kube_credential *cr)
{
    if (cr == NULL) return;
    kube_plugin_kill(&cr->plugin);
    arena_free(&cr->arena);
    free(cr);
}

/* ---- a token in a file ---- */

static bool read_token(struct kube_credential *cr, struct str *out, struct buf *text)
{
    struct err why;
    struct str file = cr->access->token_file; /* NUL-terminated: the arena made it */
    if (!fs_read(file.p, TOKEN_MAX, text, &why)) {
        err_set(&cr->why, ERR_UNAUTHENTICATED, "the token file of %.*s cannot be read: %s", STR_ARG(cr->access->origin),
                why.message);
        return err_hint(&cr->why, "who runs Millrace must be able to read it");
    }
    *out = str_trim(buf_view(text));
    for (size_t i = 0; i < out->n; i++)
        if ((unsigned char)out->p[i] <= ' ') *out = (struct str){"", 0};
    if (out->n > 0) return true;
    err_set(&cr->why, ERR_UNAUTHENTICATED, "the token file %.*s of %.*s holds no token", STR_ARG(file),
            STR_ARG(cr->access->origin));
    return err_hint(&cr->why, "it must hold one line, the token");
}

static void reread(struct kube_credential *cr, int64_t now)
{
    struct str token;
    BUF_AUTO text;
    buf_init(&text, TOKEN_MAX);
    bool ok = read_token(cr, &token, &text);
    cr->read_us = ok ? now : now - REREAD_US + REREAD_FAILED_US;
    if (!ok && !cr->have && cr->access->token.n > 0) {
        token = cr->access->token;
        ok = true;
    }
    if (!ok) return; /* the last one stays */
    size_t skip = strlen("Authorization: Bearer ");
    if (cr->have && str_eq(str_sub(cr->pass.authorization, skip, SIZE_MAX), token)) return;
    arena_reset(&cr->arena);
    bearer(cr, token);
    cr->pass.cert_pem = cr->access->cert_pem;
    cr->pass.key_pem = cr->access->key_pem;
    cr->pass.number++;
    cr->have = true;
}

/* ---- a plugin ---- */

static void failed(struct kube_credential *cr, int64_t now)
{
    cr->failures++;
    cr->failed_until_us = now + kube_pause_us(cr->failures, S_US, 30 * S_US, os_random_u64());
}

static void start(struct kube_credential *cr, int64_t now)
{
    if (cr->plugin.pid != 0 || now < cr->failed_until_us) return;
    if (!kube_plugin_start(&cr->plugin, cr->access, cr->epoll, now, &cr->why)) failed(cr, now);
}

static void take(struct kube_credential *cr, const struct kube_exec_credential *got, int64_t now)
{
    const struct kube_access *access = cr->access;
    bool own = got->cert_pem.n > 0;
    struct arena old = cr->arena;
    arena_init(&cr->arena, 0);
    cr->pass.authorization = (struct str){"", 0};
    cr->pass.cert_pem = arena_str(&cr->arena, own ? got->cert_pem : access->cert_pem);
    cr->pass.key_pem = arena_str(&cr->arena, own ? got->key_pem : access->key_pem);
    bearer(cr, got->token);
    arena_free(&old);
    cr->pass.number++;
    cr->have = true;
    cr->failures = 0;
    cr->expires_us = cr->renew_us = NEVER;
    if (got->expires_s == 0) return;
    int64_t left = got->expires_s * S_US - os_now_us();
    cr->expires_us = now + left;
    cr->renew_us = cr->expires_us - (left / 4 < EARLY_US ? left / 4 : EARLY_US);
}

void kube_credential_turn(struct kube_credential *cr, int64_t now)
{
    struct kube_exec_credential got;
    struct arena a;
    bool ok = false;
    if (cr->plugin.pid == 0) return;
    arena_init(&a, 0);
    if (kube_plugin_turn(&cr->plugin, cr->access, now, &a, &got, &ok, &cr->why)) {
        if (ok)
            take(cr, &got, now);
        else
            failed(cr, now);
    }
    arena_free(&a);
}

int64_t kube_credential_due(const struct kube_credential *cr)
{
    return cr->plugin.pid != 0 ? cr->plugin.look_us : NEVER;
}

static enum kube_pass_state get_exec(struct kube_credential *cr, int64_t now)
{
    if (now >= cr->expires_us) cr->have = false;
    if (!cr->have || now >= cr->renew_us) start(cr, now);
    if (cr->have) return KUBE_PASS_READY;
    return cr->plugin.pid != 0 ? KUBE_PASS_WAIT : KUBE_PASS_MISSING;
}

/* ---- for the client ---- */

enum kube_pass_state kube_credential_get(struct kube_credential *cr, int64_t now, struct kube_pass *out,
                                         struct err *err)
{
    enum kube_pass_state state = KUBE_PASS_READY;
    if (uses_exec(cr->access)) {
        state = get_exec(cr, now);
    } else if (cr->access->token_file.n > 0) {
        if (now - cr->read_us >= REREAD_US) reread(cr, now);
        state = cr->have ? KUBE_PASS_READY : KUBE_PASS_MISSING;
    }
    if (state == KUBE_PASS_MISSING && err != NULL) *err = cr->why;
    if (state == KUBE_PASS_READY) *out = cr->pass;
    return state;
}

bool kube_credential_rejected(struct kube_credential *cr, uint64_t number, int64_t now)
{
    if (number != cr->pass.number) return true;
    bool exec = uses_exec(cr->access);
    if ((!exec && cr->access->token_file.n == 0) || now - cr->forced_us < FORCED_US) return false;
    cr->forced_us = now;
    if (!exec) {
        reread(cr, now);
        return cr->pass.number != number;
    }
    cr->have = false;
    cr->pass.number++; /* so that others who were sent with it know */
    return true;
}
