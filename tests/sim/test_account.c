/* SPDX-License-Identifier: MIT
 *
 * The account of a connection, in simulated time: that it is what the pools gave, what falls when, and that who is
 * beyond --connection-memory-limit is closed, alone.
 */
#include "sim.h"

#include "test.h"

#include <string.h>

#define ACCOUNT_MAX (768u << 10)
#define CLIENTS 32u

static struct sim *new_sim(uint64_t memory_limit, uint64_t connection_bytes_max)
{
    struct sim_settings settings = {
        .max_connections = SIM_CLIENTS_MAX,
        .max_streams = 100,
        .max_body_bytes = 16u << 20,
        .steering = {.key = 1, .count = 1},
        .memory_limit = memory_limit,
        .connection_bytes_max = connection_bytes_max,
    };
    return sim_new(&settings);
}

static struct sim_client *new_client(struct sim *sim, const char *path, unsigned wanted, unsigned parallel)
{
    struct sim_client *c = sim_client(sim, path, wanted, parallel);
    c->check_pattern = strncmp(path, "/data/", 6) == 0;
    sim_connect(c);
    return c;
}

struct sums {
    uint64_t connections, heaps, accounts, most;
};

static void add_conn(void *ctx, const struct conn *c)
{
    struct sums *s = ctx;
    uint64_t account = conn_account(c);
    s->connections++;
    s->heaps += hp_heap_held(&c->heap);
    s->accounts += account;
    s->most = account > s->most ? account : s->most;
}

static struct sums sums_of(const struct sim *sim)
{
    struct sums s = {0};
    endpoint_each(sim->endpoint, add_conn, &s);
    return s;
}

static uint64_t live_bytes(const struct hp_byte_pool *pool)
{
    struct hp_counters counters;
    hp_byte_pool_counters(pool, &counters);
    return counters.live_bytes;
}

/* What is live in the endpoint's pools. */
static uint64_t live_of_all(const struct sim *sim)
{
    const struct endpoint_pools *p = &sim->pools;
    return live_bytes(p->data) + live_bytes(p->heap) + live_bytes(p->conn.blocks) + live_bytes(p->cid.blocks) +
           live_bytes(p->request.blocks);
}

/* For an object an account counts its size class; the pass-through build has what malloc gives for it instead. */
static void check_sum(uint64_t accounts, uint64_t live)
{
    if (strcmp(hp_build_name(), "pooled") == 0)
        CHECK_U64(accounts, live);
    CHECK(accounts > live / 8 * 7 && accounts < live / 8 * 9);
}

static uint64_t moments;
static struct {
    bool waiting, requests;
} seen;

/* At every moment the heaps hold what their pool has given, and the accounts what all pools have. */
static bool accounts_agree(struct sim *sim)
{
    struct endpoint_accounts a;
    struct sums s = sums_of(sim);
    CHECK_U64(s.heaps, live_bytes(sim->pools.heap));
    endpoint_accounts(sim->endpoint, &a);
    CHECK_U64(a.connections + a.tls, s.accounts);
    check_sum(a.connections + a.waiting + a.tables, live_of_all(sim));
    seen.waiting |= a.waiting != 0;
    seen.requests |= HP_READ(sim->metrics.requests_active) != 0;
    CHECK_U64(s.connections, HP_READ(sim->metrics.connections_active));
    moments++;
    return false;
}

static bool no_conns_and_accounts_agree(struct sim *sim)
{
    return accounts_agree(sim) || sim_no_conns(sim);
}

static void test_heaps_add_up(void)
{
    static const char *const paths[] = {"/data", "/health", "/data/1M", "/data?items=2000"};
    struct sim *sim = new_sim(32u << 20, 0); /* some wait for their handshake */
    sim->loss_percent = 2;
    sim->jitter_ns = 5 * NS_PER_MS;
    for (unsigned i = 0; i < CLIENTS; i++)
        new_client(sim, paths[i % 4], 6, 1 + i % 12);
    moments = 0;
    CHECK(!sim_run(sim, accounts_agree, 5 * NS_PER_S));
    for (unsigned i = 0; i < CLIENTS; i += 2)
        client_close(&sim->client[i]->client);
    CHECK(sim_run(sim, no_conns_and_accounts_agree, 600 * NS_PER_S)); /* the others by their idle timeout */
    CHECK(moments > 1000 && seen.waiting && seen.requests);
    CHECK_U64(sums_of(sim).accounts, 0);
    CHECK_U64(live_bytes(sim->pools.heap), 0);
    sim_free(sim);
}

static bool one_open(struct sim *sim)
{
    return sim->client[0]->open;
}

/* What OpenSSL holds is counted while it does, and no longer. */
static void test_account_falls_with_tls(void)
{
    struct sim *sim = new_sim(0, 0);
    struct sim_client *c = new_client(sim, "/health", 0, 1);
    CHECK(!sim_run(sim, sim_never, 15 * NS_PER_MS)); /* the server's flight is on its way, the client's is not */
    struct sums during = sums_of(sim);
    CHECK_U64(during.connections, 1);
    CHECK(during.accounts > during.heaps + (80u << 10));
    CHECK(sim_run(sim, one_open, NS_PER_S));
    c->wanted = 1;
    CHECK(sim_run(sim, sim_all_done, NS_PER_S));
    CHECK(!sim_run(sim, sim_never, NS_PER_S));
    struct sums idle = sums_of(sim);
    CHECK(idle.accounts + (48u << 10) < during.accounts);
    /* What the budget counts for one; a sanitizer's blocks, which stand alone, are larger. */
    CHECK(idle.accounts <= BUDGET_CONN_BYTES / 4 * 5);
    client_close(&c->client);
    CHECK(sim_run(sim, sim_no_conns, 5 * NS_PER_S));
    CHECK_U64(live_bytes(sim->pools.heap), 0);
    sim_free(sim);
}

static bool first_closed(struct sim *sim)
{
    CHECK(sums_of(sim).most <= ACCOUNT_MAX + (512u << 10)); /* between two looks it can't grow for ever */
    return sim->client[0]->client.state == CLIENT_DEAD;
}

/* Who asks for much and acknowledges nothing is closed; the connection beside it does not notice. */
static void test_too_large_is_closed(void)
{
    struct sim *sim = new_sim(0, ACCOUNT_MAX);
    struct sim_client *greedy = new_client(sim, "/data?items=100000", 0, 96);
    struct sim_client *other = new_client(sim, "/data/8M", 0, 1);
    CHECK(!sim_run(sim, sim_never, 200 * NS_PER_MS));
    other->wanted = 1;
    greedy->wanted = 96;
    CHECK(!sim_run(sim, sim_never, 110 * NS_PER_MS)); /* its window has grown */
    greedy->mute = true;
    CHECK(sim_run(sim, first_closed, 20 * NS_PER_S));
    CHECK_U64(greedy->client.end, CLIENT_END_PEER);
    const ngtcp2_ccerr *error = ngtcp2_conn_get_ccerr(greedy->client.quic);
    CHECK_U64(error->type, NGTCP2_CCERR_TYPE_APPLICATION);
    CHECK_U64(error->error_code, NGHTTP3_H3_EXCESSIVE_LOAD);
    CHECK_U64(HP_READ(sim->metrics.connections_too_large), 1);
    greedy->wanted = 0; /* and is not waited for */
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    CHECK_U64(other->complete, 1);
    CHECK_U64(other->bytes, 8u << 20);
    CHECK_U64(other->wrong_bytes, 0);
    CHECK_U64(other->client.end, CLIENT_END_NONE);
    client_close(&other->client);
    CHECK(sim_run(sim, sim_no_conns, 60 * NS_PER_S));
    CHECK_U64(sums_of(sim).connections, 0);
    CHECK_U64(live_bytes(sim->pools.heap), 0);
    sim_free(sim);
}

/* Without the limit the same client costs more than it: what the test above tests is the limit. */
static void test_too_large_without_a_limit(void)
{
    struct sim *sim = new_sim(0, 0);
    struct sim_client *greedy = new_client(sim, "/data?items=100000", 0, 96);
    CHECK(!sim_run(sim, sim_never, 200 * NS_PER_MS));
    greedy->wanted = 96;
    CHECK(!sim_run(sim, sim_never, 110 * NS_PER_MS));
    greedy->mute = true;
    CHECK(!sim_run(sim, sim_never, 5 * NS_PER_S));
    CHECK(sums_of(sim).most > ACCOUNT_MAX);
    CHECK_U64(HP_READ(sim->metrics.connections_too_large), 0);
    greedy->vanished = true;
    CHECK(sim_run(sim, sim_no_conns, 120 * NS_PER_S));
    sim_free(sim);
}

TEST_MAIN(TEST(test_heaps_add_up), TEST(test_account_falls_with_tls), TEST(test_too_large_without_a_limit),
          TEST(test_too_large_is_closed))
