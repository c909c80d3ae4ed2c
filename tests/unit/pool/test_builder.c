/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include <h3pool/builder.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;
static struct hp_builder builder;

static void open_builder(size_t limit)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "builder", 64, 64 * KIB, 0);
    CHECK(pool != NULL);
    hp_builder_init(&builder, pool, limit);
}

static void close_builder(void)
{
    hp_builder_fini(&builder);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

/* Ends what is built, which must be |len| bytes of |should|. */
static void check_built(const char *should, size_t len)
{
    struct hp_buffer *built = hp_builder_finish(&builder);
    CHECK(built != NULL);
    CHECK_U64(built->len, len);
    CHECK(built->cap >= len);
    CHECK(memcmp(built->data, should, len) == 0);
    hp_buffer_unref(built);
    CHECK_U64(counters_of(pool).live, 0);
}

static void test_nothing(void)
{
    open_builder(100);
    CHECK_U64(counters_of(pool).gets, 0);
    check_built("", 0);
    hp_builder_append(&builder, "", 0);
    check_built("", 0);
    hp_builder_fini(&builder);
    hp_builder_init(&builder, pool, 0);
    check_built("", 0);
    close_builder();
}

static void test_fini_drops_what_was_built(void)
{
    open_builder(100);
    hp_builder_append_str(&builder, "dropped");
    CHECK_U64(counters_of(pool).live, 1);
    hp_builder_fini(&builder);
    CHECK_U64(counters_of(pool).live, 0);
    hp_builder_append_str(&builder, "kept");
    check_built("kept", 4);
    close_builder();
}

static void test_numbers(void)
{
    static const uint64_t border[] = {0, 1, 9, 10, 99, 100, UINT32_MAX, 1ull << 32, INT64_MAX, UINT64_MAX};
    static char should[64 << 10];
    size_t len = 0;
    open_builder(64 * KIB);
    for (unsigned i = 0; i < 1500; i++) {
        uint64_t value = i < 10 ? border[i] : test_random(UINT64_MAX) << 11 >> test_random(64);
        unsigned digits = 1 + i % 16;
        uint64_t mask = digits == 16 ? UINT64_MAX : (1ull << digits * 4) - 1;
        hp_builder_append_u64(&builder, value);
        hp_builder_append_str(&builder, " ");
        hp_builder_append_hex(&builder, value, digits);
        hp_builder_append_str(&builder, "\n");
        len += (size_t)snprintf(should + len, sizeof should - len, "%" PRIu64 " %0*" PRIx64 "\n", value, (int)digits,
                                value & mask);
    }
    check_built(should, len);
    close_builder();
}

/* RFC 8259 section 7, by a second way of writing it down: a table of the two-letter escapes. */
static size_t escape(unsigned char c, char *out)
{
    static const char *const pair[] = {"\"\"", "\\\\", "\bb", "\ff", "\nn", "\rr", "\tt"};
    for (unsigned i = 0; i < sizeof pair / sizeof pair[0]; i++)
        if (c == (unsigned char)pair[i][0])
            return (size_t)sprintf(out, "\\%c", pair[i][1]);
    if (c < 0x20)
        return (size_t)sprintf(out, "\\u%04x", c);
    *out = (char)c;
    return 1;
}

static void test_json_of_every_byte(void)
{
    char all[256], should[1600];
    size_t len = 0;
    open_builder(4 * KIB);
    for (unsigned c = 0; c < 256; c++) {
        char one[10] = "\"";
        size_t n = 1 + escape((unsigned char)c, one + 1);
        one[n++] = '"';
        all[c] = (char)c;
        hp_builder_append_json(&builder, &all[c], 1);
        check_built(one, n);
    }
    should[len++] = '"';
    for (unsigned c = 0; c < 256; c++)
        len += escape((unsigned char)c, should + len);
    should[len++] = '"';
    hp_builder_append_json(&builder, all, 256);
    check_built(should, len);
    hp_builder_append_json(&builder, "", 0);
    check_built("\"\"", 2);
    close_builder();
}

static void test_grows_up_to_the_limit_to_the_byte(void)
{
    static const size_t limits[] = {1, 10, 448, 449, 1000, 64 * KIB, 300 * KIB};
    char *should = calloc(1, 300 * KIB);
    CHECK(should != NULL);
    open_builder(0);
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        size_t len = 0;
        hp_builder_init(&builder, pool, limits[i]);
        while (len < limits[i]) {
            size_t n = 1 + test_random(limits[i] / 3 + 1);
            n = n > limits[i] - len ? limits[i] - len : n;
            for (size_t k = 0; k < n; k++)
                should[len + k] = (char)test_random(256);
            hp_builder_append(&builder, should + len, n);
            len += n;
            CHECK(!builder.overflow);
            CHECK(builder.buffer->cap <= limits[i]);
        }
        check_built(should, limits[i]);
    }
    free(should);
    close_builder();
}

static void test_overflow_changes_nothing_and_stays(void)
{
    open_builder(10);
    hp_builder_append_str(&builder, "12345678");
    hp_builder_append_str(&builder, "abc");
    CHECK(builder.overflow);
    CHECK_U64(builder.buffer->len, 8);
    CHECK(memcmp(builder.buffer->data, "12345678", 8) == 0);
    hp_builder_append_str(&builder, "a"); /* would fit */
    hp_builder_append_u64(&builder, 1);
    hp_builder_append_hex(&builder, 1, 1);
    hp_builder_append_json(&builder, "", 0);
    CHECK(hp_builder_reserve(&builder, 0) == NULL);
    CHECK_U64(builder.buffer->len, 8);
    CHECK(hp_builder_finish(&builder) == NULL);
    CHECK_U64(counters_of(pool).live, 0);
    CHECK(!builder.overflow); /* as after init */
    hp_builder_append_str(&builder, "1234567890");
    check_built("1234567890", 10);
    CHECK(hp_builder_reserve(&builder, SIZE_MAX) == NULL);
    CHECK(hp_builder_finish(&builder) == NULL);
    close_builder();
}

static void test_each_kind_of_append_overflows(void)
{
    open_builder(3);
    for (int kind = 0; kind < 4; kind++) {
        if (kind == 0)
            hp_builder_append_u64(&builder, 1234);
        else if (kind == 1)
            hp_builder_append_hex(&builder, 0, 4);
        else if (kind == 2)
            hp_builder_append_json(&builder, "ab", 2);
        else
            hp_builder_append_json(&builder, "\n", 1);
        CHECK(builder.overflow);
        CHECK(hp_builder_finish(&builder) == NULL);
    }
    close_builder();
}

static void test_reserve_and_commit(void)
{
    open_builder(2000);
    hp_builder_append_str(&builder, "head ");
    uint8_t *room = hp_builder_reserve(&builder, 1000);
    CHECK(room != NULL);
    memset(room, 'x', 1000);
    hp_builder_commit(&builder, 3);
    hp_builder_append_str(&builder, " tail");
    check_built("head xxx tail", 13);
    close_builder();
}

static void test_refused_memory_is_an_overflow(void)
{
    open_builder(100 * KIB);
    struct hp_byte_pool *small = hp_byte_pool_new(manager, "small", 64, 64 * KIB, 64 * KIB);
    CHECK(small != NULL);
    hp_builder_init(&builder, small, 1024 * KIB);
    for (int i = 0; i < 200 * 1024 && !builder.overflow; i++)
        hp_builder_append_str(&builder, "x");
    CHECK(builder.overflow);
    CHECK(hp_builder_finish(&builder) == NULL);
    CHECK_U64(counters_of(small).live, 0);
    hp_byte_pool_free(small);
    close_builder();
}

static void check_digits(uint32_t value)
{
    char is[16], should[16];
    *hp_digits_put(is, hp_digits_of(value)) = '\0';
    snprintf(should, sizeof should, "%" PRIu32, value);
    CHECK_STR(is, should);
}

static void test_digits(void)
{
    for (uint32_t value = 0; value < 200000; value++)
        check_digits(value);
    for (uint32_t power = 1; power <= HP_DIGITS_MAX / 10; power *= 10)
        for (uint32_t k = 1; k < 10; k++) {
            check_digits(k * power);
            check_digits(k * power - 1);
        }
    for (int i = 0; i < 100000; i++)
        check_digits((uint32_t)test_random(HP_DIGITS_MAX));
    check_digits(HP_DIGITS_MAX - 1);
}

TEST_MAIN(TEST(test_digits), TEST(test_nothing), TEST(test_fini_drops_what_was_built), TEST(test_numbers),
          TEST(test_json_of_every_byte), TEST(test_grows_up_to_the_limit_to_the_byte),
          TEST(test_overflow_changes_nothing_and_stays), TEST(test_each_kind_of_append_overflows),
          TEST(test_reserve_and_commit), TEST(test_refused_memory_is_an_overflow))
