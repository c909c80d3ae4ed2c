/* SPDX-License-Identifier: MIT
 *
 * Clocks by vDSO. The HTTP date is put together by hand: strftime depends on the locale.
 */
#include "net/clock.h"

#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int clock_timer_open(void)
{
    return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}

void clock_timer_set(int fd, uint64_t at_ns)
{
    struct itimerspec spec = {0}; /* all zero: off */
    if (at_ns != CLOCK_NEVER) {
        at_ns = at_ns != 0 ? at_ns : 1;
        spec.it_value = (struct timespec){.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)};
    }
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void clock_timer_read(int fd)
{
    uint64_t expirations;
    ssize_t ignored = read(fd, &expirations, sizeof expirations);
    (void)ignored; /* a timer that was set anew meanwhile has nothing to read */
}

static void put_digits(char *at, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
}

void clock_http_date(uint64_t wall_ns, char out[CLOCK_HTTP_DATE_CAP])
{
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    struct tm t;
    gmtime_r(&seconds, &t);
    memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", CLOCK_HTTP_DATE_CAP);
    memcpy(out, &"SunMonTueWedThuFriSat"[t.tm_wday * 3], 3);
    put_digits(out + 5, t.tm_mday, 2);
    memcpy(out + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[t.tm_mon * 3], 3);
    put_digits(out + 12, t.tm_year + 1900, 4);
    put_digits(out + 17, t.tm_hour, 2);
    put_digits(out + 20, t.tm_min, 2);
    put_digits(out + 23, t.tm_sec, 2);
}
