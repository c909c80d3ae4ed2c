/* SPDX-License-Identifier: MIT
 *
 * 6. Byte pool. A buffer of a size known only at run time, between the 1 and 8 KiB of the guide's pool, is taken,
 * written to at both ends, and given back.
 *
 * bad: malloc and free. good: a byte pool.
 */
#include "strategies.h"

#include <h3pool/byte_pool.h>
#include <stdlib.h>

#define BYTES_MIN 1024u
#define BYTES_MAX 8192u
#define SIZES 256u /* different ones; a power of two */

static struct hp_byte_pool *pool;
static uint32_t sizes[SIZES];

static void use(uint8_t *buffer, uint32_t bytes)
{
    buffer[0] = 1;
    buffer[bytes - 1] = 2;
    bench_use(buffer);
}

static void run_bad(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        uint32_t bytes = sizes[i % SIZES];
        uint8_t *buffer = malloc(bytes);
        require(buffer != NULL, "no memory");
        use(buffer, bytes);
        free(buffer);
    }
}

static void run_good(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        uint32_t bytes = sizes[i % SIZES];
        uint8_t *buffer = hp_byte_pool_get(pool, bytes);
        require(buffer != NULL, "no memory");
        use(buffer, bytes);
        hp_byte_pool_put(pool, buffer);
    }
}

static void open_pool(struct hp_pool_manager *manager)
{
    pool = hp_byte_pool_new(manager, "6-buffers", BYTES_MIN, BYTES_MAX, 0);
    require(pool != NULL, "no memory");
    /* A fixed sequence that looks like none, the same in every run: Knuth's multiplicative hash. */
    for (uint32_t i = 0; i < SIZES; i++)
        sizes[i] = BYTES_MIN + (i * 2654435761u >> 8) % (BYTES_MAX - BYTES_MIN + 1);
}

static void close_pool(void)
{
    hp_byte_pool_free(pool);
}

const struct strategy strategy_byte_pool = {
    .title = "byte pool",
    .slug = "6-byte-pool",
    .open = open_pool,
    .close = close_pool,
    .run = {[FORM_BAD] = run_bad, [FORM_GOOD] = run_good},
    .claim = CLAIM_ZERO,
    .claim_text = "0 B/op, 0 allocs/op",
    .claim_ns = 0.40,
};
