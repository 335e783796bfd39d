/* Files: whole or not at all, nothing opened, removed or copied outside of the folder that was meant. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/os/digest.h"
#include "engine/os/fs.h"

static char root[64], path[FS_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/millrace-files-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    struct err err;
    return fs_remove_tree(root, &err) ? 0 : -1;
}

static const char *in_root(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void put(const char *name, const char *text)
{
    struct err err;
    if (!fs_write(in_root(name), str_of(text), 0644, false, &err)) fail_msg("%s", err.message);
}

static void make(const char *name)
{
    struct err err;
    if (!fs_mkdirs(in_root(name), 0755, &err)) fail_msg("%s", err.message);
}

static bool there(const char *name)
{
    struct stat st;
    return lstat(in_root(name), &st) == 0;
}

static void writing_is_whole_or_not(void **state)
{
    (void)state;
    struct err err;
    struct stat st;
    assert_true(fs_write(in_root("a"), STR("one"), 0600, true, &err));
    assert_true(fs_write(in_root("a"), STR("two"), 0640, true, &err));
    assert_int_equal(stat(in_root("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(st.st_size, 3);
    assert_false(fs_write(in_root("no/such/folder"), STR("x"), 0600, false, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    make("folder");
    assert_false(fs_write(in_root("folder"), STR("x"), 0600, false, &err)); /* the rename fails */
    BUF_AUTO names;
    buf_init(&names, 0);
    assert_true(there("folder"));
    assert_int_equal(rmdir(in_root("folder")), 0);
    assert_int_equal(unlink(in_root("a")), 0);
    assert_int_equal(rmdir(root), 0); /* nothing temporary is left */
    assert_int_equal(mkdir(root, 0700), 0);
}

static void reading_is_bounded(void **state)
{
    (void)state;
    struct err err;
    BUF_AUTO b;
    buf_init(&b, 0);
    put("a", "one\ntwo\nthree\n");
    assert_true(fs_read(in_root("a"), 14, &b, &err));
    assert_int_equal(b.n, 14);
    assert_false(fs_read(in_root("a"), 13, &b, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_int_equal(b.n, 14);
    assert_false(fs_read(in_root("b"), 10, &b, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    buf_reset(&b);
    assert_true(fs_read_tail(in_root("a"), 11, &b, &err)); /* from the next line's start */
    assert_true(str_is(buf_view(&b), "three\n") || str_is(buf_view(&b), "two\nthree\n"));
    buf_reset(&b);
    assert_true(fs_read_tail(in_root("a"), 8, &b, &err));
    assert_true(str_is(buf_view(&b), "three\n"));
    buf_reset(&b);
    assert_true(fs_read_tail(in_root("a"), 100, &b, &err));
    assert_int_equal(b.n, 14);
}

static void folders_are_made_once(void **state)
{
    (void)state;
    struct err err;
    assert_true(fs_mkdirs(in_root("a/b/c"), 0700, &err));
    assert_true(fs_mkdirs(in_root("a/b/c"), 0755, &err));
    assert_true(fs_mkdirs(in_root("a/b/c/"), 0755, &err) || err.code);
    put("file", "x");
    assert_false(fs_mkdirs(in_root("file"), 0755, &err));
    assert_false(fs_mkdirs(in_root("file/sub"), 0755, &err));
    assert_int_equal(symlink("a", in_root("link")), 0);
    assert_true(fs_mkdirs(in_root("link/new"), 0755, &err));
    assert_true(there("a/new"));
}

/* A chain of folders far longer than a path or the open descriptors may be, with something at its end. */
static void make_deep(const char *name, int levels)
{
    static const char level[] = "a-name-that-makes-the-path-long";
    make(name);
    int at = open(in_root(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < levels; i++) {
        assert_int_equal(mkdirat(at, level, 0700), 0);
        int next = openat(at, level, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    assert_true(at >= 0);
    assert_int_equal(mkdirat(at, "locked", 0500), 0);
    int file = openat(at, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
    assert_true(file >= 0);
    close(file);
    close(at);
}

static void removing_goes_as_deep_as_it_takes(void **state)
{
    (void)state;
    struct err err;
    make_deep("tree", 700);
    make_deep("tree/side", 100);
    make("tree/.deep-0"); /* what is put aside takes no other name */
    put("tree/.deep-0/x", "x");
    put("tree/.deep-1", "x");
    assert_int_equal(chmod(in_root("tree"), 0500), 0);
    if (!fs_remove_tree(in_root("tree"), &err)) fail_msg("%s", err.message);
    assert_false(there("tree"));
}

static void removing_stays_inside(void **state)
{
    (void)state;
    struct err err;
    make("outside");
    put("outside/kept", "x");
    make("tree/sub/locked");
    put("tree/sub/locked/file", "x");
    char outside[FS_PATH_MAX];
    snprintf(outside, sizeof outside, "%s", in_root("outside"));
    assert_int_equal(symlink(outside, in_root("tree/link")), 0);
    assert_int_equal(symlink("nowhere", in_root("tree/sub/broken")), 0);
    assert_int_equal(mkfifo(in_root("tree/fifo"), 0600), 0);
    assert_int_equal(chmod(in_root("tree/sub/locked"), 0), 0);
    assert_int_equal(chmod(in_root("tree/sub"), 0500), 0);
    if (!fs_remove_tree(in_root("tree"), &err)) fail_msg("%s", err.message);
    assert_false(there("tree"));
    assert_true(there("outside/kept"));
    assert_true(fs_remove_tree(in_root("tree"), &err)); /* gone already */
    assert_int_equal(symlink(outside, in_root("link")), 0);
    assert_true(fs_remove_tree(in_root("link"), &err)); /* the link itself */
    assert_true(there("outside/kept"));
}

static void names_are_judged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool fine;
    } rows[] = {{"a", true},     {"a/b", true},  {"a b/ü", true}, {"...", true},   {"a/..b", true},
                {"", false},     {"/a", false},  {"a//b", false}, {"a/", false},   {"..", false},
                {"a/..", false}, {"./a", false}, {".", false},    {"a/./b", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (fs_relative(str_of(rows[i].name)) != rows[i].fine) fail_msg("'%s'", rows[i].name);
    assert_false(fs_relative((struct str){"a\0b", 3}));
}

static void opening_stays_beneath(void **state)
{
    (void)state;
    put("secret", "x");
    make("in/sub");
    put("in/file", "x");
    assert_int_equal(symlink("../secret", in_root("in/out")), 0);
    assert_int_equal(symlink("..", in_root("in/up")), 0);
    assert_int_equal(symlink("/etc", in_root("in/absolute")), 0);
    FD_AUTO dir = open(in_root("in"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    static const struct {
        const char *name;
        bool opens;
    } rows[] = {{"file", true},
                {"sub", true},
                {"out", false},
                {"up/secret", false},
                {"absolute/passwd", false},
                {"..", false},
                {"../in/file", false},
                {"/etc/passwd", false},
                {"sub/../../secret", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FD_AUTO fd = fs_open_beneath(dir, rows[i].name, O_RDONLY, 0);
        if ((fd >= 0) != rows[i].opens) fail_msg("%s: %d", rows[i].name, fd);
    }
    FD_AUTO made = fs_open_beneath(dir, "sub/new", O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(made >= 0);
    assert_true(fs_mkdirs_beneath(dir, "sub/x/y", 0755, (uid_t)-1, (gid_t)-1));
    assert_true(there("in/sub/x/y"));
    assert_false(fs_mkdirs_beneath(dir, "up/x", 0755, (uid_t)-1, (gid_t)-1));
    assert_false(fs_mkdirs_beneath(dir, "../x", 0755, (uid_t)-1, (gid_t)-1));
    assert_false(there("x"));
}

static void trees_are_copied(void **state)
{
    (void)state;
    make("from/a/b");
    put("from/a/b/file", "text");
    put("from/tool", "#!/bin/sh\n");
    assert_int_equal(chmod(in_root("from/tool"), 04755), 0);
    assert_int_equal(symlink("a/b/file", in_root("from/link")), 0);
    assert_int_equal(mkfifo(in_root("from/fifo"), 0600), 0);
    make("to");
    FD_AUTO from = open(in_root("from"), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
            to = open(in_root("to"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fs_copy_tree(from, to, (uid_t)-1, (gid_t)-1));
    struct stat st;
    assert_int_equal(stat(in_root("to/tool"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755); /* no set-id */
    char target[64] = "";
    assert_int_equal(readlink(in_root("to/link"), target, sizeof target - 1), 8);
    assert_string_equal(target, "a/b/file");
    assert_int_equal(stat(in_root("to/a/b/file"), &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_false(there("to/fifo"));
    assert_false(fs_copy_tree(from, to, (uid_t)-1, (gid_t)-1)); /* never over what is there */
    assert_int_equal(errno, EEXIST);
}

static void digests_are_right(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest; /* NIST's examples */
    } rows[] = {
        {"", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    };
    char got[DIGEST_TEXT];
    struct err err;
    int64_t size;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        digest_of(str_of(rows[i].text), got);
        assert_string_equal(got, rows[i].digest);
        assert_true(digest_valid(str_of(got)));
        put("file", rows[i].text);
        FD_AUTO fd = open(in_root("file"), O_RDONLY | O_CLOEXEC);
        assert_true(digest_fd(fd, got, &size, &err));
        assert_string_equal(got, rows[i].digest);
        assert_int_equal(size, strlen(rows[i].text));
    }
    struct digest_stream d;
    digest_begin(&d);
    digest_add(&d, "a", 1);
    digest_add(&d, "bc", 2);
    digest_end(&d, got);
    assert_string_equal(got, rows[1].digest);
    static const char *const bad[] = {"",
                                      "sha256:",
                                      "sha1:ba7816bf",
                                      "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                                      "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
                                      "sha256:../816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(digest_valid(str_of(bad[i])));
    assert_true(digest_same(STR("abc"), STR("abc")) && digest_same(STR(""), STR("")));
    assert_false(digest_same(STR("abc"), STR("abd")) || digest_same(STR("abc"), STR("ab")));
    assert_false(digest_fd(-1, got, &size, &err));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(writing_is_whole_or_not), T(reading_is_bounded),
        T(folders_are_made_once),   T(removing_goes_as_deep_as_it_takes),
        T(removing_stays_inside),   T(names_are_judged),
        T(opening_stays_beneath),   T(trees_are_copied),
        T(digests_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
