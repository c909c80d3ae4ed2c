/* SPDX-License-Identifier: MIT
 *
 * Clocks by vDSO. The HTTP date is put together by hand: strftime depends on the locale.
 */
#include "net/clock.h"

#include <string.h>
#include <time.h>

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
