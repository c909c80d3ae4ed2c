/* SPDX-License-Identifier: MIT
 *
 * 5. Fewer pointers. COUNT points are walked and added up.
 *
 * bad: an array of pointers to points, each made by malloc. good: an array of points, in one block of a pool. Bytes to
 * walk are the cache lines that the walk reads, found from the addresses themselves. The points are made one after the
 * other on an almost fresh heap: nothing better can happen to the bad form. On a heap that has aged they lie scattered.
 */
#include "strategies.h"

#include <h3pool/byte_pool.h>
#include <stdlib.h>
#include <unistd.h>

#define COUNT 10000u

struct point {
    int64_t x, y;
};

static struct hp_byte_pool *pool;
static struct point **pointers, *values;
static double pointers_bytes, values_bytes; /* to walk */

/* --- bytes to walk --------------------------------------------------------------------------------------------------
 */

struct lines {
    uintptr_t *number;
    size_t count, line_bytes;
};

static void lines_add(struct lines *l, const void *from, size_t bytes)
{
    uintptr_t first = (uintptr_t)from / l->line_bytes, last = ((uintptr_t)from + bytes - 1) / l->line_bytes;
    for (uintptr_t i = first; i <= last; i++)
        l->number[l->count++] = i;
}

static int compare(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

/* Bytes of the lines, each counted once. */
static double lines_bytes(struct lines *l)
{
    size_t unique = 0;
    qsort(l->number, l->count, sizeof l->number[0], compare);
    for (size_t i = 0; i < l->count; i++)
        unique += i == 0 || l->number[i] != l->number[i - 1];
    return (double)(unique * l->line_bytes);
}

static void find_bytes(void)
{
    long line = sysconf(_SC_LEVEL1_DCACHE_LINESIZE);
    struct lines l = {.line_bytes = line > 0 ? (size_t)line : 64};
    /* A point or a pointer lies in two lines at the most. */
    l.number = malloc(4 * COUNT * sizeof l.number[0]);
    require(l.number != NULL, "no memory");
    for (unsigned i = 0; i < COUNT; i++) {
        lines_add(&l, &pointers[i], sizeof pointers[i]);
        lines_add(&l, pointers[i], sizeof *pointers[i]);
    }
    pointers_bytes = lines_bytes(&l);
    l.count = 0;
    for (unsigned i = 0; i < COUNT; i++)
        lines_add(&l, &values[i], sizeof values[i]);
    values_bytes = lines_bytes(&l);
    free(l.number);
}

/* --------------------------------------------------------------------------------------------------------------------
 */

static void run_bad(struct bench *b, uint64_t iterations)
{
    for (uint64_t i = 0; i < iterations; i++) {
        struct point sum = {0};
        for (unsigned n = 0; n < COUNT; n++) {
            sum.x += pointers[n]->x;
            sum.y += pointers[n]->y;
        }
        bench_use(&sum);
    }
    bench_metric(b, pointers_bytes, "B/walk");
}

static void run_good(struct bench *b, uint64_t iterations)
{
    for (uint64_t i = 0; i < iterations; i++) {
        struct point sum = {0};
        for (unsigned n = 0; n < COUNT; n++) {
            sum.x += values[n].x;
            sum.y += values[n].y;
        }
        bench_use(&sum);
    }
    bench_metric(b, values_bytes, "B/walk");
}

static void open_points(struct hp_pool_manager *manager)
{
    pool = hp_byte_pool_new(manager, "5-points", 64, HP_CLASS_BYTES_MAX, 0);
    require(pool != NULL, "no memory");
    values = hp_byte_pool_get(pool, COUNT * sizeof *values);
    pointers = malloc(COUNT * sizeof *pointers);
    require(values != NULL && pointers != NULL, "no memory");
    for (unsigned i = 0; i < COUNT; i++) {
        pointers[i] = malloc(sizeof *pointers[i]);
        require(pointers[i] != NULL, "no memory");
        *pointers[i] = values[i] = (struct point){.x = i, .y = -(int64_t)i};
    }
    find_bytes();
}

static void close_points(void)
{
    for (unsigned i = 0; i < COUNT; i++)
        free(pointers[i]);
    free(pointers);
    hp_byte_pool_put(pool, values);
    hp_byte_pool_free(pool);
}

const struct strategy strategy_values = {
    .title = "fewer pointers",
    .slug = "5-fewer-pointers",
    .open = open_points,
    .close = close_points,
    .run = {[FORM_BAD] = run_bad, [FORM_GOOD] = run_good},
    .claim = CLAIM_LESS_AND_FASTER,
    .claim_text = "less to scan (no figure)",
    .by_metric = true,
};
