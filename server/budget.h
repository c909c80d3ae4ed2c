/* SPDX-License-Identifier: MIT
 *
 * The memory budget of the process: a limit over all pools, and what gives way as it fills. Stages are entered and left
 * with hysteresis (hp_pool_manager_set_pressure); each contains those before it. What is in flight completes in every
 * stage; gets fail only beyond the last one, at the limit itself. What costs nobody anything comes first, and newcomers
 * are refused before those who are connected are: what handshakes in flight still take when the stage "refuse" is
 * entered fits below "shed", and if it does not their first requests are answered all the same: whoever is accepted is
 * served.
 *
 *   stage     entered at  left below   then
 *   trim          50 %       45 %      idle memory goes back five times as often
 *   credit        65 %       60 %      connections get no more streams than BUDGET_STREAMS_MIN at a time, and a quarter
 *                                      as many handshakes run at a time
 *   goaway        91 %       88 %      connections that are idle are told to go away, those first that came first
 *   refuse      95.5 %       91 %      new connections are refused
 *   shed          98 %     96.5 %      new requests are answered with 503, but for a connection's first one
 */
#ifndef SERVER_BUDGET_H
#define SERVER_BUDGET_H

#include <h3pool/manager.h>

enum budget_stage { BUDGET_FREE, BUDGET_TRIM, BUDGET_CREDIT, BUDGET_GOAWAY, BUDGET_REFUSE, BUDGET_SHED, BUDGET_STAGES };
const char *budget_stage_str(enum budget_stage stage);

/* What a connection takes: when it is idle, for each stream that it has had at a time (ngtcp2 and nghttp3 keep what
 * they once needed), and for the rest of a handshake while that lasts. Estimates on the high side: bench/README.md has
 * what was measured. */
#define BUDGET_CONN_BYTES (56u << 10)
#define BUDGET_STREAM_BYTES (4u << 10)
#define BUDGET_HANDSHAKE_BYTES (84u << 10)
/* What they keep for each packet in flight. */
#define BUDGET_PACKET_BYTES 512u
/* Streams that a connection may always have at a time, and bytes in flight. */
#define BUDGET_STREAMS_MIN 8u
#define BUDGET_IN_FLIGHT_MIN (64u << 10)

/* Of the limit: where new connections are refused. */
#define BUDGET_REFUSE_PERMILLE 955u

struct budget {
    struct hp_pool_manager *manager;
    uint64_t limit_bytes; /* 0: none */
    unsigned workers;
    _Atomic uint64_t entered[BUDGET_STAGES]; /* how often, since the start */
    _Atomic uint32_t floor;                  /* the machine is short of memory: at least this stage */
    _Atomic uint64_t signals;                /* that said so */
};

/* Sets the manager's limit and stages. Before there are threads. |budget| must not move. */
void budget_init(struct budget *budget, struct hp_pool_manager *manager, uint64_t limit_bytes, unsigned workers);

/* The stage that is in force. Two loads; NULL is no budget. */
static inline enum budget_stage budget_stage(const struct budget *budget)
{
    if (budget == NULL)
        return BUDGET_FREE;
    uint32_t own = hp_pool_manager_pressure(budget->manager), floor = HP_READ(budget->floor);
    return (enum budget_stage)(own > floor ? own : floor);
}

/* The machine is short of memory (pressure.h): the stage "trim" at least, until budget_relax. Any thread. */
void budget_signal(struct budget *budget);
void budget_relax(struct budget *budget);

/* How many of a worker's idle connections should be on their way out: as many as it takes, of its share, to leave the
 * stage "goaway" again; 0 below it. */
uint64_t budget_sent_away(const struct budget *budget);

/* Streams that a connection should get at a time, when its worker has |connections|: |most|, or what half of its share
 * carries, beyond what it takes when idle, when each of them gets the same of three fifths of the budget; but
 * BUDGET_STREAMS_MIN at least. */
uint64_t budget_streams(const struct budget *budget, uint64_t connections, uint64_t most);

/* Bytes that a connection may have in flight, by the other half of its share: a client that lets the congestion window
 * grow and then acknowledges nothing pins what the libraries keep for its packets. 0: without limit. */
uint64_t budget_in_flight(const struct budget *budget, uint64_t connections);

/* Handshakes that a worker may have in flight: a twelfth of the budget, 16 at least; 1024 at most, and without a
 * budget. A quarter of that from the stage "credit" on: what handshakes hold for a moment is then better used by those
 * who stay. */
uint64_t budget_handshakes(const struct budget *budget);

/* Bytes of datagrams of clients that wait for a handshake, of a worker: a twelfth of the budget, so that a burst of as
 * many clients as the budget has room for loses none; 8 MiB at least. */
uint64_t budget_waiting(const struct budget *budget);

/* The least of |limit_bytes| and of what the process's cgroup allows (version 2 or 1), read below |root| (normally
 * "/sys/fs/cgroup", of which the process's own group is named by /proc/self/cgroup). */
uint64_t budget_cgroup_limit(const char *root, uint64_t limit_bytes);

#endif
