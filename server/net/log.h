/* SPDX-License-Identifier: MIT
 *
 * Log lines to stderr: "2026-01-31T12:00:00.000Z info message". One write(2) per line, no allocation. A line longer
 * than 1,000 bytes is cut; bytes that are not printable ASCII are written as '?', so nothing from outside can forge a
 * line or drive a terminal.
 */
#ifndef NET_LOG_H
#define NET_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above |level| are dropped. Set before threads start; info until then. */
void log_set_level(enum log_level level);
/* "error", "warn", "info" or "debug" to its level; -1 for any other name. */
int log_level_parse(const char *name);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
