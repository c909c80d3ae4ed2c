/* SPDX-License-Identifier: MIT
 *
 * Handshake, requests, loss, timeouts, limits and drain in simulated time.
 */
#include "sim.h"

#include "handlers/crc32c.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_complete(const struct sim_client *c, unsigned status)
{
    CHECK_U64(c->complete, c->wanted);
    CHECK_U64(c->failed, 0);
    CHECK_U64(c->last_status, status);
    CHECK_U64(c->wrong_bytes, 0);
}

static void test_handshake_and_request(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    check_complete(c, 200);
    CHECK(strstr(c->last_body, "\"status\":\"healthy\"") != NULL);
    /* Two round trips of 20 ms: handshake, request. */
    CHECK(sim->now_ns - c->client.started_ns < 60 * NS_PER_MS);
    CHECK_U64(HP_READ(sim->metrics.handshakes_completed), 1);
    sim_free(sim);
}

static void test_many_requests(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/data", 1000, 64);
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    check_complete(c, 200);
    sim_free(sim);
}

/* Acknowledgements ride on responses: a request and its response cost the server one packet, not two. */
static void test_acknowledgements_ride_on_responses(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    CHECK(!sim_run(sim, sim_never, 5 * NS_PER_S));
    uint64_t before = HP_READ(sim->metrics.sends), sent_before = HP_READ(sim->metrics.bytes_sent);
    c->wanted = 51;
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    check_complete(c, 200);
    CHECK(HP_READ(sim->metrics.sends) - before <= 60);
    CHECK(HP_READ(sim->metrics.bytes_sent) - sent_before < 50 * 400); /* and is not padded to full size */
    sim_free(sim);
}

static void test_large_download_and_pieces(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/data/20M", 1, 1), *d = sim_client(sim, "/data?items=50000", 1, 1);
    c->check_pattern = true;
    sim_connect(c);
    sim_connect(d);
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    check_complete(c, 200);
    check_complete(d, 200);
    CHECK_U64(c->bytes, 20u << 20);
    CHECK(d->bytes > 2000000);
    sim_free(sim);
}

static void test_ten_percent_loss(void)
{
    /* About one handshake in a thousand needs more than the usual 10 s at this loss: its retransmissions back off. */
    struct sim_settings settings = {
        .max_connections = 8,
        .max_streams = 100,
        .max_body_bytes = 16u << 20,
        .handshake_timeout_ns = 60 * NS_PER_S,
        .steering = {.key = 1, .count = 1},
    };
    struct sim *sim = sim_new(&settings);
    size_t len = 300000;
    uint8_t *upload = malloc(len);
    CHECK(upload != NULL);
    for (size_t i = 0; i < len; i++)
        upload[i] = (uint8_t)test_random(256);
    char expected[64];
    snprintf(expected, sizeof expected, "{\"bytes\":%zu,\"crc32c\":\"%08x\"}\n", len, crc32c(0, upload, len));
    sim->loss_percent = 10;
    sim->jitter_ns = 5 * NS_PER_MS;
    for (unsigned i = 0; i < 8; i++) {
        struct sim_client *c = sim_client(sim, i % 2 ? "/data" : "/data/1M", 3, 2);
        c->check_pattern = i % 2 == 0;
        c->method = i % 2 ? "POST" : "GET";
        c->upload = i % 2 ? upload : NULL;
        c->upload_len = i % 2 ? len : 0;
        sim_connect(c);
    }
    CHECK(sim_run(sim, sim_all_done, 600 * NS_PER_S));
    for (unsigned i = 0; i < 8; i++) {
        check_complete(sim->client[i], 200);
        if (i % 2)
            CHECK_STR(sim->client[i]->last_body, expected);
    }
    CHECK(sim->lost > sim->delivered / 20); /* packets were lost indeed */
    free(upload);
    sim_free(sim);
}

static void test_blackout(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/data/8M", 1, 1);
    c->check_pattern = true;
    sim->dark_from_ns = sim->now_ns + 200 * NS_PER_MS;
    sim->dark_until_ns = sim->dark_from_ns + 4 * NS_PER_S;
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    check_complete(c, 200);
    CHECK(sim->lost > 0);
    sim_free(sim);
}

/* A client that takes nothing and acknowledges nothing pins a bounded amount. */
static void test_silent_client_costs_little(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/data?items=100000", 20, 20);
    struct hp_counters data;
    sim_connect(c);
    CHECK(!sim_run(sim, sim_never, 200 * NS_PER_MS));
    CHECK(c->bytes > 0);
    c->vanished = true;
    CHECK(!sim_run(sim, sim_never, 5 * NS_PER_S));
    hp_byte_pool_counters(sim->pools.data, &data);
    /* 20 streams with 8 pieces of 16 KiB at most, and the endpoint's own. */
    CHECK(data.live_bytes < 20u * 9 * (18u << 10) + (1u << 20));
    CHECK(sim_run(sim, sim_no_conns, 60 * NS_PER_S)); /* the idle timeout ends it */
    sim_free(sim);
}

static void test_timeouts(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *half = sim_client(sim, "/health", 0, 0), *idle = sim_client(sim, "/health", 1, 1);
    sim_connect(half);
    sim_connect(idle);
    CHECK(!sim_run(sim, sim_never, 15 * NS_PER_MS)); /* the first flight has arrived, the second is on its way */
    half->vanished = true;
    CHECK(sim_run(sim, sim_all_done, 1 * NS_PER_S));
    idle->vanished = true;
    CHECK_U64(HP_READ(sim->metrics.connections_active), 2);
    CHECK(!sim_run(sim, sim_no_conns, 5 * NS_PER_S));
    CHECK(!sim_run(sim, sim_no_conns, 6 * NS_PER_S));
    CHECK_U64(HP_READ(sim->metrics.connections_active), 1); /* handshake timeout: 10 s */
    CHECK(sim_run(sim, sim_no_conns, 25 * NS_PER_S));       /* idle timeout: 30 s */
    sim_free(sim);
}

static void test_drain_finishes_what_is_in_flight(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *busy = sim_client(sim, "/data/4M", 4, 4), *idle = sim_client(sim, "/health", 1, 1);
    busy->check_pattern = true;
    sim_connect(busy);
    sim_connect(idle);
    CHECK(!sim_run(sim, sim_never, 150 * NS_PER_MS));
    CHECK_U64(idle->complete, 1);
    CHECK_U64(busy->complete, 0);
    endpoint_drain(sim->endpoint, sim->now_ns);
    CHECK(!endpoint_idle(sim->endpoint));
    CHECK(!sim_run(sim, sim_never, 1 * NS_PER_S));
    CHECK_U64(idle->client.end, CLIENT_END_PEER); /* had nothing in flight */
    CHECK(sim_run(sim, sim_no_conns, 30 * NS_PER_S));
    check_complete(busy, 200);
    CHECK(endpoint_idle(sim->endpoint));
    struct sim_client *late = sim_client(sim, "/health", 1, 1);
    sim_connect(late);
    CHECK(!sim_run(sim, sim_never, 1 * NS_PER_S));
    CHECK(!late->open);
    CHECK_U64(late->client.end, CLIENT_END_REFUSED); /* refused, not ignored */
    sim_free(sim);
}

static void test_drain_does_not_wait_for_handshakes(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *half = sim_client(sim, "/health", 0, 0);
    sim_connect(half);
    CHECK(!sim_run(sim, sim_never, 15 * NS_PER_MS));
    half->vanished = true;
    CHECK(!endpoint_idle(sim->endpoint));
    endpoint_drain(sim->endpoint, sim->now_ns);
    CHECK(!sim_run(sim, sim_never, 1 * NS_PER_MS));
    CHECK(endpoint_idle(sim->endpoint));
    sim_free(sim);
}

static void test_connection_limit_refuses(void)
{
    struct sim_settings settings = {
        .max_connections = 2,
        .max_streams = 10,
        .max_body_bytes = 1000,
        .steering = {.key = 1, .count = 1},
    };
    struct sim *sim = sim_new(&settings);
    struct sim_client *c[3];
    for (unsigned i = 0; i < 3; i++) {
        c[i] = sim_client(sim, "/health", i < 2, 1);
        sim_connect(c[i]);
    }
    CHECK(!sim_run(sim, sim_never, 1 * NS_PER_S));
    check_complete(c[0], 200);
    check_complete(c[1], 200);
    CHECK(!c[2]->open);
    CHECK_U64(c[2]->client.end, CLIENT_END_REFUSED);
    CHECK_U64(HP_READ(sim->metrics.connections_refused), 2); /* Initials: a ClientHello with ML-KEM takes two */
    sim_free(sim);
}

/* An upload that its client resets is gone at once: request, stream and credit; a drain does not wait for it. */
static void test_reset_uploads_leave_nothing(void)
{
    struct sim_settings settings = {
        .max_connections = 1,
        .max_streams = 10,
        .max_body_bytes = 16u << 20,
        .steering = {.key = 1, .count = 1},
    };
    struct sim *sim = sim_new(&settings);
    uint8_t *upload = calloc(1, 4u << 20);
    struct sim_client *c = sim_client(sim, "/data", 0, 8);
    c->method = "POST";
    c->upload = upload;
    c->upload_len = 4u << 20;
    sim_connect(c);
    for (unsigned round = 0; round < 10; round++) { /* many times the allowance of streams */
        c->wanted += 8;
        CHECK(!sim_run(sim, sim_never, 60 * NS_PER_MS));
        CHECK(c->submitted == c->wanted);
        for (struct client_request *r = c->client.requests; r != NULL; r = r->next)
            ngtcp2_conn_shutdown_stream_write(c->client.quic, 0, r->stream_id, NGHTTP3_H3_REQUEST_CANCELLED);
        CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
        CHECK(!sim_run(sim, sim_never, 200 * NS_PER_MS));
        CHECK_U64(HP_READ(sim->metrics.requests_active), 0);
    }
    CHECK_U64(c->complete, 0);
    endpoint_drain(sim->endpoint, sim->now_ns);
    CHECK(sim_run(sim, sim_no_conns, 2 * NS_PER_S));
    free(upload);
    sim_free(sim);
}

/* A copy of a client's first packet that comes late begins no second connection. */
static void test_late_initials_begin_nothing(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    CHECK(sim->first_len >= 1200);
    for (unsigned i = 0; i < 3; i++)
        sim_inject(sim, sim->first, sim->first_len);
    CHECK(!sim_run(sim, sim_never, 1 * NS_PER_S));
    CHECK_U64(HP_READ(sim->metrics.connections_accepted), 1);
    c->wanted = 2;
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    check_complete(c, 200);
    sim_free(sim);
}

/* Unidirectional streams of unknown types are tolerated, any number of them (RFC 9114 section 6.2.3). */
static void test_unknown_streams_do_not_use_up_credit(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    for (unsigned i = 0; i < 40; i++) {
        CHECK(!sim_run(sim, sim_never, 50 * NS_PER_MS)); /* past what pacing holds back */
        int64_t id;
        uint8_t packet[1500], type[] = {0x21, 'x'};
        ngtcp2_vec data = {type, sizeof type};
        CHECK_U64(ngtcp2_conn_open_uni_stream(c->client.quic, &id, NULL), 0);
        ngtcp2_path_storage path;
        ngtcp2_path_storage_zero(&path);
        for (ngtcp2_ssize taken = -1; taken < 0;) { /* another packet may be due first */
            ngtcp2_ssize n = ngtcp2_conn_writev_stream(c->client.quic, &path.path, NULL, packet, sizeof packet, &taken,
                                                       NGTCP2_WRITE_STREAM_FLAG_FIN, id, &data, 1, sim->now_ns);
            CHECK(n > 0);
            sim_carry(c, packet, (size_t)n);
        }
    }
    c->wanted = 2;
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    check_complete(c, 200);
    sim_free(sim);
}

/* A reload between the datagrams of a ClientHello: the session keeps the context that it began with. */
static void test_reload_during_a_handshake(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    sim_connect(c);
    CHECK(!sim_run(sim, sim_never, 15 * NS_PER_MS)); /* the server's flight is on its way, the client's second is not */
    struct tls_ctx *old = sim->tls;
    sim->tls = sim_server_tls();
    endpoint_set_tls(sim->endpoint, sim->tls);
    tls_ctx_unref(old);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    check_complete(c, 200);
    sim_free(sim);
}

/* A field section that does not end is not read for ever. */
static void test_endless_fields_are_cut_off(void)
{
    struct sim *sim = sim_new(NULL);
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    c->extra_fields = 1000; /* of 100 bytes: six times --max-header */
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    CHECK_U64(c->failed, 1);
    CHECK(!sim_run(sim, sim_never, 200 * NS_PER_MS));
    CHECK_U64(HP_READ(sim->metrics.requests_active), 0);
    c->wanted = 2;
    c->extra_fields = 200; /* twice: refused, with an answer */
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    CHECK_U64(c->last_status, 431);
    sim_free(sim);
}

/* Uploads that are refused early do not use up the connection's flow-control credit. */
static void test_refused_uploads_give_credit_back(void)
{
    struct sim_settings settings = {
        .max_connections = 1,
        .max_streams = 10,
        .max_body_bytes = 100000,
        .steering = {.key = 1, .count = 1},
    };
    struct sim *sim = sim_new(&settings);
    uint8_t *upload = calloc(1, 1u << 20);
    struct sim_client *c = sim_client(sim, "/data", 30, 2);
    c->method = "POST";
    c->upload = upload;
    c->upload_len = 1u << 20;
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 60 * NS_PER_S));
    CHECK_U64(c->complete, 30);
    CHECK_U64(c->last_status, 413);
    free(upload);
    sim_free(sim);
}

static void test_version_negotiation(void)
{
    struct sim *sim = sim_new(NULL);
    uint8_t packet[1200] = {0xc0, 0x57, 0x41, 0x49, 0x54, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9};
    sim_inject(sim, packet, 1199); /* too short to be answered */
    CHECK(!sim_run(sim, sim_never, 100 * NS_PER_MS));
    CHECK_U64(sim->last_to_client_len, 0);
    sim_inject(sim, packet, sizeof packet);
    CHECK(!sim_run(sim, sim_never, 100 * NS_PER_MS));
    CHECK(sim->last_to_client_len >= 7 + 4 + 8 + 8);
    CHECK(sim->last_to_client[0] & 0x80);
    CHECK(memcmp(sim->last_to_client + 1, "\0\0\0\0\4\11\11\11\11\10\1\2\3\4\5\6\7\10", 18) == 0);
    CHECK(memcmp(sim->last_to_client + 23, "\0\0\0\1", 4) == 0); /* QUIC v1, behind the reserved version */
    sim_free(sim);
}

static void test_random_datagrams(void)
{
    struct sim *sim = sim_new(NULL);
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = test_random(1500);
        uint8_t *packet = malloc(len + 1);
        CHECK(packet != NULL);
        for (size_t k = 0; k < len; k++)
            packet[k] = (uint8_t)test_random(256);
        if (len > 5 && test_random(2) == 0) /* a long header of version 1 gets further */
            memcpy(packet, "\xc3\0\0\0\1", 5);
        sim_inject(sim, packet, len);
        free(packet);
    }
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    check_complete(c, 200);
    CHECK(sim_run(sim, sim_no_conns, 120 * NS_PER_S));
    sim_free(sim);
}

/* All IDs that a worker issues are steered to it. */
static void test_issued_ids_are_steered(void)
{
    struct sim_settings settings = {
        .max_connections = 10,
        .max_streams = 10,
        .max_body_bytes = 1000,
        .steering = {.key = 0xdeadbeefu, .count = 8, .worker = 5},
    };
    struct sim *sim = sim_new(&settings);
    struct sim_client *c = sim_client(sim, "/health", 1, 1);
    sim_connect(c);
    CHECK(sim_run(sim, sim_all_done, 5 * NS_PER_S));
    CHECK(!sim_run(sim, sim_never, 1 * NS_PER_S));
    const ngtcp2_cid *dcid = ngtcp2_conn_get_dcid(c->client.quic);
    CHECK_U64(dcid->datalen, CID_LEN);
    CHECK_U64(cid_worker(&settings.steering, dcid->data, dcid->datalen), 5);
    sim_free(sim);
}

/* Memory that runs out at any point ends connections, and nothing else; the next client is served when it is back. */
static void test_out_of_memory(void)
{
    for (unsigned slices = 0; slices < 24; slices++) {
        struct sim *sim = sim_new(NULL);
        sim->pools.heap->limit_bytes = 1 + slices * (uint64_t)HP_SLICE_BYTES;
        for (unsigned i = 0; i < 4; i++)
            sim_connect(sim_client(sim, "/data/100K", 4, 4));
        CHECK(!sim_run(sim, sim_never, 3 * NS_PER_S));
        sim->pools.heap->limit_bytes = 0;
        struct sim_client *c = sim_client(sim, "/health", 1, 1);
        sim_connect(c);
        CHECK(!sim_run(sim, sim_never, 3 * NS_PER_S));
        check_complete(c, 200);
        sim_free(sim);
    }
}

TEST_MAIN(TEST(test_handshake_and_request), TEST(test_many_requests), TEST(test_acknowledgements_ride_on_responses),
          TEST(test_large_download_and_pieces), TEST(test_ten_percent_loss), TEST(test_blackout),
          TEST(test_silent_client_costs_little), TEST(test_timeouts), TEST(test_drain_finishes_what_is_in_flight),
          TEST(test_drain_does_not_wait_for_handshakes), TEST(test_connection_limit_refuses),
          TEST(test_refused_uploads_give_credit_back), TEST(test_reset_uploads_leave_nothing),
          TEST(test_late_initials_begin_nothing), TEST(test_unknown_streams_do_not_use_up_credit),
          TEST(test_reload_during_a_handshake), TEST(test_endless_fields_are_cut_off), TEST(test_version_negotiation),
          TEST(test_random_datagrams), TEST(test_issued_ids_are_steered), TEST(test_out_of_memory))
