/* SPDX-License-Identifier: MIT
 *
 * Byte builder: text or bytes appended into one growing buffer from a byte pool, up to a hard limit.
 *
 * An append that does not fit changes nothing and sets the overflow flag; later appends do nothing either, so a
 * caller may write a whole document and check once, in hp_builder_finish. A builder is used by its pool's owner alone.
 */
#ifndef H3POOL_BUILDER_H
#define H3POOL_BUILDER_H

#include <h3pool/buffer.h>
#include <string.h>

/* A builder, for the stack or embedded. Internal fields, but for |overflow|, which may be read. */
struct hp_builder {
    struct hp_byte_pool *pool;
    struct hp_buffer *buffer;
    size_t room;   /* bytes that fit without growing; 0 after an overflow */
    size_t limit;  /* most bytes */
    bool overflow; /* an append has been refused since init or finish */
};

/* Makes a builder over |pool|, which must outlive it and its result. |limit|: most bytes that the result may have.
 * Takes no memory yet. Ends with hp_builder_finish or hp_builder_fini. */
HP_API void hp_builder_init(struct hp_builder *builder, struct hp_byte_pool *pool, size_t limit);
/* Drops what was built; the builder is as after init. */
HP_API void hp_builder_fini(struct hp_builder *builder);

/* Hands over what was built: a buffer whose one reference the caller owns, of len 0 if nothing was appended; or NULL
 * after an overflow or when memory is refused. Either way the builder is as after init. Copies nothing. */
HP_API struct hp_buffer *hp_builder_finish(struct hp_builder *builder) HP_MUST_CHECK;

/* internal: out of line */
HP_API uint8_t *hp_builder_reserve_slow(struct hp_builder *builder, size_t bytes) HP_MUST_CHECK;

/* Makes room for |bytes| more bytes at the end and returns its address, valid until the builder's next call, for
 * hp_builder_commit; NULL and the overflow flag when the limit or the pool refuses. Growth doubles the buffer and
 * copies what is there: reserve the whole size at first where it is known. */
static inline HP_MUST_CHECK uint8_t *hp_builder_reserve(struct hp_builder *builder, size_t bytes)
{
    if (HP_UNLIKELY(bytes - 1 >= builder->room)) /* 0 too: there may be no buffer */
        return hp_builder_reserve_slow(builder, bytes);
    return builder->buffer->data + builder->buffer->len;
}

/* Takes the first |bytes| bytes of the room that was reserved last as written. More than was reserved is misuse that is
 * not found. */
static inline void hp_builder_commit(struct hp_builder *builder, size_t bytes)
{
    builder->buffer->len += bytes;
    builder->room -= bytes;
}

/* Appends the |len| bytes at |bytes|. As all appends: does nothing, and sets the overflow flag, when they do not fit.
 */
static inline void hp_builder_append(struct hp_builder *builder, const void *bytes, size_t len)
{
    uint8_t *to = hp_builder_reserve(builder, len);
    if (HP_UNLIKELY(to == NULL))
        return;
    memcpy(to, bytes, len);
    hp_builder_commit(builder, len);
}

/* The decimal digits of a number below HP_DIGITS_MAX. |text| holds them as in memory, the first one at the lowest
 * address, so that hp_digits_put writes all 8 bytes at once; |len| of them, 1..8, count. */
struct hp_digits {
    uint64_t text; /* 8 bytes, of which those behind the digits mean nothing */
    uint32_t len;  /* digits */
};
/* Numbers below it have 8 digits or fewer. */
#define HP_DIGITS_MAX 100000000u

/* internal: a word whose lowest byte is to lie first, as it is stored. Not htole64, which strict C does not have. */
static inline uint64_t hp_lowest_first(uint64_t word)
{
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word : __builtin_bswap64(word);
}

/* Makes the digits of |value|, 0..HP_DIGITS_MAX - 1, all at once: in lanes of a word, two of four digits, four of two,
 * eight of one. For who writes a number more than once, or with reserve and commit. */
static inline struct hp_digits hp_digits_of(uint32_t value)
{
    if (value < 10)
        return (struct hp_digits){.text = hp_lowest_first('0' + value), .len = 1};
    uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t hundreds = (fours * 5243 >> 19) & 0x0000007f0000007fu;
    uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
    uint64_t tens = (twos * 103 >> 10) & 0x000f000f000f000fu;
    uint64_t ones = tens | (twos - tens * 10) << 8; /* the first digit in the lowest byte */
    unsigned zeros = (unsigned)__builtin_ctzll(ones | 1ull << 56) & ~7u;
    return (struct hp_digits){.text = hp_lowest_first((ones | 0x3030303030303030u) >> zeros), .len = 8 - zeros / 8};
}

/* Writes |digits| to |at|, which must have room for 8 bytes: those behind the digits mean nothing. Returns the end of
 * the digits. */
static inline char *hp_digits_put(char *at, struct hp_digits digits)
{
    memcpy(at, &digits.text, sizeof digits.text);
    return at + digits.len;
}

/* Appends |value| as decimal digits. */
HP_API void hp_builder_append_u64(struct hp_builder *builder, uint64_t value);
/* Appends the last |digits| hexadecimal digits of |value|, 1..16, in lower case and with leading zeros. */
HP_API void hp_builder_append_hex(struct hp_builder *builder, uint64_t value, unsigned digits);
/* Appends the |len| bytes at |text| as a JSON string with its quotes, escaped as in RFC 8259 section 7; bytes from 0x80
 * on are copied as they are. Where it does not fit, part of it may have been appended. */
HP_API void hp_builder_append_json(struct hp_builder *builder, const char *text, size_t len);

/* Appends a text that ends with a 0 byte, without that. */
static inline void hp_builder_append_str(struct hp_builder *builder, const char *text)
{
    hp_builder_append(builder, text, strlen(text));
}

#endif
