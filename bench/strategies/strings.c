/* SPDX-License-Identifier: MIT
 *
 * 3. Building strings. The names of a list are joined with commas, used and dropped.
 *
 * bad: the string is made longer by each name, to its exact length. It is realloc with a known length, not strcat: what
 * is counted is the call per name, not a search for the end. plain: one malloc of the length that the guide estimates,
 * ITEM_BYTES a name, and growth should that be short. good: a builder, in a block that the pool has kept.
 */
#include "strategies.h"

#include <h3pool/builder.h>
#include <stdlib.h>

#define ITEM_BYTES 10u /* the guide's estimate */
#define TEXT_MAX 4096u

static const char *const items[] = {
    "accept", "age",    "alt-svc",  "cookie", "date",    "etag",   "expires", "forwarded", "from", "host",
    "link",   "origin", "priority", "range",  "referer", "server", "te",      "trailer",   "vary", "via",
};
#define ITEMS (sizeof items / sizeof items[0])

static struct hp_byte_pool *blocks;

static void run_bad(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        char *text = NULL;
        size_t len = 0;
        for (unsigned n = 0; n < ITEMS; n++) {
            size_t item_len = strlen(items[n]);
            char *longer = realloc(text, len + item_len + 2);
            require(longer != NULL, "no memory");
            text = longer;
            memcpy(text + len, items[n], item_len);
            len += item_len;
            text[len++] = ',';
            text[len] = '\0';
        }
        bench_use(text);
        free(text);
    }
}

static void run_plain(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        size_t len = 0, cap = ITEMS * ITEM_BYTES;
        char *text = malloc(cap);
        for (unsigned n = 0; n < ITEMS; n++) {
            size_t item_len = strlen(items[n]);
            if (cap - len < item_len + 2)
                text = realloc(text, cap *= 2);
            require(text != NULL, "no memory");
            memcpy(text + len, items[n], item_len);
            len += item_len;
            text[len++] = ',';
        }
        text[len] = '\0';
        bench_use(text);
        free(text);
    }
}

static void run_good(struct bench *b, uint64_t iterations)
{
    (void)b;
    struct hp_builder builder;
    hp_builder_init(&builder, blocks, TEXT_MAX);
    for (uint64_t i = 0; i < iterations; i++) {
        for (unsigned n = 0; n < ITEMS; n++) {
            hp_builder_append_str(&builder, items[n]);
            hp_builder_append(&builder, ",", 1);
        }
        struct hp_buffer *text = hp_builder_finish(&builder);
        require(text != NULL, "no memory");
        bench_use(text->data);
        hp_buffer_unref(text);
    }
}

static void open_pools(struct hp_pool_manager *manager)
{
    blocks = hp_byte_pool_new(manager, "3-text", 64, 2 * TEXT_MAX, 0);
    require(blocks != NULL, "no memory");
}

static void close_pools(void)
{
    hp_byte_pool_free(blocks);
}

const struct strategy strategy_strings = {
    .title = "building strings",
    .slug = "3-strings",
    .open = open_pools,
    .close = close_pools,
    .run = {[FORM_BAD] = run_bad, [FORM_PLAIN] = run_plain, [FORM_GOOD] = run_good},
    .claim = CLAIM_RANGE,
    .claim_low = 70,
    .claim_high = 90,
};
