/* SPDX-License-Identifier: MIT
 *
 * 2. Preallocation. A list of COUNT numbers is collected, used and dropped; that there are COUNT is known beforehand,
 * as in the guide's example.
 *
 * bad: an array that doubles when it is full. plain: one malloc of the whole. good: the whole at once from an arena,
 * which lies in a block that the pool has kept.
 */
#include "strategies.h"

#include <h3pool/arena.h>
#include <stdlib.h>

#define COUNT 1000u /* the guide's */
#define FIRST_CAP 8u
#define ARENA_BYTES (16u << 10)

struct list {
    uint64_t *at;
    size_t len, cap;
};

static struct hp_byte_pool *chunks;

/* Stands for whatever the numbers come from. */
static uint64_t next_number(uint64_t i)
{
    return i * 2654435761u;
}

static bool append(struct list *l, uint64_t number)
{
    if (l->len == l->cap) {
        size_t cap = l->cap != 0 ? l->cap * 2 : FIRST_CAP;
        uint64_t *at = realloc(l->at, cap * sizeof *at);
        if (at == NULL)
            return false;
        l->at = at;
        l->cap = cap;
    }
    l->at[l->len++] = number;
    return true;
}

static void run_bad(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        struct list l = {0};
        for (unsigned n = 0; n < COUNT; n++)
            require(append(&l, next_number(n)), "no memory");
        bench_use(l.at);
        free(l.at);
    }
}

static void run_plain(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t *at = malloc(COUNT * sizeof *at);
        require(at != NULL, "no memory");
        for (unsigned n = 0; n < COUNT; n++)
            at[n] = next_number(n);
        bench_use(at);
        free(at);
    }
}

static void run_good(struct bench *b, uint64_t iterations)
{
    (void)b;
    struct hp_arena arena;
    hp_arena_init(&arena, chunks, ARENA_BYTES, ARENA_BYTES);
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t *at = hp_arena_alloc(&arena, COUNT * sizeof *at, alignof(uint64_t));
        require(at != NULL, "no memory");
        for (unsigned n = 0; n < COUNT; n++)
            at[n] = next_number(n);
        bench_use(at);
        hp_arena_reset(&arena);
    }
}

static void open_pools(struct hp_pool_manager *manager)
{
    chunks = hp_byte_pool_new(manager, "2-chunks", 64, ARENA_BYTES, 0);
    require(chunks != NULL, "no memory");
}

static void close_pools(void)
{
    hp_byte_pool_free(chunks);
}

const struct strategy strategy_prealloc = {
    .title = "preallocation",
    .slug = "2-preallocation",
    .open = open_pools,
    .close = close_pools,
    .run = {[FORM_BAD] = run_bad, [FORM_PLAIN] = run_plain, [FORM_GOOD] = run_good},
    .claim = CLAIM_RANGE,
    .claim_low = 50,
    .claim_high = 70,
};
