/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include <h3pool/buffer.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;

static void open_pool(uint64_t limit)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "buffer", 64, 64 * KIB, limit);
    CHECK(pool != NULL);
}

static void close_pool(void)
{
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static void test_new_buffer(void)
{
    static const size_t cap[] = {0, 1, 100, 480, 64 * KIB - 32, 64 * KIB, 1024 * KIB};
    open_pool(0);
    for (unsigned i = 0; i < sizeof cap / sizeof cap[0]; i++) {
        struct hp_buffer *buffer = hp_buffer_new(pool, cap[i]);
        CHECK(buffer != NULL);
        CHECK_U64(buffer->len, 0);
        CHECK(buffer->cap >= cap[i]);
        CHECK_U64((uintptr_t)buffer->data % 16, 0);
        memset(buffer->data, 0x5a, buffer->cap);
        CHECK_U64(counters_of(pool).live, 1); /* header and bytes are one block */
        hp_buffer_unref(buffer);
        CHECK_U64(counters_of(pool).live, 0);
    }
    close_pool();
}

static void test_last_reference_gives_back(void)
{
    open_pool(0);
    struct hp_buffer *buffer = hp_buffer_new(pool, 100);
    CHECK(buffer != NULL);
    for (int i = 0; i < 9; i++)
        CHECK(hp_buffer_ref(buffer) == buffer);
    memset(buffer->data, 7, 100);
    for (int i = 0; i < 9; i++) {
        hp_buffer_unref(buffer);
        CHECK_U64(counters_of(pool).live, 1);
        CHECK_U64(buffer->data[99], 7);
    }
    hp_buffer_unref(buffer);
    CHECK_U64(counters_of(pool).live, 0);
    CHECK_U64(counters_of(pool).live_bytes, 0);
    hp_buffer_unref(NULL);
    close_pool();
}

static void test_refused(void)
{
    open_pool(64 * KIB);
    CHECK(hp_buffer_new(pool, 64 * KIB) == NULL); /* the header does not fit any more */
    CHECK_U64(counters_of(pool).refused, 1);
    CHECK(hp_buffer_new(pool, SIZE_MAX) == NULL); /* with the header, more than an address can say */
    CHECK(hp_buffer_new(pool, SIZE_MAX - 16) == NULL);
    CHECK_U64(counters_of(pool).live, 0);
    close_pool();
}

TEST_MAIN(TEST(test_new_buffer), TEST(test_last_reference_gives_back), TEST(test_refused))
