/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include "pool/src/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/* Bytes of address space that the process has. */
static size_t address_space(void)
{
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY); /* not stdio, which might map memory itself */
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* What was mapped only to find an aligned place is given back at once. */
static void test_map_leaves_nothing_beside(void)
{
    void *p[64];
    size_t before = address_space();
    for (int i = 0; i < 64; i++)
        CHECK((p[i] = hp_system_map(4096, HP_SPAN_BYTES)) != NULL);
    CHECK(address_space() - before < HP_SPAN_BYTES);
    for (int i = 0; i < 64; i++)
        hp_system_unmap(p[i], 4096);
    CHECK(address_space() <= before + HP_SPAN_BYTES / 2);
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

TEST_MAIN(TEST(test_map_is_aligned_and_zeroed), TEST(test_map_leaves_nothing_beside),
          TEST(test_map_refuses_the_impossible), TEST(test_die_says_one_line), TEST(test_names))
