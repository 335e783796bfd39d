/* Code and artifacts on their way to the server: sent once by digest, in pieces that a broken connection does not lose.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/files.h"
#include "cli/output.h"
#include "engine/base/jsonw.h"
#include "engine/base/units.h"
#include "engine/blob/bundle.h"

#define PIECE (4 << 20)
#define BREAKS 8     /* so many times a broken transfer is taken up again */
#define PAUSE_MS 250 /* before the first, doubled for each further one up to eight seconds: half a minute in all */

static struct str upload_body(struct arena *a, const char *digest, int64_t size, bool direct)
{
    return arena_printf(a, "{\"digest\":\"%s\",\"size\":%lld%s}", digest, (long long)size,
                        direct ? ",\"direct\":true" : "");
}

/* Where the server wants to go on; what is right after any break. */
static bool ask_offset(struct client *client, struct arena *a, const char *path, int64_t *offset, bool *complete,
                       struct err *err)
{
    struct value v;
    if (!client_get(client, a, path, &v, err)) return false;
    *offset = field_int(&v, "offset", 0);
    *complete = field_bool(&v, "complete");
    return true;
}

/* What went wrong is said at once, and who is on its way back found there. */
static void before_again(struct cli *cli, const struct err *why, unsigned breaks)
{
    client_retries(cli->client, why);
    if (why->code != ERR_UNAVAILABLE) return; /* another says where to go on */
    if (breaks == 1) cli_note(cli, "%s; trying again for a while", why->message);
    poll(NULL, 0, PAUSE_MS << (breaks < 6 ? breaks - 1 : 5));
}

static bool send_pieces(struct cli *cli, const char *path, int fd, int64_t offset, int64_t size, struct err *err)
{
    struct client *client = cli->client;
    struct arena *a = cli->arena;
    char *piece = arena_alloc(a, PIECE);
    unsigned breaks = 0;
    bool complete = false;
    while (!complete) { /* nothing at all is sent, too: it is the last piece */
        ssize_t n = pread(fd, piece, PIECE, (off_t)offset);
        if (n < 0 || (n == 0 && offset < size))
            return err_set(err, ERR_IO, "cannot read what is sent: %s", n ? strerror(errno) : "it is cut off");
        struct client_reply reply;
        const char *header = arena_printf(a, "Upload-Offset: %lld", (long long)offset).p;
        struct client_request request = {.method = "PATCH",
                                         .path = path,
                                         .type = "application/octet-stream",
                                         .body = {piece, (size_t)n},
                                         .headers = {header},
                                         .once = true};
        struct err why;
        if (client_send(client, a, &request, &reply, NULL, &why)) {
            offset = field_int(&reply.value, "offset", offset + n);
            complete = reply.status == 201 || field_bool(&reply.value, "complete");
            continue;
        }
        bool again =
            (why.code == ERR_UNAVAILABLE || why.code == ERR_CONFLICT) && ++breaks <= BREAKS && !cli_interrupted();
        if (!again) {
            *err = why;
            return false;
        }
        before_again(cli, &why, breaks);
        if (!ask_offset(client, a, path, &offset, &complete, err)) return false;
    }
    return true;
}

/* Where the store itself cannot be reached, the server can. */
static bool put_there(const struct cli *cli, const struct value *link, const char *id, int fd, int64_t size)
{
    struct client *client = cli->client;
    struct arena *a = cli->arena;
    struct err err = {0};
    const char *url = arena_cstr(a, field_str(link, "url")), *header = arena_cstr(a, field_str(link, "header"));
    if (cli->sends != NULL) cli->sends(cli->sends_ctx, url);
    bool ok = client_put_there(client, url, header, fd, size, &err);
    if (cli->sends != NULL) cli->sends(cli->sends_ctx, cli->settings.server);
    ok = ok && client_post(client, a, client_path(a, "/api/v1/uploads/%s:taken", id), STR(""), NULL, NULL, &err);
    if (!ok) fprintf(stderr, "%s; sending it through the server\n", err.message);
    return ok;
}

static bool send_once(struct cli *cli, int fd, const char *digest, int64_t size, const char *what, struct err *err)
{
    struct arena *a = cli->arena;
    struct value v;
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return err_set(err, ERR_INTERNAL, "no client");
    struct str body = upload_body(a, digest, size, cli->direct);
    if (!client_post(client, a, client_project(client, a, "/api/v1/uploads"), body, &v, NULL, err)) return false;
    struct str id = field_str(&v, "id");
    if (field_bool(&v, "complete") || !id.n) return true; /* the project has these bytes */
    char text[32];
    cli_note(cli, "uploading %s: %s", what, units_bytes_text(size, text));
    if (value_get(&v, "link") && put_there(cli, value_get(&v, "link"), arena_cstr(a, id), fd, size)) return true;
    cli->direct = false; /* a store that cannot be reached once will not be */
    return send_pieces(cli, client_path(a, "/api/v1/uploads/%s", arena_cstr(a, id)), fd, field_int(&v, "offset", 0),
                       size, err);
}

/* Others may send the same bytes at the same time: an upload that is gone was finished or given up by one of them. */
bool blob_send(struct cli *cli, int fd, const char *digest, int64_t size, const char *what, struct err *err)
{
    for (unsigned tries = 0;; tries++) {
        if (send_once(cli, fd, digest, size, what, err)) return true;
        if (err->code != ERR_NOT_FOUND || tries == BREAKS || cli_interrupted()) return false;
    }
}

static bool pack(struct cli *cli, const char *folder, int *fd, struct bundle_stats *stats, struct err *err)
{
    if (!bundle_pack_temp(folder, NULL, fd, stats, err)) return false;
    if (stats->left_out > 0)
        cli_note(cli, "warning: %lld not packed, since steps get only files, folders and links within the folder: %s",
                 (long long)stats->left_out, stats->left_names);
    return true;
}

bool bundle_look(struct cli *cli, const char *folder, const char **digest, struct err *err)
{
    struct bundle_stats stats;
    FD_AUTO fd = -1;
    if (!pack(cli, folder, &fd, &stats, err)) return false;
    *digest = arena_cstr(cli->arena, str_of(stats.digest));
    return true;
}

bool bundle_send(struct cli *cli, const char *folder, const char **digest, struct err *err)
{
    struct arena *a = cli->arena;
    struct bundle_stats stats;
    FD_AUTO fd = -1;
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return err_set(err, ERR_INTERNAL, "no client");
    if (!pack(cli, folder, &fd, &stats, err)) return false;
    const char *name = arena_cstr(a, str_of(stats.digest));
    struct client_request head = {.method = "HEAD",
                                  .path = client_project(client, a, client_path(a, "/api/v1/bundles/%s", name))};
    struct client_reply reply;
    struct err why;
    if (!client_send(client, a, &head, &reply, NULL, &why)) {
        if (why.code != ERR_NOT_FOUND) {
            *err = why;
            return false;
        }
        struct str body = arena_printf(a, "{\"digest\":\"%s\"}", name);
        if (!blob_send(cli, fd, name, stats.size, "the code", err) ||
            !client_post(client, a, client_project(client, a, "/api/v1/bundles"), body, NULL, NULL, err))
            return false;
    }
    *digest = name;
    return true;
}
