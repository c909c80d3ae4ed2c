/* SPDX-License-Identifier: MIT
 *
 * Just enough JSON to check what the server writes.
 */
#ifndef TESTS_SUPPORT_JSON_H
#define TESTS_SUPPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if the |len| bytes are one value of RFC 8259, with white space around it, nested at most 64 deep. */
bool json_valid(const char *text, size_t len);
/* The number that follows the first "name": in |text|, which ends with 0; fails the test if there is none. */
uint64_t json_u64(const char *text, const char *name);

#endif
