/* SPDX-License-Identifier: MIT
 *
 * 1. Object pooling. A decoded message has a table of fields and a text that they point into. IN_FLIGHT messages are
 * alive at any time; an operation ends the oldest and decodes the next.
 *
 * bad: a message is made and freed as any other object, with its two buffers. good: messages with their buffers are
 * kept between uses, and a reset empties them. The buffers are from malloc in both: were they from a byte pool, the
 * count would be 0 even if no object were kept.
 */
#include "strategies.h"

#include <h3pool/object_pool.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT 64u
#define KEPT_MAX (2 * IN_FLIGHT)
#define FIELDS_MAX 16u
#define TEXT_MAX 1024u

struct field {
    const char *name, *value;
};

struct message {
    struct field *fields;
    char *text;
    unsigned field_count;
    size_t text_len;
};
HP_OBJECT_POOL(pooled, struct message)

static struct hp_object_pool messages;
static struct message *bad[IN_FLIGHT], *good[IN_FLIGHT];

/* --- what both forms do with a message ------------------------------------------------------------------------------
 */

static const char *append(struct message *m, const char *text)
{
    size_t bytes = strlen(text) + 1;
    require(bytes <= TEXT_MAX - m->text_len, "the message is too long");
    char *to = memcpy(m->text + m->text_len, text, bytes);
    m->text_len += bytes;
    return to;
}

static void decode(struct message *m)
{
    static const struct field sample[] = {
        {":method", "GET"},
        {":path", "/data?items=25"},
        {":authority", "localhost:4433"},
        {"user-agent", "curl/8.14.1"},
        {"accept", "*/*"},
    };
    for (unsigned i = 0; i < sizeof sample / sizeof sample[0]; i++) {
        const char *name = append(m, sample[i].name);
        m->fields[m->field_count++] = (struct field){name, append(m, sample[i].value)};
    }
    bench_use(m->fields);
}

static bool buffers_new(struct message *m)
{
    *m = (struct message){.fields = malloc(FIELDS_MAX * sizeof *m->fields), .text = malloc(TEXT_MAX)};
    return m->fields != NULL && m->text != NULL;
}

static void buffers_free(struct message *m)
{
    free(m->fields);
    free(m->text);
}

/* --- bad ------------------------------------------------------------------------------------------------------------
 */

static void message_free(struct message *m)
{
    if (m == NULL)
        return;
    buffers_free(m);
    free(m);
}

static struct message *message_new(void)
{
    struct message *m = malloc(sizeof *m);
    if (m == NULL)
        return NULL;
    if (!buffers_new(m)) {
        message_free(m);
        return NULL;
    }
    return m;
}

static void run_bad(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        struct message **slot = &bad[i % IN_FLIGHT];
        message_free(*slot);
        *slot = message_new();
        require(*slot != NULL, "no memory");
        decode(*slot);
    }
}

/* --- good -----------------------------------------------------------------------------------------------------------
 */

static void construct(void *object)
{
    require(buffers_new(object), "no memory");
}

static void reset(void *object)
{
    struct message *m = object;
    m->field_count = 0;
    m->text_len = 0;
}

static void destruct(void *object)
{
    buffers_free(object);
}

static void run_good(struct bench *b, uint64_t iterations)
{
    (void)b;
    for (uint64_t i = 0; i < iterations; i++) {
        struct message **slot = &good[i % IN_FLIGHT];
        if (*slot != NULL)
            pooled_put(&messages, *slot);
        *slot = pooled_get(&messages);
        require(*slot != NULL, "no memory");
        decode(*slot);
    }
}

/* --------------------------------------------------------------------------------------------------------------------
 */

static void open_pool(struct hp_pool_manager *manager)
{
    static const struct hp_object_ops ops = {.construct = construct, .reset = reset, .destruct = destruct};
    int rv = hp_object_pool_init(&messages, manager, "1-messages", sizeof(struct message), KEPT_MAX, &ops);
    require(rv == 0, "no memory");
}

static void close_pool(void)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        message_free(bad[i]);
        if (good[i] != NULL)
            pooled_put(&messages, good[i]);
    }
    hp_object_pool_fini(&messages);
}

const struct strategy strategy_object_pool = {
    .title = "object pooling",
    .slug = "1-object-pooling",
    .open = open_pool,
    .close = close_pool,
    .run = {[FORM_BAD] = run_bad, [FORM_GOOD] = run_good},
    .claim = CLAIM_RANGE,
    .claim_low = 60,
    .claim_high = 80,
};
