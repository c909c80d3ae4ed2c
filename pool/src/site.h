/* SPDX-License-Identifier: MIT
 *
 * Call sites: stacks of return addresses, kept once each in a table of the process, and named by a number.
 */
#ifndef H3POOL_SITE_H
#define H3POOL_SITE_H

#include <stddef.h>
#include <stdint.h>

#define HP_SITE_FRAMES 6u
#define HP_SITES_MAX 4096u
#define HP_SITE_TEXT_CAP 512

/* For what lies between the library's get or put and hp_site_here: so that it is no frame of its own. */
#define HP_NO_FRAME inline __attribute__((always_inline))

/* The number of the caller's stack, without the frames of the library's own get and put: 1..HP_SITES_MAX - 1, or 0 when
 * the table is full. Any thread; about a microsecond. */
uint32_t hp_site_here(void);

/* Writes a site as "function+0x12 < module+0x3456 < ...", innermost first; module offsets are what addr2line takes.
 * Returns |out|. */
const char *hp_site_text(uint32_t site, char out[HP_SITE_TEXT_CAP]);

#endif
