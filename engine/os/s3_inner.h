/* Inside the S3 client: shared by s3.c (settings, links), s3_call.c (one request), s3_object.c and s3_upload.c. */
#ifndef MILLRACE_OS_S3_INNER_H
#define MILLRACE_OS_S3_INNER_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "engine/base/buf.h"
#include "engine/os/s3.h"
#include "engine/os/sigv4.h"

#define S3_IDLE 16 /* connections that are kept */

struct s3 {
    struct s3_config cfg;
    struct arena arena; /* of cfg and what follows; immutable */
    struct str base;    /* http(s)://HOST[:PORT] */
    struct str host;    /* as the header Host says it */
    struct str root;    /* of paths: / or /BUCKET/ */
    atomic_bool stopping;
    _Atomic int64_t troubled_us; /* when the log last said that it fails, monotonic; 0 = it answers */
    pthread_mutex_t lock;        /* of what follows */
    CURL *idle[S3_IDLE];
    size_t n_idle;
    struct stat seen; /* of the file that the keys are from */
    char *id, *secret, *token;
};

/* Copies of the keys that count now. */
MUST_CHECK bool s3_key(struct s3 *s, struct arena *a, struct sigv4_key *out, struct err *err);
/* The path of a key below the prefix, encoded; empty = of the bucket itself. */
struct str s3_path(const struct s3 *s, struct arena *a, struct str key);
struct str s3_full_key(const struct s3 *s, struct arena *a, struct str key); /* with the prefix */

struct s3_call {
    const char *method;
    struct str key; /* below the prefix; empty = the bucket */
    const struct sigv4_pair *query;
    size_t n_query;
    struct str copied; /* PUT: from this key; empty = the body counts */
    struct str text;   /* the body; or of a file, whose digest is then `sum`: */
    const unsigned char *sum;
    int fd;
    int64_t from, size; /* of the file; or of the bytes that the sink is to get */
    s3_sink *sink;      /* NULL: the answer is kept in s3_answer */
    void *ctx;
    bool ranged; /* less than the whole object */
    bool soon;   /* see s3_head_soon() */
};

struct s3_answer {
    long status;
    int64_t size, modified_us;
    char etag[128];
    struct buf body;
};
void s3_answer_free(struct s3_answer *a);
#define S3_ANSWER_AUTO __attribute__((cleanup(s3_answer_free))) struct s3_answer

/* Tries until it is done or in vain. True: the status is 2xx, and the body is no error. */
MUST_CHECK bool s3_do(struct s3 *s, const struct s3_call *call, struct s3_answer *out, struct err *err);

/* ---- the little XML that S3 speaks: no attributes that count, no nesting of equal names ---- */

/* The text between <name> and </name> in it, as it stands; false when there is none. `after` may be NULL. */
bool s3_element(struct str xml, const char *name, struct str *inside, struct str *after);
struct str s3_text(struct arena *a, struct str xml, const char *name); /* its entities resolved; empty = none */

#endif
