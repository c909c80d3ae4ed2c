/* SPDX-License-Identifier: MIT
 *
 * The counters of a pool: the one place from which the struct, the table, the JSON and this text come.
 */
#ifndef H3POOL_COUNTERS_H
#define H3POOL_COUNTERS_H

#include <stdint.h>

/* X(field, column of the table, what it says): calls |X| once for each counter. */
#define HP_COUNTERS(X)                                                                                                 \
    X(gets, "gets", "blocks handed out since birth")                                                                   \
    X(puts, "puts", "blocks given back since birth")                                                                   \
    X(live, "live", "blocks that callers hold now")                                                                    \
    X(live_bytes, "live-bytes", "their block sizes, added up")                                                         \
    X(held_bytes, "held-bytes", "what the pool has taken for blocks, free ones included")                              \
    X(peak_bytes, "peak-bytes", "most that held_bytes has been")                                                       \
    X(remote_puts, "remote", "puts by threads that do not own the pool")                                               \
    X(refused, "refused", "gets that a limit or the system refused")

/* What hp_byte_pool_counters fills, and a row of a report has. */
struct hp_counters {
#define X(name, column, text) uint64_t name;
    HP_COUNTERS(X)
#undef X
};

#endif
