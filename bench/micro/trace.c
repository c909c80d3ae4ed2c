/* SPDX-License-Identifier: MIT
 *
 * One pass over the text, with an array from the number of an allocation to its slot and size. All arrays are as long
 * as the file has characters, which is more than it has events; pages that are not needed are not touched.
 */
#include "trace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS_MAX (1u << 30)
#define NO_SLOT UINT32_MAX

struct allocation {
    uint32_t slot, bytes; /* slot NO_SLOT: freed */
};

struct reader {
    const char *path, *at, *end;
    unsigned line;
    struct trace *trace;
    struct allocation *allocation;
    size_t allocated;
    uint32_t *free_slots;
    uint32_t free_count;
    uint64_t live_bytes;
};

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

static int fail(const struct reader *r, const char *why)
{
    fprintf(stderr, "%s:%u: %s\n", r->path, r->line, why);
    return -1;
}

/* --- events ---------------------------------------------------------------------------------------------------------
 */

static void add_event(struct reader *r, enum trace_kind kind, uint32_t slot, uint32_t bytes)
{
    struct trace *t = r->trace;
    t->events[t->count++] = (struct trace_event){.bytes = bytes, .slot = slot & (SLOTS_MAX - 1), .kind = kind};
    if (r->live_bytes <= t->peak_bytes)
        return;
    t->peak_bytes = r->live_bytes;
    t->peak_at = t->count;
}

static void add_new(struct reader *r, enum trace_kind kind, uint32_t bytes)
{
    uint32_t slot = r->free_count != 0 ? r->free_slots[--r->free_count] : r->trace->slots++;
    r->allocation[r->allocated++] = (struct allocation){slot, bytes};
    r->trace->allocations++;
    r->live_bytes += bytes;
    add_event(r, kind, slot, bytes);
}

static void add_moved(struct reader *r, struct allocation *was, uint32_t bytes)
{
    r->live_bytes += (uint64_t)bytes - was->bytes;
    r->allocation[r->allocated++] = (struct allocation){was->slot, bytes};
    r->trace->allocations++;
    add_event(r, TRACE_REALLOC, was->slot, bytes);
    was->slot = NO_SLOT;
}

static void add_free(struct reader *r, struct allocation *was)
{
    r->live_bytes -= was->bytes;
    r->free_slots[r->free_count++] = was->slot;
    add_event(r, TRACE_FREE, was->slot, was->bytes);
    was->slot = NO_SLOT;
}

/* --- the text -------------------------------------------------------------------------------------------------------
 */

static bool take_number(struct reader *r, uint32_t *out)
{
    uint64_t n = 0;
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9' && n <= UINT32_MAX)
        n = n * 10 + (uint64_t)(*r->at++ - '0');
    *out = (uint32_t)n;
    return r->at > from && n <= UINT32_MAX;
}

/* The live allocation so far before the newest. */
static struct allocation *live_before_newest(const struct reader *r, uint32_t distance)
{
    if (distance >= r->allocated)
        return NULL;
    struct allocation *a = &r->allocation[r->allocated - 1 - distance];
    return a->slot != NO_SLOT ? a : NULL;
}

static int take_event(struct reader *r)
{
    char letter = *r->at++;
    uint32_t n, bytes;
    if (letter == '\0' || strchr("mcrft", letter) == NULL)
        return fail(r, "neither m, c, r, f nor t");
    if (!take_number(r, &n))
        return fail(r, "no number of 32 bits behind the letter");
    if (letter == 't')
        return 0;
    if (letter == 'm' || letter == 'c') {
        add_new(r, letter == 'm' ? TRACE_MALLOC : TRACE_CALLOC, n);
        return r->trace->slots < SLOTS_MAX ? 0 : fail(r, "too many blocks");
    }
    struct allocation *was = live_before_newest(r, n);
    if (was == NULL)
        return fail(r, "no live block is there");
    if (letter == 'f') {
        add_free(r, was);
        return 0;
    }
    if (r->at == r->end || *r->at++ != ',' || !take_number(r, &bytes))
        return fail(r, "no size behind r");
    add_moved(r, was, bytes);
    return 0;
}

static int take_all(struct reader *r)
{
    while (r->at < r->end) {
        if (*r->at == '#')
            while (r->at < r->end && *r->at != '\n')
                r->at++;
        else if (*r->at == '\n')
            r->at++, r->line++;
        else if (take_event(r) != 0)
            return -1;
    }
    for (size_t i = r->allocated; i-- != 0;)
        if (r->allocation[i].slot != NO_SLOT)
            add_free(r, &r->allocation[i]);
    return r->allocated != 0 ? 0 : fail(r, "nothing is in it");
}

int trace_read(struct trace *t, const char *path)
{
    struct stat st = {0};
    struct reader r = {.path = path, .trace = t};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return fail(&r, "can't be read");
    size_t bytes = (size_t)st.st_size,
           most = bytes + 1; /* an event has 2 characters; each block may need a free more */
    char *text = map(most);
    *t = (struct trace){.events = map(most * sizeof *t->events)};
    r.allocation = map(most * sizeof *r.allocation);
    r.free_slots = map(most * sizeof *r.free_slots);
    bool good = text != NULL && t->events != NULL && r.allocation != NULL && r.free_slots != NULL;
    for (size_t done = 0; good && done < bytes;) {
        ssize_t n = read(fd, text + done, bytes - done);
        good = n > 0;
        done += good ? (size_t)n : 0;
    }
    close(fd);
    if (!good)
        return fail(&r, "can't be read");
    r.at = text, r.end = text + bytes, r.line = 1;
    int rv = take_all(&r);
    munmap(text, most);
    munmap(r.allocation, most * sizeof *r.allocation);
    munmap(r.free_slots, most * sizeof *r.free_slots);
    return rv;
}
