/* SPDX-License-Identifier: MIT
 *
 * What unit tests are written with. A test program has one TEST_MAIN that lists its tests:
 *
 *   static void test_reset(void) { CHECK(x == 1); CHECK_U64(n, 3); }
 *   TEST_MAIN(TEST(test_reset), TEST(test_other))
 *
 * A failed check prints file, line, what was expected and the seed, and ends the program with status 1. The seed of
 * test_random comes from TEST_SEED, else from the clock; it is printed at the start.
 */
#ifndef TESTS_SUPPORT_TEST_H
#define TESTS_SUPPORT_TEST_H

#include <stddef.h>
#include <stdint.h>

struct test {
    const char *name;
    void (*run)(void);
};

int test_main(const struct test *tests, size_t count, int argc, char **argv);
_Noreturn void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The next number of the seeded sequence (xorshift64*), below |bound|. */
uint64_t test_random(uint64_t bound);
/* The seed that is in force, and setting it (for a reproducible part of a test). */
uint64_t test_seed(void);
void test_set_seed(uint64_t seed);
/* Runs |run| in a child process; returns its wait status, its stderr's first bytes in |output|. */
int test_in_child(void (*run)(void *ctx), void *ctx, char *output, size_t cap);
/* |len| bytes of memory whose end is followed by an unreadable page; freed at exit. */
void *test_guarded(size_t len);

#define TEST(function)                                                                                                 \
    {                                                                                                                  \
        .name = #function, .run = function                                                                             \
    }
#define TEST_MAIN(...)                                                                                                 \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        static const struct test tests[] = {__VA_ARGS__};                                                              \
        return test_main(tests, sizeof tests / sizeof tests[0], argc, argv);                                           \
    }
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                                           \
    } while (0)
#define CHECK_U64(is, should)                                                                                          \
    do {                                                                                                               \
        uint64_t is_ = (uint64_t)(is), should_ = (uint64_t)(should);                                                   \
        if (is_ != should_)                                                                                            \
            test_fail(__FILE__, __LINE__, "%s is %llu, should be %s (%llu)", #is, (unsigned long long)is_, #should,    \
                      (unsigned long long)should_);                                                                    \
    } while (0)
#define CHECK_STR(is, should)                                                                                          \
    do {                                                                                                               \
        const char *is_ = (is), *should_ = (should);                                                                   \
        if (strcmp(is_, should_) != 0)                                                                                 \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", should be \"%s\"", #is, is_, should_);                        \
    } while (0)

#endif
