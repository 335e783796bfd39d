/* What runs left behind and what is given to them: artifacts ls, get and put. A transfer that breaks off is taken up
 * where it stopped, and its digest is verified. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/request.h"
#include "cli/show.h"
#include "engine/base/jsonw.h"
#include "engine/base/units.h"
#include "engine/blob/bundle.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"
#include "engine/text/json.h"

static struct str ls_filter(struct arena *a, const struct args *args)
{
    const char *type = args_get(args, "type"), *filter = args_get(args, "filter");
    if (!type) return str_of(filter);
    struct value v = value_string(str_of(type)); /* quoted as the filter's grammar wants it */
    BUF_AUTO quoted;
    buf_init(&quoted, 0);
    value_json(&quoted, &v, false);
    return arena_printf(a, "type = %s%s%s", quoted.p, filter ? " and " : "", filter ? filter : "");
}

int cmd_artifacts_ls(struct cli *cli, const struct args *args)
{
    static const struct column columns[] = {{"ID", true, 0},       {"RUN", true, 0},     {"STEP", false, 8},
                                            {"OUTPUT", false, 8},  {"TYPE", false, 0},   {"SIZE", true, 0},
                                            {"CREATED", false, 0}, {"DIGEST", false, 14}};
    struct arena *a = cli->arena;
    struct err err;
    struct pages pages;
    struct table table;
    const char *run = args_word(args, 0), *path;
    struct str filter = ls_filter(a, args);
    int64_t limit;
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    if (!args_int(args, "limit", 1, 1000000, 100, &limit, &err)) return cli_fail(cli, &err), CLI_USAGE;
    if (run && (code = request_run_path(cli, run, "/artifacts", &path)) >= 0) return code;
    if (!run || filter.n > 0) {
        if (run) filter = arena_printf(a, "run = %s and %.*s", run, STR_ARG(filter));
        path = client_project(client, a, "/api/v1/artifacts");
        if (filter.n > 0) path = client_with(a, path, client_path(a, "filter=%s", arena_cstr(a, filter)));
    }
    if (!pages_fetch(cli, a, path, (size_t)limit, &pages, &err)) return cli_fail(cli, &err);
    struct value list = pages_join(a, &pages, (size_t)limit);
    table_begin(&table, a, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < list.u.list.n; i++) {
        const struct value *v = &list.u.list.items[i];
        char size[32];
        table_cell(&table, value_text(a, value_get(v, "id")), STYLE_PLAIN_TEXT);
        table_cell(&table, value_text(a, value_get(v, "run")), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(v, "path"), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(v, "name"), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(v, "type"), STYLE_PLAIN_TEXT);
        table_cell(&table, arena_str(a, str_of(units_bytes_text(field_int(v, "size", 0), size))), STYLE_PLAIN_TEXT);
        table_cell(&table, age_text(a, time_parse(field_str(v, "createdAt")), os_now_us()), STYLE_PLAIN_TEXT);
        table_cell(&table, field_str(v, "digest"), STYLE_DIM);
    }
    return show(cli, &table, &list);
}

/* "17/train[0]/model" → the artifact; when there are several, that of the newest task of the path, and of its newest
 * attempt. */
static bool find_by_path(struct cli *cli, struct str word, struct value *out, struct err *err)
{
    struct str rest = word, run, step = STR(""), name = STR("");
    struct pages pages;
    int64_t number, best = -1, best_task = -1;
    str_split(&rest, '/', &run);
    size_t slash = 0;
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] == '/') slash = i;
    }
    if (slash) step = str_sub(rest, 0, slash), name = str_sub(rest, slash + 1, rest.n);
    if (!str_int(run, &number) || !step.n || !name.n) {
        err_set(err, ERR_INVALID, "'%.*s' is neither an artifact's number nor RUN/STEP/OUTPUT", STR_ARG(word));
        return err_hint(err, "millrace artifacts ls RUN lists them");
    }
    const char *path = arena_printf(cli->arena, "/api/v1/runs/%lld/artifacts", (long long)number).p;
    if (!pages_fetch(cli, cli->arena, path, 0, &pages, err)) return false;
    struct value list = pages_join(cli->arena, &pages, 0);
    for (size_t i = 0; i < list.u.list.n; i++) {
        const struct value *v = &list.u.list.items[i];
        bool same = str_eq(field_str(v, "path"), step) && str_eq(field_str(v, "name"), name);
        int64_t task = field_int(v, "task", 0), attempt = field_int(v, "attempt", 0);
        if (!same || task < best_task || (task == best_task && attempt < best)) continue;
        best_task = task;
        best = attempt;
        *out = *v;
    }
    if (best >= 0) return true;
    err_set(err, ERR_NOT_FOUND, "run %lld has no artifact %.*s of step %.*s", (long long)number, STR_ARG(name),
            STR_ARG(step));
    return err_hint(err, "millrace artifacts ls %lld lists them", (long long)number);
}

static bool find_artifact(struct cli *cli, struct client *client, const char *word, struct value *out, struct err *err)
{
    int64_t id;
    if (!str_int(str_of(word), &id)) return find_by_path(cli, str_of(word), out, err);
    return client_get(client, cli->arena, client_path(cli->arena, "/api/v1/artifacts/%lld", (long long)id), out, err);
}

/* Where to: --to, a folder's entry, or the artifact's own name in the current folder. A name is one path component
 * only. */
static const char *target(struct cli *cli, const struct args *args, const struct value *artifact)
{
    const char *to = args_get(args, "to");
    struct stat st;
    char *name = arena_cstr(cli->arena, field_str(artifact, "name"));
    for (char *p = name; *p; p++) {
        if (*p == '/') *p = '_';
    }
    if (!*name || *name == '.')
        name =
            arena_cstr(cli->arena, arena_printf(cli->arena, "artifact-%lld", (long long)field_int(artifact, "id", 0)));
    if (!to) return name;
    bool folder = str_ends(str_of(to), "/") || (stat(to, &st) == 0 && S_ISDIR(st.st_mode));
    return folder ? arena_printf(cli->arena, "%s/%s", to, name).p : to;
}

static int to_path(struct cli *cli, struct client *client, const char *content, const struct value *artifact,
                   const char *path)
{
    struct err err;
    struct arena *a = cli->arena;
    /* The digest is part of the name of what is unfinished: another artifact never goes on in it. */
    struct str digest = field_str(artifact, "digest");
    const char *part = arena_printf(a, "%s.%.*s.part", path, STR_ARG(str_sub(digest, 7, 12))).p;
    FD_AUTO fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) {
        err_set(&err, ERR_IO, "cannot write %s: %s", part, strerror(errno));
        return cli_fail(cli, &err);
    }
    if (!blob_fetch(client, a, content, false, fd, field_int(artifact, "size", 0), &err)) {
        int code = cli_fail(cli, &err);
        cli_note(cli, "what came is kept in %s; the same command goes on", part);
        return code;
    }
    if (!blob_verify(fd, digest, &err)) {
        unlink(part);
        return cli_fail(cli, &err);
    }
    if (rename(part, path) != 0) {
        err_set(&err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
        return cli_fail(cli, &err);
    }
    cli_note(cli, "%s", path);
    return CLI_OK;
}

int cmd_artifacts_get(struct cli *cli, const struct args *args)
{
    struct value artifact;
    struct err err;
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    cli_catch_interrupts();
    if (!find_artifact(cli, client, args_word(args, 0), &artifact, &err)) return cli_fail(cli, &err);
    const char *to = args_get(args, "to");
    const char *content =
        client_path(cli->arena, "/api/v1/artifacts/%lld/content", (long long)field_int(&artifact, "id", 0));
    if (!to || strcmp(to, "-") != 0) return to_path(cli, client, content, &artifact, target(cli, args, &artifact));
    struct client_reply reply;
    int fd = STDOUT_FILENO;
    struct client_request request = {.path = content, .accept = "*/*", .sink = blob_to_file, .sink_ctx = &fd};
    return client_send(client, cli->arena, &request, &reply, NULL, &err) ? CLI_OK : cli_fail(cli, &err);
}

/* ---- put ---- */

struct upload {
    int fd;
    bool folder; /* packed, whole, as those that steps leave */
    char digest[DIGEST_TEXT];
    int64_t size;
};

static bool open_upload(const char *path, struct upload *out, struct err *err)
{
    struct stat st;
    struct bundle_stats stats;
    if (stat(path, &st) != 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path, strerror(errno));
    *out = (struct upload){.fd = -1, .folder = S_ISDIR(st.st_mode)};
    if (out->folder) {
        if (!bundle_pack_temp(path, &bundle_of_artifact, &out->fd, &stats, err)) return false;
        memcpy(out->digest, stats.digest, sizeof out->digest);
        out->size = stats.size;
        return true;
    }
    if (!S_ISREG(st.st_mode)) return err_set(err, ERR_INVALID, "%s is neither a file nor a folder", path);
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (out->fd < 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    return digest_fd(out->fd, out->digest, &out->size, err);
}

static bool put_metadata(struct arena *a, const char *text, struct value *out, struct err *err)
{
    *out = (struct value){.type = VALUE_MAP};
    if (!text) return true;
    if (!json_parse(a, str_of(text), 0, out, err)) return err_path(err, "--metadata");
    if (out->type != VALUE_MAP) return err_set(err, ERR_INVALID, "--metadata wants a JSON object");
    if (!value_get(out, "folder")) return true;
    return err_set(err, ERR_INVALID, "--metadata may not have a member 'folder': that is said for it");
}

static const char *put_body(struct arena *a, const struct args *args, const struct value *metadata,
                            const struct upload *up)
{
    BUF_AUTO body;
    struct jsonw w;
    buf_init(&body, 0);
    jsonw_to_buf(&w, &body);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "name", args_get(args, "name"));
    jsonw_kv_cstr(&w, "type", args_get(args, "type"));
    jsonw_kv_cstr(&w, "digest", up->digest);
    jsonw_key(&w, "metadata");
    jsonw_object(&w);
    for (size_t i = 0; i < metadata->u.map.n; i++) {
        jsonw_key_str(&w, metadata->u.map.entries[i].key);
        jsonw_value(&w, &metadata->u.map.entries[i].value);
    }
    if (up->folder) jsonw_kv_bool(&w, "folder", true);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    return jsonw_end(&w) ? arena_cstr(a, buf_view(&body)) : "";
}

int cmd_artifacts_put(struct cli *cli, const struct args *args)
{
    struct arena *a = cli->arena;
    struct upload up = {.fd = -1};
    struct value metadata;
    struct client_reply reply;
    struct err err;
    const char *path = args_word(args, 0);
    int code;
    if (!args_get(args, "name") || !args_get(args, "type")) return cli_usage(cli, "--name and --type are needed");
    if (!put_metadata(a, args_get(args, "metadata"), &metadata, &err)) return cli_fail(cli, &err), CLI_USAGE;
    struct client *client = cli_client(cli, &code);
    if (!client) return code;
    cli_catch_interrupts();
    bool ok = open_upload(path, &up, &err) && blob_send(cli, up.fd, up.digest, up.size, path, &err);
    fs_close(&up.fd);
    if (!ok) return cli_fail(cli, &err);
    const struct client_request request = {.method = "POST",
                                           .path = client_project(client, a, "/api/v1/artifacts"),
                                           .body = str_of(put_body(a, args, &metadata, &up)),
                                           .headers = {arena_printf(a, "Idempotency-Key: %s", request_key(a)).p},
                                           .repeatable = true};
    if (!client_send(client, a, &request, &reply, NULL, &err)) return cli_fail(cli, &err);
    if (cli->format != OUT_TABLE) return show_value(cli, &reply.value);
    printf("%lld\n", (long long)field_int(&reply.value, "id", 0));
    return CLI_OK;
}
