/* SPDX-License-Identifier: MIT
 *
 * The program runs itself under the recorder, as "NAME calls": it makes known calls from two threads that take turns,
 * once the file is there with which recording begins. What the recorder has written must be exactly those.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the program that is recorded -----------------------------------------------------------------------------------
 */

static const char expected[] = "m100"       /* first */
                               "c120"       /* second */
                               "r1,200"     /* first, moved or not */
                               "f1"         /* second */
                               "m64"        /* aligned */
                               "f0"         /* that one */
                               "m8m8f1f0"   /* realloc of NULL, malloc; freed in order */
                               "t2m1f0"     /* the other thread */
                               "m77"        /* left live by it */
                               "t1f0"       /* freed by the first */
                               "r5,300"     /* first again, which was allocation 2, after 3 to 7 */
                               "f0"         /* realloc to 0 */
                               "m50m16f1f0" /* a block from before recording, resized; a child's calls are not there */
                               "m0f0\n";

static sem_t turn[2];
static void *handed;
static volatile size_t huge = SIZE_MAX / 2;

static void *keep(void *block)
{
    CHECK(block != NULL);
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

static void *other_thread(void *arg)
{
    sem_wait(&turn[1]);
    free(keep(malloc(1)));
    handed = keep(malloc(77));
    sem_post(&turn[0]);
    return arg;
}

static void fork_a_child(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        free(keep(malloc(5)));
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void make_calls(void *from_before, void *other_from_before)
{
    void *block = NULL, *first = keep(malloc(100)), *second = keep(calloc(3, 40));
    first = keep(realloc(first, 200));
    free(second);
    CHECK(posix_memalign(&block, 64, 64) == 0);
    free(keep(block));
    block = keep(realloc(NULL, 8));
    second = keep(malloc(8));
    free(block);
    free(second);
    sem_post(&turn[1]);
    sem_wait(&turn[0]);
    free(handed);
    first = keep(realloc(first, 300));
    CHECK(realloc(first, 0) == NULL);
    CHECK(calloc(huge, 3) == NULL && reallocarray(NULL, huge, 3) == NULL && errno == ENOMEM);
    free(NULL);
    free(other_from_before);
    block = keep(realloc(from_before, 50));
    fork_a_child();
    second = keep(malloc(16));
    free(block);
    free(second);
    free(keep(malloc(0)));
}

static int recorded_main(void)
{
    pthread_t other;
    void *a = keep(malloc(40)), *b = keep(malloc(40));
    CHECK(sem_init(&turn[0], 0, 0) == 0 && sem_init(&turn[1], 0, 0) == 0);
    CHECK(pthread_create(&other, NULL, other_thread, NULL) == 0);
    int fd = open(getenv("H3POOL_ALLOC_TRACE_FROM"), O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    make_calls(a, b);
    return 0; /* the other thread is not joined: that would free its stack's memory */
}

/* --- the tests ------------------------------------------------------------------------------------------------------
 */

/* The path of a file beside the folder of this program. */
static const char *library(void)
{
    static char path[PATH_MAX + 64];
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    CHECK(len > 0);
    path[len] = '\0';
    strcpy(strrchr(path, '/') + 1, "../liballoc_trace.so");
    return path;
}

static int run(const char *program, const char *argument, const char *file, const char *from)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        setenv("LD_PRELOAD", library(), 1);
        setenv("H3POOL_ALLOC_TRACE", file, 1);
        if (from != NULL)
            setenv("H3POOL_ALLOC_TRACE_FROM", from, 1);
        execl(program, program, argument, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static size_t read_file(const char *path, char *text, size_t cap)
{
    int fd = open(path, O_RDONLY);
    ssize_t len = fd >= 0 ? read(fd, text, cap - 1) : -1;
    CHECK(len >= 0);
    close(fd);
    text[len] = '\0';
    return (size_t)len;
}

static void file_name(char path[PATH_MAX], const char *end)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, PATH_MAX, "%s/alloc-trace-%ld-%s", folder != NULL ? folder : "/tmp", (long)getpid(), end);
    unlink(path);
}

static void test_known_sequence(void)
{
    char file[PATH_MAX], from[PATH_MAX], text[4096], joined[4096];
    file_name(file, "file");
    file_name(from, "from");
    CHECK_U64(run("/proc/self/exe", "calls", file, from), 0);
    read_file(file, text, sizeof text);
    size_t n = 0; /* lines are broken by length alone */
    for (const char *c = text; *c != '\0'; c++)
        if (*c != '\n' || c[1] == '\0')
            joined[n++] = *c;
    joined[n] = '\0';
    CHECK_STR(joined, expected);
    unlink(file);
    unlink(from);
}

static void test_a_whole_program(void)
{
    char file[PATH_MAX], text[65536];
    file_name(file, "file");
    CHECK_U64(run("/bin/ls", "/", file, NULL), 0);
    CHECK(read_file(file, text, sizeof text) > 100);
    CHECK(text[0] == 'm' || text[0] == 'c');
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        CHECK(strchr(line, '\n') != NULL && strcspn(line, "\n") < 140);
    unlink(file);
}

static void test_no_file(void)
{
    CHECK_U64(run("/bin/true", "", "/nowhere/file", NULL), 2);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(test_known_sequence),
        TEST(test_a_whole_program),
        TEST(test_no_file),
    };
    if (argc == 2 && strcmp(argv[1], "calls") == 0)
        return recorded_main();
    return test_main(tests, sizeof tests / sizeof tests[0], argc, argv);
}
