/* SPDX-License-Identifier: MIT */
#include "json.h"

#include "test.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64u

struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && memchr(" \t\r\n", *c->at, 4) != NULL)
        c->at++;
}

static bool eat(struct cursor *c, const char *literal)
{
    size_t len = strlen(literal);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, literal, len) != 0)
        return false;
    c->at += len;
    return true;
}

static bool string(struct cursor *c)
{
    if (!eat(c, "\""))
        return false;
    for (; c->at < c->end && *c->at != '"'; c->at++) {
        if ((unsigned char)*c->at < 0x20)
            return false;
        if (*c->at != '\\')
            continue;
        if (++c->at == c->end || memchr("\"\\/bfnrtu", *c->at, 9) == NULL)
            return false;
        for (int i = 0; *c->at == 'u' && i < 4; i++)
            if (c->end - c->at < 5 || !isxdigit((unsigned char)c->at[i + 1]))
                return false;
    }
    return eat(c, "\"");
}

static bool digits(struct cursor *c)
{
    const char *first = c->at;
    while (c->at < c->end && isdigit((unsigned char)*c->at))
        c->at++;
    return c->at > first;
}

static bool number(struct cursor *c)
{
    (void)eat(c, "-");
    if (!eat(c, "0") && !digits(c))
        return false;
    if (eat(c, ".") && !digits(c))
        return false;
    if (!eat(c, "e") && !eat(c, "E"))
        return true;
    if (!eat(c, "+"))
        (void)eat(c, "-");
    return digits(c);
}

static bool value(struct cursor *c, unsigned depth);

static bool members(struct cursor *c, const char *close, bool named, unsigned depth)
{
    skip_space(c);
    if (eat(c, close))
        return true;
    do {
        skip_space(c);
        if (named && !string(c))
            return false;
        skip_space(c);
        if ((named && !eat(c, ":")) || !value(c, depth))
            return false;
    } while (eat(c, ","));
    return eat(c, close);
}

static bool value(struct cursor *c, unsigned depth)
{
    bool good;
    skip_space(c);
    if (depth == 0 || c->at == c->end)
        return false;
    if (eat(c, "{"))
        good = members(c, "}", true, depth - 1);
    else if (eat(c, "["))
        good = members(c, "]", false, depth - 1);
    else if (*c->at == '"')
        good = string(c);
    else
        good = eat(c, "true") || eat(c, "false") || eat(c, "null") || number(c);
    skip_space(c);
    return good;
}

bool json_valid(const char *text, size_t len)
{
    struct cursor c = {text, text + len};
    return value(&c, DEPTH_MAX) && c.at == c.end;
}

uint64_t json_u64(const char *text, const char *name)
{
    char key[80];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(text, key);
    if (at == NULL || !isdigit((unsigned char)at[strlen(key)]))
        test_fail(__FILE__, __LINE__, "no number \"%s\" in %s", name, text);
    return strtoull(at + strlen(key), NULL, 10);
}
