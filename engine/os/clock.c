/* See clock.h. */
#include "engine/os/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t os_now_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t os_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

void os_random(void *out, size_t n)
{
    unsigned char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            abort(); /* tokens and seeds made of anything else would be worse */
        }
        p += got;
        n -= (size_t)got;
    }
}

uint64_t os_random_u64(void)
{
    uint64_t v;
    os_random(&v, sizeof v);
    return v;
}
