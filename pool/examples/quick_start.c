/* SPDX-License-Identifier: MIT
 *
 * Answers lines with their words as JSON. What a request needs comes from an arena and a builder over one pool, and is
 * given back before the next one; the table at the end says so.
 */
#include <h3pool/arena.h>
#include <h3pool/builder.h>
#include <h3pool/manager.h>
#include <stdio.h>
#include <string.h>

/* The answer, which the caller owns; NULL when it does not fit, or memory is refused. */
static struct hp_buffer *answer(struct hp_byte_pool *pool, struct hp_arena *arena, const char *line)
{
    struct hp_builder out;
    char *rest = NULL, *copy = hp_arena_copy(arena, line, strlen(line)); /* gone with the arena */
    if (copy == NULL)
        return NULL;
    hp_builder_init(&out, pool, 4096);
    const char *before = "[";
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        hp_builder_append_str(&out, before); /* after an overflow appends do nothing: one check, in finish */
        hp_builder_append_json(&out, word, strlen(word));
        before = ",";
    }
    hp_builder_append_str(&out, "]");
    return hp_builder_finish(&out);
}

int main(void)
{
    static const char *const lines[] = {"every block comes from a pool", "is counted and bounded",
                                        "and \"given\" back"};
    struct hp_pool_manager *manager = hp_pool_manager_new(8u << 20); /* at most 8 MiB in all its pools */
    struct hp_byte_pool *pool = manager != NULL ? hp_byte_pool_new(manager, "requests", 64, 65536, 0) : NULL;
    if (pool == NULL)
        return 1;
    struct hp_arena arena;
    hp_arena_init(&arena, pool, 1024, 16384); /* chunks from 1 KiB, at most 16 KiB a request */
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct hp_buffer *text = answer(pool, &arena, lines[i]);
        if (text != NULL)
            printf("%.*s\n", (int)text->len, (const char *)text->data);
        hp_buffer_unref(text);
        hp_arena_reset(&arena);
    }
    uint64_t live = hp_pool_manager_live(manager);
    hp_pool_manager_print(manager, stdout);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
    return live != 0; /* a leak is an error */
}
