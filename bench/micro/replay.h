/* SPDX-License-Identifier: MIT
 *
 * Replay of a recorded sequence of allocations: as benchmark, for the memory it takes, and for what size classes waste.
 * Of each block the first and the last byte are written, and where memory is measured all of it. Events of several
 * threads are replayed by one, in the recorded order.
 */
#ifndef BENCH_MICRO_REPLAY_H
#define BENCH_MICRO_REPLAY_H

#include "trace.h"
#include "ways.h"

/* Adds the cases "Trace". |trace| must stay. */
void replay_add_cases(struct ways_cases *cases, const struct trace *trace);

/* Replays it several times with one way, looking at the resident memory of the process all along, and prints a line in
 * Go's format:
 *   rss-peak-B     most that the process has grown by; of a pool, its birth included
 *   asked-peak-B   most that the sequence has asked for and not yet freed
 *   rss-end-B      growth that is left when all is freed
 * Returns the exit status. */
int replay_memory(const struct trace *trace, struct hp_pool_manager *manager, const char *way);

/* Prints, for each block size of |pool| that the sequence uses, bytes asked for against bytes of blocks, and two lines
 * in Go's format: of all allocations, and of what is live at the peak. Returns the exit status. */
int replay_waste(const struct trace *trace, struct hp_byte_pool *pool);

#endif
