/* SPDX-License-Identifier: MIT
 *
 * Growth copies into a buffer of twice the room, which wastes at most half; a caller that knows the size reserves it
 * at once and nothing is copied.
 */
#include <h3pool/builder.h>

#define FIRST_BYTES 448u /* with the buffer's header, a 480-byte block */

void hp_builder_init(struct hp_builder *b, struct hp_byte_pool *pool, size_t limit)
{
    *b = (struct hp_builder){.pool = pool, .limit = limit};
}

void hp_builder_fini(struct hp_builder *b)
{
    hp_buffer_unref(b->buffer);
    hp_builder_init(b, b->pool, b->limit);
}

struct hp_buffer *hp_builder_finish(struct hp_builder *b)
{
    if (b->buffer == NULL && !b->overflow)
        b->buffer = hp_buffer_new(b->pool, 0);
    struct hp_buffer *result = b->overflow ? NULL : b->buffer;
    if (result == NULL)
        hp_buffer_unref(b->buffer);
    hp_builder_init(b, b->pool, b->limit);
    return result;
}

static bool grow(struct hp_builder *b, size_t len, size_t bytes)
{
    size_t cap = b->buffer != NULL ? b->buffer->cap * 2 : FIRST_BYTES;
    if (cap < len + bytes)
        cap = len + bytes;
    if (cap > b->limit)
        cap = b->limit;
    struct hp_buffer *bigger = hp_buffer_new(b->pool, cap);
    if (bigger == NULL)
        return false;
    if (b->buffer != NULL)
        memcpy(bigger->data, b->buffer->data, len);
    bigger->len = len;
    hp_buffer_unref(b->buffer);
    b->buffer = bigger;
    return true;
}

uint8_t *hp_builder_reserve_slow(struct hp_builder *b, size_t bytes)
{
    size_t len = b->buffer != NULL ? b->buffer->len : 0;
    if (b->overflow)
        return NULL;
    if (b->buffer == NULL || bytes > b->buffer->cap - len) {
        if (bytes > b->limit - len || !grow(b, len, bytes)) {
            b->overflow = true;
            b->room = 0;
            return NULL;
        }
        b->room = b->buffer->cap - len;
    }
    return b->buffer->data + len;
}

void hp_builder_append_u64(struct hp_builder *b, uint64_t value)
{
    char text[32]; /* 20 digits, and a word behind the last one */
    size_t len = 0;
    uint32_t parts[3]; /* of eight digits, the last ones first */
    unsigned count = 0;
    do
        parts[count++] = (uint32_t)(value % HP_DIGITS_MAX);
    while ((value /= HP_DIGITS_MAX) != 0);
    while (count-- != 0) {
        struct hp_digits digits = hp_digits_of(parts[count]);
        memset(text + len, '0', 8 - digits.len); /* what a part but the first one has before its digits */
        len = (size_t)(hp_digits_put(text + len + (len != 0 ? 8 - digits.len : 0), digits) - text);
    }
    hp_builder_append(b, text, len);
}

void hp_builder_append_hex(struct hp_builder *b, uint64_t value, unsigned digits)
{
    uint8_t *to = hp_builder_reserve(b, digits);
    if (to == NULL)
        return;
    for (unsigned i = digits; i > 0; i--, value >>= 4)
        to[i - 1] = (uint8_t) "0123456789abcdef"[value & 15];
    hp_builder_commit(b, digits);
}

/* The letter of a two-character escape, or 0. */
static char short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

void hp_builder_append_json(struct hp_builder *b, const char *text, size_t len)
{
    size_t plain = 0; /* start of what is not yet copied */
    hp_builder_append(b, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        char letter = short_escape(c);
        if (letter == 0 && c >= 0x20)
            continue;
        hp_builder_append(b, text + plain, i - plain);
        plain = i + 1;
        hp_builder_append(b, letter != 0 ? (char[]){'\\', letter} : "\\u", 2);
        if (letter == 0)
            hp_builder_append_hex(b, c, 4);
    }
    hp_builder_append(b, text + plain, len - plain);
    hp_builder_append(b, "\"", 1);
}
