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

/* Bytes of a name with its 0. A longer one is misuse. */
#define HP_POOL_NAME_CAP 48u
/* Names of one manager, groups included; they are never forgotten. More is misuse. */
#define HP_POOL_NAMES_MAX 256u

/* Names the build of the library that this program is linked with: "pooled" or "unpooled". Static text. */
HP_API const char *hp_build_name(void);
/* Names the library's version, as in "0.1.0". Static text. */
HP_API const char *hp_version(void);

/* Makes a manager, which the caller ends with hp_pool_manager_free. |limit|: most bytes that all its pools may hold
 * together; 0: no limit. NULL with errno: ENOMEM, or EINVAL when H3POOL_POOL_CHECKS (checks.h) can't be read, which is
 * said on stderr. Maps a few pages. */
HP_API struct hp_pool_manager *hp_pool_manager_new(uint64_t limit) HP_MUST_CHECK;
/* Ends a manager. Its pools must have been freed, or the process ends. NULL is legal. */
HP_API void hp_pool_manager_free(struct hp_pool_manager *manager);

/* --- limits ---------------------------------------------------------------------------------------------------------
 */

/* Sets the most bytes that the pools at |name| and below may hold; NULL: all of the manager; 0: no limit. What is held
 * already stays. A name that is new is registered, so that a limit may come before its pools. Any thread; takes a lock.
 */
HP_API void hp_pool_manager_set_limit(struct hp_pool_manager *manager, const char *name, uint64_t limit);
/* Sums the bytes held by the pools at |name| and below; NULL: all. 0 for a name that is not known. Any thread; takes a
 * lock and compares names. */
HP_API uint64_t hp_pool_manager_held_below(struct hp_pool_manager *manager, const char *name);
/* Sums the bytes held by all pools of the manager: one load. Any thread. */
HP_API uint64_t hp_pool_manager_held(const struct hp_pool_manager *manager);

/* A stage of pressure: entered when the bytes held reach |enter_permille| of the manager's limit, left when they fall
 * below |leave_permille|, which should be lower, so that it does not flutter. Without a limit no stage is entered. */
struct hp_pressure_stage {
    uint32_t enter_permille; /* of the limit, 0..1000 */
    uint32_t leave_permille; /* at most |enter_permille| */
};
/* Most stages of a manager. */
#define HP_PRESSURE_STAGES_MAX 8u

/* Sets the stages, each higher than the one before, and what is called when one is entered or left: with the stage that
 * was and the one that is (0: none), by the thread whose get, put, trim or new limit made it so, inside that call. So
 * |on_change| must be short and may not touch a pool of the manager; setting a flag or writing to an eventfd is what it
 * is for. Stages may be skipped. At most HP_PRESSURE_STAGES_MAX; NULL and 0 take them away. Set them before there are
 * threads. */
HP_API void hp_pool_manager_set_pressure(struct hp_pool_manager *manager, const struct hp_pressure_stage *stages,
                                         uint32_t count, void (*on_change)(void *ctx, uint32_t was, uint32_t is),
                                         void *ctx);
/* Tells the stage that is in force: 1 is the first that was set, 0 none. One load. Any thread. */
HP_API uint32_t hp_pool_manager_pressure(const struct hp_pool_manager *manager);

/* Trims the pools that the calling thread owns (hp_byte_pool_trim): all that is unused. Returns the bytes by which held
 * memory fell. Takes a lock and system calls: keep it off the data path. */
HP_API size_t hp_pool_manager_trim(struct hp_pool_manager *manager);
/* Trims what has lain idle since the last call from the pools that the calling thread owns (hp_byte_pool_trim_idle), at
 * most |bytes_max| bytes in all. Returns the bytes by which held memory fell. Meant for a timer. */
HP_API size_t hp_pool_manager_trim_idle(struct hp_pool_manager *manager, size_t bytes_max);

/* --- reports --------------------------------------------------------------------------------------------------------
 */

/* A row of a report: the pools of one name, or a group with all below it. */
struct hp_pool_row {
    const char *name;       /* a group's ends with "/"; valid for as long as the call that has it */
    bool group;             /* its pools are in rows of their own too: leave it out of sums */
    uint32_t pools;         /* how many it sums */
    uint64_t limit_bytes;   /* of the name; 0: none */
    struct hp_counters sum; /* of the pools' counters */
};

/* Calls |visit| with |ctx| once per row: names in order of first registration, a group before what is below it. Any
 * thread. Holds the manager's lock meanwhile: |visit| may get and put, but not make or free a pool or set a limit. */
HP_API void hp_pool_manager_walk(struct hp_pool_manager *manager,
                                 void (*visit)(void *ctx, const struct hp_pool_row *row), void *ctx);

/* Counts the blocks that are live in all pools: 0 when everything has been given back. What other threads have put
 * counts until the owner has taken it in (hp_byte_pool_collect). Any thread; as the walk. */
HP_API uint64_t hp_pool_manager_live(struct hp_pool_manager *manager);

/* Prints a table to |to|: one row per name and group, one column per counter. Any thread; as the walk. */
HP_API void hp_pool_manager_print(struct hp_pool_manager *manager, FILE *to);

/* Appends a JSON object {"name":{"gets":…},…} to |out|; a group's name ends with "/". What does not fit is seen when
 * |out| is finished. */
HP_API void hp_pool_manager_json(struct hp_pool_manager *manager, struct hp_builder *out);

#endif
