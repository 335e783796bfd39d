/* Bundles: the same folder gives the same digest; what is ignored stays out; archives made to do harm are refused
 * whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/blob/bundle.h"
#include "engine/blob/ignore.h"

static char dir[64];
static struct err err;

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/millrace-t-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return fs_remove_tree(dir, &err) ? 0 : -1;
}

static char *in(const char *name)
{
    static char paths[8][FS_PATH_MAX];
    static int next;
    char *path = paths[next++ % 8];
    ok(fs_path(path, &err, "%s/%s", dir, name));
    return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
    char folder[FS_PATH_MAX];
    ok(fs_path(folder, &err, "%s", in(name)));
    *strrchr(folder, '/') = 0;
    ok(fs_mkdirs(folder, 0755, &err) && fs_write(in(name), str_of(text), mode, false, &err));
}

static void patterns_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool want;
    } rows[] = {
        {"*.pyc", "a.pyc", true},
        {"*.pyc", "a.py", false},
        {"a*b*c", "aXXbYYc", true},
        {"a*b*c", "aXXbYY", false},
        {"*", "a/b", false},
        {"?", "a", true},
        {"?", "/", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]x", "bx", false},
        {"[^a-c]x", "dx", true},
        {"[]]", "]", true},
        {"[a", "[a", true},
        {"\\*", "*", true},
        {"\\*", "x", false},
        {"data/*.csv", "data/x.csv", true},
        {"data/*.csv", "data/deep/x.csv", false},
        {"data/**", "data/deep/x.csv", true},
        {"data/**", "data", false},
        {"**/x", "x", true},
        {"**/x", "a/b/x", true},
        {"a/**/b", "a/b", true},
        {"a/**/b", "a/x/y/b", true},
        {"a/**/b", "a/x/y/c", false},
        {"*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (ignore_glob(str_of(rows[i].pattern), str_of(rows[i].text)) != rows[i].want)
            fail_msg("'%s' on '%s'", rows[i].pattern, rows[i].text);
    static struct ignore ig;
    BUF_AUTO lines;
    buf_init(&lines, 0);
    for (int i = 0; i < IGNORE_MAX; i++)
        buf_c(&lines, "x\n");
    ok(ignore_parse(buf_view(&lines), &ig, &err));
    buf_c(&lines, "x\n");
    assert_false(ignore_parse(buf_view(&lines), &ig, &err));
    ok(ignore_parse(STR("# models\nmodels/\n*.csv\n!keep.csv\n/top.txt\nsub/*.txt\r\n\n"), &ig, &err));
    static const struct {
        const char *path;
        bool folder, want;
    } paths[] = {
        {"models", true, true},     {"models", false, false},
        {"a/models", true, true},   {"x.csv", false, true},
        {"a/x.csv", false, true},   {"a/keep.csv", false, false},
        {"top.txt", false, true},   {"a/top.txt", false, false},
        {"sub/x.txt", false, true}, {"sub/y/x.txt", false, false},
        {".git", true, true},       {"a/__pycache__", true, true},
        {"m.pyc", false, true},     {".millraceignore", false, true},
        {"train.py", false, false},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (ignore_matches(&ig, str_of(paths[i].path), paths[i].folder) != paths[i].want) fail_msg("%s", paths[i].path);
}

static void make_folder(void)
{
    put("src/train.py", "print(1)\n", 0644);
    put("src/run.sh", "#!/bin/sh\n", 0755);
    put("src/lib/util.py", "x = 1\n", 0600);
    put("src/ümlaut.txt", "ü", 0644);
    put("src/data/big.csv", "1,2,3\n", 0644);
    put("src/__pycache__/x.pyc", "junk", 0644);
    put("src/.git/config", "junk", 0644);
    put("src/.millraceignore", "data/\n", 0644);
    assert_int_equal(symlink("lib/util.py", in("src/link.py")), 0);
    assert_int_equal(symlink("/etc/passwd", in("src/out")), 0);
    assert_int_equal(symlink("../../x", in("src/lib/up")), 0);
    assert_int_equal(mkdir(in("src/empty"), 0755), 0);
    assert_int_equal(mkfifo(in("src/pipe"), 0600), 0);
}

static void the_same_folder_packs_the_same(void **state)
{
    (void)state;
    make_folder();
    int a = -1, b = -1;
    struct bundle_stats one, two;
    ok(bundle_pack_temp(in("src"), NULL, &a, &one, &err));
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, in("src/train.py"), old, 0), 0);
    assert_int_equal(rename(in("src"), in("elsewhere")), 0);
    put("elsewhere/data/more.csv", "ignored", 0644);
    ok(bundle_pack_temp(in("elsewhere"), NULL, &b, &two, &err));
    assert_string_equal(one.digest, two.digest);
    assert_int_equal(one.entries, 7);
    assert_int_equal(one.left_out, 3);
    assert_string_equal(one.left_names, "lib/up, out, pipe");
    struct bundle_stats seen;
    ok(bundle_check(a, NULL, &seen, &err));
    assert_string_equal(seen.digest, one.digest);
    assert_true(seen.entries == one.entries && seen.bytes == one.bytes && seen.size == one.size);
    close(b);
    put("elsewhere/train.py", "print(2)\n", 0644);
    ok(bundle_pack_temp(in("elsewhere"), NULL, &b, &two, &err));
    assert_string_not_equal(one.digest, two.digest);

    assert_int_equal(mkdir(in("back"), 0755), 0);
    ok(bundle_unpack(a, in("back"), NULL, &seen, &err));
    struct stat st;
    assert_true(stat(in("back/run.sh"), &st) == 0 && (st.st_mode & 0777) == 0755);
    assert_true(stat(in("back/lib/util.py"), &st) == 0 && (st.st_mode & 0777) == 0644);
    assert_true(lstat(in("back/link.py"), &st) == 0 && S_ISLNK(st.st_mode));
    assert_true(stat(in("back/empty"), &st) == 0 && S_ISDIR(st.st_mode));
    assert_true(stat(in("back/ümlaut.txt"), &st) == 0 && stat(in("back/train.py"), &st) == 0);
    assert_int_equal(access(in("back/out"), F_OK), -1);
    close(a);
    close(b);
}

/* Packs src and tells the digest of its code. */
static void code_of_src(char out[DIGEST_TEXT])
{
    int fd = -1;
    struct bundle_stats packed, seen;
    ok(bundle_pack_temp(in("src"), NULL, &fd, &packed, &err) && bundle_check(fd, NULL, &seen, &err));
    memcpy(out, seen.code, DIGEST_TEXT);
    close(fd);
}

static void documents_are_not_code(void **state)
{
    (void)state;
    char first[DIGEST_TEXT], now[DIGEST_TEXT];
    make_folder();
    code_of_src(first);
    put("src/pipeline.yaml", "# mine\napiVersion: millrace/v1\nkind: Pipeline\n", 0644);
    put("src/lib/more.yml", "apiVersion: millrace/v1\nkind: Pipeline\n", 0644);
    code_of_src(now);
    assert_string_equal(now, first);
    static const struct {
        const char *name, *text;
        mode_t mode;
    } code[] = {{"src/conf.yaml", "x: 1\n", 0644},
                {"src/conf.yaml", "x: 2\n", 0644},
                {"src/conf.yaml", " apiVersion: millrace/v1\n", 0644},
                {"src/conf.yaml", "", 0644},
                {"src/conf.yaml", "lr: 1\ndoc: |2\napiVersion: millrace/v1\n", 0644},
                {"src/conf.yaml", "lr: 2\ndoc: |2\napiVersion: millrace/v1\n", 0644},
                {"src/go.yml", "echo 1; exit\napiVersion: millrace/v1\nkind: Pipeline\n", 0644},
                {"src/go.yml", "echo 2; exit\napiVersion: millrace/v1\nkind: Pipeline\n", 0644},
                {"src/conf.py", "apiVersion: millrace/v1\n", 0644},
                {"src/conf.py", "apiVersion: millrace/v1\n", 0755},
                {"src/lib/conf.py", "", 0644}};
    for (size_t i = 0; i < sizeof code / sizeof *code; i++) {
        put(code[i].name, code[i].text, code[i].mode);
        assert_int_equal(chmod(in(code[i].name), code[i].mode), 0);
        code_of_src(now);
        if (strcmp(now, first) == 0) fail_msg("row %zu: the same code as before", i);
        memcpy(first, now, sizeof first);
    }
    assert_int_equal(symlink("train.py", in("src/lib/alias")), 0);
    code_of_src(now);
    assert_string_not_equal(now, first);
}

static void limits_hold(void **state)
{
    (void)state;
    put("src/a", "12345", 0644);
    put("src/big", "1234567890", 0644);
    FILE *f = tmpfile();
    struct bundle_stats stats;
    struct bundle_limits few = {.entries = 1}, small = {.bytes = 12};
    assert_false(bundle_pack(in("src"), fileno(f), &few, &stats, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_false(bundle_pack(in("src"), fileno(f), &small, &stats, &err));
    assert_non_null(strstr(err.hint, "big"));
    assert_false(bundle_pack(in("nowhere"), fileno(f), NULL, &stats, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    ok(bundle_pack(in("src"), fileno(f), NULL, &stats, &err));
    assert_false(bundle_check(fileno(f), &few, &stats, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_false(bundle_check(fileno(f), &small, &stats, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    fclose(f);
}

/* What a step left is its data: nothing is ignored, and nothing vanishes without a word. */
static void folders_of_artifacts_are_whole(void **state)
{
    static char zeros[8 << 20];
    (void)state;
    put("data/.millraceignore", "*.txt\n", 0644);
    put("data/a.txt", "a", 0644);
    put("data/.git/config", "b", 0644);
    put("data/c.pyc", "c", 0644);
    FILE *z = fopen(in("data/zeros"), "wb");
    assert_true(z && fwrite(zeros, sizeof zeros, 1, z) == 1 && fclose(z) == 0);
    FILE *f = tmpfile();
    struct bundle_stats stats;
    ok(bundle_pack(in("data"), fileno(f), &bundle_of_artifact, &stats, &err));
    assert_int_equal(stats.entries, 6);
    assert_false(bundle_check(fileno(f), NULL, &stats, &err)); /* code does not unpack to so much more */
    assert_int_equal(mkdir(in("again"), 0755), 0);
    ok(bundle_unpack(fileno(f), in("again"), &bundle_of_artifact, &stats, &err));
    assert_true(access(in("again/.git/config"), F_OK) == 0 && access(in("again/a.txt"), F_OK) == 0);
    assert_int_equal(symlink("/etc/passwd", in("data/out")), 0);
    assert_false(bundle_pack(in("data"), fileno(f), &bundle_of_artifact, &stats, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.message, "'out' in it is a link that leads out of it");
    fclose(f);
}

struct evil {
    const char *what, *name;
    mode_t type, perm;
    const char *link, *hardlink;
    const char *then; /* a second entry of the same kind, a file */
};

static int archive_of(const struct evil *e)
{
    FILE *f = tmpfile();
    int fd = dup(fileno(f));
    fclose(f);
    struct archive *ar = archive_write_new();
    archive_write_set_format_gnutar(ar);
    archive_write_add_filter_gzip(ar);
    archive_write_open_fd(ar, fd);
    const char *names[] = {e->name, e->then};
    for (int i = 0; i < 2 && names[i]; i++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, names[i]);
        archive_entry_set_filetype(entry, i == 0 ? e->type : AE_IFREG);
        archive_entry_set_perm(entry, i == 0 ? e->perm : 0644);
        if (i == 0 && e->link) archive_entry_set_symlink(entry, e->link);
        if (i == 0 && e->hardlink) archive_entry_set_hardlink(entry, e->hardlink);
        bool file = (i == 1 || e->type == AE_IFREG) && !(i == 0 && e->hardlink);
        if (file) archive_entry_set_size(entry, 4);
        assert_int_equal(archive_write_header(ar, entry), ARCHIVE_OK);
        if (file) archive_write_data(ar, "evil", 4);
        archive_entry_free(entry);
    }
    archive_write_close(ar);
    archive_write_free(ar);
    return fd;
}

static void harm_is_refused(void **state)
{
    (void)state;
    static char long_name[300], long_path[300], long_link[6000];
    memset(long_name, 'n', sizeof long_name - 1);
    memset(long_path, 'n', sizeof long_path - 1);
    memcpy(long_path + sizeof long_path - 3, "/f", 2);
    memset(long_link, 'n', sizeof long_link - 1);
    static const struct evil rows[] = {
        {"long name", long_name, AE_IFREG, 0644, NULL, NULL, NULL},
        {"long folder", long_name, AE_IFDIR, 0755, NULL, NULL, NULL},
        {"long parent", long_path, AE_IFREG, 0644, NULL, NULL, NULL},
        {"long link", "l", AE_IFLNK, 0777, long_link, NULL, NULL},
        {"absolute", "/etc/evil", AE_IFREG, 0644, NULL, NULL, NULL},
        {"parent", "../evil", AE_IFREG, 0644, NULL, NULL, NULL},
        {"inner parent", "a/../../evil", AE_IFREG, 0644, NULL, NULL, NULL},
        {"set-uid", "su", AE_IFREG, 04755, NULL, NULL, NULL},
        {"fifo", "pipe", AE_IFIFO, 0644, NULL, NULL, NULL},
        {"device", "zero", AE_IFCHR, 0644, NULL, NULL, NULL},
        {"link out", "l", AE_IFLNK, 0777, "../x", NULL, NULL},
        {"link absolute", "l", AE_IFLNK, 0777, "/etc/passwd", NULL, NULL},
        {"link that turns", "a/l", AE_IFLNK, 0777, "x/../../..", NULL, NULL},
        {"hard link", "h", AE_IFREG, 0644, NULL, "/etc/passwd", NULL},
        {"through a link", "l", AE_IFLNK, 0777, ".", NULL, "l/evil"},
        {"twice", "a", AE_IFREG, 0644, NULL, NULL, "a"},
        {"below a file", "a", AE_IFREG, 0644, NULL, NULL, "a/b"},
        {"onto a link", "l", AE_IFLNK, 0777, "target", NULL, "l"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bundle_stats stats;
        int fd = archive_of(&rows[i]);
        ok(fs_remove_tree(in("t"), &err) && fs_mkdirs(in("t"), 0755, &err));
        err_clear(&err);
        if (bundle_unpack(fd, in("t"), NULL, &stats, &err)) fail_msg("%s was taken", rows[i].what);
        if (err.code != ERR_INVALID) fail_msg("%s: %s", rows[i].what, err.message);
        close(fd);
    }
    assert_int_equal(access(in("evil"), F_OK), -1);
}

static void bombs_are_refused(void **state)
{
    (void)state;
    static char zeros[1 << 20];
    FILE *f = fopen(in("zeros"), "w");
    for (int i = 0; i < 300; i++)
        fwrite(zeros, 1, sizeof zeros, f);
    fclose(f);
    ok(fs_mkdirs(in("src"), 0755, &err));
    assert_int_equal(rename(in("zeros"), in("src/zeros")), 0);
    int fd = -1;
    struct bundle_stats stats;
    ok(bundle_pack_temp(in("src"), NULL, &fd, &stats, &err));
    assert_false(bundle_check(fd, NULL, &stats, &err));
    assert_int_equal(err.code, ERR_INVALID);
    struct bundle_limits loose = {.ratio = 100000};
    ok(bundle_check(fd, &loose, &stats, &err));
    close(fd);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    put("src/a", "some text that is long enough to be worth packing", 0644);
    int fd = -1;
    struct bundle_stats stats;
    ok(bundle_pack_temp(in("src"), NULL, &fd, &stats, &err));
    char whole[4096];
    ssize_t n = pread(fd, whole, sizeof whole, 0);
    for (ssize_t cut = 0; cut < n; cut += 7) { /* truncated */
        put("cut", "", 0644);
        int c = open(in("cut"), O_RDWR);
        assert_int_equal(write(c, whole, (size_t)cut), cut);
        if (bundle_check(c, NULL, &stats, &err)) fail_msg("taken when cut at %d of %d", (int)cut, (int)n);
        close(c);
    }
    close(fd);
    put("text", "no archive at all, just words", 0644);
    fd = open(in("text"), O_RDONLY);
    assert_false(bundle_check(fd, NULL, &stats, &err));
    assert_int_equal(err.code, ERR_INVALID);
    close(fd);
}

/* A tar of one file, not packed, as `filter` packs it. */
static size_t tar_of_one(const char *filter, char *out, size_t room)
{
    size_t n;
    struct archive *ar = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    archive_write_set_format_gnutar(ar);
    if (filter) assert_int_equal(archive_write_add_filter_by_name(ar, filter), ARCHIVE_OK);
    archive_write_open_memory(ar, out, room, &n);
    archive_entry_set_pathname(entry, "go.sh");
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, 7);
    assert_int_equal(archive_write_header(ar, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(ar, "echo hi", 7), 7);
    archive_entry_free(entry);
    archive_write_close(ar);
    archive_write_free(ar);
    return n;
}

/* Without timing or names: what gzip makes of the bytes. */
static size_t gzip_of(const char *p, size_t n, char *out, size_t room)
{
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)p,
                  .avail_in = (unsigned)n,
                  .next_out = (unsigned char *)out,
                  .avail_out = (unsigned)room};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static void only_whole_archives_are_taken(void **state)
{
    (void)state;
    static char tar[4 << 20], zip[1 << 16], two[1 << 16];
    size_t n = tar_of_one(NULL, tar, sizeof tar), packed = gzip_of(tar, n, zip, sizeof zip);
    size_t half = gzip_of(tar, 700, two, sizeof two), both = half + gzip_of(tar + 700, n - 700, two + half, sizeof two);
    static char other[1 << 16];
    size_t lz = tar_of_one("xz", other, sizeof other);
    struct {
        const char *what, *p;
        size_t n;
        const char *says; /* NULL = taken */
        char edit[32];
        size_t edited; /* bytes of `edit` at the end, over what is there or behind it */
        bool behind;
    } rows[] = {
        {"as it is", zip, packed, NULL, "", 0, false},
        {"two streams", two, both, NULL, "", 0, false},
        {"checksum", zip, packed, "data check", "\1\2\3\4\0\50\0", 8, false},
        {"length", zip, packed, "length check", "\1\2\3\4", 4, false},
        {"junk behind", zip, packed, "other bytes follow its end", "junk", 4, true},
        {"zeros behind", zip, packed, "other bytes follow its end", "", 8, true},
        {"another begins", zip, packed, "incorrect header check", "\x1f", 2, true},
        {"another is cut off", zip, packed, "it is cut off", "\x1f\x8b\x8", 3, true},
        {"no checksum", zip, packed - 8, "it is cut off", "", 0, false},
        {"half of it", zip, packed / 2, "it is cut off", "", 0, false},
        {"nothing", zip, 0, "it is empty", "", 0, false},
        {"not packed", tar, n, "does not begin as gzip does", "", 0, false},
        {"packed otherwise", other, lz, "does not begin as gzip does", "", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bundle_stats stats;
        FILE *f = tmpfile();
        assert_true(fwrite(rows[i].p, 1, rows[i].n, f) == rows[i].n);
        if (!rows[i].behind) assert_int_equal(fseek(f, -(long)rows[i].edited, SEEK_CUR), 0);
        assert_true(fwrite(rows[i].edit, 1, rows[i].edited, f) == rows[i].edited && fflush(f) == 0);
        bool taken = bundle_check(fileno(f), NULL, &stats, &err);
        if (taken != (rows[i].says == NULL)) fail_msg("%s: %s", rows[i].what, taken ? "taken" : err.message);
        if (!taken && (!strstr(err.message, rows[i].says) || err.code != ERR_INVALID))
            fail_msg("%s: %s", rows[i].what, err.message);
        fclose(f);
    }
}

static void a_tar_ends_as_it_should(void **state)
{
    (void)state;
    enum { ENTRY = 1024 }; /* its header and its bytes */
    static char tar[4 << 20], zip[1 << 16];
    tar_of_one(NULL, tar, sizeof tar);
    static const struct {
        size_t n; /* of the tar, before it is packed */
        const char *says;
    } ends[] = {{ENTRY, "the end of its tar is missing"},
                {ENTRY + 512, "the end of its tar is missing"},
                {ENTRY + 1024, NULL},
                {1 << 20, NULL},
                {4 << 20, "its tar ends long before it does"},
                {ENTRY - 300, "cut off"},
                {300, "tar.gz"}};
    struct bundle_limits folder = bundle_of_artifact;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct bundle_stats stats;
        FILE *f = tmpfile();
        size_t size = gzip_of(tar, ends[i].n, zip, sizeof zip);
        assert_true(fwrite(zip, 1, size, f) == size && fflush(f) == 0);
        bool taken = bundle_check(fileno(f), &folder, &stats, &err);
        if (taken != (ends[i].says == NULL)) fail_msg("%zu: %s", ends[i].n, taken ? "taken" : err.message);
        if (!taken && !strstr(err.message, "the packed folder is damaged or no tar.gz")) fail_msg("%s", err.message);
        if (!taken && !strstr(err.message, ends[i].says) && ends[i].n >= ENTRY) fail_msg("%s", err.message);
        fclose(f);
    }
}

struct installer {
    struct blob_store *d;
    struct str digest;
    bool ok;
};

static void *install(void *arg)
{
    struct installer *i = arg;
    struct err e;
    i->ok = bundle_install(i->d, str_of(dir), i->digest, NULL, &e);
    return NULL;
}

static void installation_is_all_or_nothing(void **state)
{
    (void)state;
    struct blob_store *d;
    ok(store_open(&(const struct store_config){.store_dir = str_of(dir)}, &d, &err));
    put("src/main.py", "print(1)", 0644);
    int fd = -1;
    struct bundle_stats stats;
    char digest[DIGEST_TEXT];
    ok(bundle_pack_temp(in("src"), NULL, &fd, &stats, &err));
    ok(store_put_fd(d, fd, str_of(stats.digest), digest, NULL, &err));
    close(fd);
    struct installer both[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        both[i] = (struct installer){d, str_of(digest), false};
        pthread_create(&threads[i], NULL, install, &both[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_true(both[i].ok);
    char tree[FS_PATH_MAX], path[FS_PATH_MAX];
    ok(bundle_tree_path(str_of(dir), str_of(digest), tree, &err) && fs_path(path, &err, "%s/main.py", tree));
    assert_int_equal(access(path, R_OK), 0);
    ok(bundle_remove(str_of(dir), str_of(digest), &err) && bundle_remove(str_of(dir), str_of(digest), &err));
    assert_int_equal(access(tree, F_OK), -1);
    ok(store_put_bytes(d, STR("no bundle"), digest, &err));
    assert_false(bundle_install(d, str_of(dir), str_of(digest), NULL, &err));
    ok(bundle_tree_path(str_of(dir), str_of(digest), tree, &err));
    assert_int_equal(access(tree, F_OK), -1);
    store_close(d);
}

/* Bytes that are not what their name says are nobody's code, however well they unpack. */
static void damaged_bundles_are_not_installed(void **state)
{
    (void)state;
    struct blob_store *d;
    struct bundle_stats stats, others;
    char digest[DIGEST_TEXT], tree[FS_PATH_MAX], blob[FS_PATH_MAX];
    int fd = -1, other = -1;
    ok(store_open(&(const struct store_config){.store_dir = str_of(dir)}, &d, &err));
    put("src/main.py", "print(1)", 0644);
    ok(bundle_pack_temp(in("src"), NULL, &fd, &stats, &err));
    put("src/main.py", "print(2)", 0644);
    ok(bundle_pack_temp(in("src"), NULL, &other, &others, &err));
    ok(store_put_fd(d, fd, str_of(stats.digest), digest, NULL, &err));
    ok(store_path_later(d, str_of(digest), blob, &err));
    char bytes[4096];
    ssize_t n = pread(other, bytes, sizeof bytes, 0), whole = pread(fd, bytes + n, sizeof bytes - (size_t)n, 0);
    assert_true(n > 0 && whole > 0 && access(blob, F_OK) == 0);
    ok(fs_write(blob, (struct str){bytes, (size_t)n}, 0600, false, &err));
    assert_false(bundle_install(d, str_of(dir), str_of(digest), NULL, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.message, "damaged"));
    ok(bundle_tree_path(str_of(dir), str_of(digest), tree, &err));
    assert_int_equal(access(tree, F_OK), -1);
    ok(fs_write(blob, (struct str){bytes + n, (size_t)whole}, 0600, false, &err));
    ok(bundle_install(d, str_of(dir), str_of(digest), NULL, &err)); /* nothing of before is in its way */
    assert_int_equal(access(tree, F_OK), 0);
    close(fd);
    close(other);
    store_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match),
        cmocka_unit_test_setup_teardown(the_same_folder_packs_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_of_artifacts_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(documents_are_not_code, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(harm_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(bombs_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_is_refused, setup, teardown),
        cmocka_unit_test(only_whole_archives_are_taken),
        cmocka_unit_test(a_tar_ends_as_it_should),
        cmocka_unit_test_setup_teardown(installation_is_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_bundles_are_not_installed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
