/* SPDX-License-Identifier: MIT
 *
 * A yard: two pools with random blocks of random sizes, in which one misuse is tried in a child process of its own,
 * many times, at a random place among random neighbours. What comes before and after is lawful use.
 */
#ifndef TESTS_UNIT_POOL_YARD_H
#define TESTS_UNIT_POOL_YARD_H

#include "pool_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define YARD_SLOTS 48u

struct yard_slot {
    unsigned char *block; /* NULL: none */
    size_t bytes;
};

struct yard {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *pool, *other;
    struct yard_slot slot[YARD_SLOTS];
};

/* What is tried. |may_fault|: the process may end by the memory's protection instead of a line of the library.
 * |later|: it may be found in the use that follows, else it must have been by the time that |run| is done. |at_end|: it
 * is found when the pool is freed. |says|: part of the line, NULL: any. */
struct misuse {
    const char *name;
    void (*run)(struct yard *yard);
    bool may_fault, later, at_end;
    const char *says;
};

/* Sizes of all magnitudes, now and then huge. */
static inline size_t yard_size(void)
{
    return 1 + test_random((uint64_t)1 << (test_random(64) == 0 ? 19 : 1 + test_random(15)));
}

static inline unsigned char other_than_zero(void)
{
    return (unsigned char)(1 + test_random(255));
}

static inline void yard_put(struct hp_byte_pool *pool, struct yard_slot *s)
{
    switch (test_random(3)) {
    case 0:
        hp_byte_pool_put(pool, s->block);
        break;
    case 1:
        hp_byte_pool_put_any(pool, s->block);
        break;
    default:
        hp_byte_pool_put_sized(pool, s->block, s->bytes);
    }
    *s = (struct yard_slot){0};
}

static inline void yard_get(struct yard *y, struct yard_slot *s)
{
    *s = (struct yard_slot){.bytes = yard_size()};
    s->block = hp_byte_pool_get(y->pool, s->bytes);
    CHECK(s->block != NULL);
    memset(s->block, (int)test_random(256), s->bytes);
}

static inline void yard_use(struct yard *y, uint64_t times)
{
    for (; times > 0; times--) {
        struct yard_slot *s = &y->slot[test_random(YARD_SLOTS)];
        if (s->block == NULL)
            yard_get(y, s);
        else
            yard_put(y->pool, s);
    }
}

/* A block that is live, and the yard's no more: what becomes of it is the misuse's affair. */
static inline struct yard_slot yard_victim(struct yard *y)
{
    struct yard_slot *s = &y->slot[test_random(YARD_SLOTS)], victim;
    if (s->block == NULL)
        yard_get(y, s);
    victim = *s;
    *s = (struct yard_slot){0};
    return victim;
}

static inline void yard_in_thread(void *(*run)(void *), void *ctx)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, ctx) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

struct yard_trial {
    const char *checks;
    const struct misuse *misuse;
    uint64_t seed;
};

static inline void yard_close(struct yard *y)
{
    for (struct yard_slot *s = y->slot; s < y->slot + YARD_SLOTS; s++)
        if (s->block != NULL)
            yard_put(y->pool, s);
    hp_byte_pool_free(y->pool);
    hp_byte_pool_free(y->other);
    hp_pool_manager_free(y->manager);
}

static inline void yard_trial(void *ctx)
{
    static struct yard y;
    const struct yard_trial *t = ctx;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    test_set_seed(t->seed);
    CHECK(setenv(HP_CHECKS_ENVIRONMENT, t->checks, 1) == 0); /* the default kind's manager reads it too */
    y.manager = hp_pool_manager_new(0);
    CHECK(y.manager != NULL);
    size_t max = test_random(2) == 0 ? 4096 : HP_CLASS_BYTES_MAX;
    y.pool = hp_byte_pool_new(y.manager, "mine", 1, max, 0);
    y.other = hp_byte_pool_new(y.manager, "other", 1, max, 0);
    CHECK(y.pool != NULL && y.other != NULL);
    yard_use(&y, 1 + test_random(80));
    if (t->misuse != NULL) {
        t->misuse->run(&y);
        if (!t->misuse->later && !t->misuse->at_end)
            return; /* and lives on */
    }
    yard_use(&y, test_random(30));
    yard_close(&y);
}

static inline bool yard_found(const struct misuse *m, int status, const char *output)
{
    if (slowed()) /* a tool may be first, and ends the process in a way of its own */
        return (!WIFEXITED(status) || WEXITSTATUS(status) != 0) && strstr(output, "FAIL ") == NULL;
    if (m->may_fault && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
        return true;
    bool at_end = strstr(output, "freed while") != NULL || strstr(output, "freed before") != NULL;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strncmp(output, "h3pool: ", 8) == 0 &&
           at_end == m->at_end && (m->says == NULL || strstr(output, m->says) != NULL);
}

/* Every trial of the misuse must be found. */
static inline void yard_must_find(const char *checks, const struct misuse *misuse, unsigned trials)
{
    unsigned found = 0;
    char output[1024], missed[1024] = "";
    for (unsigned i = 0; i < trials; i++) {
        struct yard_trial t = {.checks = checks, .misuse = misuse, .seed = test_random(UINT64_MAX)};
        int status = test_in_child(yard_trial, &t, output, sizeof output);
        if (yard_found(misuse, status, output))
            found++;
        else
            snprintf(missed, sizeof missed, "trial %u: status %#x, it said \"%.900s\"", i, (unsigned)status, output);
    }
    printf("   %-9s %-44s %u of %u\n", *checks != '\0' ? checks : "default", misuse->name, found, trials);
    if (found != trials)
        test_fail(__FILE__, __LINE__, "%s: %u of %u found; %s", misuse->name, found, trials, missed);
}

/* And lawful use must not be taken for misuse. */
static inline void yard_must_pass(const char *checks, unsigned trials)
{
    char output[1024];
    for (unsigned i = 0; i < trials; i++) {
        struct yard_trial t = {.checks = checks, .seed = test_random(UINT64_MAX)};
        int status = test_in_child(yard_trial, &t, output, sizeof output);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            test_fail(__FILE__, __LINE__, "lawful use with %s: status %#x, it said \"%s\"", checks, (unsigned)status,
                      output);
    }
    printf("   %-9s %-44s %u of %u\n", *checks != '\0' ? checks : "default", "lawful use passes", trials, trials);
}

#endif
