/* SPDX-License-Identifier: MIT
 *
 * Why not getopt_long(3): its messages do not name the value that was wrong, and the table would exist twice.
 */
#include "net/options.h"

#include "net/clock.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int fail(struct option_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct option_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return -1;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static int parse_number(const char *text, const struct unit *units, uint64_t *out)
{
    uint64_t value = 0;
    const char *p = text;
    if (!isdigit((unsigned char)*p))
        return -1;
    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return -1;
    for (; units->name != NULL; units++)
        if (strcmp(p, units->name) == 0)
            return __builtin_mul_overflow(value, units->factor, out) ? -1 : 0;
    return -1;
}

int options_parse_size(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {{"", 1}, {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {NULL, 0}};
    return parse_number(text, units, bytes);
}

int options_parse_duration(const char *text, uint64_t *ns)
{
    static const struct unit units[] = {{"", NS_PER_S},         {"ns", 1},       {"us", NS_PER_US},
                                        {"ms", NS_PER_MS},      {"s", NS_PER_S}, {"m", 60 * NS_PER_S},
                                        {"h", 3600 * NS_PER_S}, {NULL, 0}};
    return parse_number(text, units, ns);
}

static int parse_count(const char *text, uint64_t *out)
{
    static const struct unit units[] = {{"", 1}, {NULL, 0}};
    return parse_number(text, units, out);
}

static const char *kind_text(enum option_kind kind)
{
    return kind == OPTION_SIZE       ? "a size such as 512, 64K, 100M or 1G"
           : kind == OPTION_DURATION ? "a duration such as 500ms, 30s or 5m"
                                     : "a number";
}

static int store_number(const struct option *o, const char *value, struct option_error *error)
{
    uint64_t n;
    int rv = o->kind == OPTION_SIZE       ? options_parse_size(value, &n)
             : o->kind == OPTION_DURATION ? options_parse_duration(value, &n)
                                          : parse_count(value, &n);
    if (rv != 0)
        return fail(error, "--%s: '%.80s' is not %s", o->name, value, kind_text(o->kind));
    if (n < o->min || n > o->max) {
        const char *unit = o->kind == OPTION_SIZE ? " bytes" : o->kind == OPTION_DURATION ? " ns" : "";
        return fail(error, "--%s: '%.80s' is out of range (%llu to %llu%s)", o->name, value, (unsigned long long)o->min,
                    (unsigned long long)o->max, unit);
    }
    *(uint64_t *)o->to = n;
    return 0;
}

static int store(const struct option *o, const char *value, void *ctx, struct option_error *error)
{
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->to = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)o->to = value;
        return 0;
    case OPTION_CALL: {
        const char *wrong = o->parse(ctx, value);
        return wrong == NULL ? 0 : fail(error, "--%s: '%.80s' %s", o->name, value, wrong);
    }
    default:
        return store_number(o, value, error);
    }
}

/* The option that |arg| names, and its value if that stands in the same argument. */
static const struct option *find(const struct option *options, const char *arg, const char **value)
{
    bool is_long = arg[1] == '-';
    const char *equals = is_long ? strchr(arg, '=') : NULL;
    size_t len = equals != NULL ? (size_t)(equals - arg) - 2 : strlen(arg) - (is_long ? 2 : 1);
    *value = NULL;
    for (const struct option *o = options; o->name != NULL; o++) {
        if (is_long && strlen(o->name) == len && strncmp(o->name, arg + 2, len) == 0) {
            *value = equals != NULL ? equals + 1 : NULL;
            return o;
        }
        if (!is_long && o->letter != 0 && o->letter == arg[1]) {
            *value = arg[2] != '\0' ? arg + 2 : NULL;
            return o;
        }
    }
    return NULL;
}

int options_parse(const struct option *options, int argc, char **argv, void *ctx,
                  const char *(*operand)(void *ctx, const char *value), struct option_error *error)
{
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value;
        if (!only_operands && strcmp(arg, "--") == 0) {
            only_operands = true;
            continue;
        }
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            const char *wrong = operand != NULL ? operand(ctx, arg) : "is not an option";
            if (wrong != NULL)
                return fail(error, "'%.80s' %s", arg, wrong);
            continue;
        }
        const struct option *o = find(options, arg, &value);
        if (o == NULL)
            return fail(error, "unknown option %.80s", arg);
        if (o->kind == OPTION_FLAG && value != NULL)
            return fail(error, "--%s takes no value", o->name);
        if (o->kind != OPTION_FLAG && value == NULL) {
            if (i + 1 == argc)
                return fail(error, "--%s needs a value (%s)", o->name, o->value);
            value = argv[++i];
        }
        if (store(o, value, ctx, error) != 0)
            return -1;
    }
    return 0;
}

void options_help(const struct option *options)
{
    for (const struct option *o = options; o->name != NULL; o++) {
        char left[64];
        if (o->group != NULL)
            printf("\n%s:\n", o->group);
        int n = o->letter != 0 ? snprintf(left, sizeof left, "-%c, ", o->letter) : 0;
        snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s", o->name, o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
        printf("  %-32s %s", left, o->help);
        if (o->preset != NULL)
            printf(" [%s]", o->preset);
        putchar('\n');
    }
}
