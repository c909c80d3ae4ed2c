/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include "handlers/router.h"
#include "mem_bridge.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define START_NS (1000 * NS_PER_S)
#define SERVER_PORT 4433
#define CLIENT_PORT 10000

static struct hp_pool_manager *bridge_manager; /* of OpenSSL's pool, for the whole process */

static void sim_random(void *ctx, void *bytes, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)test_random(256);
}

static struct addr loopback(unsigned port)
{
    struct addr a = {.len = sizeof a.in};
    a.in.sin_family = AF_INET;
    a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.in.sin_port = htons((uint16_t)port);
    return a;
}

/* --- the network ----------------------------------------------------------------------------------------------------
 */

static void carry(struct sim *sim, bool to_server, const struct net_path *from, uint8_t ecn, const uint8_t *data,
                  size_t len)
{
    bool dark = sim->now_ns >= sim->dark_from_ns && sim->now_ns < sim->dark_until_ns;
    if (dark || test_random(100) < sim->loss_percent) {
        sim->lost++;
        return;
    }
    struct sim_packet *p = malloc(sizeof *p);
    CHECK(p != NULL && len <= sizeof p->data);
    *p = (struct sim_packet){
        .at_ns = sim->now_ns + sim->delay_ns + (sim->jitter_ns != 0 ? test_random(sim->jitter_ns) : 0),
        .to_server = to_server,
        .path = {.local = from->remote, .remote = from->local},
        .ecn = ecn,
        .len = len,
    };
    memcpy(p->data, data, len);
    struct sim_packet **at = &sim->packets;
    while (*at != NULL && (*at)->at_ns <= p->at_ns)
        at = &(*at)->next;
    p->next = *at;
    *at = p;
}

static void carry_train(struct sim *sim, bool to_server, const struct udp_train *t)
{
    CHECK(t->segment > 0);
    for (size_t at = 0; at < t->len; at += t->segment) {
        size_t len = t->len - at < t->segment ? t->len - at : t->segment;
        carry(sim, to_server, &t->path, t->ecn, t->data + at, len);
    }
}

void sim_carry(struct sim_client *c, const uint8_t *packet, size_t len)
{
    carry(c->sim, true, &c->net, 0, packet, len);
}

static int send_to_client(void *ctx, const struct udp_train *t)
{
    carry_train(ctx, false, t);
    return 0;
}

static int send_to_server(void *ctx, const struct udp_train *t)
{
    struct sim_client *c = ctx;
    if (!c->vanished && !c->mute)
        carry_train(c->sim, true, t);
    return 0;
}

static void deliver(struct sim *sim, struct sim_packet *p)
{
    struct datagram d = {.data = p->data, .len = p->len, .path = p->path, .ecn = p->ecn};
    sim->delivered++;
    if (p->to_server) {
        if (sim->first_len == 0)
            memcpy(sim->first, p->data, sim->first_len = p->len);
        endpoint_feed(sim->endpoint, &d, sim->now_ns);
        return;
    }
    unsigned i = addr_port(&p->path.local) - CLIENT_PORT;
    if (i < sim->client_count && sim->client[i] != NULL) {
        if (!sim->client[i]->vanished)
            client_feed(&sim->client[i]->client, &d, sim->now_ns);
        return;
    }
    sim->last_to_client_len = p->len < sizeof sim->last_to_client ? p->len : sizeof sim->last_to_client;
    memcpy(sim->last_to_client, p->data, sim->last_to_client_len);
}

void sim_inject(struct sim *sim, const uint8_t *data, size_t len)
{
    struct datagram d = {
        .data = data,
        .len = len,
        .path = {.local = loopback(SERVER_PORT), .remote = loopback(CLIENT_PORT - 1)},
    };
    endpoint_feed(sim->endpoint, &d, sim->now_ns);
}

/* --- clients --------------------------------------------------------------------------------------------------------
 */

static void submit_one(struct sim_client *c, unsigned slot)
{
    struct client_request *r = &c->request[slot];
    static char filler[60];
    nghttp3_nv fields[SIM_FIELDS_MAX] = {
        {(uint8_t *)":method", (uint8_t *)(uintptr_t)c->method, 7, strlen(c->method), NGHTTP3_NV_FLAG_NONE},
        {(uint8_t *)":scheme", (uint8_t *)"https", 7, 5, NGHTTP3_NV_FLAG_NONE},
        {(uint8_t *)":authority", (uint8_t *)"localhost", 10, 9, NGHTTP3_NV_FLAG_NONE},
        {(uint8_t *)":path", (uint8_t *)(uintptr_t)c->path, 5, strlen(c->path), NGHTTP3_NV_FLAG_NONE},
    };
    memset(filler, 'x', sizeof filler);
    for (unsigned i = 0; i < c->extra_fields; i++)
        fields[4 + i] = (nghttp3_nv){(uint8_t *)"x-filler", (uint8_t *)filler, 8, sizeof filler, NGHTTP3_NV_FLAG_NONE};
    *r = (struct client_request){.body = c->upload, .body_len = c->upload_len};
    int rv = client_submit(&c->client, r, fields, 4 + c->extra_fields);
    CHECK(rv >= 0);
    if (rv == 0) {
        c->busy[slot] = true;
        c->submitted++;
    }
}

static void submit_more(struct sim_client *c)
{
    for (unsigned i = 0; i < c->parallel && c->submitted < c->wanted && c->client.state == CLIENT_OPEN; i++)
        if (!c->busy[i])
            submit_one(c, i);
}

static void on_open(struct client *client)
{
    struct sim_client *c = client->ctx;
    c->open = true;
    submit_more(c);
}

static void on_data(struct client *client, struct client_request *r, const uint8_t *data, size_t len)
{
    struct sim_client *c = client->ctx;
    uint64_t at = r->bytes - len;
    c->bytes += len;
    for (size_t i = 0; i < len && c->check_pattern; i++)
        c->wrong_bytes += data[i] != c->sim->pattern[(at + i) % HTTP_PATTERN_PERIOD];
    for (size_t i = 0; i < len && at + i < sizeof c->last_body - 1; i++) {
        c->last_body[at + i] = (char)data[i];
        c->last_body[at + i + 1] = '\0';
    }
}

static void on_done(struct client *client, struct client_request *r)
{
    struct sim_client *c = client->ctx;
    c->busy[r - c->request] = false;
    c->done_count++;
    c->last_status = r->status;
    if (r->complete)
        c->complete++;
    else
        c->failed++;
}

static const struct client_ops client_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_done = on_done,
    .on_streams = NULL,
};

struct sim_client *sim_client(struct sim *sim, const char *path, unsigned wanted, unsigned parallel)
{
    struct sim_client *c = calloc(1, sizeof *c);
    CHECK(c != NULL && sim->client_count < SIM_CLIENTS_MAX && parallel <= SIM_REQUESTS_MAX);
    c->sim = sim;
    c->path = path;
    c->method = "GET";
    c->wanted = wanted;
    c->parallel = parallel;
    c->net.local = loopback(CLIENT_PORT + sim->client_count);
    c->net.remote = loopback(SERVER_PORT);
    sim->client[sim->client_count++] = c;
    return c;
}

void sim_connect(struct sim_client *c)
{
    CHECK_U64(client_init(&c->client, &c->sim->client_env, c, "localhost", &c->net, c->sim->now_ns), 0);
}

void sim_forget(struct sim_client *c)
{
    struct sim *sim = c->sim;
    client_fini(&c->client);
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->client[i] == c)
            sim->client[i] = NULL;
    free(c);
}

/* --- the world ------------------------------------------------------------------------------------------------------
 */

struct tls_ctx *sim_server_tls(void)
{
    struct tls_error error = {""};
    struct tls_config config = {.pair = {{"certs/localhost.pem", "certs/localhost-key.pem"}}, .pair_count = 1};
    struct tls_ctx *tls = tls_ctx_new(&config, &error);
    if (tls == NULL)
        test_fail(__FILE__, __LINE__, "%s (certs/make-certs.sh makes it)", error.text);
    return tls;
}

static void set_up_tls(struct sim *sim)
{
    struct tls_error error = {""};
    struct client_tls_config client = {.ca_file = "certs/ca.pem"};
    sim->tls = sim_server_tls();
    sim->client_env.tls = client_tls_new(&client, &error);
    if (sim->client_env.tls == NULL)
        test_fail(__FILE__, __LINE__, "%s", error.text);
}

static void set_up_endpoint(struct sim *sim, const struct sim_settings *s)
{
    static const uint8_t reset_secret[CONN_RESET_SECRET_LEN] = {0};
    struct endpoint_config config = {
        .reset_secret = reset_secret,
        .pools = &sim->pools,
        .tls = sim->tls,
        .steering = s->steering,
        .random = sim_random,
        .handler = router_handle,
        .server = &sim->http,
        .metrics = &sim->metrics,
        .now_ns = sim->now_ns,
        .wall_ns = 1700000000 * NS_PER_S,
        .start_ns = sim->now_ns,
        .max_connections = s->max_connections,
        .max_streams = s->max_streams,
        .max_header_bytes = 16u << 10,
        .max_header_fields = 100,
        .max_body_bytes = s->max_body_bytes,
        .idle_timeout_ns = 30 * NS_PER_S,
        .handshake_timeout_ns = s->handshake_timeout_ns != 0 ? s->handshake_timeout_ns : 10 * NS_PER_S,
        .budget = &sim->budget,
        .connection_bytes_max = s->connection_bytes_max,
        .cc = NGTCP2_CC_ALGO_CUBIC,
    };
    budget_init(&sim->budget, sim->manager, s->memory_limit, s->workers != 0 ? s->workers : 1);
    sim->endpoint = endpoint_new(&config);
    CHECK(sim->endpoint != NULL);
}

struct sim *sim_new(const struct sim_settings *settings)
{
    static const struct sim_settings preset = {
        .max_connections = SIM_CLIENTS_MAX,
        .max_streams = 100,
        .max_body_bytes = 16u << 20,
        .steering = {.key = 0x9e3779b1u, .count = 1},
    };
    if (bridge_manager == NULL) {
        bridge_manager = hp_pool_manager_new(0);
        CHECK(bridge_manager != NULL && bridge_init(bridge_manager) == NULL);
    }
    struct sim *sim = calloc(1, sizeof *sim);
    CHECK(sim != NULL);
    sim->manager = hp_pool_manager_new(0);
    sim->now_ns = START_NS;
    sim->delay_ns = 10 * NS_PER_MS;
    sim->pattern = malloc(HTTP_PATTERN_BYTES);
    CHECK(sim->manager != NULL && sim->pattern != NULL);
    http_pattern_fill(sim->pattern);
    sim->http = (struct http_server){.version = hp_version(), .build = hp_build_name(), .pattern = sim->pattern};
    sim->client_manager = hp_pool_manager_new(0);
    CHECK(sim->client_manager != NULL);
    sim->client_heap = hp_byte_pool_new(sim->client_manager, "client", 1024, 256u << 10, 0);
    CHECK(sim->client_heap != NULL && endpoint_pools_init(&sim->pools, sim->manager) == 0);
    sim->client_env = (struct client_env){
        .heap = sim->client_heap,
        .tx = sim->tx,
        .ops = &client_ops,
        .random = sim_random,
        .idle_timeout_ns = 30 * NS_PER_S,
        .handshake_timeout_ns = 60 * NS_PER_S,
        .stream_window = 256u << 10,
        .conn_window = 1u << 20,
    };
    set_up_tls(sim);
    set_up_endpoint(sim, settings != NULL ? settings : &preset);
    return sim;
}

void sim_free(struct sim *sim)
{
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->client[i] != NULL)
            sim_forget(sim->client[i]);
    while (sim->packets != NULL) {
        struct sim_packet *p = sim->packets;
        sim->packets = p->next;
        free(p);
    }
    endpoint_free(sim->endpoint);
    tls_ctx_unref(sim->tls);
    client_tls_free(sim->client_env.tls);
    CHECK_U64(HP_READ(sim->metrics.requests_active), 0);
    CHECK_U64(HP_READ(sim->metrics.connections_active), 0);
    if (hp_pool_manager_live(sim->manager) + hp_pool_manager_live(sim->client_manager) != 0) {
        hp_pool_manager_print(sim->manager, stderr);
        hp_pool_manager_print(sim->client_manager, stderr);
        test_fail(__FILE__, __LINE__, "blocks are live in the pools above");
    }
    endpoint_pools_fini(&sim->pools);
    hp_byte_pool_free(sim->client_heap);
    hp_pool_manager_free(sim->client_manager);
    hp_pool_manager_free(sim->manager);
    free(sim->pattern);
    free(sim);
}

static void flush_all(struct sim *sim)
{
    struct sink to_client = {.send = send_to_client, .ctx = sim};
    while (!endpoint_flush(sim->endpoint, &to_client, sim->now_ns) && endpoint_deadline(sim->endpoint) == 0)
        ;
    for (unsigned i = 0; i < sim->client_count; i++) {
        struct sim_client *c = sim->client[i];
        if (c == NULL || c->client.env == NULL)
            continue;
        struct sink to_server = {.send = send_to_server, .ctx = c};
        submit_more(c);
        while (client_flush(&c->client, &to_server, sim->now_ns) == QUIC_WRITE_MORE)
            ;
    }
}

static uint64_t next_event(const struct sim *sim)
{
    uint64_t at = endpoint_deadline(sim->endpoint);
    if (sim->packets != NULL && sim->packets->at_ns < at)
        at = sim->packets->at_ns;
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->client[i] != NULL && sim->client[i]->client.env != NULL &&
            client_deadline(&sim->client[i]->client) < at)
            at = client_deadline(&sim->client[i]->client);
    return at;
}

static void play_events(struct sim *sim)
{
    while (sim->packets != NULL && sim->packets->at_ns <= sim->now_ns) {
        struct sim_packet *p = sim->packets;
        sim->packets = p->next;
        deliver(sim, p);
        free(p);
    }
    endpoint_expire(sim->endpoint, sim->now_ns);
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->client[i] != NULL && sim->client[i]->client.env != NULL &&
            client_deadline(&sim->client[i]->client) <= sim->now_ns)
            client_expire(&sim->client[i]->client, sim->now_ns);
}

bool sim_run(struct sim *sim, bool (*done)(struct sim *sim), uint64_t for_ns)
{
    uint64_t until = sim->now_ns + for_ns;
    for (;;) {
        flush_all(sim);
        if (done(sim))
            return true;
        uint64_t at = next_event(sim);
        if (at > until) {
            sim->now_ns = until;
            return false;
        }
        if (at > sim->now_ns)
            sim->now_ns = at;
        play_events(sim);
    }
}

bool sim_all_done(struct sim *sim)
{
    for (unsigned i = 0; i < sim->client_count; i++)
        if (sim->client[i] != NULL && sim->client[i]->done_count < sim->client[i]->wanted)
            return false;
    return true;
}

bool sim_no_conns(struct sim *sim)
{
    return HP_READ(sim->metrics.connections_active) == 0;
}

bool sim_never(struct sim *sim)
{
    (void)sim;
    return false;
}
