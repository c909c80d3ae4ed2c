/* SPDX-License-Identifier: MIT
 *
 * Turns of known content, with objects whose construction takes known time. What the clock must say is bounded by what
 * the test itself sees of the same turn, so that nothing depends on how loaded the machine is.
 */
#include "bench/compare/memory_clock.h"

#include "test.h"

#include <h3pool/heap.h>
#include <h3pool/manager.h>
#include <h3pool/object_pool.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define PLANTED_NS 1000000u
#define READINGS_NS 4000u /* what may lie between the clock's readings and ours: LOST_MIN_NS, and their cost */

static struct hp_pool_manager *manager;
static struct hp_byte_pool *bytes;
static struct hp_object_pool spinners, sleepers;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void spin(void *object)
{
    (void)object;
    uint64_t from_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) - from_ns < PLANTED_NS)
        ;
}

/* A thread that has lost its CPU for as long as that: it has neither lock nor work to wait for. */
static void lose_the_cpu(void *object)
{
    struct timespec t = {.tv_nsec = 20 * PLANTED_NS};
    (void)object;
    nanosleep(&t, NULL);
}

/* --- turns as a loop makes them -------------------------------------------------------------------------------------
 */

static void wait_for_events(void)
{
    static int fd = -1;
    struct epoll_event event;
    if (fd < 0)
        fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(fd >= 0 && epoll_wait(fd, &event, 1, 0) == 0);
}

/* What a turn cannot have exceeded, and how long it was off the CPU. */
struct seen {
    uint64_t cpu_ns, lost_ns;
};

/* A turn in which |content| runs, in an interval of its own. */
static struct memory_clock_values turn_with(void (*content)(void), struct seen *seen)
{
    struct memory_clock_file *f = memory_clock_self();
    memory_clock_new_interval(f);
    uint64_t wall_ns = now_ns(CLOCK_MONOTONIC), cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
    wait_for_events();
    content();
    wait_for_events();
    cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    wall_ns = now_ns(CLOCK_MONOTONIC) - wall_ns;
    *seen = (struct seen){.cpu_ns = cpu_ns, .lost_ns = wall_ns > cpu_ns ? wall_ns - cpu_ns : 0};
    struct memory_clock_values v = memory_clock_values(f);
    CHECK_U64(v.turns, 1);
    CHECK(v.cpu_ns <= cpu_ns && v.memory_ns <= v.cpu_ns && v.turn_ns == v.memory_ns && v.get_ns <= v.turn_ns);
    return v;
}

static void *keep(void *block)
{
    CHECK(block != NULL);
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

static void put_and_get(struct hp_object_pool *pool)
{
    hp_object_pool_put(pool, keep(hp_object_pool_get(pool)));
}

/* --- what is timed --------------------------------------------------------------------------------------------------
 */

static void one_slow_get(void)
{
    put_and_get(&spinners);
}

static void three_slow_gets(void)
{
    for (unsigned i = 0; i < 3; i++)
        put_and_get(&spinners);
}

static void test_a_slow_get(void)
{
    struct seen seen;
    struct memory_clock_values v = turn_with(one_slow_get, &seen);
    CHECK(v.get_ns + seen.lost_ns + READINGS_NS >= PLANTED_NS);
    CHECK_U64(v.calls, 2);
    CHECK_U64(v.pool_gets, 1);
}

static void test_a_turn_of_slow_gets(void)
{
    struct seen seen;
    struct memory_clock_values v = turn_with(three_slow_gets, &seen);
    CHECK(v.turn_ns + seen.lost_ns + 3 * READINGS_NS >= 3 * PLANTED_NS);
    CHECK(v.get_ns >= (v.turn_ns - v.turn_ns / 4) / 3 || seen.lost_ns > READINGS_NS);
    CHECK_U64(v.calls, 6);
    CHECK_U64(v.pool_gets, 3);
}

static void spin_between(void)
{
    spin(NULL);
    free(keep(malloc(100)));
}

static void test_other_work_is_not_memory_management(void)
{
    struct seen seen;
    struct memory_clock_values v = turn_with(spin_between, &seen);
    CHECK_U64(v.calls, 2);
    CHECK(v.cpu_ns >= PLANTED_NS);
    CHECK(v.memory_ns + PLANTED_NS <= seen.cpu_ns + seen.lost_ns);
}

static void get_without_the_cpu(void)
{
    put_and_get(&sleepers);
}

static void test_time_off_the_cpu_does_not_count(void)
{
    struct seen seen;
    struct memory_clock_values v = turn_with(get_without_the_cpu, &seen);
    CHECK(seen.lost_ns >= 10 * PLANTED_NS);
    CHECK(v.get_ns <= seen.cpu_ns && v.turn_ns <= seen.cpu_ns);
}

/* --- what is counted ------------------------------------------------------------------------------------------------
 */

static void calls_within_calls(void)
{
    struct hp_heap heap;
    hp_heap_init(&heap, bytes);
    /* Both builds take a block of the pool for each, the pooled one with a chunk before. */
    for (unsigned i = 0; i < 3; i++)
        keep(hp_heap_alloc(&heap, 100000));
    hp_heap_drop(&heap);
}

static void test_calls_within_calls_count_once(void)
{
    struct seen seen;
    struct memory_clock_values v = turn_with(calls_within_calls, &seen);
    CHECK_U64(v.calls, 4);
    CHECK_U64(v.pool_gets, 3); /* of the mappings and of malloc alike: these are too large for a front */
}

static void calls_of_libc(void)
{
    void *block = keep(malloc(10));
    block = keep(realloc(block, 1000));
    free(block);
    free(keep(calloc(3, 5)));
}

static void nothing(void)
{
}

static void test_every_call_of_libc(void)
{
    struct seen seen;
    CHECK_U64(turn_with(calls_of_libc, &seen).calls, 5);
    CHECK_U64(turn_with(nothing, &seen).calls, 0);
}

static void test_intervals(void)
{
    struct memory_clock_file *f = memory_clock_self();
    struct seen seen;
    CHECK_U64(turn_with(calls_of_libc, &seen).calls, 5);
    calls_of_libc();
    memory_clock_new_interval(f); /* in a turn, which is then in no interval */
    CHECK_U64(memory_clock_values(f).turns, 0);
    wait_for_events();
    CHECK_U64(memory_clock_values(f).turns, 0);
    for (unsigned i = 0; i < 4; i++) {
        calls_of_libc();
        wait_for_events();
    }
    CHECK_U64(memory_clock_values(f).turns, 4);
    CHECK_U64(memory_clock_values(f).calls, 20);
}

static void *thread(void *ctx)
{
    pthread_barrier_t *barrier = ctx;
    free(keep(malloc(1))); /* in no turn */
    wait_for_events();
    calls_of_libc();
    wait_for_events();
    pthread_barrier_wait(barrier); /* the thread is there as long as the others */
    return NULL;
}

static void test_threads(void)
{
    enum { threads = MEMORY_CLOCK_SLOTS + 8 };
    struct memory_clock_file *f = memory_clock_self();
    pthread_t id[threads];
    pthread_barrier_t barrier;
    wait_for_events(); /* so that this thread has its slot */
    memory_clock_new_interval(f);
    CHECK(pthread_barrier_init(&barrier, NULL, threads) == 0);
    for (unsigned i = 0; i < threads; i++)
        CHECK(pthread_create(&id[i], NULL, thread, &barrier) == 0);
    for (unsigned i = 0; i < threads; i++)
        CHECK(pthread_join(id[i], NULL) == 0);
    CHECK_U64(f->threads, threads + 1);
    CHECK_U64(memory_clock_values(f).turns, MEMORY_CLOCK_SLOTS - 1);
    CHECK_U64(memory_clock_values(f).calls, 5 * (MEMORY_CLOCK_SLOTS - 1));
}

/* --- the file -------------------------------------------------------------------------------------------------------
 */

/* Runs |argv|, with the clock's |file| if there is one; returns its exit status and what it wrote to stdout. */
static int run(const char *const argv[], const char *file, char *output, size_t cap)
{
    int fd[2], status;
    size_t len = 0;
    CHECK(pipe(fd) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        close(fd[0]);
        if (file != NULL)
            setenv(MEMORY_CLOCK_VARIABLE, file, 1);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(fd[1]);
    for (ssize_t n; (n = read(fd[0], output + len, cap - 1 - len)) > 0;)
        len += (size_t)n;
    output[len] = '\0';
    close(fd[0]);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The path of this program: Valgrind can't run the link itself. */
static void own_path(char path[PATH_MAX + 64])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    CHECK(len > 0);
    path[len] = '\0';
}

static int run_turns(const char *file, char *output, size_t cap)
{
    char path[PATH_MAX + 64];
    const char *argv[] = {path, "turns", NULL};
    own_path(path);
    return run(argv, file, output, cap);
}

static int read_clock(const char *file, const char *word, char *output, size_t cap)
{
    char path[PATH_MAX + 64];
    const char *argv[] = {path, file, word, NULL};
    own_path(path);
    strcpy(strrchr(path, '/') + 1, "../memory-clock-read");
    return run(argv, NULL, output, cap);
}

static const char *temporary(void)
{
    static char path[PATH_MAX];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/memory-clock-XXXXXX", folder != NULL ? folder : "/tmp");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    return path;
}

static void test_another_process_reads_it(void)
{
    char output[1024];
    const char *file = temporary();
    CHECK_U64(run_turns(file, output, sizeof output), 0);
    CHECK_U64(read_clock(file, "new", output, sizeof output), 0);
    CHECK(strstr(output, "\"turns\":2,") != NULL && strstr(output, "\"calls\":10,") != NULL);
    CHECK_U64(read_clock(file, NULL, output, sizeof output), 0);
    CHECK(strstr(output, "\"turns\":0,") != NULL && strstr(output, "\"calls\":0,") != NULL);
    unlink(file);
}

static void test_what_is_no_file_of_a_clock(void)
{
    char output[1024];
    const char *file = temporary();
    CHECK_U64(read_clock(file, NULL, output, sizeof output), 1);
    CHECK(truncate(file, sizeof(struct memory_clock_file)) == 0);
    CHECK_U64(read_clock(file, "new", output, sizeof output), 1);
    CHECK_U64(read_clock(file, "old", output, sizeof output), 2);
    CHECK_U64(run_turns("/nowhere/file", output, sizeof output), 2);
    unlink(file);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(test_a_slow_get),
        TEST(test_a_turn_of_slow_gets),
        TEST(test_other_work_is_not_memory_management),
        TEST(test_time_off_the_cpu_does_not_count),
        TEST(test_calls_within_calls_count_once),
        TEST(test_every_call_of_libc),
        TEST(test_intervals),
        TEST(test_threads),
        TEST(test_another_process_reads_it),
        TEST(test_what_is_no_file_of_a_clock),
    };
    static const struct hp_object_ops spinning = {.construct = spin}, sleeping = {.construct = lose_the_cpu};
    if (argc == 2 && strcmp(argv[1], "turns") == 0) {
        calls_of_libc();
        for (unsigned i = 0; i < 3; i++) {
            wait_for_events();
            calls_of_libc();
        }
        _exit(0);
    }
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL && (bytes = hp_byte_pool_new(manager, "bytes", 16, 4096, 0)) != NULL);
    CHECK(hp_object_pool_init(&spinners, manager, "spinners", 64, 0, &spinning) == 0);
    CHECK(hp_object_pool_init(&sleepers, manager, "sleepers", 64, 0, &sleeping) == 0);
    return test_main(tests, sizeof tests / sizeof tests[0], argc, argv);
}
