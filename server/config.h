/* SPDX-License-Identifier: MIT
 *
 * The server's configuration, from the command line.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "net/addr.h"
#include "net/options.h"
#include "tls.h"

#define LISTEN_MAX 16u
#define WORKERS_MAX 256u

struct server_config {
    struct addr listen[LISTEN_MAX];
    unsigned listen_count;
    bool listen_preset; /* the default addresses: ::1 may be skipped */
    struct tls_config tls;
    size_t key_count; /* --key options seen */
    uint64_t workers, max_connections, max_streams, max_header, max_header_fields, max_body;
    uint64_t memory_limit, connection_memory_limit;
    bool print_memory_plan, memtrace;
    uint64_t idle_timeout_ns, handshake_timeout_ns, drain_timeout_ns;
    ngtcp2_cc_algo cc;
    char preset_cert[512], preset_key[512];
};

enum config_result { CONFIG_RUN, CONFIG_EXIT, CONFIG_ERROR };

/* Fills |config| from the command line; pointers in it lead into argv and |config|. CONFIG_EXIT: --help or --version
 * has been answered. CONFIG_ERROR: |error| says why. */
enum config_result config_parse(struct server_config *config, int argc, char **argv, struct option_error *error);

#endif
