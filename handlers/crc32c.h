/* SPDX-License-Identifier: MIT
 *
 * CRC-32C (Castagnoli, reflected, RFC 3720 appendix B.4).
 */
#ifndef HANDLERS_CRC32C_H
#define HANDLERS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues |crc| (0 to begin with) over |len| bytes. One instruction per 8 bytes with SSE 4.2. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
