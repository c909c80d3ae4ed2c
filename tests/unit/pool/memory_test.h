/* SPDX-License-Identifier: MIT
 *
 * What the process has in memory, for the tests that compare it with what pools say.
 */
#ifndef TESTS_UNIT_POOL_MEMORY_TEST_H
#define TESTS_UNIT_POOL_MEMORY_TEST_H

#include "pool_test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Resident bytes. Without stdio, which would allocate. */
static inline uint64_t resident(void)
{
    char text[96] = "", *end;
    int fd = open("/proc/self/statm", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    strtoull(text, &end, 10);
    return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

#endif
