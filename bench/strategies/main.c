/* SPDX-License-Identifier: MIT
 *
 * Every form is run WARM_UP times before the first measurement, so that pools have the blocks, and malloc its heap,
 * that a program has when it has run for a while. The benchmarks go to stdout, in Go's format or as JSON; the table to
 * stderr, so that "bench-strategies >new.txt" leaves a file for benchstat and the table on the terminal.
 */
#include "strategies.h"

#include "bench/compare/alloc_counter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARM_UP 256u
#define CASES_MAX (STRATEGY_COUNT * FORM_COUNT)

static const struct strategy *const strategies[STRATEGY_COUNT] = {
    &strategy_object_pool, &strategy_prealloc,  &strategy_strings, &strategy_views,
    &strategy_values,      &strategy_byte_pool, &strategy_context,
};

static struct hp_pool_manager *manager;
static struct bench_case cases[CASES_MAX];
static struct {
    size_t strategy;
    enum form form;
} case_of[CASES_MAX];
static struct measured measured[STRATEGY_COUNT][FORM_COUNT];

void require(bool good, const char *what)
{
    if (__builtin_expect(!good, 0)) {
        fprintf(stderr, "bench-strategies: %s\n", what);
        exit(1);
    }
}

struct wanted {
    const char *name;
    struct hp_counters counters;
};

static void pick(void *ctx, const struct hp_pool_row *row)
{
    struct wanted *w = ctx;
    if (strcmp(row->name, w->name) == 0)
        w->counters = row->sum;
}

void report_live(struct bench *b, const char *pool_name, const char *unit)
{
    struct wanted w = {.name = pool_name};
    bench_pause(b);
    hp_pool_manager_walk(manager, pick, &w);
    require(w.counters.live != 0, "nothing is live");
    bench_metric(b, (double)w.counters.live_bytes / (double)w.counters.live, unit);
    bench_resume(b);
}

/* Fills |cases|; returns how many. */
static size_t list_cases(void)
{
    static const char *const form_names[FORM_COUNT] = {"bad", "plain", "good"};
    static char names[CASES_MAX][64];
    size_t n = 0;
    for (size_t s = 0; s < STRATEGY_COUNT; s++)
        for (enum form f = 0; f < FORM_COUNT; f++) {
            if (strategies[s]->run[f] == NULL)
                continue;
            snprintf(names[n], sizeof names[n], "Strategy/%s/form=%s", strategies[s]->slug, form_names[f]);
            cases[n] = (struct bench_case){.name = names[n], .run = strategies[s]->run[f]};
            case_of[n].strategy = s;
            case_of[n++].form = f;
        }
    return n;
}

static void on_result(void *ctx, size_t index, const struct bench_result *r)
{
    (void)ctx;
    struct measured *m = &measured[case_of[index].strategy][case_of[index].form];
    m->runs++;
    m->sum.ns += r->ns;
    m->sum.bytes += r->bytes;
    m->sum.allocs += r->allocs;
    m->sum.metric += r->metric;
    m->sum.metric_unit = r->metric_unit;
}

/* Calls by which the pools took memory from the system: they are not among the allocations. */
static uint64_t mmap_calls(void)
{
    return alloc_counter_sum(alloc_counter_self()).mmap;
}

int main(int argc, char **argv)
{
    uint64_t mmaps = mmap_calls();
    manager = hp_pool_manager_new(0);
    require(manager != NULL, "no memory");
    for (size_t s = 0; s < STRATEGY_COUNT; s++)
        strategies[s]->open(manager);
    size_t count = list_cases();
    for (size_t i = 0; i < count; i++)
        cases[i].run(&(struct bench){0}, WARM_UP);
    uint64_t mmaps_warm = mmap_calls();

    struct bench_suite suite = {
        .package = "h3pool/strategies",
        .cases = cases,
        .count = count,
        .name_end = "",
        .on_result = on_result,
    };
    int rv = bench_suite_main(&suite, argc, argv);
    uint64_t mmaps_end = mmap_calls();
    if (table_print(strategies, measured))
        fprintf(stderr, "The pools called mmap %llu times before the first run, %llu times during the runs.\n",
                (unsigned long long)(mmaps_warm - mmaps), (unsigned long long)(mmaps_end - mmaps_warm));
    for (size_t s = 0; s < STRATEGY_COUNT; s++)
        strategies[s]->close();
    require(hp_pool_manager_live(manager) == 0, "memory is live at the end");
    hp_pool_manager_free(manager);
    return rv;
}
