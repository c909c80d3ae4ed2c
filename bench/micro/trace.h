/* SPDX-License-Identifier: MIT
 *
 * A recorded sequence of allocations (alloc_trace.c says how it is written), read into flat arrays, so that a replay
 * does nothing but allocate.
 *
 * Every block has a slot, which the next block after its free may have: a replay keeps its pointers in an array of
 * |slots| entries. What is still live at the end of the file is freed by events behind it, so a replay ends as it
 * began.
 */
#ifndef BENCH_MICRO_TRACE_H
#define BENCH_MICRO_TRACE_H

#include <stddef.h>
#include <stdint.h>

enum trace_kind { TRACE_MALLOC, TRACE_CALLOC, TRACE_REALLOC, TRACE_FREE };

struct trace_event {
    uint32_t bytes; /* of the block; of a realloc the new size, of a free the size that it had */
    unsigned slot : 30;
    enum trace_kind kind : 2;
};

struct trace {
    struct trace_event *events;
    size_t count;
    uint32_t slots;       /* most blocks that were live at a time */
    uint64_t allocations; /* malloc, calloc and realloc */
    uint64_t peak_bytes;  /* most that was asked for and not yet freed */
    size_t peak_at;       /* after so many events */
};

/* Reads a file. Returns 0, or -1 with a message on stderr that names the line. The arrays are mapped, not allocated,
 * and stay until the process ends. */
int trace_read(struct trace *t, const char *path);

#endif
