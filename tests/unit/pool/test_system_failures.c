/* SPDX-License-Identifier: MIT
 *
 * The system refuses to map: the 1st, 2nd, 3rd ... mapping of a scenario fails, once or from then on. What could not be
 * made is NULL and leaves nothing behind; what there was before works on; and with memory again everything does.
 */
#include "pool_test.h"

#include <errno.h>
#include <h3pool/kind.h>
#include <h3pool/object_pool.h>
#include <stdio.h>
#include <sys/mman.h>

/* --- the system's part ----------------------------------------------------------------------------------------------
 */

static unsigned maps, fail_at; /* 0: none */
static bool fail_on, protect_fails;

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_mprotect(void *at, size_t bytes, int protection);
int __wrap_mprotect(void *at, size_t bytes, int protection);

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    maps++;
    if (fail_at != 0 && (maps == fail_at || (fail_on && maps > fail_at))) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(at, bytes, protection, flags, fd, offset);
}

int __wrap_mprotect(void *at, size_t bytes, int protection)
{
    if (protect_fails) {
        errno = ENOMEM;
        return -1;
    }
    return __real_mprotect(at, bytes, protection);
}

static void fail(unsigned at, bool on)
{
    maps = 0;
    fail_at = at;
    fail_on = on;
}

/* --- the scenario ---------------------------------------------------------------------------------------------------
 */

#define BLOCKS 120u

struct world {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *pool, *keeps;
    struct hp_object_pool objects;
    struct hp_pool_kind *kind;
    void *block[BLOCKS], *kept, *object, *of_kind;
    const char *checks;
};

static bool step_manager(struct world *w)
{
    errno = 0;
    w->manager = hp_pool_manager_new(0);
    CHECK(w->manager != NULL || errno == ENOMEM);
    if (w->manager != NULL && w->checks != NULL)
        set_checks(w->manager, w->checks);
    return w->manager != NULL;
}

static bool step_pools(struct world *w)
{
    struct hp_pool_options keep = {.min = 1, .max = 100, .keep_bytes = 5000 * KIB}; /* three spans */
    if (w->pool == NULL)
        w->pool = hp_byte_pool_new(w->manager, "pool", 1, 64 * KIB, 0);
    if (w->keeps == NULL)
        w->keeps = hp_byte_pool_new_with(w->manager, "keeps", &keep);
    if (w->objects.blocks == NULL && hp_object_pool_init(&w->objects, w->manager, "objects", 100, 4, NULL) != 0)
        CHECK(w->objects.blocks == NULL);
    return w->pool != NULL && w->keeps != NULL && w->objects.blocks != NULL;
}

static bool step_kind(struct world *w)
{
    static const struct hp_pool_options options = {.min = 1, .max = 1000};
    if (w->kind == NULL)
        CHECK((w->kind = hp_pool_kind_new(w->manager, "kind", &options)) != NULL); /* of a table: nothing is mapped */
    if (w->of_kind == NULL)
        w->of_kind = hp_pool_get(w->kind, 100);
    return w->of_kind != NULL;
}

/* More than one span, and blocks with mappings of their own. */
static bool step_blocks(struct world *w)
{
    bool all = true;
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t bytes = i % 5 == 4 ? 100 * KIB : 1 + i * 500;
        if (w->block[i] == NULL && (w->block[i] = hp_byte_pool_get(w->pool, bytes)) != NULL)
            pattern_write(w->block[i], bytes, i);
        CHECK(w->block[i] == NULL || pattern_holds(w->block[i], bytes, i));
        all &= w->block[i] != NULL;
    }
    w->kept = w->kept != NULL ? w->kept : hp_byte_pool_get(w->keeps, 100);
    w->object = w->object != NULL ? w->object : hp_object_pool_get(&w->objects);
    return all && w->kept != NULL && w->object != NULL;
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (w->block[i] != NULL)
            hp_byte_pool_put(w->pool, w->block[i]);
    if (w->kept != NULL)
        hp_byte_pool_put(w->keeps, w->kept);
    if (w->object != NULL)
        hp_object_pool_put(&w->objects, w->object);
    if (w->of_kind != NULL)
        hp_pool_put(w->kind, w->of_kind);
    if (w->pool != NULL) {
        hp_byte_pool_trim(w->pool);
        CHECK_U64(counters_of(w->pool).held_bytes, 0);
    }
    hp_pool_kind_free(w->kind);
    if (w->objects.blocks != NULL)
        hp_object_pool_fini(&w->objects);
    hp_byte_pool_free(w->keeps);
    hp_byte_pool_free(w->pool);
    CHECK(w->manager == NULL || hp_pool_manager_held(w->manager) == 0);
    hp_pool_manager_free(w->manager);
}

/* Returns how many steps failed at first. A step that fails once passes when it is tried again; for ever, it is what
 * comes after that does not need a mapping which goes on. */
static unsigned play(struct world *w, bool on)
{
    static bool (*const step[])(struct world *) = {step_manager, step_pools, step_kind, step_blocks};
    unsigned failed = 0;
    for (unsigned s = 0; s < sizeof step / sizeof step[0]; s++) {
        if (step[s](w))
            continue;
        failed++;
        if (on)
            break;
        CHECK(step[s](w));
    }
    return failed;
}

static void torture(const char *checks, bool on)
{
    static struct world w;
    unsigned n = 0, failed_runs = 0;
    do {
        w = (struct world){.checks = checks};
        fail(++n, on);
        unsigned failed = play(&w, on);
        failed_runs += failed != 0;
        CHECK(failed <= 1);
        unsigned mapped = maps;
        fail(0, false);
        if (failed == 0 && mapped < n)
            n = 0;
        world_close(&w);
    } while (n != 0);
    printf("   %s%s: %u runs in which a step failed\n", checks != NULL ? checks : "", on ? " for ever" : " once",
           failed_runs);
    CHECK(failed_runs >= (pooled() ? 10 : 5));
}

static void test_each_mapping_fails_once(void)
{
    torture(NULL, false);
}

static void test_all_mappings_fail_from_one_on(void)
{
    torture(NULL, true);
}

/* A get that is due for pages of its own may fall back to a block in a run, and need no further mapping. */
static void test_mappings_fail_under_checks(void)
{
    torture("all", false);
    torture("guard", true);
}

static void test_default_kind(void)
{
    fail(1, true);
    CHECK(hp_byte_buffer_get(10) == NULL);
    CHECK(hp_default_manager() == NULL);
    fail(2, true); /* the manager is made, its pool is not */
    CHECK(hp_byte_buffer_get(10) == NULL);
    fail(2, true); /* and now the pool */
    void *block = hp_byte_buffer_get(10);
    CHECK((block == NULL) == pooled());
    hp_byte_buffer_put(block);
    fail(0, false);
    CHECK((block = hp_byte_buffer_get(10)) != NULL);
    hp_byte_buffer_put(block);
    CHECK_U64(hp_pool_manager_live(hp_default_manager()), 0);
}

/* Without a guard page a block is no guarded one: it comes from a run then, and is refused if it fits none. */
static void test_no_guard_page(void)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    set_checks(manager, "guard");
    struct hp_byte_pool *pool = hp_byte_pool_new(manager, "pool", 1, 4096, 0);
    CHECK(pool != NULL);
    protect_fails = true;
    void *block = hp_byte_pool_get(pool, 100), *huge = hp_byte_pool_get(pool, 100 * KIB);
    protect_fails = false;
    CHECK(block != NULL && (huge == NULL) == pooled());
    CHECK(!pooled() || !hp_span_of(block)->guarded);
    hp_byte_pool_put(pool, block);
    hp_byte_pool_put(pool, huge);
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

TEST_MAIN(TEST(test_each_mapping_fails_once), TEST(test_all_mappings_fail_from_one_on),
          TEST(test_mappings_fail_under_checks), TEST(test_default_kind), TEST(test_no_guard_page))
