/* SPDX-License-Identifier: MIT */
#include "net/clock.h"

#include "test.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void test_known_dates(void)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } known[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* the example of RFC 9110 */
        {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"}, /* 2000 is a leap year, */
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
        {1740787199, "Fri, 28 Feb 2025 23:59:59 GMT"},
        {1740787200, "Sat, 01 Mar 2025 00:00:00 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, /* 2100 is none */
        {18446744073, "Sun, 21 Jul 2554 23:34:33 GMT"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char *out = test_guarded(CLOCK_HTTP_DATE_CAP);
        clock_http_date(known[i].seconds * NS_PER_S, out);
        CHECK_STR(out, known[i].text);
    }
}

static void test_parts_of_a_second_are_dropped(void)
{
    char out[CLOCK_HTTP_DATE_CAP];
    clock_http_date(784111777 * NS_PER_S + NS_PER_S - 1, out);
    CHECK_STR(out, "Sun, 06 Nov 1994 08:49:37 GMT");
}

static void test_random_dates_are_strftime_s(void)
{
    for (int i = 0; i < 5000; i++) {
        char out[CLOCK_HTTP_DATE_CAP], model[64];
        time_t seconds = (time_t)test_random(18446744073);
        struct tm t;
        CHECK(gmtime_r(&seconds, &t) != NULL);
        CHECK_U64(strftime(model, sizeof model, "%a, %d %b %Y %H:%M:%S GMT", &t), CLOCK_HTTP_DATE_CAP - 1);
        clock_http_date((uint64_t)seconds * NS_PER_S + test_random(NS_PER_S), out);
        CHECK_STR(out, model);
    }
}

static void test_monotonic_never_goes_back(void)
{
    uint64_t last = clock_monotonic_ns(), first = last;
    for (int i = 0; i < 100000; i++) {
        uint64_t now = clock_monotonic_ns();
        CHECK(now >= last);
        last = now;
    }
    CHECK(last > first);
}

static void test_wall_is_the_system_s(void)
{
    uint64_t before = (uint64_t)time(NULL) - 1, now = clock_wall_ns() / NS_PER_S;
    CHECK(now >= before && now <= (uint64_t)time(NULL) + 1);
}

TEST_MAIN(TEST(test_known_dates), TEST(test_parts_of_a_second_are_dropped), TEST(test_random_dates_are_strftime_s),
          TEST(test_monotonic_never_goes_back), TEST(test_wall_is_the_system_s))
