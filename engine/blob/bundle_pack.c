/* From a folder to a deterministic tar.gz. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/blob/bundle_int.h"
#include "engine/blob/ignore.h"

#define DEPTH_MAX 40
#define PIECE 65536

const struct bundle_limits bundle_of_artifact = {
    .entries = 1000000, .bytes = (int64_t)1 << 40, .ratio = 1000000, .whole = true};

struct bundle_limits bundle_limits_or_default(const struct bundle_limits *limits)
{
    struct bundle_limits l = limits ? *limits : (struct bundle_limits){0};
    if (l.entries == 0) l.entries = 20000;
    if (l.bytes == 0) l.bytes = INT64_C(1) << 30;
    if (l.ratio == 0) l.ratio = 200;
    return l;
}

bool bundle_link_inside(struct str name, struct str target)
{
    int64_t up = 0;
    bool named = false;
    for (size_t i = 0; i < name.n; i++)
        up += name.p[i] == '/';
    if (target.n == 0 || target.p[0] == '/') return false;
    struct str rest = target, part;
    while (rest.n > 0 && str_split(&rest, '/', &part)) {
        if (part.n == 0 || str_is(part, ".")) continue;
        if (!str_is(part, "..")) {
            named = true;
            continue;
        }
        if (named || --up < 0) return false;
    }
    return true;
}

/* ---- the list of entries ---- */

struct item {
    struct str name;
    mode_t mode; /* type and executable bits */
    int64_t size;
    struct str link;
};

struct walk {
    struct arena *arena;
    struct ignore *ignore;
    struct bundle_limits limits;
    struct item *items;
    size_t n, room;
    int64_t bytes;
    const struct item *biggest;
    struct str *left; /* names of what cannot be packed */
    size_t n_left, left_room;
    struct err *err;
};

static bool too_much(const struct walk *w, const char *what, int64_t limit)
{
    err_set(w->err, ERR_TOO_LARGE, "the folder has more than %lld %s", (long long)limit, what);
    if (w->limits.whole) return false;
    if (w->biggest)
        return err_hint(w->err,
                        "list what the steps do not need in .millraceignore; the biggest file is %.*s (%lld bytes)",
                        STR_ARG(w->biggest->name), (long long)w->biggest->size);
    return err_hint(w->err, "list what the steps do not need in .millraceignore");
}

static bool add(struct walk *w, const struct item *item)
{
    if (w->n == w->room) {
        size_t room = w->room ? w->room * 2 : 64;
        size_t biggest = w->biggest ? (size_t)(w->biggest - w->items) : 0;
        w->items = arena_grow(w->arena, w->items, w->n * sizeof *item, room * sizeof *item);
        if (w->biggest) w->biggest = &w->items[biggest];
        w->room = room;
    }
    w->items[w->n++] = *item;
    w->bytes += item->size;
    if (!w->biggest || item->size > w->biggest->size) w->biggest = &w->items[w->n - 1];
    if ((int64_t)w->n > w->limits.entries) return too_much(w, "files", w->limits.entries);
    if (w->bytes > w->limits.bytes) return too_much(w, "bytes", w->limits.bytes);
    return true;
}

static bool failed(const struct walk *w, struct str name)
{
    return err_set(w->err, ERR_IO, "%.*s: %s", STR_ARG(name), strerror(errno));
}

/* What cannot be packed: left out of code, an error in what a step left. */
static bool leave_out(struct walk *w, struct str name, const char *what)
{
    if (w->limits.whole) {
        err_set(w->err, ERR_INVALID, "'%.*s' in it is %s", STR_ARG(name), what);
        return err_hint(w->err, "leave only files, folders and links within it");
    }
    if (w->n_left == w->left_room) {
        size_t room = w->left_room ? w->left_room * 2 : 16, size = sizeof *w->left;
        w->left = arena_grow(w->arena, w->left, w->n_left * size, room * size);
        w->left_room = room;
    }
    w->left[w->n_left++] = name;
    return true;
}

static bool walk_dir(struct walk *w, int dir, struct str prefix, int depth);

static bool visit(struct walk *w, int dir, const char *entry, struct str prefix, int depth)
{
    struct str name =
        prefix.n ? arena_printf(w->arena, "%.*s/%s", STR_ARG(prefix), entry) : arena_str(w->arena, str_of(entry));
    struct stat st;
    if (fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? true : failed(w, name);
    if (!w->limits.whole && ignore_matches(w->ignore, name, S_ISDIR(st.st_mode))) return true;
    struct item item = {.name = name, .mode = st.st_mode};
    if (S_ISDIR(st.st_mode)) {
        FD_AUTO sub = openat(dir, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0) return failed(w, name);
        return add(w, &item) && walk_dir(w, sub, name, depth + 1);
    }
    if (S_ISLNK(st.st_mode)) {
        char target[4096];
        ssize_t n = readlinkat(dir, entry, target, sizeof target);
        if (n < 0) return failed(w, name);
        item.link = arena_str(w->arena, (struct str){target, (size_t)n});
        return bundle_link_inside(name, item.link) ? add(w, &item) : leave_out(w, name, "a link that leads out of it");
    }
    if (!S_ISREG(st.st_mode)) return leave_out(w, name, "neither a file nor a folder");
    item.size = st.st_size;
    return add(w, &item);
}

static bool walk_dir(struct walk *w, int dir, struct str prefix, int depth)
{
    if (depth > DEPTH_MAX)
        return err_set(w->err, ERR_TOO_LARGE, "%.*s: folders deeper than %d", STR_ARG(prefix), DEPTH_MAX);
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (!entries) {
        fs_close(&copy);
        return failed(w, prefix);
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(entries)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) ok = visit(w, dir, e->d_name, prefix, depth);
    closedir(entries);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static bool sort_items(struct walk *w)
{
    if (w->n > 0) qsort(w->items, w->n, sizeof *w->items, by_name);
    return true;
}

static bool list_items(struct walk *w, const char *folder, int *root)
{
    *root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*root < 0) {
        err_set(w->err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", folder, strerror(errno));
        return false;
    }
    char path[FS_PATH_MAX];
    BUF_AUTO text;
    struct err why;
    buf_init(&text, 1 << 20);
    if (w->limits.whole) return walk_dir(w, *root, str_of(""), 0) && sort_items(w);
    if (!fs_path(path, w->err, "%s/.millraceignore", folder)) return false;
    if (!fs_read(path, 1 << 20, &text, &why) && why.code != ERR_NOT_FOUND) {
        if (w->err) *w->err = why;
        return false;
    }
    w->ignore = arena_new(w->arena, struct ignore);
    struct str rules = arena_str(w->arena, buf_view(&text));
    if (!ignore_parse(rules, w->ignore, w->err)) return err_path(w->err, ".millraceignore");
    return walk_dir(w, *root, str_of(""), 0) && sort_items(w);
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void tell_left(struct walk *w, struct bundle_stats *out)
{
    size_t room = sizeof out->left_names, used = 0;
    if (w->n_left > 0) qsort(w->left, w->n_left, sizeof *w->left, by_text);
    for (size_t i = 0; i < w->n_left; i++) {
        if (used + w->left[i].n + 3 > room) break;
        used += (size_t)snprintf(out->left_names + used, room - used, "%s%.*s", i ? ", " : "", STR_ARG(w->left[i]));
    }
    out->left_out = (int64_t)w->n_left;
}

/* ---- writing ---- */

static bool archive_failed(struct archive *ar, struct err *err)
{
    const char *said = archive_error_string(ar);
    return err_set(err, ERR_IO, "packing: %s", said ? said : "unknown error");
}

static bool write_file(struct archive *ar, int root, const struct item *item, struct err *err)
{
    FD_AUTO fd = fs_open_beneath(root, item->name.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) return err_set(err, ERR_IO, "%.*s: %s", STR_ARG(item->name), strerror(errno));
    static const char changed[] = "%.*s changed while it was packed";
    char piece[PIECE];
    int64_t left = item->size;
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_set(err, ERR_IO, "%.*s: %s", STR_ARG(item->name), strerror(errno));
        if (got > left || (got == 0 && left > 0)) return err_set(err, ERR_CONFLICT, changed, STR_ARG(item->name));
        if (got == 0) return true;
        if (archive_write_data(ar, piece, (size_t)got) != got) return archive_failed(ar, err);
        left -= got;
    }
}

static bool write_item(struct archive *ar, struct archive_entry *entry, int root, const struct item *item,
                       struct err *err)
{
    archive_entry_clear(entry);
    archive_entry_set_pathname(entry, item->name.p);
    archive_entry_set_mtime(entry, 0, 0);
    if (S_ISDIR(item->mode)) {
        archive_entry_set_filetype(entry, AE_IFDIR);
        archive_entry_set_perm(entry, 0755);
    } else if (S_ISLNK(item->mode)) {
        archive_entry_set_filetype(entry, AE_IFLNK);
        archive_entry_set_perm(entry, 0777);
        archive_entry_set_symlink(entry, item->link.p);
    } else {
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, item->mode & 0111 ? 0755 : 0644);
        archive_entry_set_size(entry, item->size);
    }
    if (archive_write_header(ar, entry) != ARCHIVE_OK) return archive_failed(ar, err);
    return !S_ISREG(item->mode) || write_file(ar, root, item, err);
}

/* GNU tar's format keeps names as bytes, whatever the locale; the gzip header carries no time. */
static bool write_all(const struct walk *w, int root, int out_fd, struct err *err)
{
    struct archive *ar = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    if (!ar || !entry) abort();
    bool ok = archive_write_set_format_gnutar(ar) == ARCHIVE_OK && archive_write_add_filter_gzip(ar) == ARCHIVE_OK &&
              archive_write_set_options(ar, "gzip:!timestamp,gzip:compression-level=6") == ARCHIVE_OK &&
              archive_write_set_bytes_in_last_block(ar, 1) == ARCHIVE_OK &&
              archive_write_open_fd(ar, out_fd) == ARCHIVE_OK;
    if (!ok) archive_failed(ar, err);
    for (size_t i = 0; ok && i < w->n; i++)
        ok = write_item(ar, entry, root, &w->items[i], err);
    if (ok && archive_write_close(ar) != ARCHIVE_OK) ok = archive_failed(ar, err);
    archive_entry_free(entry);
    archive_write_free(ar);
    return ok;
}

bool bundle_pack(const char *folder, int out_fd, const struct bundle_limits *limits, struct bundle_stats *stats,
                 struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct walk w = {.arena = &a, .limits = bundle_limits_or_default(limits), .err = err};
    struct bundle_stats out = {0};
    FD_AUTO root = -1;
    bool ok = list_items(&w, folder, &root) && write_all(&w, root, out_fd, err);
    if (ok && lseek(out_fd, 0, SEEK_SET) != 0) ok = err_set(err, ERR_IO, "packing: %s", strerror(errno));
    ok = ok && digest_fd(out_fd, out.digest, &out.size, err);
    out.entries = (int64_t)w.n;
    out.bytes = w.bytes;
    tell_left(&w, &out);
    arena_free(&a);
    if (ok) *stats = out;
    return ok;
}

bool bundle_pack_temp(const char *folder, const struct bundle_limits *limits, int *fd, struct bundle_stats *stats,
                      struct err *err)
{
    const char *dir = getenv("TMPDIR");
    char path[FS_PATH_MAX];
    if (!fs_path(path, err, "%s/millrace-bundle-XXXXXX", dir && *dir ? dir : "/tmp")) return false;
    int temp = mkostemp(path, O_CLOEXEC);
    if (temp < 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    unlink(path);
    if (!bundle_pack(folder, temp, limits, stats, err) || lseek(temp, 0, SEEK_SET) != 0) {
        fs_close(&temp);
        return false;
    }
    *fd = temp;
    return true;
}
