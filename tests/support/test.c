/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed, state;
static const char *current = "?";

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "FAIL %s: %s:%d: ", current, file, line);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (TEST_SEED=%llu)\n", (unsigned long long)seed);
    va_end(args);
    exit(1);
}

void test_set_seed(uint64_t value)
{
    seed = value;
    state = value * 2 + 1;
}

uint64_t test_seed(void)
{
    return seed;
}

uint64_t test_random(uint64_t bound)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 2685821657736338717ull >> 11) % bound;
}

int test_main(const struct test *tests, size_t count, int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const char *wanted_seed = getenv("TEST_SEED");
    uint64_t first = wanted_seed != NULL ? strtoull(wanted_seed, NULL, 10)
                                         : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    printf("seed %llu\n", (unsigned long long)first);
    size_t run = 0;
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        current = tests[i].name;
        test_set_seed(first);
        tests[i].run();
        printf("ok %s\n", current);
        fflush(stdout);
        run++;
    }
    if (run == 0) {
        fprintf(stderr, "no test of that name\n");
        return 1;
    }
    return 0;
}

int test_in_child(void (*run)(void *ctx), void *ctx, char *output, size_t cap)
{
    int pipe_fd[2], status;
    if (pipe(pipe_fd) != 0)
        test_fail(__FILE__, __LINE__, "pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fd[1], STDERR_FILENO);
        close(pipe_fd[0]);
        run(ctx);
        _exit(0);
    }
    close(pipe_fd[1]);
    size_t len = 0;
    ssize_t n;
    char rest[256];
    do {
        bool room = len + 1 < cap;
        n = read(pipe_fd[0], room ? output + len : rest, room ? cap - 1 - len : sizeof rest);
        len += room && n > 0 ? (size_t)n : 0;
    } while (n > 0);
    if (cap != 0)
        output[len] = '\0';
    close(pipe_fd[0]);
    if (waitpid(pid, &status, 0) != pid)
        test_fail(__FILE__, __LINE__, "waitpid");
    return status;
}

void *test_guarded(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (len + page - 1) / page * page;
    char *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + room, page, PROT_NONE) != 0)
        test_fail(__FILE__, __LINE__, "mmap of %zu bytes", room);
    return p + room - len;
}
