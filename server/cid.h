/* SPDX-License-Identifier: MIT
 *
 * Connection IDs (RFC 9000 section 5.1): which worker one belongs to, drawing ones of our own, and the table that
 * leads from one to its connection.
 */
#ifndef SERVER_CID_H
#define SERVER_CID_H

#include <h3pool/object_pool.h>
#include <ngtcp2/ngtcp2.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the IDs that we issue. */
#define CID_LEN 12u

/* How datagrams are spread over workers. */
struct cid_steering {
    uint32_t key;    /* odd, secret */
    uint32_t count;  /* workers */
    uint32_t worker; /* this one */
};

/* The worker of an ID: a keyed hash of its first four bytes (0 stands in for missing ones). udp_steer() makes the
 * kernel compute the same. */
uint32_t cid_worker(const struct cid_steering *steering, const uint8_t *cid, size_t len);

/* A source of random bytes. */
typedef void (*cid_random)(void *ctx, void *bytes, size_t len);

/* Draws an ID of |len| bytes (at least 4) that is steered to this worker; takes as many draws as there are workers, on
 * average. */
void cid_draw(const struct cid_steering *steering, cid_random random, void *ctx, ngtcp2_cid *out, size_t len);

struct conn;

struct cid_entry {
    struct cid_entry *next;      /* in the bucket */
    struct cid_entry *next_mine; /* of the same connection */
    struct conn *conn;
    uint8_t len;
    uint8_t id[NGTCP2_MAX_CIDLEN];
};

/* Chained hash table, keyed, so that a client that chooses its first ID can't make one bucket long. */
struct cid_table {
    struct hp_object_pool *entries;
    struct hp_byte_pool *pool;
    struct cid_entry **bucket;
    uint64_t key;
    uint32_t mask;
};

/* Makes a table for about |connections|. Returns 0, or -1 without memory. */
int cid_table_init(struct cid_table *table, struct hp_byte_pool *pool, struct hp_object_pool *entries, uint64_t key,
                   uint32_t connections) __attribute__((warn_unused_result));
void cid_table_fini(struct cid_table *table);

/* The connection of an ID, or NULL. */
struct conn *cid_table_find(const struct cid_table *table, const uint8_t *cid, size_t len);
/* Adds an ID to |conn| and to its list |mine|. Returns 0, or -1 without memory or when the ID is taken. */
int cid_table_add(struct cid_table *table, struct conn *conn, struct cid_entry **mine, const uint8_t *cid, size_t len)
    __attribute__((warn_unused_result));
/* Removes one ID of a connection; an unknown one is ignored. */
void cid_table_remove(struct cid_table *table, struct cid_entry **mine, const uint8_t *cid, size_t len);
/* Removes all IDs of a connection. */
void cid_table_remove_all(struct cid_table *table, struct cid_entry **mine);

#endif
