/* SPDX-License-Identifier: MIT
 *
 * The process: reads options, opens sockets, starts workers, then waits for signals. All that can be wrong with the
 * configuration is found before the first thread starts; it costs one line and exit status 2.
 */
#include "handlers/router.h"
#include "mem_bridge.h"
#include "net/clock.h"
#include "net/log.h"
#include "pressure.h"
#include "worker.h"

#include <errno.h>
#include <h3pool/checks.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define EXIT_LEAK 1
#define EXIT_USAGE 2
/* A thousand clients that connect at once send up to two Initials each, and the kernel counts 2,304 bytes for one. */
#define RECEIVE_BUFFER (8u << 20)
#define SEND_BUFFER (4u << 20)
/* Where the cgroup's limits are read instead of /sys/fs/cgroup: for tests. */
#define CGROUP_ROOT_ENVIRONMENT "H3POOL_CGROUP_ROOT"

struct server {
    struct server_config config;
    struct hp_pool_manager *manager;
    struct budget budget;
    struct hp_byte_pool *shared;
    uint8_t *pattern;
    struct tls_ctx *tls;
    uint8_t *reset_secret;
    struct http_server http;
    struct metrics_set metrics_set;
    struct metrics *metrics[WORKERS_MAX];
    struct worker *worker[WORKERS_MAX];
    unsigned started;
    struct udp_socket sockets[WORKERS_MAX][LISTEN_MAX];
    unsigned opened; /* workers that have all their sockets */
    uint64_t start_ns;
};

static int usage_error(const char *text)
{
    fprintf(stderr, "h3pool: %s\n", text);
    return EXIT_USAGE;
}

/* --- /stats ---------------------------------------------------------------------------------------------------------
 */

static void append_number(struct hp_builder *b, const char *name, uint64_t value)
{
    hp_builder_append_str(b, name);
    hp_builder_append_u64(b, value);
}

static void memory_json(const struct server *s, struct hp_builder *b)
{
    append_number(b, ",\"memory\":{\"limit_bytes\":", s->budget.limit_bytes);
    append_number(b, ",\"held_bytes\":", hp_pool_manager_held(s->manager));
    hp_builder_append_str(b, ",\"stage\":\"");
    hp_builder_append_str(b, budget_stage_str(budget_stage(&s->budget)));
    hp_builder_append_str(b, "\",\"entered\":{");
    for (unsigned i = BUDGET_TRIM; i < BUDGET_STAGES; i++) {
        hp_builder_append_str(b, i > BUDGET_TRIM ? ",\"" : "\"");
        hp_builder_append_str(b, budget_stage_str((enum budget_stage)i));
        append_number(b, "\":", HP_READ(s->budget.entered[i]));
    }
    append_number(b, "},\"pressure_signals\":", HP_READ(s->budget.signals));
    hp_builder_append_str(b, "}");
}

static struct hp_buffer *stats_json(void *ctx, struct hp_byte_pool *pool)
{
    struct server *s = ctx;
    struct hp_builder b;
    hp_builder_init(&b, pool, 64u << 10);
    hp_builder_append_str(&b, "{\"version\":\"");
    hp_builder_append_str(&b, hp_version());
    hp_builder_append_str(&b, "\",\"build\":\"");
    hp_builder_append_str(&b, hp_build_name());
    hp_builder_append_str(&b, "\",\"workers\":");
    hp_builder_append_u64(&b, s->config.workers);
    hp_builder_append_str(&b, ",\"uptime_seconds\":");
    hp_builder_append_u64(&b, (clock_monotonic_ns() - s->start_ns) / NS_PER_S);
    hp_builder_append_str(&b, ",");
    metrics_json(&s->metrics_set, &b);
    memory_json(s, &b);
    hp_builder_append_str(&b, ",\"pools\":");
    hp_pool_manager_json(s->manager, &b);
    hp_builder_append_str(&b, "}\n");
    return hp_builder_finish(&b);
}

/* --- sockets --------------------------------------------------------------------------------------------------------
 */

static int socket_error(const struct addr *a, const char *reason)
{
    char text[ADDR_TEXT_CAP];
    fprintf(stderr, "h3pool: --listen: can't use %s: %s\n", addr_format(a, text), reason);
    return -1;
}

/* Opens worker |w|'s socket for address |i|. With port 0 the first worker's choice is everybody's. */
static int open_socket(struct server *s, unsigned w, unsigned i)
{
    struct udp_options options = {
        .reuse_port = true,
        .receive_buffer_bytes = RECEIVE_BUFFER,
        .send_buffer_bytes = SEND_BUFFER,
    };
    if (udp_open(&s->sockets[w][i], &s->config.listen[i], &options) != 0)
        return socket_error(&s->config.listen[i], strerror(errno));
    s->config.listen[i] = s->sockets[w][i].local;
    return 0;
}

/* Drops a default address that this machine does not have (IPv6 off), and makes sure that the others are free. */
static int check_addresses(struct server *s)
{
    struct server_config *c = &s->config;
    for (unsigned i = 0; i < c->listen_count; i++) {
        struct udp_socket probe;
        struct udp_options none = {0};
        if (udp_open(&probe, &c->listen[i], &none) == 0) {
            udp_close(&probe);
            continue;
        }
        bool absent = errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT;
        if (!(absent && c->listen_preset && c->listen_count > 1))
            return socket_error(&c->listen[i], strerror(errno));
        log_info("IPv6 is off: not listening on [::1]");
        memmove(&c->listen[i], &c->listen[i + 1], (c->listen_count - i - 1) * sizeof c->listen[0]);
        c->listen_count--;
        i--;
    }
    return 0;
}

static int open_sockets(struct server *s, uint32_t steering_key)
{
    struct server_config *c = &s->config;
    if (check_addresses(s) != 0)
        return -1;
    /* Sockets of a group are numbered in the order of their binding: worker by worker. */
    for (unsigned w = 0; w < c->workers; w++, s->opened++)
        for (unsigned i = 0; i < c->listen_count; i++)
            if (open_socket(s, w, i) != 0) {
                while (i > 0)
                    udp_close(&s->sockets[w][--i]);
                return -1;
            }
    for (unsigned i = 0; i < c->listen_count && c->workers > 1; i++)
        if (udp_steer(&s->sockets[0][i], steering_key, (uint32_t)c->workers) != 0)
            return socket_error(&c->listen[i], "the kernel can't steer datagrams to workers; use --workers 1");
    if (s->sockets[0][0].receive_buffer_bytes < RECEIVE_BUFFER)
        log_warn("receive buffers are capped at %llu bytes, bursts of new connections may be lost: "
                 "sysctl -w net.core.rmem_max=%u",
                 (unsigned long long)s->sockets[0][0].receive_buffer_bytes / 2, RECEIVE_BUFFER);
    return 0;
}

static void close_sockets(struct server *s)
{
    for (unsigned w = s->started; w < s->opened; w++)
        for (unsigned i = 0; i < s->config.listen_count; i++)
            udp_close(&s->sockets[w][i]);
}

/* --- workers --------------------------------------------------------------------------------------------------------
 */

static int start_workers(struct server *s, uint32_t steering_key)
{
    const struct server_config *c = &s->config;
    struct worker_config w = {
        .manager = s->manager,
        .socket_count = c->listen_count,
        .budget = &s->budget,
        .memtrace = c->memtrace,
        .endpoint =
            {
                .tls = s->tls,
                .reset_secret = s->reset_secret,
                .steering = {.key = steering_key, .count = (uint32_t)c->workers},
                .handler = router_handle,
                .server = &s->http,
                .start_ns = s->start_ns,
                .budget = &s->budget,
                .connection_bytes_max = c->connection_memory_limit,
                .max_connections = (c->max_connections + c->workers - 1) / c->workers,
                .max_streams = c->max_streams,
                .max_header_bytes = c->max_header,
                .max_header_fields = c->max_header_fields,
                .max_body_bytes = c->max_body,
                .idle_timeout_ns = c->idle_timeout_ns,
                .handshake_timeout_ns = c->handshake_timeout_ns,
                .cc = c->cc,
            },
    };
    for (unsigned i = 0; i < c->workers; i++) {
        w.sockets = s->sockets[i];
        w.endpoint.steering.worker = i;
        w.pressure_fd = i == 0 ? pressure_open() : -1;
        w.endpoint.metrics = s->metrics[i];
        s->worker[i] = worker_start(&w);
        s->started = i + 1; /* its sockets are gone in any case */
        if (s->worker[i] == NULL)
            return -1;
    }
    return 0;
}

static bool all_ended(const struct server *s)
{
    for (unsigned i = 0; i < s->started; i++)
        if (s->worker[i] != NULL && !worker_ended(s->worker[i]))
            return false;
    return true;
}

static void tell_workers(struct server *s, void (*tell)(struct worker *w))
{
    for (unsigned i = 0; i < s->started; i++)
        if (s->worker[i] != NULL)
            tell(s->worker[i]);
}

static void reload_certificates(struct server *s)
{
    struct tls_error error;
    struct tls_ctx *tls = tls_ctx_new(&s->config.tls, &error);
    if (tls == NULL) {
        log_error("certificates not reloaded, the old ones stay: %s", error.text);
        return;
    }
    for (unsigned i = 0; i < s->started; i++)
        worker_set_tls(s->worker[i], tls);
    tls_ctx_unref(s->tls);
    s->tls = tls;
    log_info("certificates reloaded");
}

/* Waits for signals until every worker has ended. */
static void serve(struct server *s, const sigset_t *signals)
{
    uint64_t stop_at_ns = CLOCK_NEVER;
    bool draining = false;
    while (!all_ended(s)) {
        struct timespec soon = {.tv_nsec = (long)(20 * NS_PER_MS)};
        int signal = draining ? sigtimedwait(signals, NULL, &soon) : sigwaitinfo(signals, NULL);
        if (signal == SIGHUP && !draining)
            reload_certificates(s);
        if (signal == SIGUSR2)
            hp_pool_manager_print(s->manager, stderr);
        if (signal == SIGTERM || signal == SIGINT) {
            stop_at_ns = draining ? 0 : clock_monotonic_ns() + s->config.drain_timeout_ns;
            if (!draining) {
                log_info("draining: finishing what is in flight; another signal stops at once");
                tell_workers(s, worker_drain);
            }
            draining = true;
        }
        if (clock_monotonic_ns() >= stop_at_ns) {
            tell_workers(s, worker_stop);
            stop_at_ns = CLOCK_NEVER;
        }
    }
}

/* --- start and end --------------------------------------------------------------------------------------------------
 */

static int make_shared(struct server *s)
{
    s->reset_secret = tls_secret_new(CONN_RESET_SECRET_LEN);
    if (s->reset_secret == NULL)
        return -1;
    s->shared = hp_byte_pool_new(s->manager, "shared", 64, 256u << 10, 0);
    s->pattern = s->shared != NULL ? hp_byte_pool_get(s->shared, HTTP_PATTERN_BYTES) : NULL;
    if (s->pattern == NULL)
        return -1;
    http_pattern_fill(s->pattern);
    for (unsigned i = 0; i < s->config.workers; i++) {
        s->metrics[i] = hp_byte_pool_get(s->shared, (sizeof *s->metrics[i] + 127) & ~(size_t)127);
        if (s->metrics[i] == NULL)
            return -1;
        memset(s->metrics[i], 0, sizeof *s->metrics[i]);
    }
    s->metrics_set = (struct metrics_set){.of_worker = s->metrics, .count = (unsigned)s->config.workers};
    s->http = (struct http_server){
        .version = hp_version(),
        .build = hp_build_name(),
        .stats = stats_json,
        .stats_ctx = s,
        .pattern = s->pattern,
    };
    return 0;
}

/* Ends the workers and returns everything; the exit status says whether anything was left. */
static int end(struct server *s, int status)
{
    close_sockets(s);
    for (unsigned i = 0; i < s->started; i++)
        if (s->worker[i] != NULL)
            worker_join(s->worker[i]);
    tls_ctx_unref(s->tls);
    tls_secret_free(s->reset_secret, CONN_RESET_SECRET_LEN);
    hp_byte_pool_put(s->shared, s->pattern);
    for (unsigned i = 0; i < s->config.workers && s->shared != NULL; i++)
        hp_byte_pool_put(s->shared, s->metrics[i]);
    bridge_fini();
    if (s->started != 0)
        hp_pool_manager_print(s->manager, stderr);
    if (hp_pool_manager_live(s->manager) != 0) {
        log_error("blocks are live at exit");
        hp_pool_manager_report(s->manager, stderr);
        return status != 0 ? status : EXIT_LEAK; /* what is live can't be taken away from its holder */
    }
    for (unsigned i = 0; i < s->started; i++)
        if (s->worker[i] != NULL)
            worker_free(s->worker[i]);
    hp_byte_pool_free(s->shared);
    bridge_free();
    hp_pool_manager_free(s->manager);
    return status;
}

/* What the limits allow at most, term by term. */
static void print_memory_plan(const struct server *s)
{
    const struct server_config *c = &s->config;
    uint64_t limit = s->budget.limit_bytes, spans = limit / HP_SLICE_BYTES + c->workers * 8;
    uint64_t handshakes = c->workers * budget_handshakes(&s->budget) * (BUDGET_CONN_BYTES + BUDGET_HANDSHAKE_BYTES);
    uint64_t waiting = c->workers * budget_waiting(&s->budget),
             buffers = c->workers * (UDP_BATCH + 2) * UDP_BUFFER_BYTES;
    uint64_t room = limit / 1000 * BUDGET_REFUSE_PERMILLE, fixed = buffers + HTTP_PATTERN_BYTES;
    uint64_t idle = room > fixed ? (room - fixed) / BUDGET_CONN_BYTES : 0;
    printf("all pools together, --memory-limit%-18s %14llu\n", limit < c->memory_limit ? " (of the cgroup)" : "",
           (unsigned long long)limit);
    printf("  socket buffers, %3llu workers                       %14llu\n", (unsigned long long)c->workers,
           (unsigned long long)buffers);
    printf("  handshakes in flight, at most %4llu a worker         %14llu\n",
           (unsigned long long)budget_handshakes(&s->budget), (unsigned long long)handshakes);
    printf("  datagrams of clients that wait for a handshake     %14llu\n", (unsigned long long)waiting);
    printf("  an idle connection                                 %14u\n", BUDGET_CONN_BYTES);
    printf("  each stream that it has had at a time              %14u\n", BUDGET_STREAM_BYTES);
    printf("  a connection, --connection-memory-limit            %14llu\n",
           (unsigned long long)c->connection_memory_limit);
    printf("  idle connections until new ones are refused        %14llu\n",
           (unsigned long long)(idle < c->max_connections ? idle : c->max_connections));
    printf("headers of spans beside the limit                    %14llu\n", (unsigned long long)(spans * 4096));
    printf("at most, code and stacks aside                       %14llu\n", (unsigned long long)(limit + spans * 4096));
}

static int run(struct server *s)
{
    sigset_t signals;
    struct tls_error error;
    sigemptyset(&signals);
    const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
    for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        sigaddset(&signals, wanted[i]);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* inherited by the workers */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN); /* "reopen logs": there is none but stderr */

    s->tls = tls_ctx_new(&s->config.tls, &error);
    if (s->tls == NULL)
        return usage_error(error.text);
    if (s->config.tls.keylog != NULL)
        log_warn("--keylog: TLS secrets are written to %s", s->config.tls.keylog);
    uint32_t key;
    tls_random(&key, sizeof key);
    key |= 1;
    if (open_sockets(s, key) != 0)
        return EXIT_USAGE;
    if (make_shared(s) != 0 || start_workers(s, key) != 0) {
        tell_workers(s, worker_stop);
        return usage_error("no memory, descriptors or threads to start with");
    }
    for (unsigned i = 0; i < s->config.listen_count; i++) {
        char text[ADDR_TEXT_CAP];
        printf("listening on https://%s\n", addr_format(&s->config.listen[i], text));
    }
    fflush(stdout);
    serve(s, &signals);
    return 0;
}

int main(int argc, char **argv)
{
    static struct server server; /* 256 workers' sockets are too large for a stack */
    struct option_error error;
    server.start_ns = clock_monotonic_ns();
    server.manager = hp_pool_manager_new(0);
    if (server.manager == NULL) /* what is wrong with the checks has been said */
        return errno == EINVAL ? EXIT_USAGE : usage_error("no memory");
    const char *failed = bridge_init(server.manager);
    if (failed != NULL)
        return usage_error(failed);
    switch (config_parse(&server.config, argc, argv, &error)) {
    case CONFIG_EXIT:
        server.config.workers = 0;
        return end(&server, 0);
    case CONFIG_ERROR:
        server.config.workers = 0;
        return end(&server, usage_error(error.text));
    case CONFIG_RUN:
        break;
    }
    const char *root = getenv(CGROUP_ROOT_ENVIRONMENT);
    budget_init(&server.budget, server.manager,
                budget_cgroup_limit(root != NULL ? root : "/sys/fs/cgroup", server.config.memory_limit),
                (unsigned)server.config.workers);
    if (server.config.print_memory_plan) {
        print_memory_plan(&server);
        server.config.workers = 0;
        return end(&server, 0);
    }
    return end(&server, run(&server));
}
