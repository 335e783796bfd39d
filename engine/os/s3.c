/* The S3 client's settings: where the bucket is, and whose keys open it. Links, too, since they are made of nothing
 * else. */
#include "engine/os/s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/base64.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/s3_inner.h"

#define FILE_MAX (64 << 10)
#define LINK_MAX_S (7 * 86400)
#define CHECKSUM "x-amz-checksum-sha256"

bool s3_location(struct str text, struct str *bucket, struct str *prefix, struct err *err)
{
    struct str rest = str_sub(text, 5, text.n), name = {"", 0};
    bool good = str_starts(text, "s3://") && str_split(&rest, '/', &name) && name.n >= 3 && name.n <= 63;
    for (size_t i = 0; good && i < name.n; i++) {
        char c = name.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    }
    while (rest.n > 0 && rest.p[rest.n - 1] == '/')
        rest.n--;
    good = good && (rest.n == 0 || (rest.n <= 512 && fs_relative(rest) && memchr(rest.p, '\n', rest.n) == NULL));
    if (!good) {
        err_set(err, ERR_INVALID, "'%.*s' is no place in S3", STR_ARG(str_sub(text, 0, 100)));
        return err_hint(err, "s3://BUCKET/PREFIX: a bucket's name has 3 to 63 lower-case letters, digits, '-' and '.'");
    }
    *bucket = name;
    *prefix = rest;
    return true;
}

/* ---- keys ---- */

static void keep(char **slot, struct str value)
{
    if (*slot != NULL) explicit_bzero(*slot, strlen(*slot));
    free(*slot);
    *slot = value.n > 0 ? strndup(value.p, value.n) : NULL;
}

static bool keep_key(struct s3 *s, const struct sigv4_key *key)
{
    if (key->id.n == 0 || key->secret.n == 0) return false;
    keep(&s->id, key->id);
    keep(&s->secret, key->secret);
    keep(&s->token, key->token);
    return true;
}

/* As AWS's own programs write it; of several sections the first counts. */
static void parse_key(struct str text, struct sigv4_key *out)
{
    struct str row;
    bool begun = false;
    while (text.n > 0 && str_split(&text, '\n', &row)) {
        size_t equals;
        row = str_trim(row);
        if (row.n > 0 && row.p[0] == '[' && begun) return;
        if (!str_find(row, STR("="), &equals) || row.p[0] == '#') continue;
        struct str name = str_trim(str_sub(row, 0, equals)), value = str_trim(str_sub(row, equals + 1, row.n));
        begun = true;
        if (str_is(name, "aws_access_key_id")) out->id = value;
        if (str_is(name, "aws_secret_access_key")) out->secret = value;
        if (str_is(name, "aws_session_token")) out->token = value;
    }
}

static bool read_key(struct s3 *s, struct err *err)
{
    BUF_AUTO text;
    struct stat st;
    struct sigv4_key key = {{"", 0}, {"", 0}, {"", 0}};
    const char *path = s->cfg.credentials.p;
    buf_init(&text, FILE_MAX);
    if (stat(path, &st) != 0) return err_set(err, ERR_UNAVAILABLE, "S3's keys: %s: %s", path, strerror(errno));
    if (s->id != NULL && st.st_ino == s->seen.st_ino && st.st_size == s->seen.st_size &&
        st.st_mtim.tv_sec == s->seen.st_mtim.tv_sec && st.st_mtim.tv_nsec == s->seen.st_mtim.tv_nsec)
        return true;
    if ((st.st_mode & 07) != 0) { /* steps may run as somebody else on this machine */
        err_set(err, ERR_INVALID, "S3's keys: %s is open to everybody", path);
        return err_hint(err, "chmod o-rwx %s", path);
    }
    if (!fs_read(path, FILE_MAX, &text, err)) return false;
    parse_key(buf_view(&text), &key);
    bool ok = keep_key(s, &key);
    if (ok) s->seen = st;
    if (text.p != NULL) explicit_bzero(text.p, text.n);
    if (ok) return true;
    err_set(err, ERR_INVALID, "S3's keys: %s does not hold them", path);
    return err_hint(err,
                    "lines: aws_access_key_id = …, aws_secret_access_key = …, and if need be aws_session_token = …");
}

static bool environment_key(struct s3 *s, struct err *err)
{
    const struct sigv4_key key = {str_of(getenv("AWS_ACCESS_KEY_ID")), str_of(getenv("AWS_SECRET_ACCESS_KEY")),
                                  str_of(getenv("AWS_SESSION_TOKEN"))};
    if (s->id != NULL || keep_key(s, &key)) return true;
    err_set(err, ERR_INVALID, "there are no keys for s3://%.*s", STR_ARG(s->cfg.bucket));
    return err_hint(err, "name a file with --s3-credentials, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
}

bool s3_key(struct s3 *s, struct arena *a, struct sigv4_key *out, struct err *err)
{
    struct err why = {0};
    pthread_mutex_lock(&s->lock);
    bool read = s->cfg.credentials.n > 0 ? read_key(s, &why) : environment_key(s, &why);
    bool ok = read || s->id != NULL; /* a file that is being replaced: the old keys may do until it is */
    if (ok)
        *out = (struct sigv4_key){arena_str(a, str_of(s->id)), arena_str(a, str_of(s->secret)),
                                  arena_str(a, str_of(s->token))};
    pthread_mutex_unlock(&s->lock);
    if (!ok && err != NULL) *err = why;
    return ok;
}

/* ---- places ---- */

static bool read_endpoint(struct s3 *s, struct err *err)
{
    struct str given = s->cfg.endpoint, host;
    struct arena *a = &s->arena;
    bool tls = !str_starts(given, "http://");
    if (given.n == 0) given = arena_printf(a, "https://s3.%.*s.amazonaws.com", STR_ARG(s->cfg.region));
    host = str_sub(given, tls ? 8 : 7, given.n);
    if (host.n > 0 && host.p[host.n - 1] == '/') host.n--;
    bool good = (str_starts(given, "https://") || str_starts(given, "http://")) && host.n > 0 && host.n < 256;
    for (size_t i = 0; good && i < host.n; i++)
        good = (unsigned char)host.p[i] > ' ' && strchr("/?#@\\\"", host.p[i]) == NULL;
    if (!good) {
        err_set(err, ERR_INVALID, "s3-endpoint is not http://HOST[:PORT] or https://HOST[:PORT]");
        return err_hint(err, "it has no path, and no keys in it");
    }
    if (tls && str_ends(host, ":443")) host.n -= 4; /* who checks the signature sees no usual port */
    if (!tls && str_ends(host, ":80")) host.n -= 3;
    s->host =
        s->cfg.path_style ? arena_str(a, host) : arena_printf(a, "%.*s.%.*s", STR_ARG(s->cfg.bucket), STR_ARG(host));
    s->base = arena_printf(a, "%s://%.*s", tls ? "https" : "http", STR_ARG(s->host));
    s->root = s->cfg.path_style ? arena_printf(a, "/%.*s/", STR_ARG(s->cfg.bucket)) : STR("/");
    return true;
}

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool s3_open(const struct s3_config *cfg, struct s3 **out, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct s3 *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    arena_init(&s->arena, 0);
    pthread_mutex_init(&s->lock, NULL);
    s->cfg = *cfg;
    s->cfg.bucket = arena_str(&s->arena, cfg->bucket);
    s->cfg.prefix = arena_str(&s->arena, cfg->prefix);
    s->cfg.endpoint = arena_str(&s->arena, cfg->endpoint);
    s->cfg.credentials = arena_str(&s->arena, cfg->credentials);
    s->cfg.region = cfg->region.n > 0 ? arena_str(&s->arena, cfg->region) : STR("us-east-1");
    if (s->cfg.tries <= 0) s->cfg.tries = 8;
    if (s->cfg.wait_ms <= 0) s->cfg.wait_ms = 200;
    struct arena a;
    struct sigv4_key key;
    arena_init(&a, 0);
    bool ok = read_endpoint(s, err) && s3_key(s, &a, &key, err);
    arena_free(&a);
    if (!ok) {
        s3_close(s);
        return false;
    }
    *out = s;
    return true;
}

void s3_close(struct s3 *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_idle; i++)
        curl_easy_cleanup(s->idle[i]);
    keep(&s->id, STR(""));
    keep(&s->secret, STR(""));
    keep(&s->token, STR(""));
    pthread_mutex_destroy(&s->lock);
    arena_free(&s->arena);
    free(s);
}

void s3_stop(struct s3 *s)
{
    atomic_store(&s->stopping, true);
}

struct str s3_full_key(const struct s3 *s, struct arena *a, struct str key)
{
    if (s->cfg.prefix.n == 0) return key;
    return arena_printf(a, "%.*s/%.*s", STR_ARG(s->cfg.prefix), STR_ARG(key));
}

struct str s3_path(const struct s3 *s, struct arena *a, struct str key)
{
    if (key.n == 0) return s->root;
    struct str full = sigv4_encode(a, s3_full_key(s, a, key), true);
    return arena_printf(a, "%.*s%.*s", STR_ARG(s->root), STR_ARG(full));
}

bool s3_link(struct s3 *s, const char *method, struct str key, const unsigned char *sum, int64_t seconds,
             struct arena *a, struct str *url, struct str *header, struct err *err)
{
    struct sigv4_key keys;
    if (seconds < 1 || seconds > LINK_MAX_S) return err_set(err, ERR_INVALID, "a link is good for 1 s to 7 days");
    if (!s3_key(s, a, &keys, err)) return false;
    struct str text = sum != NULL ? base64_encode(a, (struct str){(const char *)sum, DIGEST_BYTES}) : STR("");
    const struct sigv4_pair headers[] = {{STR("host"), s->host}, {STR(CHECKSUM), text}};
    const struct sigv4_request r = {.method = method,
                                    .path = s3_path(s, a, key),
                                    .headers = headers,
                                    .n_headers = sum != NULL ? 2 : 1,
                                    .payload = SIGV4_UNSIGNED,
                                    .region = s->cfg.region,
                                    .service = STR("s3"),
                                    .now_us = os_now_us()};
    struct str query = sigv4_link(a, &r, &keys, seconds);
    *url = arena_printf(a, "%.*s%.*s?%.*s", STR_ARG(s->base), STR_ARG(r.path), STR_ARG(query));
    *header = sum != NULL ? arena_printf(a, CHECKSUM ": %.*s", STR_ARG(text)) : STR("");
    return true;
}
