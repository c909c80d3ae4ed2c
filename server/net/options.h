/* SPDX-License-Identifier: MIT
 *
 * Command-line options from a table: parsing, error messages and --help all come from it.
 *
 * --name VALUE and --name=VALUE are the same; a short option takes -n VALUE or -nVALUE.
 */
#ifndef NET_OPTIONS_H
#define NET_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,     /* no value; |to| is bool */
    OPTION_TEXT,     /* |to| is const char *, pointing into argv */
    OPTION_COUNT,    /* decimal number in min..max; |to| is uint64_t */
    OPTION_SIZE,     /* bytes, with K, M or G (1024-based), in min..max; |to| is uint64_t */
    OPTION_DURATION, /* ns, us, ms, s, m or h, without a unit seconds, in min..max ns; |to| is uint64_t nanoseconds */
    OPTION_CALL,     /* |parse| takes the value and returns NULL, or what is wrong with it */
};

struct option {
    char letter;       /* short form, or 0 */
    const char *name;  /* long form without dashes */
    const char *value; /* what --help calls the value; NULL for a flag */
    enum option_kind kind;
    void *to;
    uint64_t min, max;
    const char *(*parse)(void *ctx, const char *value);
    const char *preset; /* default, for --help; NULL: none */
    const char *help;
    const char *group; /* heading that begins with this option, or NULL */
};

/* What went wrong, one line without the program's name. */
struct option_error {
    char text[256];
};

/* Parses argv[1..]. |options| ends with an entry without a name. Arguments that are no options go to |operand|, or are
 * refused where that is NULL. Returns 0, or -1 with |error| filled. |ctx| goes to the table's |parse| and |operand|. */
int options_parse(const struct option *options, int argc, char **argv, void *ctx,
                  const char *(*operand)(void *ctx, const char *value), struct option_error *error)
    __attribute__((warn_unused_result));

/* Prints the table to stdout. */
void options_help(const struct option *options);

/* A number with a unit, as above. Return 0, or -1 if |text| is not exactly one such number or overflows. */
int options_parse_size(const char *text, uint64_t *bytes) __attribute__((warn_unused_result));
int options_parse_duration(const char *text, uint64_t *ns) __attribute__((warn_unused_result));

#endif
