/* SPDX-License-Identifier: MIT
 *
 * The functions of malloc(3), forwarded to glibc under its other names for them (__libc_malloc and so on), and those of
 * mmap(2), forwarded to the kernel. So nothing that dlsym itself may call is looked up by dlsym, and calls are served
 * from the first one on, before any constructor. They are counted in |early| until the constructor has made the
 * file; what was counted until then is copied into it.
 *
 * Nothing here allocates. Thread-local storage is of the initial-exec model, which needs no allocation either.
 */
#include "alloc_counter.h"
#include "shared_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);
extern void *__libc_valloc(size_t bytes);
extern void *__libc_pvalloc(size_t bytes);
extern void __libc_free(void *block);
extern void *__sbrk(intptr_t delta);

static struct alloc_counter_file early = {
    .magic = ALLOC_COUNTER_MAGIC,
    .version = ALLOC_COUNTER_VERSION,
    .slot_count = ALLOC_COUNTER_SLOTS,
    .slot_bytes = sizeof(struct alloc_counter_slot),
};
static struct alloc_counter_file *_Atomic file = &early;
/* 0: none yet. Else the slot, or ALLOC_COUNTER_SLOTS for a thread that shares slot 0. */
static _Thread_local unsigned slot __attribute__((tls_model("initial-exec")));

static __attribute__((noinline)) unsigned slot_take(struct alloc_counter_file *f)
{
    uint32_t before = atomic_fetch_add_explicit(&f->threads, 1, memory_order_relaxed);
    slot = before < ALLOC_COUNTER_SLOTS - 1 ? before + 1 : ALLOC_COUNTER_SLOTS;
    return slot;
}

static __attribute__((noinline)) void add_shared(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline void add(_Atomic uint64_t *counter, bool shared, uint64_t n)
{
    if (__builtin_expect(shared, 0))
        add_shared(counter, n);
    else
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* One call of |name|, which asks for |n| bytes. */
#define COUNT(name, n)                                                                                                 \
    do {                                                                                                               \
        struct alloc_counter_file *f_ = atomic_load_explicit(&file, memory_order_acquire);                             \
        unsigned i_ = slot != 0 ? slot : slot_take(f_);                                                                \
        bool shared_ = i_ == ALLOC_COUNTER_SLOTS;                                                                      \
        struct alloc_counter_slot *s_ = &f_->slot[shared_ ? 0 : i_];                                                   \
        add(&s_->name, shared_, 1);                                                                                    \
        if ((n) != 0)                                                                                                  \
            add(&s_->bytes, shared_, (n));                                                                             \
    } while (0)

/* --- the file -------------------------------------------------------------------------------------------------------
 */

const struct alloc_counter_file *alloc_counter_self(void)
{
    return atomic_load_explicit(&file, memory_order_acquire);
}

/* The mapping is the parent's: the child's calls would be lost updates in it. */
static void stop_counting_in_child(void)
{
    atomic_store_explicit(&file, &early, memory_order_release);
}

static __attribute__((constructor)) void start(void)
{
    const char *path = getenv(ALLOC_COUNTER_VARIABLE);
    early.pid = (uint32_t)getpid();
    if (path == NULL || path[0] == '\0')
        return;
    struct alloc_counter_file *f = shared_file_make("alloc_counter", path, &early, sizeof early);
    atomic_store_explicit(&file, f, memory_order_release);
    pthread_atfork(NULL, NULL, stop_counting_in_child);
}

/* --- malloc(3) ------------------------------------------------------------------------------------------------------
 */

EXPORT void *malloc(size_t bytes)
{
    COUNT(malloc, bytes);
    return __libc_malloc(bytes);
}

EXPORT void *calloc(size_t count, size_t bytes)
{
    size_t all;
    bool overflow = __builtin_mul_overflow(count, bytes, &all);
    COUNT(calloc, overflow ? 0 : all);
    return __libc_calloc(count, bytes);
}

EXPORT void *realloc(void *block, size_t bytes)
{
    COUNT(realloc, bytes);
    return __libc_realloc(block, bytes);
}

EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all)) {
        COUNT(realloc, 0);
        errno = ENOMEM;
        return NULL;
    }
    COUNT(realloc, all);
    return __libc_realloc(block, all);
}

EXPORT void free(void *block)
{
    COUNT(free, 0);
    __libc_free(block);
}

static bool power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

EXPORT void *memalign(size_t align, size_t bytes)
{
    COUNT(aligned, bytes);
    return __libc_memalign(align, bytes);
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
    COUNT(aligned, bytes);
    if (!power_of_two(align)) { /* as glibc from 2.38 on */
        errno = EINVAL;
        return NULL;
    }
    return __libc_memalign(align, bytes);
}

EXPORT int posix_memalign(void **out, size_t align, size_t bytes)
{
    COUNT(aligned, bytes);
    if (!power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    int kept = errno;
    void *block = __libc_memalign(align, bytes);
    errno = kept;
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

EXPORT void *valloc(size_t bytes)
{
    COUNT(aligned, bytes);
    return __libc_valloc(bytes);
}

EXPORT void *pvalloc(size_t bytes)
{
    COUNT(aligned, bytes);
    return __libc_pvalloc(bytes);
}

/* --- mmap(2), brk(2) ------------------------------------------------------------------------------------------------
 */

EXPORT void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    COUNT(mmap, 0);
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

EXPORT void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    COUNT(mmap, 0);
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

EXPORT int munmap(void *at, size_t bytes)
{
    COUNT(munmap, 0);
    return (int)syscall(SYS_munmap, at, bytes);
}

EXPORT void *sbrk(intptr_t delta)
{
    COUNT(brk, 0);
    return __sbrk(delta);
}

EXPORT int brk(void *end)
{
    static int (*_Atomic next)(void *);
    int (*call)(void *) = atomic_load_explicit(&next, memory_order_relaxed);
    COUNT(brk, 0);
    if (call == NULL) {
        call = (int (*)(void *))dlsym(RTLD_NEXT, "brk");
        atomic_store_explicit(&next, call, memory_order_relaxed);
    }
    return call(end);
}
