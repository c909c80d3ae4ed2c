/* SPDX-License-Identifier: MIT
 *
 * 4. Slice leaks. A body of BODY_BYTES arrives in a ref-counted buffer; its first PREFIX_BYTES are remembered for the
 * last VIEWS bodies, and the body itself is done with.
 *
 * bad: a view into the buffer, which holds a reference, as views must: it pins all of it. good: a copy of the bytes,
 * and the buffer goes back. Both use the same library; what differs is what stays live, as the pools count it.
 */
#include "strategies.h"

#include <h3pool/buffer.h>
#include <string.h>

#define BODY_BYTES (64u << 10)
#define PREFIX_BYTES 10u /* the guide's */
#define VIEWS 64u
#define POOL_BAD "4-bad"
#define POOL_GOOD "4-good"

struct view {
    struct hp_buffer *owner; /* a reference */
    const uint8_t *bytes;
    size_t len;
};

struct copy {
    uint8_t *bytes; /* a block */
    size_t len;
};

static struct hp_byte_pool *bad_pool, *good_pool;
static struct view views[VIEWS];
static struct copy copies[VIEWS];

static struct hp_buffer *receive(struct hp_byte_pool *pool, uint64_t i)
{
    struct hp_buffer *body = hp_buffer_new(pool, BODY_BYTES);
    require(body != NULL, "no memory");
    memset(body->data, (int)(i & 255), BODY_BYTES);
    body->len = BODY_BYTES;
    bench_use(body->data);
    return body;
}

static void run_bad(struct bench *b, uint64_t iterations)
{
    for (uint64_t i = 0; i < iterations; i++) {
        struct hp_buffer *body = receive(bad_pool, i);
        struct view *v = &views[i % VIEWS];
        hp_buffer_unref(v->owner);
        *v = (struct view){.owner = hp_buffer_ref(body), .bytes = body->data, .len = PREFIX_BYTES};
        bench_use(v);
        hp_buffer_unref(body);
    }
    report_live(b, POOL_BAD, "B/retained");
}

static void run_good(struct bench *b, uint64_t iterations)
{
    for (uint64_t i = 0; i < iterations; i++) {
        struct hp_buffer *body = receive(good_pool, i);
        struct copy *c = &copies[i % VIEWS];
        hp_byte_pool_put(good_pool, c->bytes);
        *c = (struct copy){.bytes = hp_byte_pool_get(good_pool, PREFIX_BYTES), .len = PREFIX_BYTES};
        require(c->bytes != NULL, "no memory");
        memcpy(c->bytes, body->data, PREFIX_BYTES);
        bench_use(c->bytes);
        hp_buffer_unref(body);
    }
    report_live(b, POOL_GOOD, "B/retained");
}

static void open_pools(struct hp_pool_manager *manager)
{
    bad_pool = hp_byte_pool_new(manager, POOL_BAD, 16, 2 * BODY_BYTES, 0);
    good_pool = hp_byte_pool_new(manager, POOL_GOOD, 16, 2 * BODY_BYTES, 0);
    require(bad_pool != NULL && good_pool != NULL, "no memory");
}

static void close_pools(void)
{
    for (unsigned i = 0; i < VIEWS; i++) {
        hp_buffer_unref(views[i].owner);
        hp_byte_pool_put(good_pool, copies[i].bytes);
    }
    hp_byte_pool_free(bad_pool);
    hp_byte_pool_free(good_pool);
}

const struct strategy strategy_views = {
    .title = "no slice leaks",
    .slug = "4-slice-leaks",
    .open = open_pools,
    .close = close_pools,
    .run = {[FORM_BAD] = run_bad, [FORM_GOOD] = run_good},
    .claim = CLAIM_LESS,
    .claim_text = "less is kept (no figure)",
    .by_metric = true,
};
