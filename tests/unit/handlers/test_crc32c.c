/* SPDX-License-Identifier: MIT
 *
 * crc32c, and crc32c_by_table: the same source, built so that it never uses the CPU's instruction.
 */
#include "handlers/crc32c.h"

#include "test.h"

#include <string.h>

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t len);

typedef uint32_t (*crc_function)(uint32_t crc, const void *bytes, size_t len);
static const crc_function both[] = {crc32c, crc32c_by_table};

static void test_known_sums(void)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_U64(both[i](0, "123456789", 9), 0xe3069283);
        CHECK_U64(both[i](0, zeros, 32), 0x8a9136aa); /* these four: RFC 3720 appendix B.4 */
        CHECK_U64(both[i](0, ones, 32), 0x62a8ab43);
        CHECK_U64(both[i](0, up, 32), 0x46dd794e);
        CHECK_U64(both[i](0, down, 32), 0x113fdb5c);
        CHECK_U64(both[i](0, "", 0), 0);
        CHECK_U64(both[i](0x12345678, NULL, 0), 0x12345678);
    }
}

static void test_every_length_and_alignment(void)
{
    for (size_t len = 0; len < 80; len++) {
        uint8_t *p = test_guarded(len);
        for (size_t i = 0; i < len; i++)
            p[i] = (uint8_t)test_random(256);
        for (size_t skip = 0; skip < 8 && skip <= len; skip++)
            CHECK_U64(crc32c(0, p + skip, len - skip), crc32c_by_table(0, p + skip, len - skip));
    }
}

static void test_parts_make_the_whole(void)
{
    static uint8_t data[5000];
    for (int run = 0; run < 200; run++) {
        uint32_t by_parts[2] = {0};
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)test_random(256);
        for (size_t at = 0, n; at < sizeof data; at += n) {
            n = test_random(300);
            n = n > sizeof data - at ? sizeof data - at : n;
            by_parts[0] = crc32c(by_parts[0], data + at, n);
            by_parts[1] = crc32c_by_table(by_parts[1], data + at, n);
        }
        CHECK_U64(by_parts[0], crc32c(0, data, sizeof data));
        CHECK_U64(by_parts[1], by_parts[0]);
    }
}

static void test_a_changed_bit_shows(void)
{
    uint8_t data[100];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)test_random(256);
    uint32_t before = crc32c(0, data, sizeof data);
    for (size_t bit = 0; bit < sizeof data * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(crc32c(0, data, sizeof data) != before);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

TEST_MAIN(TEST(test_known_sums), TEST(test_every_length_and_alignment), TEST(test_parts_make_the_whole),
          TEST(test_a_changed_bit_shows))
