/* SPDX-License-Identifier: MIT
 *
 * The library's only calls of the operating system: mapping pages, and dying.
 */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

_Thread_local char hp_thread_anchor;
_Atomic uint8_t hp_span_map[(1ull << HP_ADDRESS_BITS) / HP_SPAN_BYTES];
struct hp_bin hp_no_bin = {.pool = (struct hp_byte_pool *)&hp_no_bin};

_Noreturn void hp_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("h3pool: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void *hp_system_map(size_t bytes, size_t align)
{
    /* Aligned by mapping too much and cutting off both ends. */
    size_t room = bytes + align;
    char *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *start = (char *)(((uintptr_t)p + align - 1) & ~(uintptr_t)(align - 1));
    if (start != p)
        munmap(p, (size_t)(start - p));
    if (start + bytes != p + room)
        munmap(start + bytes, (size_t)(p + room - start) - bytes);
    return start;
}

void hp_system_unmap(void *memory, size_t bytes)
{
    munmap(memory, bytes);
}

uint64_t hp_system_random(void)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) { /* early at boot */
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        random = ((uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec ^ (uintptr_t)&t) * 0x9e3779b97f4a7c15u;
    }
    return random;
}
