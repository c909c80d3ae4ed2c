/* SPDX-License-Identifier: MIT
 *
 * Secret pools: their blocks are not in core dumps, a child process does not have them, and a heap over one leaves
 * nothing behind. The pattern that is looked for is made where it is needed, so that no copy of it lies elsewhere.
 */
#include "pool_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <h3pool/heap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NEEDLE 32u
#define WINDOW ((size_t)1 << 20)

static struct hp_pool_manager *manager;

static struct hp_byte_pool *new_pool(bool secret)
{
    struct hp_pool_options options = {.min = 16, .max = 64 * KIB, .secret = secret};
    struct hp_byte_pool *pool = hp_byte_pool_new_with(manager, secret ? "secret" : "ordinary", &options);
    CHECK(pool != NULL);
    return pool;
}

/* Byte |i| of pattern |which|; it has no zeros, and is not to be found in anything else. */
static unsigned char needle_byte(unsigned which, unsigned i)
{
    uint64_t x = (test_seed() ^ which) * 0x9e3779b97f4a7c15u + i * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 29) * 0x94d049bb133111ebu;
    return (unsigned char)(x >> 56 | 1);
}

static void needle_write(void *at, unsigned which)
{
    for (unsigned i = 0; i < NEEDLE; i++)
        ((unsigned char *)at)[i] = needle_byte(which, i);
}

static unsigned count_in(const unsigned char *data, size_t len, unsigned which)
{
    unsigned count = 0;
    for (size_t at = 0; at + NEEDLE <= len; at++) {
        unsigned i = 0;
        while (i < NEEDLE && data[at + i] == needle_byte(which, i))
            i++;
        count += i == NEEDLE;
    }
    return count;
}

/* Occurrences of a pattern from |from| to |end| of a file, which is read through |window|. */
static unsigned count_in_file(int fd, unsigned char *window, uint64_t from, uint64_t end, unsigned which)
{
    unsigned count = 0;
    ssize_t n;
    for (; from < end; from += (uint64_t)n - NEEDLE + 1) {
        n = pread(fd, window, end - from < WINDOW ? end - from : WINDOW, (off_t)from);
        if (n < (ssize_t)NEEDLE)
            break;
        count += count_in(window, (size_t)n, which);
    }
    return count;
}

static unsigned char *new_window(void)
{
    unsigned char *window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(window != MAP_FAILED);
    return window;
}

/* In this process's private writable memory; the window is shared memory. */
static unsigned count_in_memory(unsigned which)
{
    char line[512], access[8];
    unsigned count = 0;
    unsigned char *window = new_window();
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY);
    CHECK(maps != NULL && memory >= 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long long from, to;
        if (sscanf(line, "%llx-%llx %7s", &from, &to, access) == 3 && strcmp(access, "rw-p") == 0)
            count += count_in_file(memory, window, from, to, which);
    }
    close(memory);
    fclose(maps);
    CHECK(munmap(window, WINDOW) == 0);
    return count;
}

/* --- core dumps -----------------------------------------------------------------------------------------------------
 */

static void dump_core(void *ctx)
{
    const struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    struct hp_byte_pool *pool[2] = {new_pool(false), new_pool(true)};
    for (unsigned i = 0; i < 2; i++) {
        void *small = hp_byte_pool_get(pool[i], 100), *large = hp_byte_pool_get(pool[i], 200 * KIB);
        CHECK(small != NULL && large != NULL);
        needle_write(small, i);
        needle_write((char *)large + 150 * KIB, i);
    }
    CHECK(chdir(ctx) == 0);
    CHECK(setrlimit(RLIMIT_CORE, &limit) == 0);
    CHECK(signal(SIGABRT, SIG_DFL) != SIG_ERR);
    abort();
}

/* The one file in a directory, opened and removed; -1 if there is none. */
static int take_file(const char *directory)
{
    int fd = -1;
    DIR *files = opendir(directory);
    CHECK(files != NULL);
    for (const struct dirent *f; (f = readdir(files)) != NULL;)
        if (f->d_name[0] != '.') {
            fd = openat(dirfd(files), f->d_name, O_RDONLY);
            CHECK(unlinkat(dirfd(files), f->d_name, 0) == 0);
        }
    closedir(files);
    return fd;
}

static bool cores_go_to_the_directory(void)
{
    char pattern[128] = "";
    struct rlimit limit;
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);
    bool known = fd >= 0 && read(fd, pattern, sizeof pattern - 1) > 0;
    close(fd);
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0);
    return known && strchr(pattern, '/') == NULL && limit.rlim_max == RLIM_INFINITY;
}

static void test_a_core_dump_has_no_secrets(void)
{
    char directory[] = "/tmp/h3pool-core-XXXXXX", text[512];
    if (!pooled() || slowed())
        return;
    if (!cores_go_to_the_directory()) {
        printf("   not tried: core dumps go elsewhere\n");
        return;
    }
    CHECK(mkdtemp(directory) != NULL);
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    int status = test_in_child(dump_core, directory, text, sizeof text);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    int core = take_file(directory);
    CHECK(rmdir(directory) == 0);
    CHECK(core >= 0 && WCOREDUMP(status));
    unsigned char *window = new_window();
    CHECK_U64(count_in_file(core, window, 0, UINT64_MAX / 4, 0), 2);
    CHECK_U64(count_in_file(core, window, 0, UINT64_MAX / 4, 1), 0);
    CHECK(munmap(window, WINDOW) == 0);
    close(core);
    hp_pool_manager_free(manager);
}

/* --- child processes ------------------------------------------------------------------------------------------------
 */

static void exit_unless_zero(void *block)
{
    for (unsigned i = 0; i < NEEDLE; i++)
        if (((unsigned char *)block)[i] != 0)
            _exit(1);
}

static void test_a_child_process_has_no_secrets(void)
{
    char text[16];
    if (!pooled() || slowed())
        return;
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    for (unsigned secret = 0; secret < 2; secret++) {
        struct hp_byte_pool *pool = new_pool(secret != 0);
        void *block = hp_byte_pool_get(pool, 100);
        CHECK(block != NULL);
        needle_write(block, 0);
        int status = test_in_child(exit_unless_zero, block, text, sizeof text);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (secret != 0 ? 0 : 1));
        hp_byte_pool_put(pool, block);
        hp_byte_pool_free(pool);
    }
    hp_pool_manager_free(manager);
}

/* --- heaps ----------------------------------------------------------------------------------------------------------
 */

/* Blocks of every kind, some of them freed, moved, or in a heap that is frozen; then the heap is dropped. */
static void use_heap(struct hp_heap *heap, bool freeze)
{
    static const size_t sizes[] = {NEEDLE, 100, 500, 600, 3000, 70 * KIB};
    void *block[60];
    for (unsigned i = 0; i < 60; i++) {
        CHECK((block[i] = hp_heap_alloc(heap, sizes[i % 6])) != NULL);
        needle_write(block[i], 2);
    }
    for (unsigned i = 0; i < 30; i++)
        hp_heap_free(heap, block[i]);
    for (unsigned i = 40; i < 50; i++)
        CHECK((block[i] = hp_heap_resize(heap, block[i], sizes[i % 6] * 3)) != NULL);
    if (freeze)
        CHECK(hp_heap_alloc(heap, SIZE_MAX) == NULL);
    CHECK(count_in_memory(2) >= 30);
}

static void test_a_heap_leaves_nothing_behind(void)
{
    struct hp_heap heap;
    if (slowed())
        return;
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    for (unsigned freeze = 0; freeze < 2; freeze++) {
        struct hp_byte_pool *pool = new_pool(true);
        hp_heap_init(&heap, pool);
        use_heap(&heap, freeze != 0);
        hp_heap_drop(&heap);
        CHECK_U64(count_in_memory(2), 0);
        hp_byte_pool_free(pool);
    }
    struct hp_byte_pool *pool = new_pool(false);
    hp_heap_init(&heap, pool);
    use_heap(&heap, false);
    hp_heap_drop(&heap);
    CHECK(count_in_memory(2) != 0); /* or the search above finds nothing whatever happens */
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

TEST_MAIN(TEST(test_a_core_dump_has_no_secrets), TEST(test_a_child_process_has_no_secrets),
          TEST(test_a_heap_leaves_nothing_behind))
