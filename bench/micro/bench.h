/* SPDX-License-Identifier: MIT
 *
 * Benchmarks inside one process, printed in Go's benchmark format, so that benchstat reads them.
 *
 *   static void handle_health(struct bench *b, uint64_t iterations) { for (...) ... }
 *   static const struct bench_case cases[] = {{"HandleHealth", handle_health}};
 *   int main(int argc, char **argv) { return bench_main("h3pool/handlers", cases, 1, argc, argv); }
 *
 * Time is CPU time of the thread (CLOCK_THREAD_CPUTIME_ID): other work on the machine shows through the caches alone.
 * Allocations are counted, not assumed, by bench/compare/alloc_counter.c, which stands before malloc for all of the
 * process, libc included. That costs about a nanosecond a call, inside the time. A program is linked with it, or, where
 * malloc itself is what is measured, is run once more under liballoc_counter.so; without either the columns B/op and
 * allocs/op are left out.
 */
#ifndef BENCH_MICRO_BENCH_H
#define BENCH_MICRO_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* What one run has measured so far. */
struct bench {
    uint64_t ns, calls, bytes; /* while it was not paused */
    uint64_t ns_from, calls_from, bytes_from;
    uint64_t ns_pause; /* what a pause and a resume measure of themselves, on average */
    double metric;     /* see bench_metric */
    const char *metric_unit;
};

struct bench_case {
    const char *name; /* after "Benchmark", with "/key=value" parts */
    /* Does |iterations| operations; is called with the clock running and returns with it running. */
    void (*run)(struct bench *b, uint64_t iterations);
};

/* What lies between these two is not measured. Reading the clock takes a few hundred nanoseconds, of which the part
 * inside the measured time is taken off; so put many operations between two pauses. */
void bench_pause(struct bench *b);
void bench_resume(struct bench *b);

/* For work of other threads: between these two the clock stands still, but allocations are counted. |ns| is the CPU
 * time of theirs that counts, as bench_thread_ns told it. */
void bench_clock_stop(struct bench *b);
void bench_clock_start(struct bench *b, uint64_t ns);

/* CPU time of the calling thread in nanoseconds. Two readings are |ns_pause| apart at least. */
uint64_t bench_thread_ns(void);

/* Reports a figure of the benchmark's own, not divided by the iterations, in a |unit| such as "B/request" (static,
 * without spaces). One per benchmark; the last call counts. */
void bench_metric(struct bench *b, double value, const char *unit);

/* Keeps the compiler from leaving out what |p| points to, or anything written before. Costs nothing. */
static inline void bench_use(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

/* The block |p|, of 8 bytes or more, written to. The compiler must take it for used and for changed, but may keep all
 * other memory in registers, as in a program that fills a block. */
static inline void *bench_touch(void *p, uint64_t value)
{
    *(uint64_t *)p = value;
    __asm__ volatile("" : "+r"(p), "+m"(*(char(*)[8])p));
    return p;
}

/* Runs the cases as the command line says (-help lists it) and prints them. |package| is for the line "pkg:". Returns
 * the exit status. */
int bench_main(const char *package, const struct bench_case *cases, size_t count, int argc, char **argv);

/* What a run has found, for programs that do more with it than print it. */
struct bench_result {
    uint64_t iterations;
    double ns, bytes, allocs; /* of one operation; the last two are 0 where nothing is counted */
    double metric;
    const char *metric_unit; /* NULL: the benchmark has none */
};

struct bench_suite {
    const char *package;
    const struct bench_case *cases;
    size_t count;
    const char *name_end; /* after each name in Go's format; bench_main gives it the build of the pools */
    /* NULL, or called after each run that is reported. |index| is the case's. */
    void (*on_result)(void *ctx, size_t index, const struct bench_result *result);
    void *ctx;
};
int bench_suite_main(const struct bench_suite *suite, int argc, char **argv);

#endif
