/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include "pool/src/internal.h"

#include <stdio.h>

static void test_map_is_aligned_and_zeroed(void)
{
    for (size_t align = 4096; align <= HP_SPAN_BYTES; align *= 2) {
        for (size_t bytes = 4096; bytes <= 4 * HP_SPAN_BYTES; bytes = bytes * 4 + 4096) {
            char *p = hp_system_map(bytes, align);
            CHECK(p != NULL);
            CHECK_U64((uintptr_t)p % align, 0);
            CHECK(p[0] == 0 && p[bytes / 2] == 0 && p[bytes - 1] == 0);
            memset(p, 1, bytes); /* all of it is there: nothing too much was cut off */
            hp_system_unmap(p, bytes);
        }
    }
}

static void test_map_refuses_the_impossible(void)
{
    CHECK(hp_system_map((size_t)1 << 60, 4096) == NULL);
}

static void die(void *ctx)
{
    hp_die("pool '%s': %d", (const char *)ctx, 42);
}

static void test_die_says_one_line(void)
{
    char name[] = "p";
    CHECK_DIES(die, name, "h3pool: pool 'p': 42\n");
}

static void test_names(void)
{
    CHECK(pooled() || strcmp(hp_build_name(), "unpooled") == 0);
    unsigned part[3];
    char rest;
    CHECK(sscanf(hp_version(), "%u.%u.%u%c", &part[0], &part[1], &part[2], &rest) == 3);
}

TEST_MAIN(TEST(test_map_is_aligned_and_zeroed), TEST(test_map_refuses_the_impossible), TEST(test_die_says_one_line),
          TEST(test_names))
