/* SPDX-License-Identifier: MIT
 *
 * alloc-counter-read FILE: prints the sums of an allocation counter as one JSON object, with the page faults that the
 * kernel has counted for the process (null when it has ended). Exit status 1 for what is no such file.
 */
#include "alloc_counter.h"
#include "shared_file.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define EXIT_FAILED 1
#define EXIT_USAGE 2

static const struct alloc_counter_file *map(const char *path)
{
    const struct alloc_counter_file *f = shared_file_map(path, sizeof *f, false);
    if (f == NULL || f->magic != ALLOC_COUNTER_MAGIC || f->version != ALLOC_COUNTER_VERSION ||
        f->slot_count != ALLOC_COUNTER_SLOTS || f->slot_bytes != sizeof(struct alloc_counter_slot))
        return NULL;
    return f;
}

/* Fields 10 and 12 of /proc/PID/stat, counted from 1; the second one is in parentheses and may contain anything. */
static bool page_faults(uint32_t pid, uint64_t *minor, uint64_t *major)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL &&
           sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %*u %" SCNu64 " %*u %" SCNu64, minor, major) == 2;
}

int main(int argc, char **argv)
{
    uint64_t minor, major;
    if (argc != 2) {
        fprintf(stderr, "usage: alloc-counter-read FILE\n");
        return EXIT_USAGE;
    }
    const struct alloc_counter_file *f = map(argv[1]);
    if (f == NULL) {
        fprintf(stderr, "alloc-counter-read: %s is not the file of an allocation counter\n", argv[1]);
        return EXIT_FAILED;
    }
    struct alloc_counts sum = alloc_counter_sum(f);
    printf("{\"pid\":%" PRIu32 ",\"threads\":%" PRIu32 ",\"calls\":%" PRIu64, f->pid,
           atomic_load_explicit(&f->threads, memory_order_relaxed), alloc_counts_calls(&sum));
#define X(name, text) printf(",\"" #name "\":%" PRIu64, sum.name);
    ALLOC_COUNTERS(X)
#undef X
    if (page_faults(f->pid, &minor, &major))
        printf(",\"minor_faults\":%" PRIu64 ",\"major_faults\":%" PRIu64 "}\n", minor, major);
    else
        printf(",\"minor_faults\":null,\"major_faults\":null}\n");
    return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}
