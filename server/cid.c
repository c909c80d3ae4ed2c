/* SPDX-License-Identifier: MIT
 *
 * Steering needs no table and no server ID inside the connection ID: the client's first ID and those that we issue are
 * hashed alike, by the kernel and by us.
 */
#include "cid.h"

#include <string.h>

uint32_t cid_worker(const struct cid_steering *steering, const uint8_t *cid, size_t len)
{
    uint8_t b[4] = {0};
    memcpy(b, cid, len < 4 ? len : 4);
    uint32_t prefix = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return (prefix * steering->key >> 16) % steering->count;
}

void cid_draw(const struct cid_steering *steering, cid_random random, void *ctx, ngtcp2_cid *out, size_t len)
{
    out->datalen = len;
    random(ctx, out->data, len);
    /* Only the steered bytes are drawn again. */
    while (cid_worker(steering, out->data, len) != steering->worker)
        random(ctx, out->data, 4);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t bucket_of(const struct cid_table *table, const uint8_t *cid, size_t len)
{
    uint64_t word[3] = {0};
    memcpy(word, cid, len);
    uint64_t h = mix(word[0] ^ table->key, word[1] ^ 0x9e3779b97f4a7c15u ^ len);
    return (uint32_t)mix(h ^ table->key, word[2] ^ 0xd6e8feb86659fd93u) & table->mask;
}

int cid_table_init(struct cid_table *table, struct hp_byte_pool *pool, struct hp_object_pool *entries, uint64_t key,
                   uint32_t connections)
{
    uint32_t buckets = 256;
    while (buckets < connections * 2 && buckets < 1u << 20)
        buckets *= 2;
    *table = (struct cid_table){.entries = entries, .pool = pool, .key = key, .mask = buckets - 1};
    table->bucket = hp_byte_pool_get(pool, buckets * sizeof *table->bucket);
    if (table->bucket == NULL)
        return -1;
    memset(table->bucket, 0, buckets * sizeof *table->bucket);
    return 0;
}

void cid_table_fini(struct cid_table *table)
{
    hp_byte_pool_put(table->pool, table->bucket);
    *table = (struct cid_table){0};
}

static struct cid_entry *find(const struct cid_table *table, const uint8_t *cid, size_t len)
{
    struct cid_entry *e = table->bucket[bucket_of(table, cid, len)];
    while (e != NULL && (e->len != len || memcmp(e->id, cid, len) != 0))
        e = e->next;
    return e;
}

struct conn *cid_table_find(const struct cid_table *table, const uint8_t *cid, size_t len)
{
    if (len > NGTCP2_MAX_CIDLEN)
        return NULL;
    const struct cid_entry *e = find(table, cid, len);
    return e != NULL ? e->conn : NULL;
}

int cid_table_add(struct cid_table *table, struct conn *conn, struct cid_entry **mine, const uint8_t *cid, size_t len)
{
    if (len > NGTCP2_MAX_CIDLEN || find(table, cid, len) != NULL)
        return -1;
    struct cid_entry *e = hp_object_pool_get(table->entries);
    if (e == NULL)
        return -1;
    struct cid_entry **bucket = &table->bucket[bucket_of(table, cid, len)];
    *e = (struct cid_entry){.next = *bucket, .next_mine = *mine, .conn = conn, .len = (uint8_t)len};
    memcpy(e->id, cid, len);
    *bucket = *mine = e;
    return 0;
}

static void drop(struct cid_table *table, struct cid_entry *e)
{
    struct cid_entry **at = &table->bucket[bucket_of(table, e->id, e->len)];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    hp_object_pool_put(table->entries, e);
}

void cid_table_remove(struct cid_table *table, struct cid_entry **mine, const uint8_t *cid, size_t len)
{
    for (; *mine != NULL; mine = &(*mine)->next_mine) {
        struct cid_entry *e = *mine;
        if (e->len != len || memcmp(e->id, cid, len) != 0)
            continue;
        *mine = e->next_mine;
        drop(table, e);
        return;
    }
}

void cid_table_remove_all(struct cid_table *table, struct cid_entry **mine)
{
    while (*mine != NULL) {
        struct cid_entry *e = *mine;
        *mine = e->next_mine;
        drop(table, e);
    }
}
