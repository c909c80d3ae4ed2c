/* SPDX-License-Identifier: MIT
 *
 * The options table is the only list of options: parsing, messages and --help come from it.
 */
#include "config.h"

#include "net/clock.h"
#include "net/log.h"

#include <ev.h>
#include <h3pool/manager.h>
#include <nghttp3/nghttp3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *parse_listen(void *ctx, const char *value)
{
    struct server_config *c = ctx;
    if (c->listen_count == LISTEN_MAX)
        return "is one address too many (16)";
    if (addr_parse(value, &c->listen[c->listen_count]) != 0)
        return "is not ADDR:PORT, such as 127.0.0.1:4433 or [::1]:4433";
    c->listen_count++;
    return NULL;
}

static const char *parse_cert(void *ctx, const char *value)
{
    struct server_config *c = ctx;
    if (c->tls.pair_count == TLS_CERTS_MAX)
        return "is one certificate too many (16)";
    c->tls.pair[c->tls.pair_count++].cert = value;
    return NULL;
}

static const char *parse_key(void *ctx, const char *value)
{
    struct server_config *c = ctx;
    if (c->key_count == TLS_CERTS_MAX)
        return "is one key too many (16)";
    c->tls.pair[c->key_count++].key = value;
    return NULL;
}

static const char *parse_admin(void *ctx, const char *value)
{
    (void)ctx;
    return strcmp(value, "off") == 0 ? NULL : "is not available: this version has no admin listener, only 'off'";
}

static const char *parse_cc(void *ctx, const char *value)
{
    struct server_config *c = ctx;
    if (strcmp(value, "cubic") == 0)
        c->cc = NGTCP2_CC_ALGO_CUBIC;
    else if (strcmp(value, "reno") == 0)
        c->cc = NGTCP2_CC_ALGO_RENO;
    else if (strcmp(value, "bbr") == 0)
        c->cc = NGTCP2_CC_ALGO_BBR;
    else
        return "is not cubic, reno or bbr";
    return NULL;
}

static const char *parse_log_level(void *ctx, const char *value)
{
    (void)ctx;
    int level = log_level_parse(value);
    if (level < 0)
        return "is not error, warn, info or debug";
    log_set_level((enum log_level)level);
    return NULL;
}

/* The development pair: certs/ below the working directory, or beside the directory of the program. */
static bool find_preset_pair(struct server_config *c)
{
    char prefix[400] = "";
    for (int i = 0; i < 2; i++) {
        snprintf(c->preset_cert, sizeof c->preset_cert, "%scerts/localhost.pem", prefix);
        snprintf(c->preset_key, sizeof c->preset_key, "%scerts/localhost-key.pem", prefix);
        if (access(c->preset_cert, R_OK) == 0 && access(c->preset_key, R_OK) == 0)
            return true;
        ssize_t n = readlink("/proc/self/exe", prefix, sizeof prefix - 8);
        char *slash = n > 0 ? memrchr(prefix, '/', (size_t)n) : NULL;
        strcpy(slash != NULL ? slash + 1 : prefix, "../");
    }
    return false;
}

static int fail(struct option_error *error, const char *text)
{
    snprintf(error->text, sizeof error->text, "%s", text);
    return -1;
}

static int complete(struct server_config *c, struct option_error *error)
{
    if (c->tls.pair_count != c->key_count)
        return fail(error,
                    c->tls.pair_count > c->key_count ? "--cert: without its --key" : "--key: without its --cert");
    if (c->tls.pair_count == 0) {
        if (!find_preset_pair(c))
            return fail(error, "--cert: none given, and no development certificate is there: run certs/make-certs.sh");
        c->tls.pair[0].cert = c->preset_cert;
        c->tls.pair[0].key = c->preset_key;
        c->tls.pair_count = 1;
    }
    if (c->listen_count == 0) {
        c->listen_preset = true;
        if (parse_listen(c, "127.0.0.1:4433") != NULL || parse_listen(c, "[::1]:4433") != NULL)
            return fail(error, "--listen: the default addresses do not parse");
    }
    return 0;
}

static void print_version(void)
{
    printf("h3pool %s (%s)\n", hp_version(), hp_build_name());
    printf("ngtcp2 %s, nghttp3 %s, %s, libev %d.%d\n", ngtcp2_version(0)->version_str, nghttp3_version(0)->version_str,
           tls_version(), ev_version_major(), ev_version_minor());
}

enum config_result config_parse(struct server_config *c, int argc, char **argv, struct option_error *error)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    *c = (struct server_config){
        .workers = cpus < 1                   ? 1
                   : cpus > (long)WORKERS_MAX ? WORKERS_MAX
                                              : (uint64_t)cpus,
        .memory_limit = 100u << 20,
        .connection_memory_limit = 4u << 20,
        .max_connections = 10000,
        .max_streams = 100,
        .max_header = 16u << 10,
        .max_header_fields = 100,
        .max_body = 16u << 20,
        .idle_timeout_ns = 30 * NS_PER_S,
        .handshake_timeout_ns = 10 * NS_PER_S,
        .drain_timeout_ns = 30 * NS_PER_S,
        .cc = NGTCP2_CC_ALGO_CUBIC,
    };
    bool help = false, version = false;
    const uint64_t day = 24 * 3600 * NS_PER_S;
    // clang-format off
    const struct option options[] = {
        {.name = "listen", .value = "ADDR:PORT", .kind = OPTION_CALL, .parse = parse_listen, .group = "Network",
         .preset = "127.0.0.1:4433 and [::1]:4433", .help = "UDP address; repeatable"},
        {.name = "workers", .value = "N", .kind = OPTION_COUNT, .to = &c->workers, .min = 1, .max = WORKERS_MAX,
         .preset = "number of CPUs", .help = "threads, each with a socket per address"},
        {.name = "admin", .value = "off", .kind = OPTION_CALL, .parse = parse_admin, .preset = "off",
         .help = "admin listener: none in this version"},
        {.name = "cc", .value = "NAME", .kind = OPTION_CALL, .parse = parse_cc, .preset = "cubic",
         .help = "congestion control: cubic, reno or bbr"},
        {.name = "cert", .value = "FILE", .kind = OPTION_CALL, .parse = parse_cert, .group = "TLS",
         .preset = "certs/localhost.pem", .help = "PEM certificate chain; repeatable, chosen by SNI"},
        {.name = "key", .value = "FILE", .kind = OPTION_CALL, .parse = parse_key,
         .preset = "certs/localhost-key.pem", .help = "PEM private key of the --cert before it"},
        {.name = "groups", .value = "LIST", .kind = OPTION_TEXT, .to = &c->tls.groups, .preset = "OpenSSL's",
         .help = "key exchange groups, such as X25519:P-256"},
        {.name = "ciphers", .value = "LIST", .kind = OPTION_TEXT, .to = &c->tls.ciphers, .preset = "OpenSSL's",
         .help = "TLS 1.3 cipher suites"},
        {.name = "keylog", .value = "FILE", .kind = OPTION_TEXT, .to = &c->tls.keylog, .preset = "off",
         .help = "append TLS secrets to FILE, for debugging"},
        {.name = "memory-limit", .value = "SIZE", .kind = OPTION_SIZE, .to = &c->memory_limit, .min = 16u << 20,
         .max = 1ull << 40, .preset = "100M", .group = "Limits",
         .help = "of all pools; the cgroup's if that is lower. What gives way as it fills: server/budget.h"},
        {.name = "connection-memory-limit", .value = "SIZE", .kind = OPTION_SIZE, .to = &c->connection_memory_limit,
         .min = 256u << 10, .max = 1ull << 30, .preset = "4M", .help = "of a connection; beyond, it is closed"},
        {.name = "max-connections", .value = "N", .kind = OPTION_COUNT, .to = &c->max_connections, .min = 1,
         .max = 1000000, .preset = "10000", .help = "connections; more are refused"},
        {.name = "max-streams", .value = "N", .kind = OPTION_COUNT, .to = &c->max_streams, .min = 1, .max = 10000,
         .preset = "100", .help = "concurrent requests of a connection, as the memory limit allows"},
        {.name = "max-header", .value = "SIZE", .kind = OPTION_SIZE, .to = &c->max_header, .min = 256, .max = 1u << 20,
         .preset = "16K", .help = "field section of a request, 32 bytes added per field; else 431"},
        {.name = "max-header-fields", .value = "N", .kind = OPTION_COUNT, .to = &c->max_header_fields, .min = 4,
         .max = 10000, .preset = "100", .help = "fields of a request; else 431"},
        {.name = "max-body", .value = "SIZE", .kind = OPTION_SIZE, .to = &c->max_body, .min = 0, .max = 1ull << 40,
         .preset = "16M", .help = "content of a request; else 413"},
        {.name = "idle-timeout", .value = "DURATION", .kind = OPTION_DURATION, .to = &c->idle_timeout_ns,
         .min = 100 * NS_PER_MS, .max = day, .preset = "30s", .help = "of a connection", .group = "Timeouts"},
        {.name = "handshake-timeout", .value = "DURATION", .kind = OPTION_DURATION, .to = &c->handshake_timeout_ns,
         .min = 100 * NS_PER_MS, .max = day, .preset = "10s", .help = "from the first packet on"},
        {.name = "drain-timeout", .value = "DURATION", .kind = OPTION_DURATION, .to = &c->drain_timeout_ns, .min = 0,
         .max = day, .preset = "30s", .help = "from SIGTERM to the end of what is in flight"},
        {.name = "log-level", .value = "LEVEL", .kind = OPTION_CALL, .parse = parse_log_level, .preset = "info",
         .help = "error, warn, info or debug", .group = "Other"},
        {.name = "print-memory-plan", .kind = OPTION_FLAG, .to = &c->print_memory_plan,
         .help = "print what the limits allow at most, and exit"},
        {.name = "memtrace", .kind = OPTION_FLAG, .to = &c->memtrace,
         .help = "log a line for each trim and each second with work: what is held, and for whom"},
        {.name = "version", .kind = OPTION_FLAG, .to = &version, .help = "print versions and the build"},
        {.letter = 'h', .name = "help", .kind = OPTION_FLAG, .to = &help, .help = "print this"},
        {0},
    };
    // clang-format on
    if (options_parse(options, argc, argv, c, NULL, error) != 0)
        return CONFIG_ERROR;
    if (help) {
        printf("Usage: h3pool [options]\nHTTP/3 server whose memory comes from pools (this build: %s).\n",
               hp_build_name());
        options_help(options);
        puts("\nSIZE takes K, M, G; DURATION takes ns, us, ms, s, m, h (default s).\n"
             "Signals: TERM and INT drain (a second one stops at once), HUP reloads certificates,\n"
             "USR2 prints the pool table.");
        return CONFIG_EXIT;
    }
    if (version) {
        print_version();
        return CONFIG_EXIT;
    }
    return complete(c, error) == 0 ? CONFIG_RUN : CONFIG_ERROR;
}
