/* SPDX-License-Identifier: MIT
 *
 * Out-of-memory torture: allocation n of ngtcp2 or nghttp3 fails in the server, for n = 0, 1, 2 … until the scenario
 * runs to its end without reaching n. The first 64 are all tried, of the rest a random part. Each time the server must
 * go on, serve the next client, and leave nothing live, in its pools and in OpenSSL's.
 *
 * The heap's functions are wrapped by the linker (see CMakeLists.txt).
 */
#include "sim.h"
#include "test.h"

#include <string.h>

static uint64_t countdown = UINT64_MAX;

void *__real_hp_heap_alloc(struct hp_heap *heap, size_t bytes);
void *__real_hp_heap_calloc(struct hp_heap *heap, size_t count, size_t bytes);
void *__real_hp_heap_resize(struct hp_heap *heap, void *block, size_t bytes);
void *__wrap_hp_heap_alloc(struct hp_heap *heap, size_t bytes);
void *__wrap_hp_heap_calloc(struct hp_heap *heap, size_t count, size_t bytes);
void *__wrap_hp_heap_resize(struct hp_heap *heap, void *block, size_t bytes);

static bool fails_now(struct hp_heap *heap)
{
    if (strcmp(heap->pool->name, "heap") != 0 || countdown == UINT64_MAX || countdown-- != 0)
        return false;
    heap->failed = true;
    countdown = UINT64_MAX;
    return true;
}

void *__wrap_hp_heap_alloc(struct hp_heap *heap, size_t bytes)
{
    return fails_now(heap) ? NULL : __real_hp_heap_alloc(heap, bytes);
}

void *__wrap_hp_heap_calloc(struct hp_heap *heap, size_t count, size_t bytes)
{
    return fails_now(heap) ? NULL : __real_hp_heap_calloc(heap, count, bytes);
}

void *__wrap_hp_heap_resize(struct hp_heap *heap, void *block, size_t bytes)
{
    return fails_now(heap) ? NULL : __real_hp_heap_resize(heap, block, bytes);
}

/* Returns whether allocation |n| was reached. */
static bool try_failure(uint64_t n)
{
    struct sim *sim = sim_new(NULL);
    sim->loss_percent = 3;
    for (unsigned i = 0; i < 3; i++)
        sim_connect(sim_client(sim, i == 0 ? "/data?items=1000" : "/data/50K", 4, 4));
    countdown = n;
    CHECK(!sim_run(sim, sim_never, 2 * NS_PER_S));
    bool reached = countdown == UINT64_MAX;
    countdown = UINT64_MAX;
    sim->loss_percent = 0;
    struct sim_client *next = sim_client(sim, "/health", 1, 1);
    sim_connect(next);
    CHECK(!sim_run(sim, sim_never, 1 * NS_PER_S));
    CHECK_U64(next->complete, 1);
    sim_free(sim);
    return reached;
}

static void test_every_allocation_may_fail(void)
{
    uint64_t tried = 0, n = 0;
    for (; try_failure(n); tried++)
        n += n < 64 ? 1 : 1 + test_random(12);
    CHECK(n > 200); /* the scenario is worth its name */
}

TEST_MAIN(TEST(test_every_allocation_may_fail))
