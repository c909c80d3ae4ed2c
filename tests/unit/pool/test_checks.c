/* SPDX-License-Identifier: MIT
 *
 * The names of the checks, and the environment in which they are given. Both builds take the names.
 */
#include "pool_test.h"

#include <errno.h>
#include <h3pool/checks.h>
#include <stdlib.h>

static struct hp_checks parsed(const char *list)
{
    struct hp_checks c;
    char error[HP_CHECKS_ERROR_CAP] = "";
    memset(&c, 0xff, sizeof c);
    if (hp_checks_parse(list, &c, error) != 0)
        test_fail(__FILE__, __LINE__, "\"%s\": %s", list, error);
    CHECK_STR(error, "");
    return c;
}

static void check_same(const char *list, struct hp_checks should)
{
    struct hp_checks is = parsed(list);
    CHECK_U64(is.tag, should.tag);
    CHECK_U64(is.poison, should.poison);
    CHECK_U64(is.zero, should.zero);
    CHECK_U64(is.cold, should.cold);
    CHECK_U64(is.callers, should.callers);
    CHECK_U64(is.quarantine, should.quarantine);
    CHECK_U64(is.guard, should.guard);
    CHECK_U64(is.fail_every, should.fail_every);
    CHECK_U64(is.fail_once, should.fail_once);
    CHECK_U64(is.fail_from, should.fail_from);
}

static void test_every_name(void)
{
    check_same(NULL, (struct hp_checks){0});
    check_same("", (struct hp_checks){0});
    check_same("tag", (struct hp_checks){.tag = true});
    check_same("poison", (struct hp_checks){.poison = true});
    check_same("zero", (struct hp_checks){.zero = true});
    check_same("cold", (struct hp_checks){.cold = true});
    check_same("callers", (struct hp_checks){.callers = true});
    check_same("quarantine", (struct hp_checks){.quarantine = 64});
    check_same("quarantine=1", (struct hp_checks){.quarantine = 1});
    check_same("quarantine=1048576", (struct hp_checks){.quarantine = 1u << 20});
    check_same("guard", (struct hp_checks){.guard = 1});
    check_same("guard=4294967295", (struct hp_checks){.guard = UINT32_MAX});
    check_same("fail=7", (struct hp_checks){.fail_every = 7});
    check_same("fail-once=8", (struct hp_checks){.fail_once = 8});
    check_same("fail-from=1000000000000", (struct hp_checks){.fail_from = 1000000000000});
    check_same("all", (struct hp_checks){.poison = true, .quarantine = 64, .callers = true});
}

static void test_lists(void)
{
    check_same("tag,poison,zero,cold", (struct hp_checks){.tag = true, .poison = true, .zero = true, .cold = true});
    check_same("fail=2,fail-once=3,fail-from=4", (struct hp_checks){.fail_every = 2, .fail_once = 3, .fail_from = 4});
    check_same("guard=5,guard=6", (struct hp_checks){.guard = 6});
    check_same("callers,", (struct hp_checks){.callers = true});
    /* Regression: |all| took away what stood before it. */
    struct hp_checks rest = {.poison = true, .quarantine = 9, .callers = true, .guard = 3, .cold = true};
    check_same("all,guard=3,quarantine=9,cold", rest);
    check_same("guard=3,quarantine=9,cold,all", rest);
}

static void check_wrong(const char *list, const char *message)
{
    struct hp_checks c = {.tag = true}, none = {0};
    char error[HP_CHECKS_ERROR_CAP] = "";
    CHECK(hp_checks_parse(list, &c, error) == -1);
    CHECK_STR(error, message);
    CHECK(c.tag == none.tag && c.poison == none.poison && c.guard == 0); /* nothing of a wrong list is taken */
}

static void test_wrong_words(void)
{
    check_wrong("poisn", "check 'poisn' is unknown");
    check_wrong("poison,,tag", "check '' is unknown");
    check_wrong(",", "check '' is unknown");
    check_wrong("Poison", "check 'Poison' is unknown");
    check_wrong("tags", "check 'tags' is unknown");
    check_wrong("ta", "check 'ta' is unknown");
    check_wrong("=3", "check '=3' is unknown");
    check_wrong("poison tag", "check 'poison tag' is unknown");
    check_wrong("fail-twice=2", "check 'fail-twice=2' is unknown");
    check_wrong("poison,12345678901234567890123456789012345678901234567890",
                "check '1234567890123456789012345678901234567890' is unknown");
}

static void test_wrong_numbers(void)
{
    check_wrong("tag=1", "check 'tag=1' takes no number");
    check_wrong("tag,all=", "check 'all=' takes no number");
    check_wrong("fail", "check 'fail' needs a number");
    check_wrong("fail-once", "check 'fail-once' needs a number");
    check_wrong("fail-from,tag", "check 'fail-from' needs a number");
    static const char *const wrong[] = {"quarantine=",
                                        "quarantine=0",
                                        "quarantine=1048577",
                                        "quarantine=-1",
                                        "quarantine=1x",
                                        "quarantine=0x10",
                                        "quarantine= 1",
                                        "guard=4294967296",
                                        "guard=1=1",
                                        "fail=0",
                                        "fail=99999999999999999999",
                                        "fail-from=1.5"};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char message[HP_CHECKS_ERROR_CAP];
        snprintf(message, sizeof message, "check '%s' has a wrong number", wrong[i]);
        check_wrong(wrong[i], message);
    }
}

/* --- the environment ------------------------------------------------------------------------------------------------
 */

static void test_environment_sets_the_checks(void)
{
    CHECK(setenv(HP_CHECKS_ENVIRONMENT, "fail-once=2", 1) == 0);
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    CHECK(unsetenv(HP_CHECKS_ENVIRONMENT) == 0);
    CHECK(manager != NULL);
    struct hp_byte_pool *pool = hp_byte_pool_new(manager, "pool", 1, 100, 0);
    CHECK(pool != NULL);
    CHECK((pool->checks != NULL) == pooled());
    void *first = hp_byte_pool_get(pool, 10), *second = hp_byte_pool_get(pool, 10), *third = hp_byte_pool_get(pool, 10);
    CHECK(first != NULL && third != NULL && (second == NULL) == pooled());
    CHECK_U64(hp_pool_manager_gets_counted(manager), pooled() ? 3 : 0);
    hp_byte_pool_put(pool, first);
    hp_byte_pool_put(pool, second);
    hp_byte_pool_put(pool, third);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static void test_no_environment_no_checks(void)
{
    static const char *const value[] = {NULL, ""};
    for (unsigned i = 0; i < 2; i++) {
        if (value[i] != NULL)
            CHECK(setenv(HP_CHECKS_ENVIRONMENT, value[i], 1) == 0);
        struct hp_pool_manager *manager = hp_pool_manager_new(0);
        CHECK(manager != NULL);
        struct hp_byte_pool *pool = hp_byte_pool_new(manager, "pool", 1, 100, 0);
        CHECK(pool != NULL && pool->checks == NULL);
        hp_byte_pool_free(pool);
        hp_pool_manager_free(manager);
    }
    CHECK(unsetenv(HP_CHECKS_ENVIRONMENT) == 0);
}

static void make_manager(void *ctx)
{
    (void)ctx;
    CHECK(setenv(HP_CHECKS_ENVIRONMENT, "poison,gaurd=1", 1) == 0);
    errno = 0;
    CHECK(hp_pool_manager_new(0) == NULL);
    CHECK(errno == EINVAL);
}

static void test_wrong_environment(void)
{
    char said[256];
    CHECK_U64(test_in_child(make_manager, NULL, said, sizeof said), 0);
    CHECK_STR(said, "h3pool: H3POOL_POOL_CHECKS: check 'gaurd=1' is unknown\n");
}

TEST_MAIN(TEST(test_every_name), TEST(test_lists), TEST(test_wrong_words), TEST(test_wrong_numbers),
          TEST(test_environment_sets_the_checks), TEST(test_no_environment_no_checks), TEST(test_wrong_environment))
