/* SPDX-License-Identifier: MIT
 *
 * The header lies at the front of the block, so a buffer is one block.
 */
#include <h3pool/buffer.h>

#include "internal.h"

#define BUFFER_MAGIC 0x68704266u /* "hpBf" */

struct hp_buffer *hp_buffer_new(struct hp_byte_pool *pool, size_t cap)
{
    if (cap > SIZE_MAX / 4)
        return NULL;
    struct hp_buffer *buffer = hp_source_get_known(pool, sizeof *buffer + cap);
    if (buffer == NULL)
        return NULL;
    *buffer = (struct hp_buffer){.pool = pool, .refs = 1, .magic = BUFFER_MAGIC, .cap = cap};
    return buffer;
}

static void check(const struct hp_buffer *buffer)
{
    if (HP_UNLIKELY(buffer->magic != BUFFER_MAGIC || buffer->refs == 0))
        hp_die("%p is not a live buffer", (const void *)buffer);
}

struct hp_buffer *hp_buffer_ref(struct hp_buffer *buffer)
{
    check(buffer);
    buffer->refs++;
    return buffer;
}

void hp_buffer_unref(struct hp_buffer *buffer)
{
    if (buffer == NULL)
        return;
    check(buffer);
    if (--buffer->refs != 0)
        return;
    buffer->magic = 0;
    hp_source_put_known(buffer->pool, buffer, sizeof *buffer + buffer->cap);
}
