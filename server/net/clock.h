/* SPDX-License-Identifier: MIT
 *
 * The two clocks. Times inside the program are uint64_t nanoseconds.
 */
#ifndef NET_CLOCK_H
#define NET_CLOCK_H

#include <stdint.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
/* "Never", as ngtcp2 says it. */
#define CLOCK_NEVER UINT64_MAX

/* Monotonic time: for deadlines and intervals. */
uint64_t clock_monotonic_ns(void);
/* Time since 1970-01-01 UTC: for what people read. */
uint64_t clock_wall_ns(void);

/* A timer on the monotonic clock that makes a descriptor readable, finer than an event loop's own (which round up to a
 * millisecond). Returns the descriptor, or -1 with errno; closed with close(2). */
int clock_timer_open(void);
/* Sets the time, which may have passed; CLOCK_NEVER: off. One system call. */
void clock_timer_set(int fd, uint64_t at_ns);
/* Makes it unreadable again. */
void clock_timer_read(int fd);

/* Bytes of an IMF-fixdate with its 0, RFC 9110 section 5.6.7. */
#define CLOCK_HTTP_DATE_CAP 30
/* Writes |wall_ns| as "Sun, 06 Nov 1994 08:49:37 GMT". */
void clock_http_date(uint64_t wall_ns, char out[CLOCK_HTTP_DATE_CAP]);

#endif
