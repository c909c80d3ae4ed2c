/* SPDX-License-Identifier: MIT
 *
 * h3load: HTTP/3 load. Reads options, starts the threads, shows progress, reports.
 */
#include "http.h"
#include "load.h"
#include "mem_bridge.h"
#include "net/clock.h"
#include "net/options.h"
#include "report.h"

#include <errno.h>
#include <ev.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define THREADS_MAX 64u
#define HOST_CAP 254u

/* The parts of "https://host:port/path". */
struct url {
    char host[HOST_CAP];
    char authority[HOST_CAP + 8];
    char port[6];
    const char *path;
};

struct h3load {
    struct load_config config;
    char *urls[LOAD_URLS_MAX];
    struct url url[LOAD_URLS_MAX];
    char *headers[LOAD_HEADERS_MAX];
    size_t header_count;
    const char *body_file, *json_file, *ca_file, *groups, *ciphers;
    uint64_t pid;
    bool insecure;
    uint8_t *body;
    struct hp_byte_pool *shared;
    struct load_thread *thread[THREADS_MAX];
    struct option_error error;
};

static int fail(struct h3load *l, const char *format, const char *text)
{
    snprintf(l->error.text, sizeof l->error.text, format, text);
    return -1;
}

/* --- the command line -----------------------------------------------------------------------------------------------
 */

static const char *take_url(void *ctx, const char *value)
{
    struct h3load *l = ctx;
    if (l->config.target_count == LOAD_URLS_MAX)
        return "is one URL too many (64)";
    l->urls[l->config.target_count++] = (char *)(uintptr_t)value;
    return NULL;
}

static const char *take_header(void *ctx, const char *value)
{
    struct h3load *l = ctx;
    const char *colon = strchr(value + (value[0] == ':'), ':');
    if (colon == NULL || colon == value)
        return "is not 'name: value'";
    if (l->header_count == LOAD_HEADERS_MAX)
        return "is one header too many (32)";
    l->headers[l->header_count++] = (char *)(uintptr_t)value;
    return NULL;
}

/* Splits |text| into |out|, whose path leads into |text|. */
static int parse_url(struct h3load *l, const char *text, struct url *out)
{
    static const char scheme[] = "https://";
    if (strncmp(text, scheme, sizeof scheme - 1) != 0)
        return fail(l, "'%.150s' is not an https:// URL", text);
    const char *at = text + sizeof scheme - 1, *slash = strchr(at, '/');
    size_t len = slash != NULL ? (size_t)(slash - at) : strlen(at);
    if (len == 0 || len >= sizeof out->authority)
        return fail(l, "'%.150s' has no host", text);
    memcpy(out->authority, at, len);
    out->authority[len] = '\0';
    out->path = slash != NULL ? slash : "/";
    const char *bracket = strchr(out->authority, ']'), *host = out->authority + (bracket != NULL);
    const char *colon = strrchr(bracket != NULL ? bracket : out->authority, ':');
    const char *end = bracket != NULL ? bracket : colon != NULL ? colon : out->authority + len;
    snprintf(out->port, sizeof out->port, "%.5s", colon != NULL ? colon + 1 : "443");
    snprintf(out->host, sizeof out->host, "%.*s", (int)(end - host), host);
    return 0;
}

static int resolve(struct h3load *l, const struct url *url)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *found;
    if (getaddrinfo(url->host, url->port, &hints, &found) != 0)
        return fail(l, "host '%.150s' can't be resolved", url->authority);
    l->config.server.len = found->ai_addrlen;
    memcpy(&l->config.server.in6, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

static nghttp3_nv field(const char *name, size_t name_len, const char *value)
{
    return (nghttp3_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .namelen = name_len,
        .value = (uint8_t *)(uintptr_t)value,
        .valuelen = strlen(value),
        .flags = NGHTTP3_NV_FLAG_NO_COPY_NAME | NGHTTP3_NV_FLAG_NO_COPY_VALUE,
    };
}

/* The length that /data/SIZE must have. */
static int parse_verify(struct h3load *l, const struct url *url, struct load_target *t)
{
    static const char prefix[] = "/data/";
    if (strncmp(url->path, prefix, sizeof prefix - 1) != 0 ||
        options_parse_size(url->path + sizeof prefix - 1, &t->verify_bytes) != 0)
        return fail(l, "--verify needs URLs of the form /data/SIZE, not '%.150s'", url->path);
    return 0;
}

static int prepare_target(struct h3load *l, size_t i)
{
    struct load_target *t = &l->config.target[i];
    const struct url *url = &l->url[i];
    if (strcmp(url->host, l->url[0].host) != 0 || strcmp(url->port, l->url[0].port) != 0)
        return fail(l, "'%.150s' is not on the first URL's host and port", l->urls[i]);
    t->fields[t->field_count++] = field(":method", 7, l->body != NULL ? "POST" : "GET");
    t->fields[t->field_count++] = field(":scheme", 7, "https");
    t->fields[t->field_count++] = field(":authority", 10, url->authority);
    t->fields[t->field_count++] = field(":path", 5, url->path);
    t->fields[t->field_count++] = field("user-agent", 10, "h3load");
    for (size_t h = 0; h < l->header_count; h++) {
        const char *name = l->headers[h], *colon = strchr(name + (name[0] == ':'), ':');
        t->fields[t->field_count++] = field(name, (size_t)(colon - name), colon + 1 + strspn(colon + 1, " "));
    }
    return l->config.verify ? parse_verify(l, url, t) : 0;
}

static int read_body(struct h3load *l)
{
    FILE *f = fopen(l->body_file, "rb");
    long len = -1;
    if (f != NULL && fseek(f, 0, SEEK_END) == 0)
        len = ftell(f);
    if (len >= 0 && (l->body = malloc((size_t)len + 1)) != NULL) {
        rewind(f);
        l->config.body_len = fread(l->body, 1, (size_t)len, f);
        l->config.body = l->body;
    }
    if (f != NULL)
        fclose(f);
    return l->body != NULL && l->config.body_len == (size_t)len ? 0
                                                                : fail(l, "--data: can't read '%.150s'", l->body_file);
}

static int parse(struct h3load *l, int argc, char **argv, bool *done)
{
    struct load_config *c = &l->config;
    bool help = false, version = false;
    const uint64_t day = 24 * 3600 * NS_PER_S;
    // clang-format off
    const struct option options[] = {
        {.letter = 'n', .name = "requests", .value = "N", .kind = OPTION_COUNT, .to = &c->requests, .min = 1,
         .max = UINT64_MAX / 2, .preset = "1", .help = "requests in all", .group = "Load"},
        {.letter = 'D', .name = "duration", .value = "DURATION", .kind = OPTION_DURATION, .to = &c->duration_ns,
         .min = NS_PER_MS, .max = day, .help = "for so long, instead of -n"},
        {.letter = 'c', .name = "clients", .value = "N", .kind = OPTION_COUNT, .to = &c->clients, .min = 1,
         .max = 15000, .preset = "1", .help = "connections"},
        {.letter = 'm', .name = "streams", .value = "N", .kind = OPTION_COUNT, .to = &c->streams, .min = 1,
         .max = 10000, .preset = "1", .help = "requests that a connection keeps in flight"},
        {.letter = 't', .name = "threads", .value = "N", .kind = OPTION_COUNT, .to = &c->threads, .min = 1,
         .max = THREADS_MAX, .preset = "1", .help = "threads"},
        {.name = "churn", .kind = OPTION_FLAG, .to = &c->churn, .help = "a new connection for each request"},
        {.name = "hold", .value = "DURATION", .kind = OPTION_DURATION, .to = &c->hold_ns, .max = day,
         .help = "with -n: each connection makes its share, then stays, idle, for so long after the last request"},
        {.letter = 'd', .name = "data", .value = "FILE", .kind = OPTION_TEXT, .to = &l->body_file,
         .help = "POST the file's content", .group = "Requests"},
        {.letter = 'H', .name = "header", .value = "FIELD", .kind = OPTION_CALL, .parse = take_header,
         .help = "'name: value' to add; repeatable"},
        {.name = "verify", .kind = OPTION_FLAG, .to = &c->verify, .help = "check every byte of /data/SIZE"},
        {.name = "cacert", .value = "FILE", .kind = OPTION_TEXT, .to = &l->ca_file, .group = "TLS",
         .preset = "certs/ca.pem, if made", .help = "authorities trusted beside the system's"},
        {.name = "insecure", .kind = OPTION_FLAG, .to = &l->insecure, .help = "do not verify the server's certificate"},
        {.name = "groups", .value = "LIST", .kind = OPTION_TEXT, .to = &l->groups, .preset = "OpenSSL's",
         .help = "key exchange groups"},
        {.name = "ciphers", .value = "LIST", .kind = OPTION_TEXT, .to = &l->ciphers, .preset = "OpenSSL's",
         .help = "TLS 1.3 cipher suites"},
        {.name = "idle-timeout", .value = "DURATION", .kind = OPTION_DURATION, .to = &c->idle_timeout_ns,
         .min = 100 * NS_PER_MS, .max = day, .preset = "30s", .help = "a connection that hears nothing for it fails",
         .group = "Other"},
        {.name = "json", .value = "FILE", .kind = OPTION_TEXT, .to = &l->json_file,
         .help = "write the result as JSON; '-': to stdout, and no text"},
        {.name = "pid", .value = "PID", .kind = OPTION_COUNT, .to = &l->pid, .min = 1, .max = 1u << 30,
         .help = "the server's process: its CPU time and memory are shown"},
        {.name = "version", .kind = OPTION_FLAG, .to = &version, .help = "print versions"},
        {.letter = 'h', .name = "help", .kind = OPTION_FLAG, .to = &help, .help = "print this"},
        {0},
    };
    // clang-format on
    if (options_parse(options, argc, argv, l, take_url, &l->error) != 0)
        return -1;
    *done = help || version;
    if (help) {
        puts("Usage: h3load [options] URL...\nPuts HTTP/3 load on a server: a closed loop, several URLs in turn.");
        options_help(options);
        puts("\nExit status: 0 all requests were answered, 1 some failed, 2 usage.");
    } else if (version) {
        printf("h3load %s (%s)\nngtcp2 %s, nghttp3 %s, %s, libev %d.%d\n", hp_version(), hp_build_name(),
               ngtcp2_version(0)->version_str, nghttp3_version(0)->version_str, tls_version(), ev_version_major(),
               ev_version_minor());
    }
    return 0;
}

static int prepare(struct h3load *l)
{
    struct load_config *c = &l->config;
    if (c->target_count == 0)
        return fail(l, "%s", "no URL");
    if (c->requests != 0 && c->duration_ns != 0)
        return fail(l, "%s", "-n and -D exclude each other");
    if (c->hold_ns != 0 && (c->duration_ns != 0 || c->churn))
        return fail(l, "%s", "--hold goes with -n, and not with --churn");
    if (c->requests == 0 && c->duration_ns == 0)
        c->requests = 1;
    if (c->requests != 0 && c->clients > c->requests)
        return fail(l, "%s", "--clients: more than requests");
    if (c->threads > c->clients)
        return fail(l, "%s", "--threads: more than clients");
    if (l->body_file != NULL && read_body(l) != 0)
        return -1;
    for (size_t i = 0; i < c->target_count; i++)
        if (parse_url(l, l->urls[i], &l->url[i]) != 0 || prepare_target(l, i) != 0)
            return -1;
    c->host = l->url[0].host;
    if (l->ca_file == NULL && access("certs/ca.pem", R_OK) == 0)
        l->ca_file = "certs/ca.pem";
    struct client_tls_config tls = {
        .ca_file = l->ca_file,
        .insecure = l->insecure,
        .groups = l->groups,
        .ciphers = l->ciphers,
    };
    struct tls_error error;
    c->tls = client_tls_new(&tls, &error);
    if (c->tls == NULL)
        return fail(l, "%s", error.text);
    struct process_sample sample;
    if (l->pid != 0 && process_sample((int)l->pid, &sample) != 0)
        return fail(l, "%s", "--pid: no such process, or it may not be looked at");
    return resolve(l, &l->url[0]);
}

/* --- the run --------------------------------------------------------------------------------------------------------
 */

static bool all_ended(const struct h3load *l)
{
    for (unsigned i = 0; i < l->config.threads; i++)
        if (l->thread[i] != NULL && !load_thread_ended(l->thread[i]))
            return false;
    return true;
}

static void show_progress(const struct h3load *l, uint64_t begin_ns)
{
    uint64_t done = 0;
    for (unsigned i = 0; i < l->config.threads; i++)
        done += l->thread[i] != NULL ? load_thread_done(l->thread[i]) : 0;
    double seconds = (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    fprintf(stderr, "\r%8.1f s  %12llu requests  %10.0f/s ", seconds, (unsigned long long)done, (double)done / seconds);
}

/* Waits for the threads; a signal ends them early. */
static void wait_threads(struct h3load *l, const sigset_t *signals)
{
    bool progress = isatty(STDERR_FILENO) != 0;
    uint64_t begin_ns = clock_monotonic_ns(), shown_ns = begin_ns;
    while (!all_ended(l)) {
        struct timespec soon = {.tv_nsec = (long)(2 * NS_PER_MS)};
        if (sigtimedwait(signals, NULL, &soon) > 0)
            for (unsigned i = 0; i < l->config.threads; i++)
                if (l->thread[i] != NULL)
                    load_thread_stop(l->thread[i]);
        if (progress && clock_monotonic_ns() - shown_ns > 200 * NS_PER_MS) {
            show_progress(l, begin_ns);
            shown_ns = clock_monotonic_ns();
        }
    }
    if (progress)
        fputs("\r\033[K", stderr);
}

static int write_reports(struct h3load *l, const struct report *r)
{
    bool to_stdout = l->json_file != NULL && strcmp(l->json_file, "-") == 0;
    if (!to_stdout)
        report_text(r, stdout);
    if (l->json_file == NULL)
        return 0;
    FILE *json = to_stdout ? stdout : fopen(l->json_file, "w");
    if (json == NULL) {
        fprintf(stderr, "h3load: --json: can't write '%s'\n", l->json_file);
        return EXIT_USAGE;
    }
    report_json(r, json);
    if (!to_stdout)
        fclose(json);
    return 0;
}

static int report(struct h3load *l, const struct load_result *result, double busiest,
                  const struct process_sample server[2])
{
    uint64_t total = l->config.requests != 0 ? l->config.requests : result->started;
    struct report r = {
        .config = &l->config,
        .result = result,
        .urls = l->urls,
        .total = total,
        .failed = total - result->ok,
        .cpu_ns = result->cpu_ns,
        .duration_s = result->wall_ns != 0 ? (double)result->wall_ns / 1e9 : 1e-9,
        .busiest = busiest,
        .server_before = l->pid != 0 ? &server[0] : NULL,
        .server_after = l->pid != 0 ? &server[1] : NULL,
    };
    int status = write_reports(l, &r);
    return status != 0 ? status : r.failed != 0 || result->ok == 0 ? EXIT_FAILED : 0;
}

static int run(struct h3load *l)
{
    sigset_t signals;
    struct load_result sum;
    struct process_sample server[2];
    double busiest = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (load_result_init(&sum) != 0)
        return EXIT_FAILED;
    if (l->pid != 0 && process_sample((int)l->pid, &server[0]) != 0)
        l->pid = 0;
    for (unsigned i = 0; i < l->config.threads; i++)
        l->thread[i] = load_thread_start(&l->config, i);
    wait_threads(l, &signals);
    if (l->pid != 0 && process_sample((int)l->pid, &server[1]) != 0)
        server[1] = server[0]; /* it has ended */
    for (unsigned i = 0; i < l->config.threads; i++) {
        uint64_t cpu = sum.cpu_ns;
        if (l->thread[i] == NULL)
            continue;
        load_thread_join(l->thread[i], &sum);
        double busy = sum.wall_ns != 0 ? (double)(sum.cpu_ns - cpu) / (double)sum.wall_ns : 0;
        busiest = busy > busiest ? busy : busiest;
    }
    int status = report(l, &sum, busiest, server);
    load_result_fini(&sum);
    return status;
}

int main(int argc, char **argv)
{
    static struct h3load l;
    bool done = false;
    struct rlimit files;
    l.config = (struct load_config){
        .clients = 1,
        .streams = 1,
        .threads = 1,
        .idle_timeout_ns = 30 * NS_PER_S,
        .handshake_timeout_ns = 30 * NS_PER_S,
        .manager = hp_pool_manager_new(0),
    };
    if (l.config.manager == NULL && errno == EINVAL) /* what is wrong with the checks has been said */
        return EXIT_USAGE;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* a socket per connection */
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    const char *failed = l.config.manager != NULL ? bridge_init(l.config.manager) : "no memory";
    l.shared = failed == NULL ? hp_byte_pool_new(l.config.manager, "shared", 64, 64u << 10, 0) : NULL;
    uint8_t *pattern = l.shared != NULL ? hp_byte_pool_get(l.shared, HTTP_PATTERN_BYTES) : NULL;
    if (pattern == NULL) {
        fprintf(stderr, "h3load: %s\n", failed != NULL ? failed : "no memory");
        return EXIT_FAILED;
    }
    http_pattern_fill(pattern);
    l.config.pattern = pattern;
    int status = 0;
    if (parse(&l, argc, argv, &done) != 0 || (!done && prepare(&l) != 0)) {
        fprintf(stderr, "h3load: %s\n", l.error.text);
        status = EXIT_USAGE;
    } else if (!done) {
        status = run(&l);
    }
    client_tls_free(l.config.tls);
    free(l.body);
    hp_byte_pool_put(l.shared, pattern);
    bridge_fini();
    if (hp_pool_manager_live(l.config.manager) != 0) {
        hp_pool_manager_print(l.config.manager, stderr);
        fprintf(stderr, "h3load: blocks are live at exit\n");
        status = status != 0 ? status : EXIT_FAILED;
    }
    hp_byte_pool_free(l.shared);
    bridge_free();
    hp_pool_manager_free(l.config.manager);
    return status;
}
