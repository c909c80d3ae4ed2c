/* SPDX-License-Identifier: MIT
 *
 * Pool manager: the named pools of a process as a tree, limits over them, stages of pressure, trimming, their report.
 *
 * A pool's name is a path: pools "connection/heap" and "connection/objects" are both below the group "connection". Any
 * node of the tree may have a limit; a pool takes memory only if it and all above it have room. Limits are kept in
 * units of 64 KiB and up with a few relaxed atomic additions each, so that gets and puts hardly ever meet them.
 */
#ifndef H3POOL_MANAGER_H
#define H3POOL_MANAGER_H

#include <h3pool/counters.h>
#include <h3pool/types.h>
#include <stdio.h>

struct hp_builder;

/* Bytes of a name with its 0, and names of one manager, groups included. More is misuse. */
#define HP_POOL_NAME_CAP 48u
#define HP_POOL_NAMES_MAX 256u

/* "pooled" or "unpooled": which build of the library this program is linked with. */
const char *hp_build_name(void);
/* The library's version, as in "0.1.0". */
const char *hp_version(void);

/* Makes a manager. |limit|: most bytes that all its pools may hold together; 0: none. NULL with errno:
 * ENOMEM, or EINVAL when H3POOL_POOL_CHECKS (checks.h) can't be read, which is said on stderr. */
struct hp_pool_manager *hp_pool_manager_new(uint64_t limit) HP_MUST_CHECK;
/* Ends it. Its pools must have been freed. */
void hp_pool_manager_free(struct hp_pool_manager *manager);

/* --- limits ---------------------------------------------------------------------------------------------------------
 */

/* Sets the most bytes that the pools at |name| and below may hold; NULL: all of the manager; 0: no limit. What is held
 * already stays. Any thread. */
void hp_pool_manager_set_limit(struct hp_pool_manager *manager, const char *name, uint64_t limit);
/* Bytes held by the pools at |name| and below; NULL: all. 0 for a name that is not known. Any thread. */
uint64_t hp_pool_manager_held_below(struct hp_pool_manager *manager, const char *name);
/* The same for all, without a look-up. */
uint64_t hp_pool_manager_held(const struct hp_pool_manager *manager);

/* A stage of pressure: entered when the bytes held reach |enter_permille| of the manager's limit, left when they fall
 * below |leave_permille|, which should be lower, so that it does not flutter. */
struct hp_pressure_stage {
    uint32_t enter_permille, leave_permille;
};
#define HP_PRESSURE_STAGES_MAX 8u

/* Sets the stages, each higher than the one before, and what is called when one is entered or left: with the stage that
 * was and the one that is (0: none), by the thread whose get, put, trim or new limit made it so, inside that call. So
 * |on_change| must be short and may not touch a pool of the manager; setting a flag or writing to an eventfd is what it
 * is for. Stages may be skipped. At most HP_PRESSURE_STAGES_MAX; NULL and 0 take them away. Set them before there are
 * threads. */
void hp_pool_manager_set_pressure(struct hp_pool_manager *manager, const struct hp_pressure_stage *stages,
                                  uint32_t count, void (*on_change)(void *ctx, uint32_t was, uint32_t is), void *ctx);
/* The stage that is in force; 0: none. One load. Any thread. */
uint32_t hp_pool_manager_pressure(const struct hp_pool_manager *manager);

/* Trims the pools that the calling thread owns (byte_pool.h): all that is unused, or what has lain idle since the last
 * call, |bytes_max| at most. Return the bytes by which held memory fell. */
size_t hp_pool_manager_trim(struct hp_pool_manager *manager);
size_t hp_pool_manager_trim_idle(struct hp_pool_manager *manager, size_t bytes_max);

/* --- reports --------------------------------------------------------------------------------------------------------
 */

/* A row of a report: the pools of one name, or a group with all below it. */
struct hp_pool_row {
    const char *name; /* a group's ends with "/" */
    bool group;       /* its pools are in rows of their own too: leave it out of sums */
    uint32_t pools;
    uint64_t limit_bytes; /* of the node; 0: none */
    struct hp_counters sum;
};

/* Calls |visit| once per row: names in order of first registration, a group before what is below it. Any thread; pools
 * may not be freed meanwhile. */
void hp_pool_manager_walk(struct hp_pool_manager *manager, void (*visit)(void *ctx, const struct hp_pool_row *row),
                          void *ctx);

/* Blocks live in all pools. */
uint64_t hp_pool_manager_live(struct hp_pool_manager *manager);

/* Prints one row per name and group: the table at exit and on SIGUSR2. */
void hp_pool_manager_print(struct hp_pool_manager *manager, FILE *to);

/* Appends a JSON object {"name":{"gets":…},…} to |out|; a group's name ends with "/". */
void hp_pool_manager_json(struct hp_pool_manager *manager, struct hp_builder *out);

#endif
