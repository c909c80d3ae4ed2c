/* SPDX-License-Identifier: MIT
 *
 * 7. Request context. Requests belong to sessions, which are in a store. IN_FLIGHT requests are alive at any time; an
 * operation answers the oldest, for which it looks at its session, and begins the next.
 *
 * bad: the context has a copy of the session, so that it can't change or vanish under the request. good: it has the
 * session's ID, which the store resolves when the session is needed, or not when it has gone; that the handler must
 * bear. The store is there in both forms, and both have their contexts from object pools: what differs is the bytes.
 * The guide's store has a lock; here a store, like everything else, belongs to one worker.
 */
#include "strategies.h"

#include <h3pool/object_pool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT 64u
#define SESSIONS 256u /* a power of two, below 64 Ki */
#define POOL_BAD "7-bad"
#define POOL_GOOD "7-good"

struct session {
    uint32_t id; /* place in the store, and above it how often the place has been taken: an old ID finds nothing */
    char user[64];
    char roles[16][32];
    char settings[48][64];
};

struct copied_context {
    uint64_t request;
    struct session session;
};
HP_OBJECT_POOL(copied, struct copied_context)

struct id_context {
    uint64_t request;
    uint32_t session_id;
};
HP_OBJECT_POOL(by_id, struct id_context)

static struct session *store;
static struct hp_object_pool bad_pool, good_pool;
static struct copied_context *bad[IN_FLIGHT];
static struct id_context *good[IN_FLIGHT];

/* --- what both forms do ---------------------------------------------------------------------------------------------
 */

/* The session, or NULL when it has ended. */
static const struct session *store_get(uint32_t id)
{
    const struct session *s = &store[id % SESSIONS];
    return s->id == id ? s : NULL;
}

/* The ID that a request comes with. */
static uint32_t session_of(uint64_t request)
{
    return store[request * 7 % SESSIONS].id;
}

static void answer(const struct session *s)
{
    char first = (char)(s->roles[0][0] ^ s->settings[0][0]);
    bench_use(&first);
}

/* --- bad ------------------------------------------------------------------------------------------------------------
 */

static void run_bad(struct bench *b, uint64_t iterations)
{
    for (uint64_t i = 0; i < iterations; i++) {
        struct copied_context **slot = &bad[i % IN_FLIGHT];
        if (*slot != NULL) {
            answer(&(*slot)->session);
            copied_put(&bad_pool, *slot);
        }
        const struct session *s = store_get(session_of(i));
        *slot = copied_get(&bad_pool);
        require(*slot != NULL && s != NULL, "no memory");
        (*slot)->request = i;
        (*slot)->session = *s;
        bench_use(*slot);
    }
    report_live(b, POOL_BAD, "B/request");
}

/* --- good -----------------------------------------------------------------------------------------------------------
 */

static void run_good(struct bench *b, uint64_t iterations)
{
    for (uint64_t i = 0; i < iterations; i++) {
        struct id_context **slot = &good[i % IN_FLIGHT];
        if (*slot != NULL) {
            const struct session *s = store_get((*slot)->session_id);
            if (s != NULL)
                answer(s);
            by_id_put(&good_pool, *slot);
        }
        *slot = by_id_get(&good_pool);
        require(*slot != NULL, "no memory");
        **slot = (struct id_context){.request = i, .session_id = session_of(i)};
        bench_use(*slot);
    }
    report_live(b, POOL_GOOD, "B/request");
}

/* --------------------------------------------------------------------------------------------------------------------
 */

static void open_store(struct hp_pool_manager *manager)
{
    store = calloc(SESSIONS, sizeof *store);
    require(store != NULL, "no memory");
    for (uint32_t i = 0; i < SESSIONS; i++) {
        store[i].id = i | 1u << 16;
        snprintf(store[i].user, sizeof store[i].user, "user%u", i);
        strcpy(store[i].roles[0], "reader");
        strcpy(store[i].settings[0], "language=en");
    }
    int rv = hp_object_pool_init(&bad_pool, manager, POOL_BAD, sizeof(struct copied_context), IN_FLIGHT, NULL);
    if (rv == 0)
        rv = hp_object_pool_init(&good_pool, manager, POOL_GOOD, sizeof(struct id_context), IN_FLIGHT, NULL);
    require(rv == 0, "no memory");
}

static void close_store(void)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        if (bad[i] != NULL)
            copied_put(&bad_pool, bad[i]);
        if (good[i] != NULL)
            by_id_put(&good_pool, good[i]);
    }
    hp_object_pool_fini(&bad_pool);
    hp_object_pool_fini(&good_pool);
    free(store);
}

const struct strategy strategy_context = {
    .title = "ID in the context",
    .slug = "7-request-context",
    .open = open_store,
    .close = close_store,
    .run = {[FORM_BAD] = run_bad, [FORM_GOOD] = run_good},
    .claim = CLAIM_LESS,
    .claim_text = "less per request (no figure)",
    .by_metric = true,
};
