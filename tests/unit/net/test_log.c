/* SPDX-License-Identifier: MIT */
#include "net/log.h"

#include "test.h"

#include <ctype.h>
#include <string.h>

#define HEAD_LEN (sizeof "2026-01-31T12:00:00.000Z " - 1)

static void log_text(void *ctx)
{
    log_info("%s", (const char *)ctx);
}

/* Checks one line's time, and returns what follows it. */
static const char *after_time(const char *line)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    for (size_t i = 0; i < HEAD_LEN; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)line[i]) : line[i] != form[i])
            test_fail(__FILE__, __LINE__, "no time at the start of '%s'", line);
    return line + HEAD_LEN;
}

static void test_form(void)
{
    char out[2000];
    CHECK_U64(test_in_child(log_text, (void *)(uintptr_t) "hello 42", out, sizeof out), 0);
    CHECK_STR(after_time(out), "info hello 42\n");
}

static void test_control_characters_are_neutral(void)
{
    char text[256], out[2000], model[300] = "info ";
    for (int i = 1; i < 256; i++) {
        text[i - 1] = (char)i;
        model[i + 4] = i >= 0x20 && i <= 0x7e ? (char)i : '?';
    }
    text[255] = '\0';
    strcpy(model + 260, "\n");
    CHECK_U64(test_in_child(log_text, text, out, sizeof out), 0);
    CHECK_STR(after_time(out), model);
}

static void test_an_injected_line_stays_one(void)
{
    char out[2000];
    char text[] = "path /\n2026-01-01T00:00:00.000Z error forged\r\033[31m";
    CHECK_U64(test_in_child(log_text, text, out, sizeof out), 0);
    CHECK(strchr(out, '\n') == out + strlen(out) - 1);
    CHECK(strchr(out, '\r') == NULL && strchr(out, '\033') == NULL);
}

static void test_long_lines_are_cut(void)
{
    char text[5000], out[6000];
    for (size_t len = 940; len < sizeof text; len += len < 1100 ? 1 : 500) {
        memset(text, 'x', len);
        text[len] = '\0';
        CHECK_U64(test_in_child(log_text, text, out, sizeof out), 0);
        size_t got = strlen(out), whole = HEAD_LEN + sizeof "info " - 1 + len + 1;
        CHECK(got <= 1000);
        CHECK(got == whole || (whole > 999 && got >= 998));
        CHECK_U64(strspn(out + HEAD_LEN + 5, "x"), got - HEAD_LEN - 6);
        CHECK(out[got - 1] == '\n');
    }
}

static void log_all(void *ctx)
{
    const enum log_level *level = ctx;
    if (level != NULL)
        log_set_level(*level);
    log_error("e");
    log_warn("w");
    log_info("i");
    log_debug("d");
}

static void test_levels(void)
{
    static const char *const names[] = {"error e", "warn w", "info i", "debug d"};
    for (int level = -1; level < 4; level++) {
        char out[2000], *line = out;
        enum log_level set = (enum log_level)level;
        CHECK_U64(test_in_child(log_all, level < 0 ? NULL : &set, out, sizeof out), 0);
        for (int i = 0; i <= (level < 0 ? (int)LOG_INFO : level); i++) {
            char *end = strchr(line, '\n');
            CHECK(end != NULL);
            *end = '\0';
            CHECK_STR(after_time(line), names[i]);
            line = end + 1;
        }
        CHECK_STR(line, "");
    }
}

static void test_level_names(void)
{
    CHECK(log_level_parse("error") == LOG_ERROR);
    CHECK(log_level_parse("warn") == LOG_WARN);
    CHECK(log_level_parse("info") == LOG_INFO);
    CHECK(log_level_parse("debug") == LOG_DEBUG);
    CHECK(log_level_parse("") == -1);
    CHECK(log_level_parse("INFO") == -1);
    CHECK(log_level_parse("warning") == -1);
}

TEST_MAIN(TEST(test_form), TEST(test_control_characters_are_neutral), TEST(test_an_injected_line_stays_one),
          TEST(test_long_lines_are_cut), TEST(test_levels), TEST(test_level_names))
