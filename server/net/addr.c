/* SPDX-License-Identifier: MIT */
#include "net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_port(const char *text, in_port_t *out)
{
    unsigned value = 0;
    if (*text == '\0' || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
        return -1;
    for (; *text != '\0'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    if (value > 65535)
        return -1;
    *out = htons((uint16_t)value);
    return 0;
}

int addr_parse(const char *text, struct addr *out)
{
    char host[INET6_ADDRSTRLEN];
    bool v6 = text[0] == '[';
    const char *end = v6 ? strstr(text, "]:") : strrchr(text, ':');
    size_t len = end != NULL ? (size_t)(end - text) - v6 : 0;
    if (end == NULL || len >= sizeof host)
        return -1;
    memcpy(host, text + v6, len);
    host[len] = '\0';
    *out = (struct addr){0};
    if (v6) {
        out->in6.sin6_family = AF_INET6;
        out->len = sizeof out->in6;
        return inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1 ? parse_port(end + 2, &out->in6.sin6_port) : -1;
    }
    out->in.sin_family = AF_INET;
    out->len = sizeof out->in;
    return inet_pton(AF_INET, host, &out->in.sin_addr) == 1 ? parse_port(end + 1, &out->in.sin_port) : -1;
}

uint16_t addr_port(const struct addr *addr)
{
    return ntohs(addr->sa.sa_family == AF_INET6 ? addr->in6.sin6_port : addr->in.sin_port);
}

const char *addr_format(const struct addr *addr, char out[ADDR_TEXT_CAP])
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v6 = addr->sa.sa_family == AF_INET6;
    inet_ntop(addr->sa.sa_family, v6 ? (const void *)&addr->in6.sin6_addr : (const void *)&addr->in.sin_addr, host,
              sizeof host);
    snprintf(out, ADDR_TEXT_CAP, v6 ? "[%s]:%u" : "%s:%u", host, addr_port(addr));
    return out;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET6)
        return a->in6.sin6_port == b->in6.sin6_port &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0;
    return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
}
