/* From an untrusted tar.gz to a folder, and into the place where steps find their code. */
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
#include "engine/blob/document.h"
#include "engine/blob/gunzip.h"
#include "engine/os/clock.h"

#define PIECE 65536
#define PADDING_MAX (1 << 20) /* behind a tar's end, where some fill up a tape's block */

struct unpack {
    struct archive *archive;
    struct gunzip *gunzip;
    bool over; /* the archive was asked for more than there is: its end is missing */
    int dir;   /* -1: only checked */
    struct bundle_limits limits;
    struct bundle_stats stats;
    struct digest_stream code;
    struct err *err;
};

/* ---- the digest of the code ---- */

/* `what` is of a fixed length for each kind, but for a link's target, which holds no NUL. */
static void count_code(struct unpack *u, char kind, struct str name, const void *what, size_t n)
{
    digest_add(&u->code, &kind, 1);
    digest_add(&u->code, name.p, name.n);
    digest_add(&u->code, "", 1);
    digest_add(&u->code, what, n);
    digest_add(&u->code, "", 1);
}

/* ---- what is refused ---- */

static const char *what_it_is(const struct unpack *u)
{
    return u->limits.whole ? "the packed folder" : "the bundle";
}

__attribute__((format(printf, 3, 4))) static bool refuse(const struct unpack *u, struct str name, const char *fmt, ...)
{
    char what[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    err_set(u->err, ERR_INVALID, "%s is refused: '%.*s' %s", what_it_is(u), name.n > 150 ? 150 : (int)name.n, name.p,
            what);
    return err_hint(u->err, "it may hold files, folders and links within itself");
}

static bool damaged(const struct unpack *u)
{
    const struct gunzip *g = u->gunzip;
    const char *said = g->said != NULL ? g->said : archive_error_string(u->archive);
    if (g->failed != 0) return err_set(u->err, ERR_IO, "unpacking: %s", strerror(g->failed));
    err_set(u->err, ERR_INVALID, "%s is damaged or no tar.gz: %s", what_it_is(u), said ? said : "it cannot be read");
    return err_hint(u->err, "pack it again");
}

static bool failed(const struct unpack *u, struct str name)
{
    if (errno == ENAMETOOLONG) return refuse(u, name, "is longer than a file system takes");
    if (errno == EEXIST || errno == ENOTDIR || errno == ELOOP || errno == EXDEV)
        return refuse(u, name, "is there twice, or below something that is no folder");
    return err_set(u->err, errno == ENOSPC ? ERR_SPACE : ERR_IO, "unpacking %.*s: %s", STR_ARG(name), strerror(errno));
}

/* ---- entries ---- */

/* "./a/b/" → "a/b"; empty for the root itself. */
static struct str plain_name(const char *raw)
{
    struct str name = str_of(raw);
    while (str_starts(name, "./"))
        name = str_sub(name, 2, name.n);
    while (name.n > 0 && name.p[name.n - 1] == '/')
        name.n--;
    return str_is(name, ".") ? str_of("") : name;
}

static bool count_bytes(struct unpack *u, struct str name, int64_t n)
{
    u->stats.bytes += n;
    if (u->stats.bytes > u->limits.bytes) {
        err_set(u->err, ERR_TOO_LARGE, "%s unpacks to more than %lld bytes", what_it_is(u), (long long)u->limits.bytes);
        return err_hint(u->err, "list what the steps do not need in .millraceignore");
    }
    if (u->stats.bytes > 1 << 20 && u->stats.bytes / u->limits.ratio > u->stats.size)
        return refuse(u, name, "unpacks to more than %lld times the size of the bundle", (long long)u->limits.ratio);
    return true;
}

static bool write_piece(const struct unpack *u, int fd, const char *p, size_t n, struct str name)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return failed(u, name);
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static bool take_bytes(struct unpack *u, struct str name, int fd, unsigned char digest[DIGEST_BYTES], bool *document)
{
    char piece[PIECE];
    struct digest_stream bytes;
    struct document seen = {0};
    bool ok = true, yaml = document_named(name);
    digest_begin(&bytes);
    while (ok) {
        la_ssize_t got = archive_read_data(u->archive, piece, sizeof piece);
        if (got == 0) break;
        ok = got > 0 ? count_bytes(u, name, got) : damaged(u);
        if (!ok) break;
        if (yaml) document_add(&seen, piece, (size_t)got);
        digest_add(&bytes, piece, (size_t)got);
        ok = fd < 0 || write_piece(u, fd, piece, (size_t)got, name);
    }
    digest_end_raw(&bytes, digest);
    *document = yaml && document_end(&seen);
    return ok;
}

static bool take_file(struct unpack *u, struct str name, const char *path, bool executable)
{
    FD_AUTO fd = -1;
    if (u->dir >= 0) {
        fd = fs_open_beneath(u->dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                             executable ? 0755 : 0644);
        if (fd < 0) return failed(u, name);
    }
    unsigned char digest[DIGEST_BYTES];
    bool document;
    if (!take_bytes(u, name, fd, digest, &document)) return false;
    if (!document) count_code(u, executable ? 'x' : 'f', name, digest, sizeof digest);
    if (fd >= 0 && fchmod(fd, executable ? 0755 : 0644) != 0) return failed(u, name); /* whatever the umask */
    return true;
}

static bool make_parent(struct unpack *u, struct str name, char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || u->dir < 0) return true;
    *slash = 0;
    bool ok = fs_mkdirs_beneath(u->dir, path, 0755, (uid_t)-1, (gid_t)-1);
    *slash = '/';
    return ok || failed(u, name);
}

static bool take_link(struct unpack *u, struct str name, char *path, const char *target)
{
    if (!bundle_link_inside(name, str_of(target))) return refuse(u, name, "is a link out of it");
    count_code(u, 'l', name, target, strlen(target));
    if (u->dir < 0) return true;
    char *slash = strrchr(path, '/');
    FD_AUTO parent = -1;
    if (slash) {
        *slash = 0;
        parent = fs_open_beneath(u->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        *slash = '/';
        if (parent < 0) return failed(u, name);
    }
    return symlinkat(target, slash ? parent : u->dir, slash ? slash + 1 : path) == 0 || failed(u, name);
}

static bool take_entry(struct unpack *u, struct archive_entry *entry)
{
    const char *raw = archive_entry_pathname(entry), *target;
    if (!raw) raw = archive_entry_pathname_utf8(entry);
    if (!raw) return refuse(u, str_of("?"), "has a name that cannot be read");
    struct str name = plain_name(raw);
    mode_t type = archive_entry_filetype(entry);
    if (name.n == 0 && type == AE_IFDIR) return true;
    char path[FS_PATH_MAX];
    if (!fs_relative(name) || !fs_path(path, u->err, "%.*s", STR_ARG(name)))
        return refuse(u, name, "is not a plain relative path");
    if (++u->stats.entries > u->limits.entries) {
        err_set(u->err, ERR_TOO_LARGE, "%s has more than %lld entries", what_it_is(u), (long long)u->limits.entries);
        return err_hint(u->err, "list what the steps do not need in .millraceignore");
    }
    if (archive_entry_hardlink(entry)) return refuse(u, name, "is a hard link");
    if (archive_entry_perm(entry) & 07000) return refuse(u, name, "has a set-id or sticky bit");
    if (!make_parent(u, name, path)) return false;
    switch (type) {
    case AE_IFREG: return take_file(u, name, path, (archive_entry_perm(entry) & 0111) != 0);
    case AE_IFDIR:
        count_code(u, 'd', name, "", 0);
        return u->dir < 0 || fs_mkdirs_beneath(u->dir, path, 0755, (uid_t)-1, (gid_t)-1) || failed(u, name);
    case AE_IFLNK:
        target = archive_entry_symlink(entry);
        if (!target) target = archive_entry_symlink_utf8(entry);
        return take_link(u, name, path, target ? target : "");
    default: return refuse(u, name, "is neither file nor folder nor link");
    }
}

/* ---- the archive ---- */

static la_ssize_t read_more(struct archive *archive, void *ctx, const void **p)
{
    struct unpack *u = ctx;
    size_t n;
    if (!gunzip_more(u->gunzip, &n)) {
        archive_set_error(archive, EIO, "it cannot be read");
        return -1;
    }
    *p = u->gunzip->out;
    u->over = n == 0;
    return (la_ssize_t)n;
}

/* Nothing of it is believed before all of it was read: the checksum stands at the end. */
static bool read_end(struct unpack *u)
{
    size_t n = 1;
    if (u->over) u->gunzip->said = "the end of its tar is missing";
    for (size_t all = 0; u->gunzip->said == NULL && n > 0; all += n) {
        if (!gunzip_more(u->gunzip, &n)) break;
        if (all > PADDING_MAX) u->gunzip->said = "its tar ends long before it does";
    }
    return (u->gunzip->said == NULL && u->gunzip->failed == 0) || damaged(u);
}

static bool take_all(struct unpack *u)
{
    struct archive_entry *entry = archive_entry_new();
    if (!entry) abort();
    bool ok = archive_read_support_format_tar(u->archive) == ARCHIVE_OK &&
              archive_read_open(u->archive, u, NULL, read_more, NULL) == ARCHIVE_OK;
    if (!ok) damaged(u);
    while (ok) {
        int r = archive_read_next_header2(u->archive, entry);
        if (r == ARCHIVE_EOF) break;
        ok = r == ARCHIVE_OK || r == ARCHIVE_WARN ? take_entry(u, entry) : damaged(u);
    }
    archive_entry_free(entry);
    return ok && read_end(u);
}

static bool unpack(struct unpack *u, int fd, struct bundle_stats *stats)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || lseek(fd, 0, SEEK_SET) != 0)
        return err_set(u->err, ERR_IO, "unpacking: %s", strerror(errno));
    if (!digest_fd(fd, u->stats.digest, &u->stats.size, u->err)) return false;
    if (lseek(fd, 0, SEEK_SET) != 0) return err_set(u->err, ERR_IO, "unpacking: %s", strerror(errno));
    u->archive = archive_read_new();
    u->gunzip = malloc(sizeof *u->gunzip);
    if (!u->archive || !u->gunzip) abort();
    gunzip_begin(u->gunzip, fd);
    digest_begin(&u->code);
    bool ok = take_all(u);
    archive_read_free(u->archive);
    gunzip_end(u->gunzip);
    free(u->gunzip);
    digest_end(&u->code, u->stats.code);
    if (ok && stats) *stats = u->stats;
    return ok;
}

bool bundle_check(int fd, const struct bundle_limits *limits, struct bundle_stats *stats, struct err *err)
{
    struct unpack u = {.dir = -1, .limits = bundle_limits_or_default(limits), .err = err};
    return unpack(&u, fd, stats);
}

bool bundle_unpack(int fd, const char *folder, const struct bundle_limits *limits, struct bundle_stats *stats,
                   struct err *err)
{
    FD_AUTO dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return err_set(err, ERR_IO, "%s: %s", folder, strerror(errno));
    struct unpack u = {.dir = dir, .limits = bundle_limits_or_default(limits), .err = err};
    return unpack(&u, fd, stats);
}

/* ---- where steps find their code ---- */

static bool place_of(struct str store_dir, struct str digest, char out[FS_PATH_MAX], struct err *err)
{
    if (!digest_valid(digest))
        return err_set(err, ERR_INVALID, "'%.*s' is no digest", digest.n > 100 ? 100 : (int)digest.n, digest.p);
    return fs_path(out, err, "%.*s/bundles/%.64s", STR_ARG(store_dir), digest.p + strlen("sha256:"));
}

bool bundle_tree_path(struct str store_dir, struct str digest, char out[FS_PATH_MAX], struct err *err)
{
    char place[FS_PATH_MAX];
    return place_of(store_dir, digest, place, err) && fs_path(out, err, "%s/tree", place);
}

static bool install_to(struct blob_store *s, struct str digest, const struct bundle_limits *limits, const char *temp,
                       const char *place, struct err *err)
{
    char tree[FS_PATH_MAX];
    FD_AUTO blob = -1;
    if (!fs_path(tree, err, "%s/tree", temp) || !store_file(s, digest, &blob, NULL, err) || !fs_mkdirs(tree, 0755, err))
        return false;
    struct bundle_stats stats;
    if (!bundle_unpack(blob, tree, limits, &stats, err)) return false;
    if (!str_is(digest, stats.digest)) return err_set(err, ERR_IO, "blob %.*s is damaged", STR_ARG(digest));
    FD_AUTO dir = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || syncfs(dir) != 0) return err_set(err, ERR_IO, "%s: %s", temp, strerror(errno));
    if (rename(temp, place) == 0) return true;
    if (errno == EEXIST || errno == ENOTEMPTY) return fs_remove_tree(temp, err); /* somebody else was faster */
    return err_set(err, ERR_IO, "%s: %s", place, strerror(errno));
}

bool bundle_install(struct blob_store *s, struct str store_dir, struct str digest, const struct bundle_limits *limits,
                    struct err *err)
{
    char place[FS_PATH_MAX], temp[FS_PATH_MAX], root[FS_PATH_MAX];
    if (!place_of(store_dir, digest, place, err)) return false;
    if (access(place, F_OK) == 0) return true;
    if (!fs_path(root, err, "%.*s/bundles", STR_ARG(store_dir)) || !fs_mkdirs(root, 0700, err) ||
        !fs_path(temp, err, "%s/tmp-%016llx", root, (unsigned long long)os_random_u64()))
        return false;
    if (install_to(s, digest, limits, temp, place, err)) return true;
    struct err ignored;
    if (!fs_remove_tree(temp, &ignored)) err_clear(&ignored);
    return false;
}

bool bundle_remove(struct str store_dir, struct str digest, struct err *err)
{
    char place[FS_PATH_MAX], temp[FS_PATH_MAX];
    if (!place_of(store_dir, digest, place, err) ||
        !fs_path(temp, err, "%.*s/bundles/tmp-%016llx", STR_ARG(store_dir), (unsigned long long)os_random_u64()))
        return false;
    if (rename(place, temp) != 0)
        return errno == ENOENT ? true : err_set(err, ERR_IO, "%s: %s", place, strerror(errno));
    return fs_remove_tree(temp, err);
}

/* One that is being unpacked is young: its folder was made, and `tree` in it, when that began. */
bool bundle_clear(struct str store_dir, int64_t older_us, struct err *err)
{
    char root[FS_PATH_MAX], path[FS_PATH_MAX];
    if (!fs_path(root, err, "%.*s/bundles", STR_ARG(store_dir))) return false;
    DIR *dir = opendir(root);
    if (dir == NULL) return errno == ENOENT || err_set(err, ERR_IO, "%s: %s", root, strerror(errno));
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir)) != NULL;) {
        struct stat st;
        if (!str_starts(str_of(e->d_name), "tmp-") || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            os_now_us() - (int64_t)st.st_mtim.tv_sec * 1000000 < older_us)
            continue;
        ok = fs_path(path, err, "%s/%s", root, e->d_name) && fs_remove_tree(path, err);
    }
    closedir(dir);
    return ok;
}
