/* SPDX-License-Identifier: MIT
 *
 * Recorder of allocations, as a library that stands before a program:
 *
 *   LD_PRELOAD=build/liballoc_trace.so H3POOL_ALLOC_TRACE=FILE [H3POOL_ALLOC_TRACE_FROM=FLAG] PROGRAM ...
 *
 * writes the sequence of malloc, calloc, realloc and free of all threads to FILE, until the program calls exit. With
 * FLAG it begins when a file of that name is there, so that a script can leave out what a program does at its start.
 *
 *   m32     malloc of 32 bytes. Allocations are numbered from 0 on, those by calloc and realloc included
 *   c64     calloc of 64 bytes
 *   r3,96   realloc to 96 bytes of the third allocation before the newest; the result is a new allocation
 *   f0      free of the newest allocation
 *   t2      what follows is by thread 2; threads are numbered from 1 on, as they come
 *
 * one after the other, in lines of about a hundred characters; a line from # on is a comment. What is not in the
 * sequence: blocks from before it (their free is left out, their realloc is a malloc), calls that failed, free(NULL);
 * calls that ask for an alignment appear as malloc. mmap is not recorded.
 *
 * All calls are under one lock, libc's part included, so that the order in the file is one that has happened: a block
 * is never given out again in it before it was freed. That makes it slow, and a recorder, not a profiler. Nothing here
 * allocates by malloc. Calls are forwarded to glibc's other names for them, as in bench/compare/alloc_counter.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define EXIT_NOT_RECORDED 2
#define LINE_CHARS 100u
#define MAP_BITS 21u
#define MAP_ENTRIES (1u << MAP_BITS)

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);
extern void __libc_free(void *block);

struct entry {
    void *block;
    uint64_t number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by the lock. */
static int out = -1;
static const char *flag;  /* not NULL: recording begins when it is there */
static struct entry *map; /* open addressing */
static unsigned live;
static uint64_t next_number;
static unsigned threads, last_thread = 1;
static char text[64u << 10];
static size_t text_len, line_len;
static _Thread_local unsigned thread __attribute__((tls_model("initial-exec")));

/* --- which allocation a block is ------------------------------------------------------------------------------------
 */

static unsigned place_of(const void *block)
{
    return (unsigned)(((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15ull >> (64 - MAP_BITS));
}

static void stop(const char *why)
{
    dprintf(STDERR_FILENO, "alloc_trace: %s\n", why);
    _exit(EXIT_NOT_RECORDED);
}

static unsigned find(const void *block)
{
    unsigned i = place_of(block);
    while (map[i].block != NULL && map[i].block != block)
        i = (i + 1) % MAP_ENTRIES;
    return i;
}

static void map_add(void *block, uint64_t number)
{
    if (++live > MAP_ENTRIES / 2)
        stop("more than a million live blocks");
    map[find(block)] = (struct entry){block, number};
}

/* The number of a block, which is forgotten; false: not one of ours. What stands behind it moves up. */
static bool map_take(const void *block, uint64_t *number)
{
    unsigned hole = find(block);
    if (map[hole].block == NULL)
        return false;
    *number = map[hole].number;
    live--;
    for (unsigned i = (hole + 1) % MAP_ENTRIES; map[i].block != NULL; i = (i + 1) % MAP_ENTRIES) {
        unsigned wants = place_of(map[i].block);
        if ((i - wants) % MAP_ENTRIES < (i - hole) % MAP_ENTRIES)
            continue;
        map[hole] = map[i];
        hole = i;
    }
    map[hole].block = NULL;
    return true;
}

/* --- writing --------------------------------------------------------------------------------------------------------
 */

static void flush(void)
{
    for (size_t done = 0; done < text_len;) {
        ssize_t n = write(out, text + done, text_len - done);
        if (n < 0 && errno != EINTR)
            stop(strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    text_len = 0;
}

static void put_number(char letter, uint64_t n)
{
    char digits[24];
    size_t i = sizeof digits;
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    digits[--i] = letter;
    memcpy(text + text_len, digits + i, sizeof digits - i);
    text_len += sizeof digits - i;
    line_len += sizeof digits - i;
}

/* Begins an event, and says by whom it is if that is another thread than before. */
static void begin(void)
{
    if (line_len >= LINE_CHARS) {
        text[text_len++] = '\n';
        line_len = 0;
    }
    if (text_len > sizeof text - 256)
        flush();
    if (thread == 0)
        thread = ++threads;
    if (thread != last_thread)
        put_number('t', last_thread = thread);
}

static void record_new(char letter, void *block, uint64_t bytes)
{
    if (block == NULL)
        return;
    begin();
    put_number(letter, bytes);
    map_add(block, next_number++);
}

static void record_free(void *block)
{
    uint64_t number;
    if (!map_take(block, &number))
        return;
    begin();
    put_number('f', next_number - 1 - number);
}

static void record_moved(uint64_t number, void *now, uint64_t bytes)
{
    begin();
    put_number('r', next_number - 1 - number);
    put_number(',', bytes);
    map_add(now, next_number++);
}

/* --- beginning and end ----------------------------------------------------------------------------------------------
 */

/* Takes the lock; tells whether this call is recorded. */
static bool enter(void)
{
    pthread_mutex_lock(&lock);
    if (out < 0)
        return false;
    if (flag != NULL) {
        int kept = errno;
        if (access(flag, F_OK) == 0)
            flag = NULL;
        errno = kept;
    }
    return flag == NULL;
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

/* The file is the parent's. */
static void stop_in_child(void)
{
    out = -1;
    pthread_mutex_unlock(&lock);
}

static __attribute__((constructor)) void start(void)
{
    const char *path = getenv("H3POOL_ALLOC_TRACE"), *from = getenv("H3POOL_ALLOC_TRACE_FROM");
    if (path == NULL || path[0] == '\0')
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        stop(path);
    map = mmap(NULL, MAP_ENTRIES * sizeof *map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        stop("no memory");
    pthread_atfork(before_fork, leave, stop_in_child);
    pthread_mutex_lock(&lock);
    flag = from != NULL && from[0] != '\0' ? from : NULL;
    out = fd;
    pthread_mutex_unlock(&lock);
}

static __attribute__((destructor)) void end(void)
{
    if (enter()) {
        if (line_len != 0)
            text[text_len++] = '\n';
        flush();
    }
    out = -1;
    leave();
}

/* --- malloc(3) ------------------------------------------------------------------------------------------------------
 */

EXPORT void *malloc(size_t bytes)
{
    bool recorded = enter();
    void *block = __libc_malloc(bytes);
    if (recorded)
        record_new('m', block, bytes);
    leave();
    return block;
}

EXPORT void *calloc(size_t count, size_t bytes)
{
    bool recorded = enter();
    void *block = __libc_calloc(count, bytes);
    if (recorded)
        record_new('c', block, count * bytes); /* no overflow, or it would have failed */
    leave();
    return block;
}

EXPORT void *realloc(void *block, size_t bytes)
{
    uint64_t number = 0;
    bool recorded = enter();
    if (recorded && block != NULL && bytes == 0)
        record_free(block);
    bool known = recorded && block != NULL && bytes != 0 && map_take(block, &number);
    void *moved = __libc_realloc(block, bytes);
    if (known && moved == NULL)
        map_add(block, number);
    else if (known)
        record_moved(number, moved, bytes);
    else if (recorded)
        record_new('m', moved, bytes);
    leave();
    return moved;
}

EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
    size_t all;
    if (!__builtin_mul_overflow(count, bytes, &all))
        return realloc(block, all);
    errno = ENOMEM;
    return NULL;
}

EXPORT void free(void *block)
{
    if (enter() && block != NULL)
        record_free(block);
    __libc_free(block);
    leave();
}

EXPORT void *memalign(size_t align, size_t bytes)
{
    bool recorded = enter();
    void *block = __libc_memalign(align, bytes);
    if (recorded)
        record_new('m', block, bytes);
    leave();
    return block;
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
    return memalign(align, bytes);
}

EXPORT int posix_memalign(void **to, size_t align, size_t bytes)
{
    if (align == 0 || (align & (align - 1)) != 0 || align % sizeof(void *) != 0)
        return EINVAL;
    void *block = memalign(align, bytes);
    if (block == NULL)
        return ENOMEM;
    *to = block;
    return 0;
}
