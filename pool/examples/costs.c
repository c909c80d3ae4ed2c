/* SPDX-License-Identifier: MIT
 *
 * Prints what pools cost in bytes, from what the library answers: no figure is written down here.
 */
#include <h3pool/byte_pool.h>
#include <h3pool/manager.h>
#include <stdio.h>

#define LINE(what, ...) (printf("%-38s ", what), printf(__VA_ARGS__), putchar('\n'))

/* The most that is unused of a block for |from|..|to| bytes, in tenths of a percent of the block. */
static unsigned worst_permille(struct hp_byte_pool *pool, size_t from, size_t to)
{
    size_t worst = 0;
    for (size_t bytes = from; bytes <= to; bytes++) {
        void *block = hp_byte_pool_get(pool, bytes);
        if (block == NULL)
            return 1000;
        size_t usable = hp_byte_pool_usable(block);
        if ((usable - bytes) * 1000 / usable > worst)
            worst = (usable - bytes) * 1000 / usable;
        hp_byte_pool_put(pool, block);
    }
    return (unsigned)worst;
}

/* What a pool can cost beside its limit, for a limit of |slices| times 64 KiB. */
static uint64_t overhead(size_t min, size_t max, uint64_t slices)
{
    uint64_t limit = slices * HP_SLICE_BYTES;
    return hp_footprint(&(struct hp_pool_options){.min = min, .max = max, .limit = limit}) - limit;
}

static uint64_t held_by(struct hp_byte_pool *pool, size_t bytes)
{
    void *block = hp_byte_pool_get(pool, bytes);
    struct hp_counters c;
    hp_byte_pool_counters(pool, &c);
    hp_byte_pool_put(pool, block);
    hp_byte_pool_trim(pool);
    return c.held_bytes;
}

int main(void)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    struct hp_byte_pool *pool = manager != NULL ? hp_byte_pool_new(manager, "costs", 1, HP_CLASS_BYTES_MAX, 0) : NULL;
    if (pool == NULL)
        return 1;
    uint64_t slice = overhead(16, 16, 2) - overhead(16, 16, 1), many = overhead(1, HP_CLASS_BYTES_MAX, 1) - 2 * slice;
    unsigned permille = worst_permille(pool, 129, HP_CLASS_BYTES_MAX);
    hp_byte_pool_trim(pool);
    LINE("classes", "%u, to %u bytes", HP_CLASS_COUNT, HP_CLASS_BYTES_MAX);
    LINE("unused of a block above 128 bytes", "at most %u.%u %%", permille / 10, permille % 10);
    LINE("a pool of one class, 16 bytes", "%llu bytes", (unsigned long long)(overhead(16, 16, 1) - 2 * slice));
    LINE("a pool of all classes", "%llu bytes", (unsigned long long)many);
    LINE("headers of spans, per 64 KiB of limit", "at most %llu bytes", (unsigned long long)slice);
    LINE("held for a first block of 100 bytes", "%llu bytes", (unsigned long long)held_by(pool, 100));
    LINE("held for a block of 1 MiB", "%llu bytes", (unsigned long long)held_by(pool, 1u << 20));
    LINE("held after all is back and trimmed", "%llu bytes", (unsigned long long)hp_pool_manager_held(manager));
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
    return 0;
}
