/* SPDX-License-Identifier: MIT
 *
 * Checks: what pools look for beyond the default, chosen at run time, from the same binary. A pool takes the checks of
 * its manager when it is made. H3POOL_POOL_CHECKS in the environment sets them for every manager of the process:
 *
 *   H3POOL_POOL_CHECKS=poison,quarantine=1000,callers build/h3pool
 *
 *   name            finds, or does                                                                 costs about
 *   tag             overflow and underflow by a byte or more, double put, wrong pool, interior     48 bytes a block,
 *                   and foreign pointers, a wrong size: when the block is put. In every other      and the fast path
 *   poison          write after put: freed bytes get a pattern, which is looked at on reuse        a memset, a compare
 *   zero            nothing old is readable: freed bytes get zeros (with poison: and are checked)  a memset
 *   cold            the block that has been free for longest is reused first, so that a late       cache misses
 *                   write has time to happen before poison looks
 *   quarantine=N    the last N freed blocks of each size are not reused: a late second put is      N blocks a size
 *                   still recognised
 *   guard=N         one get in N has pages of its own before an unreadable one, and its pages      4 system calls,
 *                   become unreadable with the put: reads are found too                            12 KiB
 *   callers         who got and who put a block: in messages and in the report of what is live     a stack walk
 *   fail=N          every Nth get of the manager fails
 *   fail-once=N     the Nth get fails
 *   fail-from=N     the Nth get and all later ones fail
 *   all             poison, quarantine=64 (or another number that is given), callers
 *
 * Each but |zero|, |cold| and the failures brings |tag|. What is found ends the process with one line. At exit, and
 * when a pool is freed, blocks that are live are reported by pool and caller. The pass-through build takes the names
 * and checks nothing: sanitizers and Valgrind do that for malloc.
 */
#ifndef H3POOL_CHECKS_H
#define H3POOL_CHECKS_H

#include <h3pool/types.h>
#include <stdio.h>

/* Which checks, as the names above. All zero: none. */
struct hp_checks {
    bool tag;            /* headers and canaries; the other checks bring it along */
    bool poison;         /* freed bytes get a pattern */
    bool zero;           /* freed bytes get zeros */
    bool cold;           /* reuse what has been free for longest */
    bool callers;        /* record who got and put */
    uint32_t quarantine; /* blocks of each class; 0: off */
    uint32_t guard;      /* one get in so many; 0: off */
    uint64_t fail_every; /* every Nth get fails; 0: off, as below */
    uint64_t fail_once;  /* the Nth get fails */
    uint64_t fail_from;  /* the Nth get and all later ones fail */
};

/* The variable in the environment that every manager reads when it is made. */
#define HP_CHECKS_ENVIRONMENT "H3POOL_POOL_CHECKS"
/* Bytes of the message of hp_checks_parse with its 0. */
#define HP_CHECKS_ERROR_CAP 96

/* Reads a list of names, separated by commas, into |out|; an empty one or NULL is no check. Returns 0; or -1, with
 * |out| all zero, and writes what is wrong with which word to |error|, as in "check 'poisn' is unknown". */
HP_API int hp_checks_parse(const char *list, struct hp_checks *out, char error[HP_CHECKS_ERROR_CAP]) HP_MUST_CHECK;

/* Sets the checks of pools that are made from now on (copied), and the failures of all of the manager's checked pools,
 * whose count begins anew. A pool without checks has no failures to inject: its gets are inlined. Call it while no
 * thread makes pools. From then on what is live is reported when the process exits. */
HP_API void hp_pool_manager_set_checks(struct hp_pool_manager *manager, const struct hp_checks *checks);

/* Counts gets of checked pools since the failures were set: the range for a torture test's N. Any thread. */
HP_API uint64_t hp_pool_manager_gets_counted(const struct hp_pool_manager *manager);

/* Prints what is live: a line per pool and caller, most bytes first, or per pool where callers are not recorded.
 * Returns the number of blocks; 0, and prints nothing, when all are back. The pools must not be in use; one thread at a
 * time. */
HP_API uint64_t hp_pool_manager_report(struct hp_pool_manager *manager, FILE *to);

#endif
