/* SPDX-License-Identifier: MIT
 *
 * What the kernel and the allocation counter say of another process.
 */
#ifndef H3LOAD_PROCESS_H
#define H3LOAD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct process_sample {
    uint64_t cpu_ns; /* user and system, of all threads, to a tick (10 ms) or better */
    uint64_t rss_peak_bytes, rss_bytes;
    uint64_t minor_faults;
};

/* Fills |sample| from /proc. Returns 0, or -1 if there is no such process or it may not be looked at. */
int process_sample(int pid, struct process_sample *sample) __attribute__((warn_unused_result));

#endif
