/* SPDX-License-Identifier: MIT
 *
 * The table: a line that begins with the strategy's number for each pair, and an indented one where the strategy has
 * also been measured with malloc alone. Columns are two spaces apart at least.
 */
#include "strategies.h"

#include <stdio.h>
#include <string.h>

#define FORMAT "%-22s  %-10s  %9s  %9s  %8s  %-28s  %-9s  %9s  %9s\n"

/* What a pair of forms has to show, and in which unit. */
struct pair {
    const char *unit;
    struct bench_result bad, good;
    double from, to; /* in that unit */
};

static struct bench_result mean(const struct measured *m)
{
    double n = m->runs;
    return (struct bench_result){
        .ns = m->sum.ns / n,
        .bytes = m->sum.bytes / n,
        .allocs = m->sum.allocs / n,
        .metric = m->sum.metric / n,
        .metric_unit = m->sum.metric_unit,
    };
}

static struct pair pair_of(const struct strategy *s, const struct measured *bad, const struct measured *good)
{
    struct pair p = {.unit = "allocs/op", .bad = mean(bad), .good = mean(good)};
    p.from = p.bad.allocs;
    p.to = p.good.allocs;
    if (s->by_metric) {
        p.unit = p.bad.metric_unit;
        p.from = p.bad.metric;
        p.to = p.good.metric;
    }
    return p;
}

static double saving_percent(const struct pair *p)
{
    return p->from > 0 ? 100 * (1 - p->to / p->from) : 0;
}

static const char *verdict(const struct strategy *s, const struct pair *p)
{
    bool less = p->to < p->from, faster = p->good.ns < p->bad.ns;
    switch (s->claim) {
    case CLAIM_RANGE:
        return saving_percent(p) < s->claim_low ? "NO" : saving_percent(p) > s->claim_high ? "yes, more" : "yes";
    case CLAIM_ZERO:
        return p->good.allocs > 0 || p->good.bytes > 0 ? "NO" : "yes";
    case CLAIM_LESS:
        return less ? "yes" : "NO";
    case CLAIM_LESS_AND_FASTER:
        return !less ? "NO" : faster ? "yes" : "NO, time";
    }
    return "?";
}

static void print_row(const char *title, const struct strategy *s, const struct pair *p)
{
    char from[24], to[24], saving[24], claim[64], ns_bad[24], ns_good[24];
    snprintf(from, sizeof from, "%.6g", p->from);
    snprintf(to, sizeof to, "%.6g", p->to);
    snprintf(saving, sizeof saving, "%.2f %%", saving_percent(p));
    snprintf(ns_bad, sizeof ns_bad, "%.1f", p->bad.ns);
    snprintf(ns_good, sizeof ns_good, "%.1f", p->good.ns);
    if (s->claim == CLAIM_RANGE)
        snprintf(claim, sizeof claim, "%.0f to %.0f %% fewer", s->claim_low, s->claim_high);
    else
        snprintf(claim, sizeof claim, "%s", s->claim_text);
    fprintf(stderr, FORMAT, title, p->unit, from, to, saving, claim, verdict(s, p), ns_bad, ns_good);
}

static void print_notes(const struct strategy *const strategies[STRATEGY_COUNT],
                        const struct measured measured[STRATEGY_COUNT][FORM_COUNT])
{
    for (size_t i = 0; i < STRATEGY_COUNT; i++) {
        const struct strategy *s = strategies[i];
        if (s->claim_ns <= 0 || measured[i][FORM_GOOD].runs == 0)
            continue;
        double ns = mean(&measured[i][FORM_GOOD]).ns;
        fprintf(stderr, "%s: the guide also claims %.2f ns/op; measured %.2f (get, two writes, put): %s.\n", s->title,
                s->claim_ns, ns, ns <= s->claim_ns ? "met" : "NOT met");
    }
    fprintf(stderr, "Counts are exact. ns/op is CPU time, which other work on the machine disturbs.\n");
}

bool table_print(const struct strategy *const strategies[STRATEGY_COUNT],
                 const struct measured measured[STRATEGY_COUNT][FORM_COUNT])
{
    bool any = false;
    for (size_t i = 0; i < STRATEGY_COUNT; i++) {
        const struct measured *m = measured[i];
        if (m[FORM_BAD].runs == 0)
            continue;
        char title[64];
        snprintf(title, sizeof title, "%zu %s", i + 1, strategies[i]->title);
        for (enum form f = FORM_COUNT - 1; f > FORM_BAD; f--) {
            if (m[f].runs == 0)
                continue;
            if (!any)
                fprintf(stderr, "\n" FORMAT, "strategy", "unit", "bad", "good", "saving", "the guide's claim", "met",
                        "ns bad", "ns good");
            any = true;
            struct pair p = pair_of(strategies[i], &m[FORM_BAD], &m[f]);
            print_row(f == FORM_GOOD ? title : "  with malloc alone", strategies[i], &p);
        }
    }
    if (any)
        print_notes(strategies, measured);
    return any;
}
