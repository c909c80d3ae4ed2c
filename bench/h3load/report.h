/* SPDX-License-Identifier: MIT
 *
 * What h3load has to say: text for people, JSON for programs.
 */
#ifndef H3LOAD_REPORT_H
#define H3LOAD_REPORT_H

#include "load.h"
#include "process.h"

#include <stdio.h>

struct report {
    const struct load_config *config;
    const struct load_result *result;
    char *const *urls;
    uint64_t total;  /* requests that were to be made: -n, or those started */
    uint64_t failed; /* of them, those not answered well */
    uint64_t cpu_ns; /* of all threads */
    double duration_s;
    double busiest;                                            /* CPU share of the busiest thread, 0 to 1 */
    const struct process_sample *server_before, *server_after; /* NULL without --pid */
};

void report_text(const struct report *r, FILE *to);
void report_json(const struct report *r, FILE *to);

#endif
