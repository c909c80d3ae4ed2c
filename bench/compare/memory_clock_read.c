/* SPDX-License-Identifier: MIT
 *
 * memory-clock-read FILE [new]: prints the values of a memory clock's interval as one JSON object; with "new", then
 * begins a new interval. Exit status 1 for what is no such file.
 */
#include "memory_clock.h"
#include "shared_file.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define EXIT_FAILED 1
#define EXIT_USAGE 2

int main(int argc, char **argv)
{
    bool new = argc == 3 && strcmp(argv[2], "new") == 0;
    if (argc != 2 && !new) {
        fprintf(stderr, "usage: memory-clock-read FILE [new]\n");
        return EXIT_USAGE;
    }
    struct memory_clock_file *f = shared_file_map(argv[1], sizeof *f, true);
    if (f == NULL || f->magic != MEMORY_CLOCK_MAGIC || f->version != MEMORY_CLOCK_VERSION ||
        f->slot_count != MEMORY_CLOCK_SLOTS || f->slot_bytes != sizeof(struct memory_clock_slot)) {
        fprintf(stderr, "memory-clock-read: %s is not the file of a memory clock\n", argv[1]);
        return EXIT_FAILED;
    }
    struct memory_clock_values values = memory_clock_values(f);
    printf("{\"pid\":%" PRIu32 ",\"threads\":%" PRIu32 ",\"cost_ns\":%.3f", f->pid,
           atomic_load_explicit(&f->threads, memory_order_relaxed), (double)f->cost_ps / 1e3);
#define X(how, name, text) printf(",\"" #name "\":%" PRIu64, values.name);
    MEMORY_CLOCK_VALUES(X)
#undef X
    printf("}\n");
    if (new)
        memory_clock_new_interval(f);
    return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}
