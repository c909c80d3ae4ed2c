/* SPDX-License-Identifier: MIT
 *
 * bench-strategies: the seven strategies of the memory guide, each as a pair of forms of the same work, side by side.
 *
 *   bad    as it is often written, with malloc or with a pool, without the strategy
 *   plain  the strategy with malloc alone, where that makes sense: what it saves without the library
 *   good   the strategy with the library
 *
 * A strategy is one file here. It has its figures from counters alone: those of malloc (bench/compare/alloc_counter.h),
 * those of the pools (h3pool/counters.h), and the CPU time of the thread.
 */
#ifndef BENCH_STRATEGIES_H
#define BENCH_STRATEGIES_H

#include "bench.h"

#include <h3pool/manager.h>
#include <stdbool.h>

enum form { FORM_BAD, FORM_PLAIN, FORM_GOOD, FORM_COUNT };

/* How the guide's claim is judged. */
enum claim_kind {
    CLAIM_RANGE, /* a saving of |low| to |high| per cent: met from |low| on */
    CLAIM_ZERO,  /* 0 B/op and 0 allocs/op */
    CLAIM_LESS,  /* without a figure: met when the good form has less */
    CLAIM_LESS_AND_FASTER,
};

struct strategy {
    const char *title;
    const char *slug; /* in the names of the benchmarks */
    /* What |forms| need, made before the first run and taken apart after the last. */
    void (*open)(struct hp_pool_manager *manager);
    void (*close)(void);
    /* As in struct bench_case; FORM_PLAIN may be NULL. */
    void (*run[FORM_COUNT])(struct bench *b, uint64_t iterations);
    enum claim_kind claim;
    const char *claim_text; /* the guide's words, for the kinds without a range */
    double claim_low, claim_high;
    double claim_ns; /* the guide's ns/op of the good form; 0: none */
    bool by_metric;  /* the saving is measured in the unit of bench_metric, not in allocs/op */
};

#define STRATEGY_COUNT 7u
extern const struct strategy strategy_object_pool, strategy_prealloc, strategy_strings, strategy_views, strategy_values,
    strategy_byte_pool, strategy_context;

/* Sums over the runs of one form. */
struct measured {
    unsigned runs;
    struct bench_result sum;
};

/* Prints to stderr a row per strategy of which the bad form and another have been run, and returns whether there is
 * one. */
bool table_print(const struct strategy *const strategies[STRATEGY_COUNT],
                 const struct measured measured[STRATEGY_COUNT][FORM_COUNT]);

/* Ends the program with a line that says |what|, unless |good|. */
void require(bool good, const char *what);

/* Reports as the metric the bytes of a live block of the pools of that name, on average; outside the measured time. */
void report_live(struct bench *b, const char *pool_name, const char *unit);

#endif
