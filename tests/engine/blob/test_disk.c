/* The blob store: streamed in, read back, resumed, refused, swept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/blob/disk.h"
#include "engine/blob/logs.h"

static char dir[64];
static struct disk *d;
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
    return mkdtemp(dir) && disk_open(str_of(dir), &d, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    disk_close(d);
    return fs_remove_tree(dir, &err) ? 0 : -1;
}

/* -1 when there is none; its bytes are those of its name. */
static int64_t size_of(const char *digest)
{
    FD_AUTO fd = -1;
    int64_t size = -1;
    char sum[DIGEST_TEXT];
    if (!disk_get(d, str_of(digest), &fd, &size, &err)) return -1;
    ok(digest_fd(fd, sum, NULL, &err));
    assert_string_equal(sum, digest);
    return size;
}

static void bytes_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 65536, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        char *data = malloc(n + 1), *back = malloc(n + 1);
        for (size_t j = 0; j < n; j++)
            data[j] = (char)(j * 7 + i);
        struct disk_put *put;
        char digest[DIGEST_TEXT], want[DIGEST_TEXT];
        int64_t size = -1;
        ok(disk_put_begin(d, &put, &err));
        for (size_t at = 0; at < n; at += 1000)
            ok(disk_put_write(put, data + at, n - at < 1000 ? n - at : 1000, &err));
        ok(disk_put_finish(put, str_of(""), digest, &size, &err));
        digest_of((struct str){data, n}, want);
        assert_string_equal(digest, want);
        assert_int_equal(size, n);
        int fd = -1;
        ok(disk_get(d, str_of(digest), &fd, &size, &err));
        assert_int_equal(size, n);
        assert_int_equal(pread(fd, back, n + 1, 0), n);
        assert_memory_equal(data, back, n);
        lseek(fd, 0, SEEK_SET);
        ok(disk_put_fd(d, fd, str_of(want), digest, &size, &err)); /* again: the same */
        close(fd);
        assert_int_equal(size_of(digest), n);
        free(data);
        free(back);
    }
}

static void wrong_bytes_are_refused(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], other[DIGEST_TEXT];
    digest_of(STR("other"), other);
    struct disk_put *put;
    ok(disk_put_begin(d, &put, &err) && disk_put_write(put, "abc", 3, &err));
    assert_false(disk_put_finish(put, str_of(other), digest, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    ok(disk_put_begin(d, &put, &err));
    disk_put_abort(put);
    static const char *const bad[] = {"", "sha256:", "sha256:../../../../etc/passwd", "md5:abc", "sha256:ABC"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd;
        assert_false(disk_get(d, str_of(bad[i]), &fd, NULL, &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    int fd;
    assert_false(disk_get(d, str_of(other), &fd, NULL, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void uploads_resume(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT];
    int64_t at = -1;
    struct str id = STR("abc-1");
    digest_of(STR("hello world"), digest);
    ok(disk_part_offset(d, id, &at, &err));
    assert_int_equal(at, 0);
    ok(disk_part_append(d, id, 0, 11, "hello ", 6, &err));
    disk_close(d); /* the server dies */
    ok(disk_open(str_of(dir), &d, &err));
    ok(disk_part_offset(d, id, &at, &err));
    assert_int_equal(at, 6);
    assert_false(disk_part_append(d, id, 0, 11, "hello ", 6, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_string_equal(err.hint, "go on from 6");
    assert_false(disk_part_append(d, id, 6, 11, "worlds", 6, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_false(disk_part_finish(d, id, str_of(digest), 11, &err)); /* too early: it stays */
    assert_int_equal(err.code, ERR_CONFLICT);
    ok(disk_part_append(d, id, 6, 11, "world", 5, &err));
    ok(disk_part_finish(d, id, str_of(digest), 11, &err));
    assert_int_equal(size_of(digest), 11);
    ok(disk_part_offset(d, id, &at, &err));
    assert_int_equal(at, 0);

    ok(disk_part_append(d, id, 0, 11, "HELLO WORLD", 11, &err));
    assert_false(disk_part_finish(d, id, str_of(digest), 11, &err)); /* wrong bytes: thrown away */
    assert_int_equal(err.code, ERR_INVALID);
    ok(disk_part_offset(d, id, &at, &err));
    assert_int_equal(at, 0);
    digest_of(STR(""), digest);
    ok(disk_part_finish(d, STR("empty"), str_of(digest), 0, &err));
    assert_int_equal(size_of(digest), 0);
    static const char *const bad[] = {"", "../x", "a/b", ".", "a b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(disk_part_append(d, str_of(bad[i]), 0, 9, "x", 1, &err));
}

static bool count(void *ctx, struct str digest, int64_t size, struct err *e)
{
    (void)e;
    assert_true(digest_valid(digest));
    *(int64_t *)ctx += size;
    return true;
}

static void sweeps_spare_the_young(void **state)
{
    (void)state;
    char a[DIGEST_TEXT], b[DIGEST_TEXT], path[FS_PATH_MAX];
    int64_t total = 0;
    bool deleted = true;
    ok(disk_put_bytes(d, STR("aa"), a, &err) && disk_put_bytes(d, STR("bbb"), b, &err));
    ok(disk_each(d, count, &total, &err));
    assert_int_equal(total, 5);
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    ok(disk_path(d, str_of(a), path, &err));
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    ok(disk_sweep(d, str_of(b), 3600000000, &deleted, &err));
    assert_false(deleted);
    ok(disk_put_bytes(d, STR("aa"), a, &err)); /* wanted again */
    ok(disk_sweep(d, str_of(a), 3600000000, &deleted, &err));
    assert_false(deleted);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    ok(disk_sweep(d, str_of(a), 3600000000, &deleted, &err));
    assert_true(deleted && size_of(a) == -1 && size_of(b) == 3);
}

static void logs_are_read_by_range(void **state)
{
    (void)state;
    char path[FS_PATH_MAX];
    int64_t total = -1, from = -1;
    struct buf b;
    buf_init(&b, 0);
    ok(step_log_read(str_of(dir), 7, 3, 1, 0, 100, &b, &total, &err));
    assert_true(total == 0 && b.n == 0);
    snprintf(path, sizeof path, "%s/logs/7", dir);
    ok(fs_mkdirs(path, 0755, &err) && step_log_path(str_of(dir), 7, 3, 1, path, &err));
    ok(fs_write(path, STR("one\ntwo\nthree\n"), 0600, false, &err));
    static const struct {
        int64_t from;
        size_t n;
        const char *want;
    } ranges[] = {{0, 100, "one\ntwo\nthree\n"}, {4, 3, "two"}, {13, 5, "\n"}, {14, 5, ""}, {99, 5, ""}, {-1, 5, ""}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        buf_reset(&b);
        ok(step_log_read(str_of(dir), 7, 3, 1, ranges[i].from, ranges[i].n, &b, &total, &err));
        assert_int_equal(total, 14);
        if (!str_is(buf_view(&b), ranges[i].want)) fail_msg("range %zu: '%s'", i, b.p);
    }
    static const int64_t tails[][2] = {{0, 14}, {1, 8}, {2, 4}, {3, 0}, {9, 0}};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        ok(step_log_tail(str_of(dir), 7, 3, 1, tails[i][0], &from, &err));
        if (from != tails[i][1]) fail_msg("the last %d lines begin at %d", (int)tails[i][0], (int)from);
    }
    char kept[FS_PATH_MAX], gone[FS_PATH_MAX];
    ok(fs_path(gone, &err, "%s/checkpoints/7/3", dir) && fs_mkdirs(gone, 0755, &err));
    ok(fs_path(kept, &err, "%s/checkpoints/70/3", dir) && fs_mkdirs(kept, 0755, &err));
    ok(run_files_delete(str_of(dir), 7, &err));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(gone, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0);
    buf_free(&b);
}

/* Values at the begin, across the pieces it is read in, and at the end; from an offset, what begins before it too. */
static void secrets_are_covered_in_logs(void **state)
{
    (void)state;
    char path[FS_PATH_MAX];
    struct str value = STR("sesame-4711");
    struct mask m = {&value, 1, 1};
    const size_t n = 1 << 20, step = 4093; /* a prime: pieces are cut at every place of a value */
    char *want = malloc(n), *raw = malloc(n);
    memset(want, '.', n);
    memset(raw, '.', n);
    for (size_t at = 0; at + value.n <= n; at += step) {
        memcpy(raw + at, value.p, value.n);
        memset(want + at, '*', value.n);
    }
    memcpy(raw + n - value.n, value.p, value.n);
    memset(want + n - value.n, '*', value.n);
    ok(fs_path(path, &err, "%s/log", dir) && step_log_cover(path, 0, &m, &err)); /* no log yet */
    ok(fs_write(path, (struct str){raw, n}, 0600, false, &err) && step_log_cover(path, 0, &m, &err));
    struct buf b;
    buf_init(&b, 0);
    ok(fs_read(path, n, &b, &err));
    assert_int_equal(b.n, n);
    assert_memory_equal(b.p, want, n);
    ok(fs_write(path, (struct str){raw, n}, 0600, false, &err) && step_log_cover(path, 3 * step + 5, &m, &err));
    memcpy(want, raw, 3 * step);
    buf_reset(&b);
    ok(fs_read(path, n, &b, &err));
    assert_memory_equal(b.p, want, n);
    buf_free(&b);
    free(want);
    free(raw);
}

/* What may be the beginning of a value, and only that. */
static void the_end_of_a_log_may_be_unsure(void **state)
{
    (void)state;
    char path[FS_PATH_MAX];
    struct str value = STR("sesame-4711");
    const struct mask m = {&value, 1, 1}, none = {0};
    static const struct {
        const char *text;
        int64_t size, sure;
    } rows[] = {{"", 0, 0},
                {"up", 2, 2},
                {"up sesame-", 10, 3},
                {"up sesame-4711", 14, 14},
                {"up sesame-4711", 13, 3}, /* what is behind that size came later */
                {"ses", 3, 0},
                {"sesame- ", 8, 8}};
    ok(fs_path(path, &err, "%s/log", dir));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ok(fs_write(path, str_of(rows[i].text), 0600, false, &err));
        FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
        int64_t sure = step_log_sure(fd, rows[i].size, &m);
        if (sure != rows[i].sure) fail_msg("'%s': %lld", rows[i].text, (long long)sure);
        assert_int_equal(step_log_sure(fd, rows[i].size, &none), rows[i].size);
    }
    assert_int_equal(step_log_sure(-1, 20, &m), 10); /* it cannot be read */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_bytes_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(uploads_resume, setup, teardown),
        cmocka_unit_test_setup_teardown(sweeps_spare_the_young, setup, teardown),
        cmocka_unit_test_setup_teardown(logs_are_read_by_range, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_are_covered_in_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_a_log_may_be_unsure, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
