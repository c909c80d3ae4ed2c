/* SPDX-License-Identifier: MIT
 *
 * Admission: how many handshakes run at a time, and who waits for his turn.
 *
 * A handshake in flight takes more than twice the memory of an idle connection and half a millisecond of CPU; a
 * thousand clients that connect at once would take all of it at once. So only so many young handshakes are in flight,
 * and so many begin in a loop turn; the Initial datagrams of further clients wait, a few KiB each. A handshake is young
 * until it completes or ends, or until none has completed for a while: so clients that stall, or that are far away,
 * hold nobody up, unless there are three times as many.
 */
#ifndef SERVER_ADMISSION_H
#define SERVER_ADMISSION_H

#include "conn.h"

/* Handshakes in flight at most, old ones too, in multiples of the young ones. */
#define ADMISSION_HALF_OPEN_FACTOR 3u
/* For how long handshakes are young when none completes. */
#define ADMISSION_YOUNG_NS (200 * NS_PER_MS)
/* Handshakes that begin in one loop turn. */
#define ADMISSION_PER_TURN 8u
struct admission_datagram {
    struct admission_datagram *next;
    struct datagram datagram; /* its bytes lie behind it */
    uint64_t at_ns;
    size_t block_bytes;
};

struct admission {
    struct hp_byte_pool *pool;
    struct admission_datagram *first, *last;
    uint64_t count, bytes;
    struct conn *young_first, *young_last; /* oldest first */
    uint64_t young, young_max, half_open, half_open_max, waiting_bytes_max;
    unsigned begun;        /* in this turn */
    uint64_t completed_ns; /* when a handshake has completed last */
};

/* |pool| for the datagrams that wait, of |waiting_bytes_max| bytes at most with what they are kept in (budget_waiting):
 * more are dropped, and their clients send them again. |young_max| young handshakes in flight (budget_handshakes). That
 * one may be set anew at any time; how many handshakes there may be, old ones too, follows from the first one. */
void admission_init(struct admission *a, struct hp_byte_pool *pool, uint64_t young_max, uint64_t waiting_bytes_max);
/* Forgets who waits. */
void admission_fini(struct admission *a);

/* A new loop turn: what was young for long enough is not any more. */
void admission_turn(struct admission *a, uint64_t now_ns);
/* Bytes of the blocks that who waits takes. Costs a walk over them. */
uint64_t admission_account(const struct admission *a);
/* True if another handshake may begin now, and nobody who came first waits. */
bool admission_open(const struct admission *a);
/* The same, for who is first in line. */
bool admission_next(const struct admission *a);
/* When there will be room by the passing of time, for those who wait; CLOCK_NEVER if nobody does. */
uint64_t admission_deadline(const struct admission *a);

/* A handshake has begun; has completed; or has ended in whatever way. The last two may be told more than once. */
void admission_begin(struct admission *a, struct conn *conn, uint64_t now_ns);
void admission_complete(struct admission *a, struct conn *conn, uint64_t now_ns);
void admission_end(struct admission *a, struct conn *conn);

/* Keeps a copy of a datagram; false if there is no room. */
bool admission_wait(struct admission *a, const struct datagram *d, uint64_t now_ns) __attribute__((warn_unused_result));
/* Takes the datagram that waits for longest, or NULL; admission_put gives it back. */
struct admission_datagram *admission_take(struct admission *a);
/* Takes the first one that waits with the same remote address as |d|, or NULL: more of the same client. */
struct admission_datagram *admission_take_more(struct admission *a, const struct datagram *d);
void admission_put(struct admission *a, struct admission_datagram *waiting);

#endif
