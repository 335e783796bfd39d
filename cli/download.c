/* Bytes from the server into a file: a transfer that breaks off is taken up where it stopped. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/files.h"
#include "engine/os/digest.h"

#define BREAKS 8    /* so many times a broken transfer is taken up again */
#define PAUSE_MS 50 /* after the first, doubled for each further one */

bool blob_to_file(void *ctx, const char *p, size_t n)
{
    int fd = *(int *)ctx;
    while (n) {
        ssize_t wrote = write(fd, p, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        p += wrote;
        n -= (size_t)wrote;
    }
    return true;
}

/* The bytes into an open file, from where it ends on. */
bool blob_fetch(struct client *client, struct arena *a, const char *path, bool direct, int fd, int64_t size,
                struct err *err)
{
    for (unsigned breaks = 0;;) {
        off_t have = lseek(fd, 0, SEEK_END);
        if (have > size && (ftruncate(fd, 0) != 0 || (have = lseek(fd, 0, SEEK_SET)) != 0))
            return err_set(err, ERR_IO, "cannot begin again: %s", strerror(errno));
        if (have == size) return true;
        struct client_reply reply;
        struct err why;
        struct client_request request = {.path = path,
                                         .direct = direct,
                                         .once = direct,
                                         .accept = "*/*",
                                         .range_from = have,
                                         .sink = blob_to_file,
                                         .sink_ctx = &fd};
        if (client_send(client, a, &request, &reply, NULL, &why)) {
            if (have && reply.status != 206) return err_set(err, ERR_IO, "the server does not go on with a download");
            off_t now = lseek(fd, 0, SEEK_END);
            if (now > have && now <= size) continue;
            err_set(&why, ERR_UNAVAILABLE, "the server sent %lld bytes of %lld", (long long)(now - have),
                    (long long)(size - have));
        }
        if (direct || why.code != ERR_UNAVAILABLE || ++breaks > BREAKS || cli_interrupted()) {
            *err = why;
            return false;
        }
        client_retries(client, &why);
        poll(NULL, 0, PAUSE_MS << (breaks < 5 ? breaks : 5));
    }
}

bool blob_verify(int fd, struct str digest, struct err *err)
{
    char found[DIGEST_TEXT];
    if (!digest.n) return true;
    if (lseek(fd, 0, SEEK_SET) != 0) return err_set(err, ERR_IO, "cannot read it again: %s", strerror(errno));
    if (!digest_fd(fd, found, NULL, err)) return false;
    if (str_is(digest, found)) return true;
    err_set(err, ERR_IO, "what was downloaded is not what the server has: its digest is %s, not %.*s", found,
            STR_ARG(digest));
    return false;
}
