/* SPDX-License-Identifier: MIT
 *
 * As in Go, the number of iterations grows until a run takes the wanted time; that last run is reported.
 */
#include "bench.h"

#include "bench/compare/alloc_counter.h"
#include "net/clock.h"
#include "net/options.h"

#include <fcntl.h>
#include <h3pool/manager.h>
#include <inttypes.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#pragma weak alloc_counter_self

#define EXIT_USAGE 2
#define ITERATIONS_MAX 1000000000ull
#define GROWTH_MAX 100u
#define PAUSES_TRIED 1000u

struct settings {
    uint64_t count, time_ns;
    const char *pattern;
    bool json, help;
};

/* Where allocations are counted; NULL: nowhere. */
static const struct alloc_counter_file *counted;

/* --- measuring ------------------------------------------------------------------------------------------------------
 */

uint64_t bench_thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* The counter that is linked in, or that of the library which stands before this program. */
static const struct alloc_counter_file *find_counter(void)
{
    if (alloc_counter_self != NULL)
        return alloc_counter_self();
    const char *path = getenv(ALLOC_COUNTER_VARIABLE);
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return NULL;
    const struct alloc_counter_file *f = mmap(NULL, sizeof *f, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return f != MAP_FAILED && f->magic == ALLOC_COUNTER_MAGIC && f->pid == (uint32_t)getpid() ? f : NULL;
}

static struct alloc_counts counts_now(void)
{
    return counted != NULL ? alloc_counter_sum(counted) : (struct alloc_counts){0};
}

void bench_clock_stop(struct bench *b)
{
    b->ns += bench_thread_ns() - b->ns_from - b->ns_pause;
}

void bench_clock_start(struct bench *b, uint64_t ns)
{
    b->ns += ns;
    b->ns_from = bench_thread_ns();
}

void bench_pause(struct bench *b)
{
    bench_clock_stop(b);
    struct alloc_counts sum = counts_now();
    b->calls += alloc_counts_calls(&sum) - b->calls_from;
    b->bytes += sum.bytes - b->bytes_from;
}

void bench_resume(struct bench *b)
{
    struct alloc_counts sum = counts_now();
    b->calls_from = alloc_counts_calls(&sum);
    b->bytes_from = sum.bytes;
    bench_clock_start(b, 0);
}

void bench_metric(struct bench *b, double value, const char *unit)
{
    b->metric = value;
    b->metric_unit = unit;
}

/* The least that two readings of the clock are apart. */
static uint64_t pause_cost(void)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < PAUSES_TRIED; i++) {
        uint64_t from = bench_thread_ns(), ns = bench_thread_ns() - from;
        least = ns < least ? ns : least;
    }
    return least;
}

static struct bench run_once(const struct bench_case *c, uint64_t iterations, uint64_t ns_pause)
{
    struct bench b = {.ns_pause = ns_pause};
    bench_resume(&b);
    c->run(&b, iterations);
    bench_pause(&b);
    return b;
}

static struct bench_result measure(const struct bench_case *c, uint64_t time_ns)
{
    uint64_t n = 1, ns_pause = pause_cost();
    for (;;) {
        struct bench b = run_once(c, n, ns_pause);
        if (b.ns >= time_ns || n >= ITERATIONS_MAX)
            return (struct bench_result){
                .iterations = n,
                .ns = (double)b.ns / (double)n,
                .bytes = (double)b.bytes / (double)n,
                .allocs = (double)b.calls / (double)n,
                .metric = b.metric,
                .metric_unit = b.metric_unit,
            };
        /* A fifth more than what the last run promises. */
        double wanted = 1.2 * (double)n * (double)time_ns / (double)(b.ns != 0 ? b.ns : 1);
        double most = (double)n * GROWTH_MAX;
        uint64_t next = (uint64_t)(wanted < most ? wanted : most) + 1;
        n = next < ITERATIONS_MAX ? next : ITERATIONS_MAX;
    }
}

/* --- printing -------------------------------------------------------------------------------------------------------
 */

static const char *architecture(void)
{
    static struct utsname u;
    uname(&u);
    return strcmp(u.machine, "x86_64") == 0 ? "amd64" : strcmp(u.machine, "aarch64") == 0 ? "arm64" : u.machine;
}

static void cpu_name(char *out, size_t cap)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(out, cap, "unknown");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        snprintf(out, cap, "%s", colon + 1 + strspn(colon + 1, " \t"));
        out[strcspn(out, "\n\"\\")] = '\0';
        break;
    }
    if (f != NULL)
        fclose(f);
}

static void print_head(const struct settings *s, const char *package)
{
    char cpu[128];
    cpu_name(cpu, sizeof cpu);
    printf(s->json ? "{\"goos\":\"linux\",\"goarch\":\"%s\",\"pkg\":\"%s\",\"cpu\":\"%s\",\"pool\":\"%s\",\"clock\":"
                     "\"thread-cputime\",\"benchmarks\":["
                   : "goos: linux\ngoarch: %s\npkg: %s\ncpu: %s\n",
           architecture(), package, cpu, hp_build_name());
}

/* Decimals of a figure: four digits that say something, as in Go's testing package. */
static int decimals(double ns)
{
    return ns >= 999.95 ? 0 : ns >= 99.995 ? 1 : ns >= 9.9995 ? 2 : ns >= 0.99995 ? 3 : 4;
}

static void print_json(const char *name, const struct bench_result *r, bool first)
{
    printf("%s\n{\"name\":\"%s\",\"iterations\":%" PRIu64 ",\"ns_per_op\":%.2f", first ? "" : ",", name, r->iterations,
           r->ns);
    if (counted != NULL)
        printf(",\"bytes_per_op\":%.2f,\"allocs_per_op\":%.4f", r->bytes, r->allocs);
    if (r->metric_unit != NULL)
        printf(",\"metrics\":{\"%s\":%.2f}", r->metric_unit, r->metric);
    printf("}");
}

static void print_go(const char *name, const char *name_end, const struct bench_result *r)
{
    printf("Benchmark%s%s\t%10" PRIu64 "\t%10.*f ns/op", name, name_end, r->iterations, decimals(r->ns), r->ns);
    if (r->metric_unit != NULL)
        printf("\t%10.1f %s", r->metric, r->metric_unit);
    if (counted != NULL)
        printf("\t%8.0f B/op\t%8.0f allocs/op", r->bytes, r->allocs);
    printf("\n");
}

/* --- the program ----------------------------------------------------------------------------------------------------
 */

static int usage(const char *wrong)
{
    if (wrong != NULL)
        fprintf(stderr, "wrong argument: %s\n", wrong);
    fprintf(wrong != NULL ? stderr : stdout, "-count N        runs of each benchmark (1)\n"
                                             "-time DURATION  CPU time of a run, such as 500ms or 2s (1s)\n"
                                             "-bench REGEX    only benchmarks whose name matches\n"
                                             "-json           one JSON object instead of Go's format\n");
    return wrong != NULL ? EXIT_USAGE : 0;
}

/* Returns NULL, or the argument that is wrong. */
static const char *parse(struct settings *s, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i] + (strncmp(argv[i], "--", 2) == 0), *value = i + 1 < argc ? argv[i + 1] : "";
        char *end;
        if (strcmp(name, "-json") == 0) {
            s->json = true;
            continue;
        }
        if (strcmp(name, "-help") == 0) {
            s->help = true;
            continue;
        }
        bool good = false;
        if (strcmp(name, "-count") == 0)
            good = (s->count = strtoull(value, &end, 10)) != 0 && *end == '\0';
        else if (strcmp(name, "-time") == 0)
            good = options_parse_duration(value, &s->time_ns) == 0 && s->time_ns != 0;
        else if (strcmp(name, "-bench") == 0)
            good = *(s->pattern = value) != '\0';
        if (!good)
            return argv[i];
        i++;
    }
    return NULL;
}

int bench_suite_main(const struct bench_suite *suite, int argc, char **argv)
{
    struct settings s = {.count = 1, .time_ns = NS_PER_S, .pattern = "."};
    regex_t pattern;
    const char *wrong = parse(&s, argc, argv);
    if (wrong != NULL || s.help)
        return usage(wrong);
    if (regcomp(&pattern, s.pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return usage(s.pattern);
    bool first = true;
    counted = find_counter();
    print_head(&s, suite->package);
    for (size_t i = 0; i < suite->count; i++)
        for (uint64_t n = 0; n < s.count && regexec(&pattern, suite->cases[i].name, 0, NULL, 0) == 0; n++) {
            struct bench_result r = measure(&suite->cases[i], s.time_ns);
            if (s.json)
                print_json(suite->cases[i].name, &r, first);
            else
                print_go(suite->cases[i].name, suite->name_end, &r);
            fflush(stdout);
            if (suite->on_result != NULL)
                suite->on_result(suite->ctx, i, &r);
            first = false;
        }
    regfree(&pattern);
    if (s.json)
        printf("]}\n");
    return fflush(stdout) == 0 ? 0 : 1;
}

int bench_main(const char *package, const struct bench_case *cases, size_t count, int argc, char **argv)
{
    char name_end[32];
    snprintf(name_end, sizeof name_end, "/pool=%s", hp_build_name());
    struct bench_suite suite = {.package = package, .cases = cases, .count = count, .name_end = name_end};
    return bench_suite_main(&suite, argc, argv);
}
