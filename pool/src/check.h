/* SPDX-License-Identifier: MIT
 *
 * The checks of the pooled build: instead of the fronts, between the pool's interface and its runs. Pools whose
 * |checks| is not NULL only. Blocks here are what callers see: the checks keep a header before each.
 */
#ifndef H3POOL_CHECK_H
#define H3POOL_CHECK_H

#include "internal.h"

void *hp_check_get(struct hp_byte_pool *pool, size_t bytes) HP_MUST_CHECK;
/* Each dies of what it finds. */
void hp_check_put(struct hp_byte_pool *pool, void *block);
void hp_check_live(const struct hp_byte_pool *pool, void *block);
void hp_check_size(const struct hp_byte_pool *pool, void *block, size_t bytes);
size_t hp_check_usable(const struct hp_byte_pool *pool, const void *block);
/* A put by another thread in two halves: what it checks and wipes, returning where the link of the remote list goes;
 * and what the owner does with it later. */
void *hp_check_put_remote(struct hp_byte_pool *pool, void *block) HP_MUST_CHECK;
void hp_check_collect(struct hp_byte_pool *pool, void *link);
/* Gives back what cold and quarantine hold. */
void hp_check_flush(struct hp_byte_pool *pool);
/* A run whose blocks are all free is to be released: looks at each. */
void hp_check_run(const struct hp_byte_pool *pool, const struct hp_run *run);

#endif
