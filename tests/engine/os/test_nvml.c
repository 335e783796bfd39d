/* What a machine's GPUs look like through NVML: with a library that plays devices, with one of an old driver, with none
 * – and with the real one, where there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/os/fs.h"
#include "engine/os/nvml.h"

#define FOUR                                                                                                           \
    "gpu GPU-0 40960 NVIDIA A100-SXM4-40GB\n"                                                                          \
    "gpu GPU-1 40960 NVIDIA A100-SXM4-40GB\n"                                                                          \
    "gpu GPU-2 81559 NVIDIA H100 80GB HBM3\n"                                                                          \
    "gpu GPU-3 15360 Tesla T4\n"
#define DIVIDED                                                                                                        \
    "gpu GPU-0 81559 NVIDIA H100 80GB HBM3\n"                                                                          \
    "mig MIG-a 9984 1g.10gb\n"                                                                                         \
    "mig MIG-b 40448 3g.40gb\n"                                                                                        \
    "gpu GPU-1 81559 NVIDIA H100 80GB HBM3\n"

static char file[] = "/tmp/millrace-nvml-XXXXXX";
static struct arena arena;

static void play(const char *text)
{
    struct err err = {0};
    if (!fs_write(file, str_of(text), 0600, false, &err)) fail_msg("%s", err.message);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(file);
    if (fd < 0) return -1;
    close(fd);
    setenv("FAKE_NVML", file, 1);
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return unlink(file);
}

/* ---- what is listed ---- */

static const struct row {
    const char *name, *library, *text, *listed;
} rows[] = {
    {"four", FAKE_NVML, FOUR,
     "0 GPU-0 NVIDIA A100-SXM4-40GB 40960\n1 GPU-1 NVIDIA A100-SXM4-40GB 40960\n2 GPU-2 NVIDIA H100 80GB HBM3 81559\n"
     "3 GPU-3 Tesla T4 15360\n"},
    {"none", FAKE_NVML, "", ""},
    {"instances stand for their GPU", FAKE_NVML, DIVIDED,
     "0 MIG-a NVIDIA H100 80GB HBM3/1g.10gb 9984\n0 MIG-b NVIDIA H100 80GB HBM3/3g.40gb 40448\n"
     "1 GPU-1 NVIDIA H100 80GB HBM3 81559\n"},
    {"an old driver sees no instances", FAKE_NVML_OLD, DIVIDED,
     "0 GPU-0 NVIDIA H100 80GB HBM3 81559\n1 GPU-1 NVIDIA H100 80GB HBM3 81559\n"},
    {"one that is lost keeps its place", FAKE_NVML, FOUR "lost GPU-1\n",
     "0 GPU-0 NVIDIA A100-SXM4-40GB 40960\n1   0 lost\n2 GPU-2 NVIDIA H100 80GB HBM3 81559\n3 GPU-3 Tesla T4 15360\n"},
    {"one that is not this user's", FAKE_NVML, FOUR "hidden GPU-0\nhidden GPU-2\n",
     "1 GPU-1 NVIDIA A100-SXM4-40GB 40960\n3 GPU-3 Tesla T4 15360\n"},
    {"one with an error", FAKE_NVML, FOUR "xid GPU-3 79\n",
     "0 GPU-0 NVIDIA A100-SXM4-40GB 40960\n1 GPU-1 NVIDIA A100-SXM4-40GB 40960\n2 GPU-2 NVIDIA H100 80GB HBM3 81559\n"
     "3 GPU-3 Tesla T4 15360 xid 79\n"},
};

static void say(struct buf *out, const struct nvml_device *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%u %s %s%s%s %lld", d[i].index, d[i].uuid, d[i].name, d[i].profile[0] != '\0' ? "/" : "",
                   d[i].profile, (long long)(d[i].memory_bytes >> 20));
        if (d[i].lost) buf_c(out, " lost");
        if (d[i].xid != 0) buf_printf(out, " xid %llu", (unsigned long long)d[i].xid);
        buf_char(out, '\n');
    }
}

static void devices_are_listed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nvml *n = NULL;
        struct nvml_device *found = NULL;
        size_t count = 0;
        struct err err = {0};
        play(rows[i].text);
        if (!nvml_open(&n, rows[i].library, &err) || !nvml_list(n, &arena, &found, &count, &err))
            fail_msg("%s: %s", rows[i].name, err.message);
        BUF_AUTO text;
        buf_init(&text, 0);
        say(&text, found, count);
        if (!str_is(buf_view(&text), rows[i].listed)) fail_msg("%s: %.*s", rows[i].name, STR_ARG(buf_view(&text)));
        nvml_close(n);
    }
}

/* ---- what becomes of them ---- */

static const struct change {
    const char *name, *text, *after; /* of each: its index, and what it has */
} changes[] = {
    {"nothing", FOUR, "0 1 2 3 "},
    {"one is lost", FOUR "lost GPU-2\n", "0 1 2L 3 "},
    {"a program's own errors", FOUR "xid GPU-0 31\nxid GPU-1 13\nxid GPU-1 43\nxid GPU-2 45\n", "0 1 2 3 "},
    {"an error behind a program's", FOUR "xid GPU-0 31\nxid GPU-0 48\n", "0X 1 2 3 "},
    {"an error of one that nobody listed", FOUR "xid GPU-9 79\n", "0 1 2 3 "},
    {"two at once", FOUR "xid GPU-3 79\nlost GPU-3\nxid GPU-1 95\n", "0 1X 2 3LX "},
};

static void health_is_looked_at(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct nvml *n = NULL;
        struct nvml_device *d = NULL;
        size_t count = 0;
        struct err err = {0};
        play(FOUR);
        assert_true(nvml_open(&n, FAKE_NVML, &err) && nvml_list(n, &arena, &d, &count, &err));
        play(changes[i].text);
        nvml_look(n, d, count);
        nvml_look(n, d, count); /* an error is told once, and stays */
        BUF_AUTO text;
        buf_init(&text, 0);
        for (size_t k = 0; k < count; k++)
            buf_printf(&text, "%u%s%s ", d[k].index, d[k].lost ? "L" : "", d[k].xid != 0 ? "X" : "");
        if (!str_is(buf_view(&text), changes[i].after)) fail_msg("%s: %.*s", changes[i].name, STR_ARG(buf_view(&text)));
        nvml_close(n);
    }
}

static void what_is_lost_may_come_back(void **state)
{
    (void)state;
    struct nvml *n = NULL;
    struct nvml_device *d = NULL;
    size_t count = 0;
    struct err err = {0};
    play(DIVIDED);
    assert_true(nvml_open(&n, FAKE_NVML, &err) && nvml_list(n, &arena, &d, &count, &err));
    play(DIVIDED "lost GPU-0\n");
    nvml_look(n, d, count);
    assert_true(count == 3 && d[0].lost && d[1].lost && !d[2].lost); /* with a GPU its instances */
    play(DIVIDED);
    nvml_look(n, d, count);
    assert_false(d[0].lost || d[1].lost || d[2].lost);
    nvml_close(n);
}

/* ---- what is no NVML ---- */

static void what_cannot_be_used_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *library, *text;
        enum err_code code;
        const char *says;
    } bad[] = {
        {"/nonexistent/libnvidia-ml.so.1", "", ERR_NOT_FOUND, "/nonexistent/libnvidia-ml.so.1"},
        {"libc.so.6", "", ERR_INVALID, "libc.so.6 has no nvmlInit_v2"},
        {FAKE_NVML, "init 9\n", ERR_UNAVAILABLE, "Driver Not Loaded (9)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct nvml *n = NULL;
        struct err err = {0};
        play(bad[i].text);
        bool opened = nvml_open(&n, bad[i].library, &err);
        if (opened || err.code != bad[i].code || strstr(err.message, bad[i].says) == NULL)
            fail_msg("%s: %d %s", bad[i].library, err.code, err.message);
    }
    nvml_close(NULL);
}

static void real_gpus_are_listed(void **state)
{
    (void)state;
    struct nvml *n = NULL;
    struct nvml_device *d = NULL;
    size_t count = 0;
    struct err err = {0};
    if (!nvml_open(&n, NVML_LIBRARY, &err)) {
        print_message("no real GPU is looked at: %s\n", err.message);
        skip();
    }
    if (!nvml_list(n, &arena, &d, &count, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < count; i++) {
        print_message("GPU %u: %s, %s %s, %lld MiB\n", d[i].index, d[i].uuid, d[i].name, d[i].profile,
                      (long long)(d[i].memory_bytes >> 20));
        assert_true(d[i].lost || strncmp(d[i].uuid, "GPU-", 4) == 0 || strncmp(d[i].uuid, "MIG-", 4) == 0);
        assert_true(d[i].lost || d[i].name[0] != '\0');
    }
    nvml_close(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_listed),         cmocka_unit_test(health_is_looked_at),
        cmocka_unit_test(what_is_lost_may_come_back), cmocka_unit_test(what_cannot_be_used_says_why),
        cmocka_unit_test(real_gpus_are_listed),
    };
    return cmocka_run_group_tests_name("engine/os/nvml", tests, setup, teardown);
}
