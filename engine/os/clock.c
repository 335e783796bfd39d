/* See clock.h. */
#include "engine/os/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

bool os_time_parse(struct str text, int64_t *us)
{
    char copy[64], sign = '+';
    struct tm tm = {0};
    int hours = 0, minutes = 0, n = 0;
    int64_t fraction = 0, unit = 100000;
    if (text.n == 0 || text.n >= sizeof copy) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL) return false;
    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
            fraction += (*rest - '0') * unit;
    if (strcmp(rest, "Z") != 0) {
        if (sscanf(rest, "%c%2d:%2d%n", &sign, &hours, &minutes, &n) != 3 || rest[n] != '\0') return false;
        if (sign != '+' && sign != '-') return false;
    }
    int64_t ahead = (sign == '-' ? -60 : 60) * (hours * 60 + minutes);
    *us = ((int64_t)timegm(&tm) - ahead) * 1000000 + fraction;
    return true;
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
