/* SPDX-License-Identifier: MIT */
#include "net/options.h"

#include "net/clock.h"
#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct values {
    bool flag;
    const char *text, *called;
    uint64_t count, size, duration;
    unsigned operands;
    const char *operand[4];
} v;

static const char *parse_call(void *ctx, const char *value)
{
    CHECK(ctx == &v);
    v.called = value;
    return strcmp(value, "wrong") == 0 ? "is not what is wanted" : NULL;
}

static const char *take_operand(void *ctx, const char *value)
{
    CHECK(ctx == &v);
    if (v.operands == 4)
        return "is one too many";
    v.operand[v.operands++] = value;
    return NULL;
}

static const struct option table[] = {
    {.letter = 'f', .name = "flag", .kind = OPTION_FLAG, .to = &v.flag, .help = "a flag", .group = "First"},
    {.letter = 't', .name = "text", .value = "TEXT", .kind = OPTION_TEXT, .to = &v.text, .help = "a text"},
    {.letter = 'n',
     .name = "count",
     .value = "N",
     .kind = OPTION_COUNT,
     .to = &v.count,
     .min = 2,
     .max = 100,
     .preset = "7",
     .help = "a number"},
    {.name = "size",
     .value = "SIZE",
     .kind = OPTION_SIZE,
     .to = &v.size,
     .max = UINT64_MAX,
     .help = "a size",
     .group = "Second"},
    {.name = "duration",
     .value = "DURATION",
     .kind = OPTION_DURATION,
     .to = &v.duration,
     .min = NS_PER_MS,
     .max = UINT64_MAX,
     .help = "a duration"},
    {.name = "call", .value = "WORD", .kind = OPTION_CALL, .parse = parse_call, .help = "a word"},
    {.name = "text-more", .value = "TEXT", .kind = OPTION_TEXT, .to = &v.called, .help = "begins like another"},
    {.name = NULL},
};

/* Parses the arguments, which end with NULL, into |v|. */
static int parse(char **argv, struct option_error *error)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    v = (struct values){0};
    *error = (struct option_error){0};
    return options_parse(table, argc, argv, &v, take_operand, error);
}
#define PARSE(error, ...) parse((char *[]){(char *)(uintptr_t) "program", __VA_ARGS__, NULL}, error)
#define ARG(literal) ((char *)(uintptr_t)(literal))

static void test_every_kind(void)
{
    struct option_error error;
    CHECK(PARSE(&error, ARG("--flag"), ARG("--text"), ARG("--odd"), ARG("--count"), ARG("100"), ARG("--size"),
                ARG("64K"), ARG("--duration"), ARG("5m"), ARG("--call"), ARG("word")) == 0);
    CHECK(v.flag);
    CHECK_STR(v.text, "--odd"); /* a value may look like an option */
    CHECK_U64(v.count, 100);
    CHECK_U64(v.size, 65536);
    CHECK_U64(v.duration, 300 * NS_PER_S);
    CHECK_STR(v.called, "word");
    CHECK_U64(v.operands, 0);
}

static void test_value_in_the_same_argument(void)
{
    struct option_error error;
    CHECK(PARSE(&error, ARG("--text=a=b"), ARG("--count=2"), ARG("--size=0"), ARG("--text-more=x")) == 0);
    CHECK_STR(v.text, "a=b");
    CHECK_U64(v.count, 2);
    CHECK_STR(v.called, "x");
    CHECK(PARSE(&error, ARG("--text=")) == 0);
    CHECK_STR(v.text, "");
}

static void test_letters(void)
{
    struct option_error error;
    CHECK(PARSE(&error, ARG("-f"), ARG("-n"), ARG("5"), ARG("-tword")) == 0);
    CHECK(v.flag);
    CHECK_U64(v.count, 5);
    CHECK_STR(v.text, "word");
    CHECK(PARSE(&error, ARG("-n42")) == 0);
    CHECK_U64(v.count, 42);
}

static void test_operands(void)
{
    struct option_error error;
    CHECK(PARSE(&error, ARG("one"), ARG("-f"), ARG("-"), ARG("--"), ARG("--flag"), ARG("--")) == 0);
    CHECK_U64(v.operands, 4);
    CHECK_STR(v.operand[0], "one");
    CHECK_STR(v.operand[1], "-");
    CHECK_STR(v.operand[2], "--flag");
    CHECK_STR(v.operand[3], "--");
    CHECK(PARSE(&error, ARG("1"), ARG("2"), ARG("3"), ARG("4"), ARG("fifth")) == -1);
    CHECK_STR(error.text, "'fifth' is one too many");
    char *argv[] = {ARG("program"), ARG("stray"), NULL};
    CHECK(options_parse(table, 2, argv, &v, NULL, &error) == -1);
    CHECK_STR(error.text, "'stray' is not an option");
    CHECK(options_parse(table, 1, argv, &v, NULL, &error) == 0);
}

static void test_the_last_one_wins(void)
{
    struct option_error error;
    CHECK(PARSE(&error, ARG("--count=3"), ARG("-n9")) == 0);
    CHECK_U64(v.count, 9);
}

/* |arg| and perhaps |value| are refused with a text that holds |named| and |says|. */
static void refused(const char *arg, const char *value, const char *named, const char *says)
{
    struct option_error error;
    CHECK(parse((char *[]){ARG("program"), ARG(arg), ARG(value), NULL}, &error) == -1);
    if (strstr(error.text, named) == NULL || strstr(error.text, says) == NULL || strchr(error.text, '\n') != NULL)
        test_fail(__FILE__, __LINE__, "'%s' for %s lacks '%s' or '%s'", error.text, arg, named, says);
}

static void test_errors_name_the_option(void)
{
    refused("--nonsense", NULL, "--nonsense", "unknown");
    refused("--fla", NULL, "--fla", "unknown");
    refused("--flags", NULL, "--flags", "unknown");
    refused("--=x", NULL, "--=x", "unknown");
    refused("-x", NULL, "-x", "unknown");
    refused("--flag=yes", NULL, "--flag", "no value");
    refused("-fx", NULL, "--flag", "no value");
    refused("--text", NULL, "--text", "needs a value (TEXT)");
    refused("-n", NULL, "--count", "needs a value (N)");
    refused("--count", "many", "--count", "'many' is not a number");
    refused("--count=", NULL, "--count", "'' is not a number");
    refused("--count", "64K", "--count", "'64K' is not a number");
    refused("--count", "1", "--count", "out of range (2 to 100)");
    refused("--count", "101", "--count", "out of range (2 to 100)");
    refused("--size", "5T", "--size", "'5T' is not a size");
    refused("--duration", "5d", "--duration", "'5d' is not a duration");
    refused("--duration", "999us", "--duration", "out of range (1000000 to");
    refused("--call", "wrong", "--call", "'wrong' is not what is wanted");
}

static void test_a_long_bad_value_is_cut(void)
{
    char value[2000];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    refused("--count", value, "--count", "xxx' is not a number");
    refused("--call", "wrong", "--call", "wrong");
    memcpy(value, "--", 2);
    refused(value, NULL, "--xxx", "unknown");
}

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"1", 1},
                {"007", 7},
                {"1K", 1024},
                {"3M", 3u << 20},
                {"16G", 16ull << 30},
                {"18446744073709551615", UINT64_MAX},
                {"17179869183G", 17179869183ull << 30}};
    static const char *const bad[] = {"",
                                      "K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1k",
                                      "1B",
                                      "1KB",
                                      "1T",
                                      "0x10",
                                      "1.5M",
                                      "1K1",
                                      "18446744073709551616",
                                      "17179869184G",
                                      "99999999999999999999999"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(options_parse_size(good[i].text, &bytes) == 0);
        CHECK_U64(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (options_parse_size(bad[i], &bytes) == 0)
            test_fail(__FILE__, __LINE__, "size '%s' was taken", bad[i]);
}

static void test_durations(void)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"0", 0},
                {"30", 30 * NS_PER_S},
                {"1ns", 1},
                {"2us", 2 * NS_PER_US},
                {"3ms", 3 * NS_PER_MS},
                {"4s", 4 * NS_PER_S},
                {"5m", 300 * NS_PER_S},
                {"6h", 21600 * NS_PER_S},
                {"18446744073709551615ns", UINT64_MAX},
                {"18446744073s", 18446744073 * NS_PER_S}};
    static const char *const bad[] = {"",   "s",    "ms",   "-1s",         "1 s",     "1S",
                                      "1d", "1min", "1.5s", "18446744074", "5124096h"};
    uint64_t ns;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(options_parse_duration(good[i].text, &ns) == 0);
        CHECK_U64(ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (options_parse_duration(bad[i], &ns) == 0)
            test_fail(__FILE__, __LINE__, "duration '%s' was taken", bad[i]);
}

static void print_help(void *ctx)
{
    (void)ctx;
    dup2(STDERR_FILENO, STDOUT_FILENO);
    options_help(table);
    fflush(stdout);
}

static void test_help_shows_every_option(void)
{
    char text[4096], *last = text;
    CHECK_U64(test_in_child(print_help, NULL, text, sizeof text), 0);
    static const char *const parts[] = {"\nFirst:\n",          "-f, --flag ",    "a flag\n",    "-t, --text TEXT",
                                        "-n, --count N",       "a number [7]\n", "\nSecond:\n", "  --size SIZE",
                                        "--duration DURATION", "--call WORD"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char *at = strstr(last, parts[i]);
        if (at == NULL)
            test_fail(__FILE__, __LINE__, "no '%s' in its place in the help: %s", parts[i], text);
        last = at;
    }
}

TEST_MAIN(TEST(test_every_kind), TEST(test_value_in_the_same_argument), TEST(test_letters), TEST(test_operands),
          TEST(test_the_last_one_wins), TEST(test_errors_name_the_option), TEST(test_a_long_bad_value_is_cut),
          TEST(test_sizes), TEST(test_durations), TEST(test_help_shows_every_option))
