/* SPDX-License-Identifier: MIT
 *
 * Who still calls libc's malloc, as a library that stands before a program:
 *
 *   LD_PRELOAD=build/libmalloc_sites.so H3POOL_MALLOC_SITES=FILE H3POOL_MALLOC_SITES_WHILE=FLAG PROGRAM ...
 *
 * While a file of the name FLAG is there, each call of malloc, calloc, realloc and aligned allocations is noted with
 * the addresses of its callers. At exit each different chain becomes a line of FILE: how often, then module+offset for
 * each caller, nearest first, as addr2line takes them. A program that never calls leaves FILE empty.
 *
 * It costs a walk over the stack for each call that is noted, under a lock: a tool, not a profiler. Calls are forwarded
 * to glibc's other names for them, as in bench/compare/alloc_counter.c.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define EXIT_NOT_RECORDED 2
#define CALLERS 8
#define OWN_FRAMES 2 /* note and malloc */
#define SITES_MAX 1024u

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

struct site {
    uint64_t calls;
    void *caller[CALLERS];
};

static const char *flag;
static int out = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by the lock. */
static struct site site[SITES_MAX];
static unsigned site_count;
static uint64_t unnoted; /* calls for which there was no room */
static _Thread_local bool noting __attribute__((tls_model("initial-exec")));

static void add(void *const caller[CALLERS])
{
    unsigned i = 0;
    pthread_mutex_lock(&lock);
    while (i < site_count && memcmp(site[i].caller, caller, sizeof site[i].caller) != 0)
        i++;
    if (i == SITES_MAX) {
        unnoted++;
    } else {
        memcpy(site[i].caller, caller, sizeof site[i].caller);
        site[i].calls++;
        site_count = i == site_count ? i + 1 : site_count;
    }
    pthread_mutex_unlock(&lock);
}

static __attribute__((noinline)) void note(void)
{
    if (flag == NULL || noting)
        return;
    noting = true; /* the walk may allocate */
    int kept = errno;
    if (access(flag, F_OK) == 0) {
        void *frame[OWN_FRAMES + CALLERS] = {NULL};
        (void)backtrace(frame, OWN_FRAMES + CALLERS);
        add(frame + OWN_FRAMES);
    }
    errno = kept;
    noting = false;
}

static __attribute__((constructor)) void start(void)
{
    const char *path = getenv("H3POOL_MALLOC_SITES"), *while_there = getenv("H3POOL_MALLOC_SITES_WHILE");
    if (path == NULL || while_there == NULL)
        return;
    out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0) {
        dprintf(STDERR_FILENO, "malloc_sites: %s: %s\n", path, strerror(errno));
        _exit(EXIT_NOT_RECORDED);
    }
    void *frame[1];
    (void)backtrace(frame, 1); /* loads what it needs */
    flag = while_there;
}

static __attribute__((destructor)) void end(void)
{
    flag = NULL;
    for (unsigned i = 0; out >= 0 && i < site_count; i++) {
        dprintf(out, "%llu", (unsigned long long)site[i].calls);
        for (unsigned k = 0; k < CALLERS && site[i].caller[k] != NULL; k++) {
            Dl_info info;
            char *at = (char *)site[i].caller[k] - 1; /* inside the call, not behind it */
            if (dladdr(at, &info) != 0)
                dprintf(out, " %s+0x%tx", info.dli_fname, at - (char *)info.dli_fbase);
        }
        dprintf(out, "\n");
    }
    if (out >= 0 && unnoted != 0)
        dprintf(out, "%llu\n", (unsigned long long)unnoted);
}

/* --- malloc(3) ------------------------------------------------------------------------------------------------------
 */

EXPORT void *malloc(size_t bytes)
{
    note();
    return __libc_malloc(bytes);
}

EXPORT void *calloc(size_t count, size_t bytes)
{
    note();
    return __libc_calloc(count, bytes);
}

EXPORT void *realloc(void *block, size_t bytes)
{
    note();
    return __libc_realloc(block, bytes);
}

EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
    size_t all;
    note();
    if (!__builtin_mul_overflow(count, bytes, &all))
        return __libc_realloc(block, all);
    errno = ENOMEM;
    return NULL;
}

EXPORT void *memalign(size_t align, size_t bytes)
{
    note();
    return __libc_memalign(align, bytes);
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
    note();
    return __libc_memalign(align, bytes);
}

EXPORT int posix_memalign(void **to, size_t align, size_t bytes)
{
    if (align == 0 || (align & (align - 1)) != 0 || align % sizeof(void *) != 0)
        return EINVAL;
    note();
    void *block = __libc_memalign(align, bytes);
    if (block == NULL)
        return ENOMEM;
    *to = block;
    return 0;
}
