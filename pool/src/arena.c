/* SPDX-License-Identifier: MIT
 *
 * Chunks form a list from the newest to the oldest; only the newest is cut from. What is left of an older chunk when a
 * new one is taken stays unused until reset: at most half of what the arena holds, as each chunk doubles.
 */
#include <h3pool/arena.h>

#include "internal.h"

#include <string.h>

void hp_arena_init(struct hp_arena *arena, struct hp_byte_pool *pool, uint32_t chunk_bytes, uint32_t limit_bytes)
{
    if (chunk_bytes < 64 || limit_bytes < chunk_bytes)
        hp_die("arena: first chunk of %u bytes and limit of %u", chunk_bytes, limit_bytes);
    *arena = (struct hp_arena){.pool = pool, .chunk_bytes = chunk_bytes, .limit_bytes = limit_bytes};
}

/* Gives back the chunks that are newer than |keep|. */
static void drop_chunks(struct hp_arena *arena, const struct hp_arena_chunk *keep)
{
    while (arena->chunk != keep) {
        struct hp_arena_chunk *newest = arena->chunk;
        arena->chunk = newest->older;
        arena->held_bytes -= (uint32_t)newest->bytes;
        hp_source_put_known(arena->pool, newest, newest->bytes);
    }
    arena->at = arena->end = NULL;
    if (arena->chunk != NULL)
        arena->end = (char *)arena->chunk + arena->chunk->bytes;
}

void hp_arena_reset(struct hp_arena *arena)
{
    drop_chunks(arena, NULL);
    arena->overflow = false;
}

void *hp_arena_alloc_slow(struct hp_arena *arena, size_t bytes, size_t align)
{
    size_t need = sizeof(struct hp_arena_chunk) + bytes; /* its size keeps the alignment of 16 */
    size_t want = arena->chunk != NULL ? arena->chunk->bytes * 2 : arena->chunk_bytes;
    size_t room = arena->limit_bytes - arena->held_bytes;
    if (want > room)
        want = room;
    if (want < need)
        want = need;
    struct hp_arena_chunk *chunk = NULL;
    if (align <= HP_BLOCK_ALIGN && bytes <= room && need <= room)
        chunk = hp_source_get_known(arena->pool, want);
    if (chunk == NULL) {
        arena->overflow = true;
        return NULL;
    }
    *chunk = (struct hp_arena_chunk){.older = arena->chunk, .bytes = want};
    arena->chunk = chunk;
    arena->held_bytes += (uint32_t)want;
    arena->at = (char *)(chunk + 1) + bytes;
    arena->end = (char *)chunk + want;
    return chunk + 1;
}

char *hp_arena_copy(struct hp_arena *arena, const void *bytes, size_t len)
{
    char *copy = hp_arena_alloc(arena, len + 1, 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

struct hp_arena_mark hp_arena_mark(const struct hp_arena *arena)
{
    return (struct hp_arena_mark){.chunk = arena->chunk, .at = arena->at};
}

void hp_arena_rewind(struct hp_arena *arena, struct hp_arena_mark mark)
{
    drop_chunks(arena, mark.chunk);
    arena->at = mark.at;
}
