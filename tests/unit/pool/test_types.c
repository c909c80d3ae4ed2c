/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

static void test_class_is_the_smallest_that_fits(void)
{
    for (size_t bytes = 1; bytes <= HP_CLASS_BYTES_MAX; bytes++) {
        unsigned c = hp_class_of(bytes);
        CHECK(c < HP_CLASS_COUNT);
        size_t block = hp_class_bytes(c);
        CHECK(block >= bytes);
        CHECK(c == 0 || hp_class_bytes(c - 1) < bytes);
        if (bytes > 128)
            CHECK((block - bytes) * 8 <= block);
    }
}

static void test_classes_rise_and_end_at_the_maximum(void)
{
    for (unsigned c = 0; c < HP_CLASS_COUNT; c++) {
        uint32_t block = hp_class_bytes(c);
        CHECK_U64(block % HP_BLOCK_ALIGN, 0);
        CHECK_U64(hp_class_of(block), c);
        CHECK(c == 0 || block > hp_class_bytes(c - 1));
    }
    CHECK_U64(hp_class_bytes(0), HP_BLOCK_ALIGN);
    CHECK_U64(hp_class_bytes(HP_CLASS_COUNT - 1), HP_CLASS_BYTES_MAX);
}

static void test_powers_of_two_are_classes(void)
{
    for (size_t bytes = HP_BLOCK_ALIGN; bytes <= HP_CLASS_BYTES_MAX; bytes *= 2)
        CHECK_U64(hp_class_bytes(hp_class_of(bytes)), bytes);
}

/* A run is 1 to 8 slices, of which at most an eighth is left over; both are promised in types.h. */
static void test_runs_are_short_and_well_filled(void)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    struct hp_byte_pool *pool = hp_byte_pool_new(manager, "runs", 1, HP_CLASS_BYTES_MAX, 0);
    CHECK(pool != NULL);
    CHECK_U64(pool->class_count, HP_CLASS_COUNT);
    for (unsigned c = 0; c < HP_CLASS_COUNT; c++) {
        const struct hp_bin *bin = hp_byte_pool_bin(pool, hp_class_bytes(c));
        CHECK_U64(bin->block_bytes, hp_class_bytes(c));
        CHECK(bin->run_slices >= 1 && bin->run_slices <= 8);
        uint32_t run = bin->run_slices * HP_SLICE_BYTES;
        CHECK(run >= bin->block_bytes);
        CHECK(run % bin->block_bytes <= run / 8);
    }
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static void test_unknown_addresses(void)
{
    int on_stack;
    CHECK(!hp_span_known(NULL));
    CHECK(!hp_span_known(&on_stack));
    CHECK(!hp_span_known((void *)UINTPTR_MAX)); /* beyond the map */
}

TEST_MAIN(TEST(test_class_is_the_smallest_that_fits), TEST(test_classes_rise_and_end_at_the_maximum),
          TEST(test_powers_of_two_are_classes), TEST(test_runs_are_short_and_well_filled), TEST(test_unknown_addresses))
