/* SPDX-License-Identifier: MIT
 *
 * Pool manager: the named pools of a process, a limit over all of them, and their report.
 */
#ifndef H3POOL_MANAGER_H
#define H3POOL_MANAGER_H

#include <h3pool/counters.h>
#include <h3pool/types.h>
#include <stdio.h>

struct hp_builder;

/* "pooled" or "unpooled": which build of the library this program is linked with. */
const char *hp_build_name(void);
/* The library's version, as in "0.1.0". */
const char *hp_version(void);

/* Makes a manager. |limit|: most bytes that all its pools may hold together; 0: none. NULL without memory. */
struct hp_pool_manager *hp_pool_manager_new(uint64_t limit) HP_MUST_CHECK;
/* Ends it. Its pools must have been freed. */
void hp_pool_manager_free(struct hp_pool_manager *manager);

/* Bytes granted to the pools, of the limit. Any thread. */
uint64_t hp_pool_manager_held(const struct hp_pool_manager *manager);

/* Calls |visit| once per name, with the sum over the pools of that name, in order of first registration. Any thread;
 * pools may not be freed meanwhile. */
void hp_pool_manager_walk(struct hp_pool_manager *manager,
                          void (*visit)(void *ctx, const char *name, const struct hp_counters *sum), void *ctx);

/* Blocks live in all pools. */
uint64_t hp_pool_manager_live(struct hp_pool_manager *manager);

/* Prints one row per name: the table at exit and on SIGUSR2. */
void hp_pool_manager_print(struct hp_pool_manager *manager, FILE *to);

/* Appends a JSON object {"name":{"gets":…},…} to |out|. */
void hp_pool_manager_json(struct hp_pool_manager *manager, struct hp_builder *out);

#endif
