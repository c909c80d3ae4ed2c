/* SPDX-License-Identifier: MIT
 *
 * What the tests of the pool library share: which build they run in, patterns in blocks, counters, death.
 */
#ifndef TESTS_UNIT_POOL_POOL_TEST_H
#define TESTS_UNIT_POOL_POOL_TEST_H

#include "test.h"

#include "pool/src/annotate.h"

#include <h3pool/byte_pool.h>
#include <h3pool/checks.h>
#include <h3pool/manager.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

/* A sanitizer's malloc is to refuse as malloc does. The sanitizers' runtimes call these. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

#define KIB ((size_t)1024)

static inline bool pooled(void)
{
    return strcmp(hp_build_name(), "pooled") == 0;
}

/* Whether a tool slows this run down so much that tests which repeat themselves should do so less often. */
static inline bool slowed(void)
{
    return UNDER_TSAN || hp_watched();
}

static inline unsigned fewer_if_slowed(unsigned times, unsigned divisor)
{
    if (hp_watched() && !UNDER_ASAN) /* Valgrind is slower than the sanitizers */
        divisor *= 5;
    return slowed() ? (times + divisor - 1) / divisor : times;
}

/* Checks by their names; see checks.h. */
static inline void set_checks(struct hp_pool_manager *manager, const char *list)
{
    struct hp_checks checks;
    char error[HP_CHECKS_ERROR_CAP] = "";
    if (hp_checks_parse(list, &checks, error) != 0)
        test_fail(__FILE__, __LINE__, "%s", error);
    hp_pool_manager_set_checks(manager, &checks);
}

static inline struct hp_counters counters_of(const struct hp_byte_pool *pool)
{
    struct hp_counters c;
    hp_byte_pool_counters(pool, &c);
    return c;
}

/* A pattern that tells |id|'s bytes from those of others: its low byte throughout, the whole of it at both ends. */
static inline void pattern_write(void *block, size_t len, uint64_t id)
{
    memset(block, (int)(id & 0xff), len);
    if (len < 2 * sizeof id)
        return;
    memcpy(block, &id, sizeof id);
    memcpy((char *)block + len - sizeof id, &id, sizeof id);
}

/* Whether the first |kept| bytes of a pattern of |len| are there. */
static inline bool pattern_kept(const void *block, size_t kept, size_t len, uint64_t id)
{
    const unsigned char *p = block;
    size_t end = len < 2 * sizeof id ? 0 : sizeof id; /* at each end the whole id */
    if (end != 0 && memcmp(p, &id, kept < end ? kept : end) != 0)
        return false;
    for (size_t at = end; at < kept && at < len - end; at += 256) {
        unsigned char same[256];
        size_t n = (kept < len - end ? kept : len - end) - at;
        memset(same, (int)(id & 0xff), sizeof same);
        if (memcmp(p + at, same, n < sizeof same ? n : sizeof same) != 0)
            return false;
    }
    size_t tail = len - end;
    return kept <= tail || memcmp(p + tail, &id, kept - tail) == 0;
}

static inline bool pattern_holds(const void *block, size_t len, uint64_t id)
{
    return pattern_kept(block, len, len, id);
}

struct death {
    void (*run)(void *ctx);
    void *ctx;
};

static inline void die_without_core(void *ctx)
{
    const struct death *death = ctx;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    death->run(death->ctx);
}

/* |run| must end its process: by abort, with one line of the library that contains |needle|. A sanitizer may see the
 * misuse before the library does; then any abnormal end will do. */
static inline void check_dies(const char *file, int line, struct death death, const char *needle)
{
    char output[512];
    int status = test_in_child(die_without_core, &death, output, sizeof output);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        test_fail(file, line, "lives on, should die of %s", needle);
    if (UNDER_ASAN)
        return;
    const char *newline = strchr(output, '\n');
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        test_fail(file, line, "wait status %#x, should be an abort; it said \"%s\"", (unsigned)status, output);
    if (strncmp(output, "h3pool: ", 8) != 0 || strstr(output, needle) == NULL)
        test_fail(file, line, "died of \"%s\", should say %s", output, needle);
    if (newline == NULL || newline[1] != '\0')
        test_fail(file, line, "\"%s\" is not one line", output);
}
#define CHECK_DIES(function, context, needle)                                                                          \
    check_dies(__FILE__, __LINE__, (struct death){(function), (context)}, (needle))

#endif
