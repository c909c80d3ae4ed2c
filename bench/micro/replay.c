/* SPDX-License-Identifier: MIT
 *
 * Memory is the sum "Anonymous" of /proc/self/smaps_rollup: resident pages that are not of a file. The kernel counts it
 * page by page, whereas VmRSS is kept by the thread and added up only now and then; and the pages of code that a replay
 * touches first are no allocator's. It is read LOOKS times in a replay, into a buffer on the stack.
 */
#include "replay.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOKS 500u
#define MEMORY_REPLAYS 3u
#define BLOCK_SIZES_MAX 256u

WAYS_OF_ANY_SIZE(WAY_DEFINE, , )

static const struct trace *trace;
static void **blocks; /* by slot */

static void prepare(const struct trace *t)
{
    size_t bytes = (t->slots + 1) * sizeof *blocks;
    trace = t;
    blocks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    ways_require(blocks != MAP_FAILED, "no memory");
}

/* --- one replay -----------------------------------------------------------------------------------------------------
 */

static inline void write_ends(void *p, size_t bytes)
{
    volatile char *block = p;
    if (bytes == 0)
        return;
    block[0] = 1;
    block[bytes - 1] = 1;
}

/* What a realloc is that must move: of ways that have none. */
LOOP resize_by_copy(const struct way way, const struct home *h, void **block, size_t bytes)
{
    size_t usable = hp_byte_pool_usable(*block);
    void *moved = memcpy(way.get(h, bytes), *block, bytes < usable ? bytes : usable);
    way.put(h, *block, usable);
    *block = moved;
}

/* The events |from| up to |to|. |whole|: blocks are filled, so that each of their pages is there. What malloc's family
 * does in one call, pools do with what they have. */
LOOP replay(const struct way way, size_t from, size_t to, bool whole)
{
    const struct home h = ways_home;
    const bool heap = way.get == heap_get;
    for (const struct trace_event *e = trace->events + from, *end = trace->events + to; e < end; e++) {
        void *block = blocks[e->slot];
        switch (e->kind) {
        case TRACE_MALLOC:
            block = way.get(&h, e->bytes);
            break;
        case TRACE_CALLOC:
            block = heap ? calloc(1, e->bytes) : memset(way.get(&h, e->bytes), 0, e->bytes);
            break;
        case TRACE_REALLOC:
            if (heap)
                block = realloc(block, e->bytes);
            else if (way.put == bytes_put)
                block = hp_byte_pool_resize(h.bytes, block, e->bytes);
            else
                resize_by_copy(way, &h, &block, e->bytes);
            break;
        case TRACE_FREE:
            way.put(&h, block, e->bytes);
            continue;
        }
        if (whole)
            memset(block, 1, e->bytes);
        else
            write_ends(block, e->bytes);
        blocks[e->slot] = block;
    }
}

#define REPLAY_DEFINE(loop, name, id, label, get, put)                                                                 \
    static void fill_##id(size_t from, size_t to)                                                                      \
    {                                                                                                                  \
        replay(way_##id, from, to, true);                                                                              \
    }                                                                                                                  \
    static void trace_##id(struct bench *b, uint64_t ops)                                                              \
    {                                                                                                                  \
        (void)b;                                                                                                       \
        while (ops-- != 0)                                                                                             \
            replay(way_##id, 0, trace->count, false);                                                                  \
    }
WAYS_OF_ANY_SIZE(REPLAY_DEFINE, , )

void replay_add_cases(struct ways_cases *cases, const struct trace *t)
{
    prepare(t);
    WAYS_OF_ANY_SIZE(CASE_LIST, trace, "Trace")
}

/* --- memory ---------------------------------------------------------------------------------------------------------
 */

static uint64_t resident_bytes(void)
{
    char text[2048];
    int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    ways_require(len > 0, "/proc/self/smaps_rollup can't be read");
    close(fd);
    text[len] = '\0';
    const char *line = strstr(text, "\nAnonymous:");
    ways_require(line != NULL, "no Anonymous in /proc/self/smaps_rollup");
    return strtoull(line + strlen("\nAnonymous:"), NULL, 10) << 10;
}

/* The replay of the way of that name, or NULL. */
static void (*replay_of(const char *way))(size_t from, size_t to)
{
#define REPLAY_FIND(loop, name, id, label, get, put)                                                                   \
    if (strcmp(way, label) == 0)                                                                                       \
        return fill_##id;
    WAYS_OF_ANY_SIZE(REPLAY_FIND, , )
    return NULL;
}

static uint64_t peak_of(void (*run)(size_t from, size_t to))
{
    uint64_t peak = 0;
    for (size_t look = 0; look < LOOKS; look++) {
        run(trace->count * look / LOOKS, trace->count * (look + 1) / LOOKS);
        uint64_t now = resident_bytes();
        peak = now > peak ? now : peak;
    }
    return peak;
}

int replay_memory(const struct trace *t, struct hp_pool_manager *manager, const char *way)
{
    void (*run)(size_t from, size_t to) = replay_of(way);
    uint64_t peak = 0;
    if (run == NULL) {
        fprintf(stderr, "bench-pools: no way '%s' here; malloc is %s\n", way, ways_heap_name());
        return 2;
    }
    prepare(t);
    uint64_t before = resident_bytes();
    if (strcmp(way, "pool-manager") == 0)
        ways_home.kind = ways_kind(manager);
    else if (strcmp(way, "pool-bytes") == 0 || strcmp(way, "pool-sized") == 0) {
        ways_home.bytes = hp_byte_pool_new(manager, "bytes", 16, HP_CLASS_BYTES_MAX, 0);
        ways_require(ways_home.bytes != NULL, "no memory");
    }
    for (unsigned i = 0; i < MEMORY_REPLAYS; i++) {
        uint64_t one = peak_of(run);
        peak = one > peak ? one : peak;
    }
    uint64_t end = resident_bytes();
    ways_require(hp_pool_manager_live(manager) == 0, "blocks are live at the end");
    printf("BenchmarkTraceMemory/alloc=%s\t%u\t%12" PRIu64 " rss-peak-B\t%12" PRIu64 " asked-peak-B\t%12" PRIu64
           " rss-end-B\n",
           way, MEMORY_REPLAYS, peak - before, t->peak_bytes, end > before ? end - before : 0);
    hp_byte_pool_free(ways_home.bytes);
    if (ways_home.kind != NULL)
        hp_pool_kind_free(ways_home.kind);
    hp_pool_manager_free(manager);
    return 0;
}

/* --- waste ----------------------------------------------------------------------------------------------------------
 */

struct class_use {
    uint64_t block_bytes, blocks, asked;
};

static int by_size(const void *a, const void *b)
{
    const struct class_use *x = a, *y = b;
    return (x->block_bytes > y->block_bytes) - (x->block_bytes < y->block_bytes);
}

static void count_use(struct class_use *classes, size_t *count, uint64_t block_bytes, uint64_t asked)
{
    size_t i = 0;
    while (i < *count && classes[i].block_bytes != block_bytes)
        i++;
    if (i == BLOCK_SIZES_MAX)
        ways_require(0, "too many block sizes");
    if (i == *count)
        classes[(*count)++] = (struct class_use){.block_bytes = block_bytes};
    classes[i].blocks++;
    classes[i].asked += asked;
}

static double percent(uint64_t asked, uint64_t all)
{
    return all != 0 ? 100.0 * (double)(all - asked) / (double)all : 0;
}

static void print_waste(const char *of, uint64_t asked, uint64_t bytes)
{
    printf("BenchmarkTraceWaste/of=%s/alloc=pool-bytes\t1\t%8.2f waste-%%\t%12" PRIu64 " asked-B\t%12" PRIu64
           " block-B\n",
           of, percent(asked, bytes), asked, bytes);
}

int replay_waste(const struct trace *t, struct hp_byte_pool *pool)
{
    static struct class_use classes[BLOCK_SIZES_MAX];
    size_t count = 0;
    uint64_t asked = 0, bytes = 0, live = 0, live_at_peak = 0;
    prepare(t);
    for (size_t i = 0; i < t->count; i++) {
        const struct trace_event *e = &t->events[i];
        uintptr_t *in_slot = (uintptr_t *)&blocks[e->slot]; /* the size of the block that is there */
        if (e->kind == TRACE_FREE || e->kind == TRACE_REALLOC)
            live -= *in_slot;
        if (e->kind != TRACE_FREE) {
            void *block = hp_byte_pool_get(pool, e->bytes);
            ways_require(block != NULL, "no memory");
            live += *in_slot = hp_byte_pool_usable(block);
            hp_byte_pool_put(pool, block);
            count_use(classes, &count, *in_slot, e->bytes);
        }
        live_at_peak = i + 1 == t->peak_at ? live : live_at_peak;
    }
    qsort(classes, count, sizeof *classes, by_size);
    printf("%12s %12s %12s %12s %8s\n", "block bytes", "blocks", "asked", "in blocks", "waste %");
    for (struct class_use *c = classes; c < classes + count; c++) {
        uint64_t all = c->blocks * c->block_bytes;
        printf("%12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %8.2f\n", c->block_bytes, c->blocks, c->asked,
               all, percent(c->asked, all));
        asked += c->asked, bytes += all;
    }
    print_waste("all", asked, bytes);
    print_waste("peak", t->peak_bytes, live_at_peak);
    return 0;
}
