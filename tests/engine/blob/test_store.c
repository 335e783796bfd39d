/* The choice of stores: what holds on disk holds in S3, for which a real versitygw stands. Without one only the disk is
 * tested: $MILLRACE_VERSITYGW, or what tests/cluster/build leaves under ~/.cache/millrace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/blob/store.h"
#include "engine/os/fs.h"
#include "engine/os/s3.h"

#define MIB (1 << 20)
#define PART (5 * MIB) /* the least that S3 takes */

static char dir[64];
static struct err err;
static struct store_config cfg;
static struct blob_store *store;
static struct arena arena;
static pid_t gateway;
static int port;

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static const char *program(void)
{
    const char *named = getenv("MILLRACE_VERSITYGW"), *home = getenv("HOME");
    if (named != NULL) return named;
    return arena_printf(&arena, "%s/.cache/millrace/cluster/bin/versitygw", home != NULL ? home : "").p;
}

static bool connected(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    FD_AUTO fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
}

static bool start_gateway(void)
{
    struct str root = arena_printf(&arena, "%s/root", dir);
    ok(fs_mkdirs(arena_printf(&arena, "%s/bucket", root.p).p, 0700, &err));
    port = 12000 + (int)(getpid() % 20000);
    struct str address = arena_printf(&arena, "127.0.0.1:%d", port);
    gateway = fork();
    if (gateway == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execl(program(), "versitygw", "--port", address.p, "posix", root.p, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && !connected(); i++)
        usleep(20000);
    return connected();
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/millrace-store-XXXXXX");
    if (mkdtemp(dir) == NULL) return -1;
    cfg = (struct store_config){.store_dir = arena_printf(&arena, "%s/store", dir)};
    return store_open(&cfg, &store, &err) ? 0 : -1;
}

static int setup_s3(void **state)
{
    (void)state;
    store = NULL;
    if (access(program(), X_OK) != 0) return 0;
    snprintf(dir, sizeof dir, "/tmp/millrace-store-XXXXXX");
    setenv("ROOT_ACCESS_KEY", "millrace", 1);
    setenv("ROOT_SECRET_KEY", "no-secret", 1);
    setenv("AWS_ACCESS_KEY_ID", "millrace", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "no-secret", 1);
    if (mkdtemp(dir) == NULL || !start_gateway()) return -1;
    cfg = (struct store_config){.store_dir = arena_printf(&arena, "%s/store", dir),
                                .data_dir = arena_printf(&arena, "%s/data", dir),
                                .place = STR("s3://bucket/here"),
                                .endpoint = arena_printf(&arena, "http://127.0.0.1:%d", port),
                                .path_style = true,
                                .part_size = PART,
                                .cache_bytes = 8 * MIB,
                                .tries = 3,
                                .wait_ms = 1};
    return store_open(&cfg, &store, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    if (store == NULL) return 0;
    store_close(store);
    if (gateway > 0) {
        kill(gateway, SIGKILL);
        waitpid(gateway, NULL, 0);
        gateway = 0;
    }
    return fs_remove_tree(dir, &err) ? 0 : -1;
}

static void need_store(void)
{
    if (store != NULL) return;
    print_message("no versitygw at %s: skipped\n", program());
    skip();
}

static int file_of(size_t n, unsigned seed)
{
    char path[] = "/tmp/millrace-blob-XXXXXX";
    int fd = mkstemp(path);
    char *bytes = malloc(n + 8);
    assert_true(fd >= 0 && unlink(path) == 0 && bytes != NULL);
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < n; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(bytes + i, &x, 8);
    }
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    free(bytes);
    return fd;
}

static void forget_cache(void)
{
    store_close(store);
    ok(fs_remove_tree(arena_printf(&arena, "%s/data", dir).p, &err) && store_open(&cfg, &store, &err));
}

struct sum {
    struct digest_stream all;
    int64_t n;
};

static bool add(void *ctx, const char *p, size_t n)
{
    struct sum *s = ctx;
    digest_add(&s->all, p, n);
    s->n += (int64_t)n;
    return true;
}

static void sum_of(const char *digest, char out[DIGEST_TEXT])
{
    STORE_BLOB_AUTO blob = STORE_BLOB_NONE;
    struct sum s = {.n = 0};
    ok(store_get(store, str_of(digest), &blob, &err));
    digest_begin(&s.all);
    ok(store_read(&blob, 0, blob.size, add, &s, &err));
    digest_end(&s.all, out);
}

static void sizes_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 300000, PART, PART + 1, 3 * PART + 7};
    need_store();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char want[DIGEST_TEXT], digest[DIGEST_TEXT], got[DIGEST_TEXT];
        int64_t size;
        FD_AUTO fd = file_of(sizes[i], (unsigned)i);
        FD_AUTO file = -1;
        ok(digest_fd(fd, want, NULL, &err) && lseek(fd, 0, SEEK_SET) == 0);
        ok(store_put_fd(store, fd, str_of(want), digest, &size, &err));
        assert_string_equal(digest, want);
        assert_int_equal(size, sizes[i]);
        if (store_is_remote(store)) forget_cache();
        ok(store_size(store, str_of(digest), &size, &err) && size == (int64_t)sizes[i]);
        sum_of(digest, got);
        assert_string_equal(got, want);
        ok(store_file(store, str_of(digest), &file, NULL, &err) && digest_fd(file, got, NULL, &err));
        assert_string_equal(got, want);
    }
}

static void pipes_and_midsts_are_stored(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], want[DIGEST_TEXT], path[FS_PATH_MAX];
    int ends[2];
    need_store();
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "through a pipe", 14), 14);
    close(ends[1]);
    digest_of(STR("through a pipe"), want);
    ok(store_put_fd(store, ends[0], STR(""), digest, NULL, &err));
    close(ends[0]);
    assert_string_equal(digest, want);
    ok(store_path(store, str_of(digest), path, &err));
    FD_AUTO fd = open(path, O_RDONLY);
    assert_true(lseek(fd, 8, SEEK_SET) == 8);
    digest_of(STR("a pipe"), want);
    ok(store_put_fd(store, fd, STR(""), digest, NULL, &err));
    assert_string_equal(digest, want);
}

static bool count(void *ctx, struct str digest, int64_t size, struct err *e)
{
    (void)e;
    assert_true(digest_valid(digest));
    *(int64_t *)ctx += size;
    return true;
}

static void wrong_and_missing_ones_are_told(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], wrong[DIGEST_TEXT];
    int64_t total = 0;
    need_store();
    digest_of(STR("something else"), wrong);
    FD_AUTO fd = file_of(100, 5);
    assert_false(store_put_fd(store, fd, str_of(wrong), digest, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    struct store_blob blob = STORE_BLOB_NONE;
    assert_false(store_get(store, str_of(wrong), &blob, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(store_get(store, STR("sha256:../../x"), &blob, &err));
    assert_int_equal(err.code, ERR_INVALID);
    ok(store_each(store, count, &total, &err));
    assert_int_equal(total, 0);
}

static void sweeps_spare_the_young(void **state)
{
    (void)state;
    char a[DIGEST_TEXT], b[DIGEST_TEXT];
    int64_t total = 0;
    bool deleted;
    need_store();
    ok(store_put_bytes(store, STR("aa"), a, &err) && store_put_bytes(store, STR("bbb"), b, &err));
    ok(store_each(store, count, &total, &err));
    assert_int_equal(total, 5);
    ok(store_sweep(store, str_of(a), 3600000000, &deleted, &err));
    assert_false(deleted);
    ok(store_sweep(store, str_of(a), 0, &deleted, &err));
    assert_true(deleted);
    struct store_blob blob = STORE_BLOB_NONE;
    assert_false(store_get(store, str_of(a), &blob, &err));
    ok(store_sweep(store, str_of(a), 0, &deleted, &err));
    assert_false(deleted);
    ok(store_put_bytes(store, STR("aa"), a, &err) && store_size(store, str_of(a), NULL, &err));
}

static void uploads_grow_and_become_blobs(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT];
    int64_t at;
    need_store();
    digest_of(STR("hello world"), digest);
    ok(store_part_append(store, STR("up"), 0, 11, "hello ", 6, &err));
    assert_false(store_part_finish(store, STR("up"), str_of(digest), 11, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    ok(store_part_append(store, STR("up"), 6, 11, "world", 5, &err));
    ok(store_part_finish(store, STR("up"), str_of(digest), 11, &err));
    ok(store_size(store, str_of(digest), &at, &err) && at == 11);
    ok(store_part_offset(store, STR("up"), &at, &err) && at == 0);
    ok(store_part_append(store, STR("up"), 0, 11, "HELLO WORLD", 11, &err));
    assert_false(store_part_finish(store, STR("up"), str_of(digest), 11, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

/* ---- only in S3 ---- */

static void damaged_ones_are_not_passed_on(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], path[FS_PATH_MAX];
    need_store();
    FD_AUTO fd = file_of(300000, 9);
    FD_AUTO file = -1;
    ok(store_put_fd(store, fd, STR(""), digest, NULL, &err));
    forget_cache();
    ok(fs_path(path, &err, "%s/root/bucket/here/blobs/%s", dir, digest + 7));
    FD_AUTO there = open(path, O_WRONLY);
    assert_true(there >= 0 && pwrite(there, "x", 1, 1000) == 1);
    STORE_BLOB_AUTO blob = STORE_BLOB_NONE;
    struct sum s = {.n = 0};
    ok(store_get(store, str_of(digest), &blob, &err));
    digest_begin(&s.all);
    assert_false(store_read(&blob, 0, blob.size, add, &s, &err));
    digest_abandon(&s.all);
    assert_true(s.n < 300000 && strstr(err.message, "damaged in S3"));
    assert_false(store_file(store, str_of(digest), &file, NULL, &err));
    assert_non_null(strstr(err.message, "damaged in S3"));
}

/* Of nine blobs of a MiB eight fit; young ones stay in any case. */
static void the_cache_is_bounded(void **state)
{
    (void)state;
    char digests[9][DIGEST_TEXT], path[FS_PATH_MAX];
    need_store();
    for (unsigned i = 0; i < 9; i++) {
        FD_AUTO fd = file_of(MIB, 100 + i);
        ok(store_put_fd(store, fd, STR(""), digests[i], NULL, &err));
        ok(store_path(store, str_of(digests[i]), path, &err));
        assert_int_equal(access(path, R_OK), 0);
        const struct timespec old[2] = {{.tv_sec = 1000 + (i + 4) % 9}, {.tv_sec = 1000 + (i + 4) % 9}};
        if (i < 8) assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    }
    unsigned gone = 0;
    for (unsigned i = 0; i < 9; i++) {
        ok(store_path_later(store, str_of(digests[i]), path, &err));
        gone += access(path, F_OK) != 0;
        if (i == 5 && access(path, F_OK) == 0) fail_msg("the one that was not used for longest is there");
    }
    assert_int_equal(gone, 1);
    ok(store_path(store, str_of(digests[5]), path, &err));
    assert_int_equal(access(path, R_OK), 0);
}

static bool any_upload(void *ctx, struct str key, struct str id, struct err *e)
{
    (void)key, (void)id, (void)e;
    ++*(int *)ctx;
    return true;
}

static void parts_of_the_dead_are_cleared(void **state)
{
    (void)state;
    struct s3 *s = NULL;
    struct s3_upload u;
    int n = 0;
    need_store();
    const struct s3_config c = {
        .bucket = STR("bucket"), .prefix = STR("here"), .endpoint = cfg.endpoint, .path_style = true};
    char key[80] = "blobs/";
    memset(key + 6, 'a', 64);
    ok(s3_open(&c, &s, &err) && s3_upload_begin(s, str_of(key), &arena, &u, &err));
    ok(s3_upload_begin(s, STR("blobs/of-somebody-else"), &arena, &u, &err));
    ok(s3_uploads_each(s, STR("blobs/"), any_upload, &n, &err));
    assert_int_equal(n, 2);
    ok(store_clear(store, &err));
    n = 0;
    ok(s3_uploads_each(s, STR("blobs/"), any_upload, &n, &err));
    assert_int_equal(n, 1);
    s3_close(s);
}

static int curl(struct str words)
{
    return system(arena_printf(&arena, "curl -sf -o %s/out %.*s", dir, STR_ARG(words)).p);
}

static void links_read_and_write(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT];
    struct str link, header;
    need_store();
    digest_of(STR("by a link"), digest);
    ok(store_link_put(store, STR("up1"), str_of(digest), 60, &arena, &link, &header, &err));
    struct str put = arena_printf(&arena, "-X PUT -H '%s' '%s' -d", header.p, link.p);
    assert_int_not_equal(curl(arena_printf(&arena, "%s 'other bytes'", put.p)), 0);
    assert_int_not_equal(curl(arena_printf(&arena, "-X PUT '%s' -d 'by a link'", link.p)), 0);
    assert_false(store_link_take(store, STR("up1"), str_of(digest), 9, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(curl(arena_printf(&arena, "%s 'by a link'", put.p)), 0);
    assert_false(store_size(store, str_of(digest), NULL, &err)); /* until somebody says so */
    assert_false(store_link_take(store, STR("up2"), str_of(digest), 9, &err));
    assert_false(store_link_take(store, STR("up1"), str_of(digest), 8, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    ok(store_link_take(store, STR("up1"), str_of(digest), 9, &err));
    ok(store_size(store, str_of(digest), NULL, &err));
    assert_false(store_link_take(store, STR("up1"), str_of(digest), 9, &err));
    ok(store_link(store, str_of(digest), 60, &arena, &link, &err));
    assert_int_equal(curl(arena_printf(&arena, "'%s'", link.p)), 0);
    BUF_AUTO got;
    buf_init(&got, 0);
    ok(fs_read(arena_printf(&arena, "%s/out", dir).p, 100, &got, &err));
    assert_string_equal(got.p, "by a link");
    assert_int_not_equal(curl(arena_printf(&arena, "'%s0'", link.p)), 0);
}

static void on_disk_there_are_no_links(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT];
    struct str link;
    ok(store_put_bytes(store, STR("x"), digest, &err));
    assert_false(store_link(store, str_of(digest), 60, &arena, &link, &err));
    assert_int_equal(err.code, ERR_INVALID);
    ok(store_clear(store, &err) && !store_is_remote(store));
}

#define BOTH(test)                                                                                                     \
    {#test " on disk", test, setup, teardown, NULL},                                                                   \
    {                                                                                                                  \
#test " in S3", test, setup_s3, teardown, NULL                                                                 \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(sizes_come_back),
        BOTH(pipes_and_midsts_are_stored),
        BOTH(wrong_and_missing_ones_are_told),
        BOTH(sweeps_spare_the_young),
        BOTH(uploads_grow_and_become_blobs),
        cmocka_unit_test_setup_teardown(damaged_ones_are_not_passed_on, setup_s3, teardown),
        cmocka_unit_test_setup_teardown(the_cache_is_bounded, setup_s3, teardown),
        cmocka_unit_test_setup_teardown(parts_of_the_dead_are_cleared, setup_s3, teardown),
        cmocka_unit_test_setup_teardown(links_read_and_write, setup_s3, teardown),
        cmocka_unit_test_setup_teardown(on_disk_there_are_no_links, setup, teardown),
    };
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&arena);
    return failed;
}
