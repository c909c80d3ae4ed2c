/* SPDX-License-Identifier: MIT
 *
 * Byte builder: text or bytes appended into one growing buffer from a byte pool, up to a hard limit.
 *
 * An append that does not fit changes nothing and sets the overflow flag; later appends do nothing either, so a
 * caller may write a whole document and check once, in hp_builder_finish.
 */
#ifndef H3POOL_BUILDER_H
#define H3POOL_BUILDER_H

#include <h3pool/buffer.h>
#include <string.h>

struct hp_builder {
    struct hp_byte_pool *pool;
    struct hp_buffer *buffer;
    size_t room;  /* bytes that fit without growing; 0 after an overflow */
    size_t limit; /* most bytes */
    bool overflow;
};

/* Takes nothing yet. |limit|: most bytes the result may have. */
HP_API void hp_builder_init(struct hp_builder *builder, struct hp_byte_pool *pool, size_t limit);
/* Drops what was built. */
HP_API void hp_builder_fini(struct hp_builder *builder);

/* The result, owned by the caller, and the builder is as after init; NULL after an overflow or when nothing could be
 * allocated. An empty result is a buffer of len 0. */
HP_API struct hp_buffer *hp_builder_finish(struct hp_builder *builder) HP_MUST_CHECK;

/* internal: out of line */
HP_API uint8_t *hp_builder_reserve_slow(struct hp_builder *builder, size_t bytes) HP_MUST_CHECK;

/* Room for |bytes| more bytes at the end, valid until the next call, or NULL with the overflow flag. Growth doubles. */
static inline HP_MUST_CHECK uint8_t *hp_builder_reserve(struct hp_builder *builder, size_t bytes)
{
    if (HP_UNLIKELY(bytes - 1 >= builder->room)) /* 0 too: there may be no buffer */
        return hp_builder_reserve_slow(builder, bytes);
    return builder->buffer->data + builder->buffer->len;
}

/* Takes the first |bytes| of the reserved room as written. */
static inline void hp_builder_commit(struct hp_builder *builder, size_t bytes)
{
    builder->buffer->len += bytes;
    builder->room -= bytes;
}

static inline void hp_builder_append(struct hp_builder *builder, const void *bytes, size_t len)
{
    uint8_t *to = hp_builder_reserve(builder, len);
    if (HP_UNLIKELY(to == NULL))
        return;
    memcpy(to, bytes, len);
    hp_builder_commit(builder, len);
}

/* Decimal digits. */
HP_API void hp_builder_append_u64(struct hp_builder *builder, uint64_t value);
/* |digits| lower-case hexadecimal digits, 1..16. */
HP_API void hp_builder_append_hex(struct hp_builder *builder, uint64_t value, unsigned digits);
/* A JSON string with its quotes, escaped as RFC 8259 section 7; bytes from 0x80 on are copied as they are. */
HP_API void hp_builder_append_json(struct hp_builder *builder, const char *text, size_t len);

static inline void hp_builder_append_str(struct hp_builder *builder, const char *text)
{
    hp_builder_append(builder, text, strlen(text));
}

#endif
