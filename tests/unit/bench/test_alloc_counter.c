/* SPDX-License-Identifier: MIT
 *
 * The program runs itself under the counter, as "NAME calls THREADS": each thread then makes known calls, between two
 * moments at which the main thread reads the counter's file. Nothing else happens between them.
 */
#include "bench/compare/alloc_counter.h"

#include "test.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 10u
#define THREADS_MAX 1000u

/* --- the program that is counted ------------------------------------------------------------------------------------
 */

/* Of one round of make_calls. */
static const struct alloc_counts one_round = {
    .malloc = 3,
    .calloc = 3,
    .realloc = 3,
    .aligned = 6,
    .free = 11,
    .bytes = 100 + 120 + 1 + 200 + 300 + 64 + 1000 + 500 + 64 + 10 + 20 + 20,
    .mmap = 2,
    .munmap = 2,
    .brk = 1,
};

static pthread_barrier_t barrier;
static volatile size_t huge = SIZE_MAX / 2;

static void *keep(void *block)
{
    CHECK(block != NULL);
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

static void make_calls(void)
{
    void *block = NULL;
    free(keep(malloc(100)));
    free(keep(calloc(3, 40)));
    free(keep(calloc(1, 0)));
    CHECK(calloc(huge, 3) == NULL); /* asks for no number of bytes */
    block = keep(realloc(keep(malloc(1)), 200));
    block = keep(reallocarray(block, 3, 100));
    CHECK(reallocarray(block, huge, 3) == NULL);
    free(block);
    free(keep(aligned_alloc(64, 64)));
    CHECK(posix_memalign(&block, 4096, 1000) == 0 && (uintptr_t)block % 4096 == 0);
    free(keep(block));
    CHECK(posix_memalign(&block, 3, 500) != 0);
    free(keep(memalign(64, 64)));
    free(keep(valloc(10)));
    free(keep(pvalloc(20)));
    free(NULL);
    free(keep(strndup("libc calls malloc, too", 19)));
    for (unsigned i = 0; i < 2; i++) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS;
        volatile char *pages = i == 0 ? mmap(NULL, 8192, PROT_READ | PROT_WRITE, flags, -1, 0)
                                      : mmap64(NULL, 8192, PROT_READ | PROT_WRITE, flags, -1, 0);
        CHECK(pages != MAP_FAILED);
        pages[8191] = 1;
        CHECK(munmap((void *)(uintptr_t)pages, 8192) == 0);
    }
    CHECK(sbrk(0) != (void *)-1);
}

static void *thread(void *arg)
{
    free(keep(malloc(1))); /* takes a slot */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < ROUNDS; i++)
        make_calls();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return arg;
}

static const struct alloc_counter_file *open_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    const struct alloc_counter_file *f = mmap(NULL, sizeof *f, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(f != MAP_FAILED);
    CHECK(f->magic == ALLOC_COUNTER_MAGIC && f->version == ALLOC_COUNTER_VERSION);
    CHECK_U64(f->pid, getpid());
    close(fd);
    return f;
}

static void check_threads(const struct alloc_counter_file *f, unsigned count)
{
    pthread_t id[THREADS_MAX];
    pthread_attr_t attr;
    CHECK(pthread_barrier_init(&barrier, NULL, count + 1) == 0);
    CHECK(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 128u << 10) == 0);
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_create(&id[i], &attr, thread, NULL) == 0);
    pthread_barrier_wait(&barrier);
    struct alloc_counts before = alloc_counter_sum(f);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    struct alloc_counts after = alloc_counter_sum(f);
    pthread_barrier_wait(&barrier);
#define X(name, text) CHECK_U64(after.name - before.name, one_round.name * ROUNDS * count);
    ALLOC_COUNTERS(X)
#undef X
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_join(id[i], NULL) == 0);
    CHECK_U64(f->threads, count + 1);
}

static void check_brk(const struct alloc_counter_file *f)
{
    struct alloc_counts before = alloc_counter_sum(f);
    CHECK(brk(sbrk(0)) == 0);
    CHECK_U64(alloc_counter_sum(f).brk - before.brk, 2);
}

static void check_fork(const struct alloc_counter_file *f)
{
    int status;
    struct alloc_counts before = alloc_counter_sum(f);
    pid_t pid = fork();
    if (pid == 0) {
        make_calls();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    struct alloc_counts after = alloc_counter_sum(f);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
}

/* Writes the sums at its end to stdout. */
static int counted_main(unsigned threads)
{
    const struct alloc_counter_file *f = open_file(getenv(ALLOC_COUNTER_VARIABLE));
    check_threads(f, threads);
    check_brk(f);
    check_fork(f);
    struct alloc_counts sum = alloc_counter_sum(f);
    CHECK(write(STDOUT_FILENO, &sum, sizeof sum) == sizeof sum);
    _exit(0);
}

/* --- the tests ------------------------------------------------------------------------------------------------------
 */

/* The path of a file beside the folder of this program. */
static const char *built(char path[PATH_MAX + 64], const char *name)
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    CHECK(len > 0);
    path[len] = '\0';
    strcpy(strrchr(path, '/') + 1, "../");
    strcat(path, name);
    return path;
}

static const char *library(void)
{
    static char path[PATH_MAX + 64];
    return built(path, "liballoc_counter.so");
}

static const char *reader(void)
{
    static char path[PATH_MAX + 64];
    return built(path, "alloc-counter-read");
}

/* Runs |argv|; returns its wait status and what it wrote to stdout. */
static int run(const char *const argv[], const char *preload, const char *file, void *output, size_t cap, size_t *len)
{
    int fd[2], status;
    CHECK(pipe(fd) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        close(fd[0]);
        if (preload != NULL)
            setenv("LD_PRELOAD", preload, 1);
        if (file != NULL)
            setenv(ALLOC_COUNTER_VARIABLE, file, 1);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(fd[1]);
    *len = 0;
    for (ssize_t n; (n = read(fd[0], (char *)output + *len, cap - *len)) > 0;)
        *len += (size_t)n;
    close(fd[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void check_reader(const char *file, const struct alloc_counts *sum)
{
    char json[1024], field[64];
    size_t len;
    const char *argv[] = {reader(), file, NULL};
    CHECK(run(argv, NULL, NULL, json, sizeof json - 1, &len) == 0);
    json[len] = '\0';
#define X(name, text)                                                                                                  \
    snprintf(field, sizeof field, ",\"" #name "\":%llu,", (unsigned long long)sum->name);                              \
    CHECK(strstr(json, field) != NULL);
    ALLOC_COUNTERS(X)
#undef X
    snprintf(field, sizeof field, ",\"calls\":%llu,", (unsigned long long)alloc_counts_calls(sum));
    CHECK(strstr(json, field) != NULL);
}

static const char *temporary(void)
{
    static char path[PATH_MAX];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/alloc-counter-XXXXXX", folder != NULL ? folder : "/tmp");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    return path;
}

static void check_counted(const char *threads)
{
    struct alloc_counts sum;
    size_t len;
    const char *file = temporary(), *argv[] = {"/proc/self/exe", "calls", threads, NULL};
    CHECK_U64(run(argv, library(), file, &sum, sizeof sum, &len), 0);
    CHECK_U64(len, sizeof sum);
    check_reader(file, &sum);
    unlink(file);
}

static void test_every_call_of_every_thread(void)
{
    check_counted("1");
    check_counted("7");
}

static void test_more_threads_than_slots(void)
{
    check_counted("300");
}

static void test_without_a_file(void)
{
    char output[16];
    size_t len;
    const char *argv[] = {"/bin/echo", "ran", NULL};
    CHECK(run(argv, library(), NULL, output, sizeof output, &len) == 0 && len == 4);
    int status = run(argv, library(), "/nowhere/file", output, sizeof output, &len);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 2 && len == 0);
}

static void test_reader_refuses_other_files(void)
{
    char output[1024];
    size_t len;
    const char *file = temporary();
    const char *argv[] = {reader(), file, NULL};
    int status = run(argv, NULL, NULL, output, sizeof output, &len);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1 && len == 0);
    CHECK(truncate(file, sizeof(struct alloc_counter_file)) == 0);
    status = run(argv, NULL, NULL, output, sizeof output, &len);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1 && len == 0);
    argv[1] = NULL;
    status = run(argv, NULL, NULL, output, sizeof output, &len);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 2 && len == 0);
    unlink(file);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(test_every_call_of_every_thread),
        TEST(test_more_threads_than_slots),
        TEST(test_without_a_file),
        TEST(test_reader_refuses_other_files),
    };
    if (argc == 3 && strcmp(argv[1], "calls") == 0) {
        unsigned long threads = strtoul(argv[2], NULL, 10);
        CHECK(threads > 0 && threads <= THREADS_MAX);
        return counted_main((unsigned)threads);
    }
    return test_main(tests, sizeof tests / sizeof tests[0], argc, argv);
}
