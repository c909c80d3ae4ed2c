/* SPDX-License-Identifier: MIT
 *
 * Without any checks: a block that is put twice in a row, or a pointer that is from no pool, never goes on silently,
 * whichever function takes it. A thousand random trials each.
 */
#include "yard.h"

#include <h3pool/buffer.h>
#include <h3pool/heap.h>
#include <h3pool/kind.h>
#include <h3pool/object_pool.h>

#define TRIALS fewer_if_slowed(1000, 50)
#define NEIGHBOURS 80u

/* --- byte pools -----------------------------------------------------------------------------------------------------
 */

static struct yard_slot put_once(struct yard *y)
{
    struct yard_slot victim = yard_victim(y), put = victim;
    yard_put(y->pool, &put);
    return victim;
}

static void put_twice(struct yard *y)
{
    hp_byte_pool_put(y->pool, put_once(y).block);
}

static void put_sized_twice(struct yard *y)
{
    struct yard_slot victim = put_once(y);
    hp_byte_pool_put_sized(y->pool, victim.block, victim.bytes);
}

static void put_any_twice(struct yard *y)
{
    hp_byte_pool_put_any(y->pool, put_once(y).block);
}

static void bin_put_twice(struct yard *y)
{
    struct hp_bin *bin = hp_byte_pool_bin(y->pool, 1 + test_random(y->pool->bytes_max));
    void *block = hp_bin_get(y->pool, bin), *others[NEIGHBOURS];
    unsigned n = (unsigned)test_random(NEIGHBOURS);
    CHECK(block != NULL);
    for (unsigned i = 0; i < n; i++)
        CHECK((others[i] = hp_bin_get(y->pool, bin)) != NULL);
    while (n > 0)
        hp_bin_put(y->pool, bin, others[--n]);
    hp_bin_put(y->pool, bin, block);
    hp_bin_put(y->pool, bin, block);
}

static void *put_twice_in_thread(void *ctx)
{
    struct yard *y = ctx;
    hp_byte_pool_put(y->pool, put_once(y).block);
    return NULL;
}

static void put_twice_by_another_thread(struct yard *y)
{
    for (unsigned i = 0; i < YARD_SLOTS; i++) /* so that the other thread need not get */
        if (y->slot[i].block == NULL)
            yard_get(y, &y->slot[i]);
    yard_in_thread(put_twice_in_thread, y);
}

/* A number of another class, the block in a run or in a mapping of its own. */
static void put_as_another_size(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    size_t wrong = victim.bytes > 2000 ? 1 + test_random(victim.bytes / 2) : victim.bytes * 2 + 16 + yard_size();
    hp_byte_pool_put_sized(y->pool, victim.block, wrong);
}

static void put_to_the_wrong_pool(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    if (test_random(2) == 0)
        hp_byte_pool_put(y->other, victim.block);
    else
        hp_byte_pool_put_sized(y->other, victim.block, victim.bytes);
}

/* --- objects, kinds, buffers, heaps ---------------------------------------------------------------------------------
 */

static void object_put_twice(struct yard *y)
{
    struct hp_object_pool objects;
    void *object[NEIGHBOURS];
    unsigned n = 1 + (unsigned)test_random(NEIGHBOURS);
    CHECK(hp_object_pool_init(&objects, y->manager, "objects", 1 + test_random(5000), (uint32_t)test_random(8), NULL) ==
          0);
    for (unsigned i = 0; i < n; i++)
        CHECK((object[i] = hp_object_pool_get(&objects)) != NULL);
    for (unsigned i = 0; i < n; i++)
        hp_object_pool_put(&objects, object[i]);
    hp_object_pool_put(&objects, object[n - 1]);
}

static struct hp_pool_kind *kind_of(struct yard *y)
{
    struct hp_pool_options options = {.min = 1, .max = HP_CLASS_BYTES_MAX};
    struct hp_pool_kind *kind = hp_pool_kind_new(y->manager, "kind", &options);
    CHECK(kind != NULL);
    for (uint64_t i = test_random(NEIGHBOURS); i > 0; i--) {
        void *block = hp_pool_get(kind, yard_size());
        CHECK(block != NULL);
        if (test_random(2) == 0)
            hp_pool_put(kind, block);
    }
    return kind;
}

static void kind_put_twice(struct yard *y)
{
    struct hp_pool_kind *kind = kind_of(y);
    void *block = hp_pool_get(kind, yard_size());
    hp_pool_put(kind, block);
    hp_pool_put(kind, block);
}

static void byte_buffer_put_twice(struct yard *y)
{
    (void)y;
    void *block = NULL;
    for (uint64_t i = 1 + test_random(NEIGHBOURS); i > 0; i--)
        CHECK((block = hp_byte_buffer_get(yard_size())) != NULL);
    hp_byte_buffer_put(block);
    hp_byte_buffer_put(block);
}

static void buffer_unref_twice(struct yard *y)
{
    struct hp_buffer *buffer = hp_buffer_new(y->pool, yard_size());
    CHECK(buffer != NULL);
    hp_buffer_unref(buffer);
    hp_buffer_unref(buffer);
}

static void heap_of(struct yard *y, struct hp_heap *heap)
{
    hp_heap_init(heap, y->pool);
    for (uint64_t i = test_random(NEIGHBOURS); i > 0; i--) {
        void *block = hp_heap_alloc(heap, yard_size());
        CHECK(block != NULL);
        if (test_random(2) == 0)
            hp_heap_free(heap, block);
    }
}

static void heap_free_twice(struct yard *y)
{
    struct hp_heap heap;
    heap_of(y, &heap);
    void *block = hp_heap_alloc(&heap, yard_size());
    hp_heap_free(&heap, block);
    hp_heap_free(&heap, block);
}

/* Buffers and huge blocks of heaps are gone with the first put, if they had a mapping of their own. */
static const struct misuse twice[] = {
    {.name = "hp_byte_pool_put twice", .run = put_twice},
    {.name = "hp_byte_pool_put_sized twice", .run = put_sized_twice},
    {.name = "hp_byte_pool_put_any twice", .run = put_any_twice},
    {.name = "hp_bin_put twice", .run = bin_put_twice},
    {.name = "hp_byte_pool_put twice by another thread", .run = put_twice_by_another_thread},
    {.name = "hp_object_pool_put twice", .run = object_put_twice},
    {.name = "hp_pool_put twice", .run = kind_put_twice},
    {.name = "hp_byte_buffer_put twice", .run = byte_buffer_put_twice},
    {.name = "hp_buffer_unref twice", .run = buffer_unref_twice, .may_fault = true},
    {.name = "hp_heap_free twice", .run = heap_free_twice, .may_fault = true},
    {.name = "hp_byte_pool_put_sized of another class", .run = put_as_another_size},
    {.name = "put to the wrong pool", .run = put_to_the_wrong_pool},
};

/* --- foreign pointers -----------------------------------------------------------------------------------------------
 */

/* From malloc, of a variable, of a stack, and where nothing is mapped. */
static void *foreign_pointer(void)
{
    static unsigned char in_data[4096];
    unsigned char on_stack[256];
    uintptr_t from_malloc = (uintptr_t)malloc(1 + test_random(300 * KIB)), nowhere = 1 + test_random(65535);
    uintptr_t pointer[] = {(uintptr_t)in_data + test_random(4096) / 16 * 16, (uintptr_t)on_stack + test_random(256),
                           from_malloc, from_malloc, nowhere};
    return (void *)pointer[test_random(5)];
}

/* The same, of memory that may be read. */
static void *readable_pointer(void)
{
    static uint64_t in_data[512];
    uint64_t *from_malloc = calloc(512, sizeof *from_malloc);
    CHECK(from_malloc != NULL);
    return (test_random(2) == 0 ? in_data : from_malloc) + 2 + test_random(250) * 2;
}

static void foreign_put(struct yard *y)
{
    hp_byte_pool_put(y->pool, foreign_pointer());
}

static void foreign_put_sized(struct yard *y)
{
    hp_byte_pool_put_sized(y->pool, foreign_pointer(), yard_size());
}

static void foreign_put_any(struct yard *y)
{
    hp_byte_pool_put_any(y->pool, foreign_pointer());
}

static void foreign_bin_put(struct yard *y)
{
    struct hp_bin *bin = hp_byte_pool_bin(y->pool, 1 + test_random(y->pool->bytes_max));
    hp_bin_put(y->pool, bin, foreign_pointer());
}

static void foreign_object_put(struct yard *y)
{
    struct hp_object_pool objects;
    CHECK(hp_object_pool_init(&objects, y->manager, "objects", 1 + test_random(5000), (uint32_t)test_random(8), NULL) ==
          0);
    for (uint64_t i = test_random(NEIGHBOURS); i > 0; i--)
        CHECK(hp_object_pool_get(&objects) != NULL);
    hp_object_pool_put(&objects, foreign_pointer());
}

static void foreign_kind_put(struct yard *y)
{
    hp_pool_put(kind_of(y), foreign_pointer());
}

static void foreign_byte_buffer_put(struct yard *y)
{
    (void)y;
    if (test_random(2) == 0)
        CHECK(hp_byte_buffer_get(yard_size()) != NULL);
    hp_byte_buffer_put(foreign_pointer());
}

static void foreign_unref(struct yard *y)
{
    (void)y;
    hp_buffer_unref(readable_pointer());
}

static void foreign_heap_free(struct yard *y)
{
    struct hp_heap heap;
    heap_of(y, &heap);
    hp_heap_free(&heap, readable_pointer());
}

static const struct misuse foreign[] = {
    {.name = "hp_byte_pool_put of a foreign pointer", .run = foreign_put},
    {.name = "hp_byte_pool_put_sized of a foreign pointer", .run = foreign_put_sized},
    {.name = "hp_byte_pool_put_any of a foreign pointer", .run = foreign_put_any},
    {.name = "hp_bin_put of a foreign pointer", .run = foreign_bin_put},
    {.name = "hp_object_pool_put of a foreign pointer", .run = foreign_object_put},
    {.name = "hp_pool_put of a foreign pointer", .run = foreign_kind_put},
    {.name = "hp_byte_buffer_put of a foreign pointer", .run = foreign_byte_buffer_put},
    {.name = "hp_buffer_unref of a foreign pointer", .run = foreign_unref},
    {.name = "hp_heap_free of a foreign pointer", .run = foreign_heap_free},
};

/* --- the modes ------------------------------------------------------------------------------------------------------
 */

static void must_find(const char *checks, const struct misuse *list, size_t count)
{
    for (size_t i = 0; i < count && pooled(); i++)
        yard_must_find(checks, &list[i], TRIALS);
}

static void test_double_puts_without_checks(void)
{
    must_find("", twice, sizeof twice / sizeof twice[0]);
}

static void test_foreign_pointers_without_checks(void)
{
    must_find("", foreign, sizeof foreign / sizeof foreign[0]);
}

static void test_double_puts_with_all(void)
{
    must_find("all", twice, sizeof twice / sizeof twice[0]);
}

static void test_foreign_pointers_with_all(void)
{
    must_find("all", foreign, sizeof foreign / sizeof foreign[0]);
}

TEST_MAIN(TEST(test_double_puts_without_checks), TEST(test_foreign_pointers_without_checks),
          TEST(test_double_puts_with_all), TEST(test_foreign_pointers_with_all))
