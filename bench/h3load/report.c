/* SPDX-License-Identifier: MIT */
#include "report.h"

#include "net/clock.h"

#include <h3pool/manager.h>
#include <inttypes.h>
#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>

/* A thread that is this busy limits the load: the figures then say little of the server's most. */
#define LIMIT_BUSY 0.9

static double us(int64_t ns)
{
    return (double)ns / 1e3;
}

static double per(double what, uint64_t count)
{
    return count != 0 ? what / (double)count : 0;
}

struct percentile {
    const char *text, *key;
    double value;
};
static const struct percentile percentiles[] = {
    {"p50", "p50", 50}, {"p90", "p90", 90}, {"p99", "p99", 99}, {"p99.9", "p999", 99.9}, {"p99.99", "p9999", 99.99},
};

static void text_histogram(FILE *to, const char *name, const struct hdr_histogram *h)
{
    fprintf(to, "%-12s", name);
    if (h->total_count == 0) {
        fputs("no values\n", to);
        return;
    }
    fprintf(to, "min %.0f us, mean %.0f us", us(hdr_min(h)), hdr_mean(h) / 1e3);
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
        fprintf(to, ", %s %.0f us", percentiles[i].text, us(hdr_value_at_percentile(h, percentiles[i].value)));
    fprintf(to, ", max %.0f us\n", us(hdr_max(h)));
}

static uint64_t server_cpu_ns(const struct report *r)
{
    return r->server_after->cpu_ns - r->server_before->cpu_ns;
}

static void text_errors(const struct report *r, FILE *to)
{
    const struct load_result *s = r->result;
    if (r->failed == 0)
        return;
    fprintf(to, "%-12s", "errors");
    const char *separator = "";
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        if (s->errors[i] != 0) {
            fprintf(to, "%s%s %" PRIu64, separator, load_error_str((enum load_error)i), s->errors[i]);
            separator = ", ";
        }
    if (r->total > s->done)
        fprintf(to, "%snot started %" PRIu64, separator, r->total - s->done);
    fputc('\n', to);
}

static void text_connections(const struct report *r, FILE *to)
{
    const struct load_result *s = r->result;
    fprintf(to, "%-12s%" PRIu64 " opened, %" PRIu64 " failed", "connections", s->opened, s->connect_failed);
    for (unsigned i = CLIENT_END_DONE + 1; i < LOAD_ENDS; i++)
        if (s->ends[i] != 0)
            fprintf(to, ", %s: %" PRIu64, client_end_str((enum client_end)i), s->ends[i]);
    fputc('\n', to);
}

void report_text(const struct report *r, FILE *to)
{
    const struct load_result *s = r->result;
    fprintf(to, "%-12s%" PRIu64 " total, %" PRIu64 " ok, %" PRIu64 " failed in %.3f s: %.0f requests/s, %.2f MB/s\n",
            "requests", r->total, s->ok, r->failed, r->duration_s, (double)s->done / r->duration_s,
            (double)s->bytes_data / r->duration_s / 1e6);
    fprintf(to, "%-12s2xx %" PRIu64 ", 3xx %" PRIu64 ", 4xx %" PRIu64 ", 5xx %" PRIu64 "\n", "status", s->status[2],
            s->status[3], s->status[4], s->status[5]);
    text_errors(r, to);
    text_connections(r, to);
    text_histogram(to, "latency", s->latency);
    text_histogram(to, "connect", s->connect);
    fprintf(to, "%-12s%.2f us per request, busiest thread %.0f %%%s\n", "load cpu",
            per((double)r->cpu_ns / 1e3, s->done), r->busiest * 100,
            r->busiest >= LIMIT_BUSY ? ": the load side was the limit" : "");
    if (r->server_after != NULL)
        fprintf(to, "%-12s%.2f us per request, peak RSS %.1f MB\n", "server cpu",
                per((double)server_cpu_ns(r) / 1e3, s->done), (double)r->server_after->rss_peak_bytes / 1e6);
}

/* --- JSON -----------------------------------------------------------------------------------------------------------
 */

static void json_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(to, "\\%c", c);
        else if (c < 0x20)
            fprintf(to, "\\u%04x", c);
        else
            fputc(c, to);
    }
    fputc('"', to);
}

static void json_histogram(FILE *to, const char *name, const struct hdr_histogram *h)
{
    fprintf(to, "  \"%s\": {\"count\": %" PRId64, name, h->total_count);
    if (h->total_count != 0) {
        fprintf(to, ", \"min\": %.3f, \"mean\": %.3f", us(hdr_min(h)), hdr_mean(h) / 1e3);
        for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
            fprintf(to, ", \"%s\": %.3f", percentiles[i].key, us(hdr_value_at_percentile(h, percentiles[i].value)));
        fprintf(to, ", \"max\": %.3f", us(hdr_max(h)));
    }
    fputs("},\n", to);
}

static void json_requests(const struct report *r, FILE *to)
{
    const struct load_result *s = r->result;
    fprintf(to,
            "  \"requests\": {\"total\": %" PRIu64 ", \"started\": %" PRIu64 ", \"done\": %" PRIu64 ", \"ok\": %" PRIu64
            ", \"failed\": %" PRIu64 ", \"timeout\": %" PRIu64,
            r->total, s->started, s->done, s->ok, r->failed,
            s->ends[CLIENT_END_IDLE] != 0 ? s->errors[LOAD_ERROR_CONNECTION] : 0);
    for (unsigned i = 2; i <= 5; i++)
        fprintf(to, ", \"status_%uxx\": %" PRIu64, i, s->status[i]);
    fputs(", \"errors\": {", to);
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        fprintf(to, "%s\"%s\": %" PRIu64, i == 0 ? "" : ", ", load_error_str((enum load_error)i), s->errors[i]);
    fprintf(to, ", \"not_started\": %" PRIu64 "}},\n", r->total > s->done ? r->total - s->done : 0);
}

static void json_connections(const struct report *r, FILE *to)
{
    const struct load_result *s = r->result;
    fprintf(to,
            "  \"connections\": {\"opened\": %" PRIu64 ", \"failed\": %" PRIu64
            ", \"resumed\": 0, \"early_data_accepted\": 0, \"ends\": {",
            s->opened, s->connect_failed);
    for (unsigned i = CLIENT_END_DONE; i < LOAD_ENDS; i++)
        fprintf(to, "%s\"%s\": %" PRIu64, i == CLIENT_END_DONE ? "" : ", ", client_end_str((enum client_end)i),
                s->ends[i]);
    fputs("}},\n", to);
}

static void json_config(const struct report *r, FILE *to)
{
    const struct load_config *c = r->config;
    fprintf(to,
            "  \"config\": {\"requests\": %" PRIu64 ", \"clients\": %" PRIu64 ", \"streams\": %" PRIu64
            ", \"threads\": %" PRIu64 ", \"duration_s\": %.3f, \"churn\": %s, \"verify\": %s, \"body_bytes\": %zu, "
            "\"urls\": [",
            c->requests, c->clients, c->streams, c->threads, (double)c->duration_ns / 1e9, c->churn ? "true" : "false",
            c->verify ? "true" : "false", c->body_len);
    for (size_t i = 0; i < c->target_count; i++) {
        fputs(i == 0 ? "" : ", ", to);
        json_text(to, r->urls[i]);
    }
    fputs("]},\n", to);
}

void report_json(const struct report *r, FILE *to)
{
    const struct load_result *s = r->result;
    fputs("{\n", to);
    json_requests(r, to);
    fprintf(to, "  \"duration_s\": %.6f,\n  \"rps\": %.3f,\n", r->duration_s, (double)s->done / r->duration_s);
    fprintf(to, "  \"bytes\": {\"headers\": %" PRIu64 ", \"data\": %" PRIu64 "},\n", s->bytes_headers, s->bytes_data);
    json_histogram(to, "latency_us", s->latency);
    json_histogram(to, "connect_us", s->connect);
    json_connections(r, to);
    fprintf(to, "  \"load\": {\"cpu_us_per_request\": %.4f, \"busiest_thread\": %.4f, \"was_the_limit\": %s},\n",
            per((double)r->cpu_ns / 1e3, s->done), r->busiest, r->busiest >= LIMIT_BUSY ? "true" : "false");
    if (r->server_after != NULL)
        fprintf(to,
                "  \"server\": {\"cpu_us_per_request\": %.4f, \"cpu_s\": %.6f, \"rss_peak_bytes\": %" PRIu64
                ", \"rss_bytes\": %" PRIu64 ", \"minor_faults\": %" PRIu64 "},\n",
                per((double)server_cpu_ns(r) / 1e3, s->done), (double)server_cpu_ns(r) / 1e9,
                r->server_after->rss_peak_bytes, r->server_after->rss_bytes,
                r->server_after->minor_faults - r->server_before->minor_faults);
    json_config(r, to);
    fprintf(to,
            "  \"versions\": {\"h3load\": \"%s\", \"build\": \"%s\", \"ngtcp2\": \"%s\", \"nghttp3\": \"%s\", "
            "\"openssl\": ",
            hp_version(), hp_build_name(), ngtcp2_version(0)->version_str, nghttp3_version(0)->version_str);
    json_text(to, tls_version());
    fputs("}\n}\n", to);
}
