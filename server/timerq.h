/* SPDX-License-Identifier: MIT
 *
 * Timer queue: a binary heap of deadlines that lie inside their owners. Setting and cancelling cost O(log n).
 */
#ifndef SERVER_TIMERQ_H
#define SERVER_TIMERQ_H

#include <h3pool/byte_pool.h>

struct timer {
    uint64_t at_ns;
    uint32_t place; /* in the heap, from 1; 0: not set */
};

struct timerq {
    struct hp_byte_pool *pool;
    struct timer **heap; /* heap[1..count] */
    uint32_t count, cap;
};

/* Takes memory as timers are set. */
void timerq_init(struct timerq *q, struct hp_byte_pool *pool);
void timerq_fini(struct timerq *q);
/* Makes sure that |count| timers can be set at a time. Returns 0, or -1 without memory. */
int timerq_reserve(struct timerq *q, uint32_t count) __attribute__((warn_unused_result));
/* Sets or moves a timer, for which room was reserved; CLOCK_NEVER (UINT64_MAX) cancels it. */
void timerq_set(struct timerq *q, struct timer *t, uint64_t at_ns);
/* The earliest timer, or NULL. */
struct timer *timerq_first(const struct timerq *q);

#endif
