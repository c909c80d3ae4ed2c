/* SPDX-License-Identifier: MIT */
#include "net/log.h"

#include "net/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level threshold = LOG_INFO;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    threshold = level;
}

int log_level_parse(const char *name)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > threshold)
        return;
    char line[1000];
    uint64_t wall = clock_wall_ns();
    time_t seconds = (time_t)(wall / NS_PER_S);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t head =
        (size_t)snprintf(line, sizeof line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s ", t.tm_year + 1900, t.tm_mon + 1,
                         t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)(wall / NS_PER_MS % 1000), level_names[level]);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + head, sizeof line - head - 1, format, args);
    va_end(args);
    size_t len = head + (n < 0 ? 0 : (size_t)n);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    for (size_t i = head; i < len; i++)
        if (line[i] < 0x20 || line[i] > 0x7e)
            line[i] = '?';
    line[len++] = '\n';
    /* A log that can't be written must not stop the server. */
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}
