/* SPDX-License-Identifier: MIT
 *
 * Budget, in simulated time: handshakes that wait for their turn, streams by share, and what gives way in each stage. A
 * stage is entered by a ballast: blocks of another pool of the server's manager.
 */
#include "sim.h"

#include "admission.h"
#include "test.h"

#include <string.h>

#define LIMIT (64u << 20)
#define BALLAST_BLOCKS_MAX 1024u
#define BALLAST_BLOCK_BYTES (64u << 10)
/* Of a worker that is one of so many, four connections get the least credit each, and one gets much. */
#define WORKERS (LIMIT / 5 * 3 / (4 * (BUDGET_CONN_BYTES + BUDGET_STREAM_BYTES * BUDGET_STREAMS_MIN)) + 1)

static struct sim *new_sim(unsigned workers, uint64_t limit)
{
    struct sim_settings settings = {
        .max_connections = SIM_CLIENTS_MAX,
        .max_streams = 100,
        .max_body_bytes = 16u << 20,
        .steering = {.key = 1, .count = 1},
        .memory_limit = limit,
        .workers = workers,
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

/* --- the ballast ----------------------------------------------------------------------------------------------------
 */

struct ballast {
    struct hp_byte_pool *pool;
    const struct budget *budget;
    unsigned count;
    void *block[BALLAST_BLOCKS_MAX];
};

static void ballast_init(struct ballast *b, struct sim *sim)
{
    *b = (struct ballast){.budget = &sim->budget};
    b->pool = hp_byte_pool_new(sim->manager, "ballast", 1024, 256u << 10, 0);
    CHECK(b->pool != NULL);
}

static void ballast_enter(struct ballast *b, enum budget_stage stage)
{
    while (budget_stage(b->budget) < stage) {
        CHECK(b->count < BALLAST_BLOCKS_MAX);
        b->block[b->count] = hp_byte_pool_get(b->pool, BALLAST_BLOCK_BYTES);
        CHECK(b->block[b->count] != NULL);
        b->count++;
    }
    CHECK_U64(budget_stage(b->budget), stage);
}

static void ballast_drop(struct ballast *b)
{
    while (b->count > 0)
        hp_byte_pool_put(b->pool, b->block[--b->count]);
    hp_byte_pool_trim(b->pool);
    CHECK_U64(budget_stage(b->budget), BUDGET_FREE);
}

static void ballast_fini(struct ballast *b)
{
    CHECK_U64(b->count, 0);
    hp_byte_pool_free(b->pool);
}

static void check_entered(const struct sim *sim, enum budget_stage highest, unsigned times)
{
    for (unsigned i = BUDGET_TRIM; i < BUDGET_STAGES; i++)
        CHECK_U64(HP_READ(sim->budget.entered[i]), i <= highest ? times : 0);
}

/* --- handshakes -----------------------------------------------------------------------------------------------------
 */

static void count_handshake(void *ctx, const struct conn *c)
{
    *(uint64_t *)ctx += !c->handshake_done;
}

static uint64_t handshakes(const struct sim *sim)
{
    uint64_t count = 0;
    endpoint_each(sim->endpoint, count_handshake, &count);
    return count;
}

static uint64_t handshakes_most;

static bool all_done_few_handshakes(struct sim *sim)
{
    uint64_t now = handshakes(sim);
    handshakes_most = now > handshakes_most ? now : handshakes_most;
    return sim_all_done(sim);
}

/* Sixty clients in the same moment: so many handshakes at a time as the budget has room for, and nobody is lost. */
static void test_burst_takes_turns(void)
{
    struct sim *sim = new_sim(1, 16u << 20);
    uint64_t young_max = budget_handshakes(&sim->budget);
    CHECK_U64(young_max, 16);
    for (unsigned i = 0; i < 60; i++)
        new_client(sim, "/health", 1, 1);
    handshakes_most = 0;
    CHECK(sim_run(sim, all_done_few_handshakes, 5 * NS_PER_S));
    for (unsigned i = 0; i < 60; i++) {
        CHECK_U64(sim->client[i]->complete, 1);
        CHECK_U64(sim->client[i]->last_status, 200);
    }
    CHECK_U64(handshakes_most, young_max);
    CHECK_U64(HP_READ(sim->metrics.connections_accepted), 60);
    CHECK_U64(HP_READ(sim->metrics.handshakes_completed), 60);
    CHECK_U64(HP_READ(sim->metrics.connections_refused), 0);
    CHECK_U64(HP_READ(sim->metrics.datagrams_ignored), 0);
    /* A ClientHello takes two datagrams, and those of all but the first turn waited. */
    CHECK_U64(HP_READ(sim->metrics.initials_waited), 2 * (60 - 8));
    sim_free(sim);
}

/* Whose turn has come goes on with all that he has sent, wherever it stands in the line: nobody has to grow old. */
static void test_datagrams_in_any_order(void)
{
    struct sim *sim = new_sim(1, 16u << 20);
    uint64_t began_ns = sim->now_ns;
    sim->jitter_ns = 5 * NS_PER_MS;
    for (unsigned i = 0; i < 60; i++)
        new_client(sim, "/health", 1, 1);
    CHECK(!sim_run(sim, sim_never, 1)); /* their first packets have left */
    sim->jitter_ns = 0;
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    /* A client whose second datagram came first sends it again, after a second; nobody waits for longer than that. */
    CHECK(sim->now_ns - began_ns < NS_PER_S + 2 * ADMISSION_YOUNG_NS);
    CHECK_U64(HP_READ(sim->metrics.handshakes_completed), 60);
    sim_free(sim);
}

/* Clients that send their first packets and vanish hold an honest one up for as long as they are young. */
static void test_stalled_clients_hold_nobody_up(void)
{
    struct sim *sim = new_sim(1, 16u << 20);
    struct sim_client *stalled[30];
    for (unsigned i = 0; i < 30; i++)
        stalled[i] = new_client(sim, "/health", 0, 1);
    CHECK(!sim_run(sim, sim_never, NS_PER_MS)); /* their packets are on the way */
    for (unsigned i = 0; i < 30; i++)
        stalled[i]->vanished = true;
    CHECK(!sim_run(sim, sim_never, 10 * NS_PER_MS));
    CHECK_U64(handshakes(sim), 16);
    struct sim_client *honest = new_client(sim, "/health", 1, 1);
    CHECK(!sim_run(sim, sim_all_done, 100 * NS_PER_MS)); /* behind them in the line */
    CHECK(!honest->open);
    CHECK(sim_run(sim, sim_all_done, 300 * NS_PER_MS));
    CHECK_U64(honest->complete, 1);
    CHECK_U64(HP_READ(sim->metrics.connections_accepted), 31);
    CHECK(sim_run(sim, sim_no_conns, 60 * NS_PER_S));
    sim_free(sim);
}

/* --- streams --------------------------------------------------------------------------------------------------------
 */

static uint64_t requests_most;

static bool all_done_few_requests(struct sim *sim)
{
    uint64_t now = HP_READ(sim->metrics.requests_active);
    requests_most = now > requests_most ? now : requests_most;
    return sim_all_done(sim);
}

/* The most requests that are in flight at a time while a client makes |count| more. */
static uint64_t most_at_a_time(struct sim *sim, struct sim_client *c, unsigned count)
{
    requests_most = 0;
    c->wanted += count;
    CHECK(sim_run(sim, all_done_few_requests, 60 * NS_PER_S));
    CHECK_U64(c->complete, c->wanted);
    CHECK_U64(c->last_status, 200);
    return requests_most;
}

static void test_streams_are_given_by_share(void)
{
    struct sim *sim = new_sim(WORKERS, LIMIT);
    struct ballast ballast;
    struct sim_client *other[3];
    ballast_init(&ballast, sim);
    for (unsigned i = 0; i < 3; i++)
        other[i] = new_client(sim, "/health", 1, 1);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    struct sim_client *c = new_client(sim, "/data", 0, 32);
    CHECK(!sim_run(sim, sim_never, NS_PER_S));
    most_at_a_time(sim, c, 100); /* of the share of one of three connections: it came as the fourth */
    CHECK_U64(most_at_a_time(sim, c, 320), 8);

    for (unsigned i = 0; i < 3; i++)
        client_close(&other[i]->client);
    CHECK(!sim_run(sim, sim_never, NS_PER_S));
    CHECK_U64(HP_READ(sim->metrics.connections_active), 1);
    CHECK_U64(most_at_a_time(sim, c, 320), 32);

    ballast_enter(&ballast, BUDGET_CREDIT);
    most_at_a_time(sim, c, 320); /* what it has is not taken away, but not renewed */
    CHECK_U64(most_at_a_time(sim, c, 320), 8);
    ballast_drop(&ballast);
    CHECK(most_at_a_time(sim, c, 320) > 8);
    ballast_fini(&ballast);
    sim_free(sim);
}

/* The first credit, in the transport parameters, is a share too. */
static void test_first_credit_is_a_share(void)
{
    struct sim *sim = new_sim(4 * WORKERS, LIMIT);
    struct sim_client *c = new_client(sim, "/data", 0, 32);
    CHECK(!sim_run(sim, sim_never, NS_PER_S));
    CHECK_U64(most_at_a_time(sim, c, 320), 8);
    sim_free(sim);
}

/* --- stages ---------------------------------------------------------------------------------------------------------
 */

/* A transfer in flight to |*busy| and a connection that is idle. */
static void start_two(struct sim *sim, struct sim_client **busy, struct sim_client **idle)
{
    *busy = new_client(sim, "/data/8M", 1, 1);
    *idle = new_client(sim, "/health", 1, 1);
    CHECK(!sim_run(sim, sim_never, 150 * NS_PER_MS));
    CHECK_U64((*idle)->complete, 1);
    CHECK((*busy)->bytes > 0);
    CHECK_U64((*busy)->complete, 0);
}

static void check_whole(const struct sim_client *c)
{
    CHECK_U64(c->complete, 1);
    CHECK_U64(c->last_status, 200);
    CHECK_U64(c->bytes, 8u << 20);
    CHECK_U64(c->wrong_bytes, 0);
}

/* What comes after the ballast is gone is served as ever. */
static void check_served(struct sim *sim)
{
    struct sim_client *c = new_client(sim, "/health", 2, 1);
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    CHECK_U64(c->complete, 2);
    CHECK_U64(c->last_status, 200);
}

static void test_shed_answers_503(void)
{
    struct sim *sim = new_sim(1, LIMIT);
    struct ballast ballast;
    struct sim_client *busy, *other;
    ballast_init(&ballast, sim);
    start_two(sim, &busy, &other);
    struct sim_client *fresh = new_client(sim, "/health", 0, 1);
    CHECK(!sim_run(sim, sim_never, 200 * NS_PER_MS));
    CHECK(fresh->open);
    ballast_enter(&ballast, BUDGET_SHED);
    other->wanted += 5;
    fresh->wanted = 1;
    CHECK(!sim_run(sim, sim_never, 500 * NS_PER_MS));
    CHECK_U64(fresh->complete, 1);
    CHECK_U64(fresh->last_status, 200); /* it was accepted, and has not been served before */
    CHECK_U64(other->complete, 6);
    CHECK_U64(other->last_status, 503);
    CHECK_U64(HP_READ(sim->metrics.requests_shed), 5);
    CHECK_U64(HP_READ(sim->metrics.responses_5xx), 5);
    CHECK_U64(HP_READ(sim->metrics.connections_sent_away), 0);
    CHECK_U64(HP_READ(sim->metrics.connections_active), 3);
    check_entered(sim, BUDGET_SHED, 1);
    ballast_drop(&ballast);
    other->wanted++;
    check_served(sim);
    CHECK_U64(other->last_status, 200);
    check_whole(busy);
    CHECK_U64(HP_READ(sim->metrics.requests_shed), 5);
    ballast_enter(&ballast, BUDGET_SHED);
    check_entered(sim, BUDGET_SHED, 2);
    ballast_drop(&ballast);
    ballast_fini(&ballast);
    sim_free(sim);
}

static bool one_has_left(struct sim *sim)
{
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->client[i]->client.end != CLIENT_END_NONE)
            return true;
    return false;
}

static void test_goaway_sends_idle_ones_away(void)
{
    struct sim *sim = new_sim(1, LIMIT);
    struct ballast ballast;
    struct sim_client *busy, *idle;
    ballast_init(&ballast, sim);
    start_two(sim, &busy, &idle);
    ballast_enter(&ballast, BUDGET_GOAWAY);
    CHECK(!sim_run(sim, sim_never, CONN_QUIET_NS / 2));
    CHECK_U64(idle->client.end, CLIENT_END_NONE); /* not for long enough */
    CHECK(sim_run(sim, one_has_left, CONN_QUIET_NS));
    CHECK_U64(idle->client.end, CLIENT_END_PEER);
    CHECK_U64(ngtcp2_conn_get_ccerr(idle->client.quic)->error_code, NGHTTP3_H3_NO_ERROR);
    CHECK_U64(busy->client.end, CLIENT_END_NONE);
    CHECK_U64(busy->complete, 0);
    CHECK_U64(HP_READ(sim->metrics.connections_sent_away), 1);
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    check_whole(busy);
    CHECK(sim_run(sim, sim_no_conns, CONN_QUIET_NS + 2 * NS_PER_S)); /* idle by now, too */
    CHECK_U64(HP_READ(sim->metrics.connections_sent_away), 2);
    CHECK_U64(HP_READ(sim->metrics.connections_refused), 0);
    check_entered(sim, BUDGET_GOAWAY, 1);
    ballast_drop(&ballast);
    check_served(sim);
    ballast_fini(&ballast);
    sim_free(sim);
}

/* As many as it takes, which is one at a time of a worker that is one of many; those first that came first. */
static void test_goaway_takes_turns(void)
{
    struct sim *sim = new_sim(64, LIMIT);
    struct ballast ballast;
    ballast_init(&ballast, sim);
    for (unsigned i = 0; i < 3; i++) {
        new_client(sim, "/health", 1, 1);
        CHECK(sim_run(sim, sim_all_done, NS_PER_S));
    }
    ballast_enter(&ballast, BUDGET_GOAWAY);
    CHECK(sim_run(sim, one_has_left, CONN_QUIET_NS + NS_PER_S));
    CHECK_U64(sim->client[0]->client.end, CLIENT_END_PEER);
    CHECK_U64(HP_READ(sim->metrics.connections_sent_away), 1);
    CHECK(sim_run(sim, sim_no_conns, 5 * NS_PER_S));
    CHECK_U64(HP_READ(sim->metrics.connections_sent_away), 3);
    ballast_drop(&ballast);
    ballast_fini(&ballast);
    sim_free(sim);
}

/* Who connects in that stage is let in, and has time for his first request before he is sent away. */
static void test_goaway_lets_handshakes_complete(void)
{
    struct sim *sim = new_sim(1, LIMIT);
    struct ballast ballast;
    ballast_init(&ballast, sim);
    ballast_enter(&ballast, BUDGET_GOAWAY);
    struct sim_client *c = new_client(sim, "/health", 1, 1);
    CHECK(sim_run(sim, sim_all_done, 2 * NS_PER_S));
    CHECK_U64(c->complete, 1);
    CHECK_U64(c->last_status, 200);
    CHECK(sim_run(sim, sim_no_conns, CONN_QUIET_NS + 2 * NS_PER_S));
    CHECK_U64(HP_READ(sim->metrics.connections_sent_away), 1);
    ballast_drop(&ballast);
    check_served(sim);
    ballast_fini(&ballast);
    sim_free(sim);
}

static bool some_wait(struct sim *sim)
{
    return HP_READ(sim->metrics.initials_waited) >= 2 * 40;
}

static void test_refuse_refuses_new_ones(void)
{
    struct sim *sim = new_sim(1, LIMIT);
    struct ballast ballast;
    struct sim_client *busy, *idle;
    ballast_init(&ballast, sim);
    start_two(sim, &busy, &idle);
    ballast_enter(&ballast, BUDGET_REFUSE);
    struct sim_client *late = new_client(sim, "/health", 0, 1);
    CHECK(!sim_run(sim, sim_never, 200 * NS_PER_MS));
    CHECK(!late->open);
    CHECK_U64(late->client.end, CLIENT_END_REFUSED);
    CHECK_U64(HP_READ(sim->metrics.connections_accepted), 2);
    CHECK_U64(HP_READ(sim->metrics.connections_refused), 2); /* its Initials */
    CHECK_U64(busy->complete, 0);
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    check_whole(busy);
    check_entered(sim, BUDGET_REFUSE, 1);
    ballast_drop(&ballast);
    check_served(sim);
    CHECK_U64(HP_READ(sim->metrics.connections_refused), 2);
    ballast_fini(&ballast);
    sim_free(sim);
}

/* Those in line too are told at once, long before they send their first packets again; who was accepted is served. */
static void test_refuse_answers_the_line(void)
{
    struct sim *sim = new_sim(1, LIMIT);
    struct ballast ballast;
    unsigned served = 0, refused = 0;
    ballast_init(&ballast, sim);
    for (unsigned i = 0; i < 60; i++)
        new_client(sim, "/health", 1, 1);
    CHECK(sim_run(sim, some_wait, NS_PER_S));
    ballast_enter(&ballast, BUDGET_REFUSE);
    CHECK(!sim_run(sim, sim_never, 300 * NS_PER_MS));
    for (unsigned i = 0; i < 60; i++) {
        served += sim->client[i]->complete == 1 && sim->client[i]->last_status == 200;
        refused += sim->client[i]->client.end == CLIENT_END_REFUSED;
    }
    CHECK(served > 0);
    CHECK(refused > 16); /* more than a turn has answers for */
    CHECK_U64(served + refused, 60);
    CHECK_U64(HP_READ(sim->metrics.connections_accepted), served);
    ballast_drop(&ballast);
    ballast_fini(&ballast);
    sim_free(sim);
}

TEST_MAIN(TEST(test_burst_takes_turns), TEST(test_datagrams_in_any_order), TEST(test_stalled_clients_hold_nobody_up),
          TEST(test_streams_are_given_by_share), TEST(test_first_credit_is_a_share), TEST(test_shed_answers_503),
          TEST(test_goaway_sends_idle_ones_away), TEST(test_goaway_takes_turns),
          TEST(test_goaway_lets_handshakes_complete), TEST(test_refuse_refuses_new_ones),
          TEST(test_refuse_answers_the_line))
