/* What an answer, or none, means: carried out or not, and what people are to be told. See client.h for the outcomes. */
#include <stdlib.h>
#include <string.h>

#include "engine/kube/client_inner.h"

#define RETRY_AFTER_MOST_MS ((int64_t)24 * 3600 * 1000)
#define QUOTED 300 /* bytes of an answer that is no Status */

/* ---- Retry-After ---- */

int64_t kube_retry_after_ms(struct str text, int64_t now_s)
{
    int64_t seconds;
    char date[64];
    if (!str_int(text, &seconds)) {
        if (text.n >= sizeof date) return 0;
        snprintf(date, sizeof date, "%.*s", STR_ARG(text));
        time_t at = curl_getdate(date, NULL);
        if (at < 0) return 0;
        seconds = (int64_t)at - now_s;
    }
    if (seconds <= 0) return 0;
    return seconds > RETRY_AFTER_MOST_MS / 1000 ? RETRY_AFTER_MOST_MS : seconds * 1000;
}

/* ---- answers ---- */

static struct str readable(struct arena *a, struct str s, size_t most)
{
    struct str copy = arena_str(a, str_trim(utf8_sub(s, most)));
    for (size_t i = 0; i < copy.n; i++)
        if ((unsigned char)copy.p[i] < ' ') ((char *)(uintptr_t)copy.p)[i] = ' ';
    return copy;
}

static void read_status(const struct kube_call *call, struct arena *a, struct kube_answer *out)
{
    struct str text = str_trim(buf_view(&call->in));
    struct value v;
    if (text.n > 0 && text.p[0] == '{' && kube_json(a, text, &v, NULL) && str_is(kube_text(&v, "kind"), "Status")) {
        const struct value *details = value_get(&v, "details");
        const struct value *after = details != NULL ? value_get(details, "retryAfterSeconds") : NULL;
        out->reason = kube_text(&v, "reason");
        out->message = kube_text(&v, "message");
        if (out->retry_after_ms == 0 && after != NULL && after->type == VALUE_INT && after->u.i > 0)
            out->retry_after_ms = after->u.i > RETRY_AFTER_MOST_MS / 1000 ? RETRY_AFTER_MOST_MS : after->u.i * 1000;
    }
    if (out->message.n > 0) return;
    struct str said = readable(a, text, QUOTED);
    out->message = arena_printf(a, "the server answered %ld%s%.*s", out->status, said.n > 0 ? ": " : "", STR_ARG(said));
}

static enum kube_outcome judge(long status, bool says_when)
{
    if (status >= 200 && status < 300) return KUBE_DONE;
    if (status == 429 || (status == 503 && says_when)) return KUBE_AGAIN;
    if (status == 408 || (status >= 500 && status != 501 && status != 505)) return KUBE_UNKNOWN;
    return KUBE_REFUSED;
}

static struct str why(const struct kube_call *call, struct arena *a)
{
    const struct kube_access *access = call->client->access;
    const char *text = call->error[0] != '\0' ? call->error : curl_easy_strerror(call->code);
    if (call->curl == NULL && !call->sent)
        return readable(a, str_of(call->error), sizeof call->error); /* it did not come to asking */
    if (call->idle)
        return arena_printf(a, "%.*s: nothing came for %lld s, the connection counts as lost", STR_ARG(access->server),
                            (long long)(call->idle_ms / 1000));
    if (call->late)
        return arena_printf(a, "%.*s: the stream did not end after %lld s", STR_ARG(access->server),
                            (long long)(call->total_ms / 1000));
    if (call->too_long) text = "the answer is longer than 64 MiB";
    if (call->doubled) text = "the connection was lost before an answer came";
    return arena_printf(a, "%.*s: %.*s", STR_ARG(access->server), STR_ARG(readable(a, str_of(text), QUOTED)));
}

bool kube_outcome_hopeless(const struct kube_call *call)
{
    CURLcode code = call->code;
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CERTPROBLEM ||
           code == CURLE_SSL_CACERT_BADFILE || code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
           code == CURLE_BAD_FUNCTION_ARGUMENT || call->too_long;
}

void kube_outcome(const struct kube_call *call, struct arena *a, struct kube_answer *out)
{
    *out = (struct kube_answer){.status = call->status,
                                .retry_after_ms = call->retry_after_ms,
                                .took_us = call->ended_us > call->began_us ? call->ended_us - call->began_us : 0,
                                .tries = call->tried};
    bool whole = call->over && call->code == CURLE_OK;
    if (call->status >= 300) {
        read_status(call, a, out);
        out->outcome = judge(call->status, out->retry_after_ms > 0);
        /* Why it refused may be in what was cut off, such as that it was done before. */
        if (out->outcome == KUBE_REFUSED && !whole && !call->stream && !call->too_long) out->outcome = KUBE_UNKNOWN;
        if (!call->stream) out->body = buf_view(&call->in);
    } else if (call->status >= 200 && (whole || call->enough)) {
        out->outcome = KUBE_DONE;
        if (!call->stream) out->body = buf_view(&call->in);
    } else {
        out->outcome = call->sent ? KUBE_UNKNOWN : KUBE_AGAIN;
        if (call->status < 300 && call->too_long) out->outcome = KUBE_UNKNOWN;
        out->message = why(call, a);
    }
}
