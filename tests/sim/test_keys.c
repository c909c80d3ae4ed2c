/* SPDX-License-Identifier: MIT
 *
 * What a connection can still do when its TLS object is gone, which it is once the handshake has completed.
 */
#include "sim.h"

#include "test.h"

#include <string.h>

/* TLS messages of RFC 8446 section 4: a type, a length of 3 bytes, and what follows. */
static const uint8_t key_update[] = {24, 0, 0, 1, 0};
static const uint8_t ticket[] = {4, 0, 0, 2, 0, 0};

static struct sim_client *connected(struct sim *sim)
{
    struct sim_client *c = sim_client(sim, "/data/100000", 2, 1);
    c->check_pattern = true;
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    CHECK(!sim_run(sim, sim_never, NS_PER_S)); /* all is acknowledged */
    return c;
}

static void check_more_requests(struct sim *sim, struct sim_client *c)
{
    c->wanted += 5;
    CHECK(sim_run(sim, sim_all_done, 10 * NS_PER_S));
    CHECK_U64(c->complete, c->wanted);
    CHECK_U64(c->failed + c->wrong_bytes, 0);
}

/* RFC 9001 section 6: each update needs keys that the server has made ahead. */
static void test_key_updates(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = connected(sim);
    for (int i = 0; i < 4; i++) {
        CHECK_U64(ngtcp2_conn_initiate_key_update(c->client.quic, sim->now_ns), 0);
        check_more_requests(sim, c);
        CHECK(!sim_run(sim, sim_never, 5 * NS_PER_S)); /* the next update needs this one to be confirmed */
    }
    sim_free(sim);
}

static void check_refused(const uint8_t *message, size_t len)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = connected(sim), *other = connected(sim);
    CHECK_U64(ngtcp2_conn_submit_crypto_data(c->client.quic, NGTCP2_ENCRYPTION_LEVEL_1RTT, message, len), 0);
    c->wanted++; /* so that it sends something */
    CHECK(!sim_run(sim, sim_all_done, 5 * NS_PER_S));
    const ngtcp2_ccerr *error = ngtcp2_conn_get_ccerr(c->client.quic);
    CHECK_U64(error->type, NGTCP2_CCERR_TYPE_TRANSPORT);
    CHECK_U64(error->error_code, NGTCP2_CRYPTO_ERROR | TLS_ALERT_UNEXPECTED_MESSAGE);
    sim_forget(c);
    check_more_requests(sim, other);
    sim_free(sim);
}

/* RFC 9001 sections 4.1.3 and 6. */
static void test_late_tls_messages_close_the_connection(void)
{
    check_refused(key_update, sizeof key_update);
    check_refused(ticket, sizeof ticket);
}

TEST_MAIN(TEST(test_key_updates), TEST(test_late_tls_messages_close_the_connection))
