/* SPDX-License-Identifier: MIT
 *
 * CPU time comes from /proc/PID/task/TID/schedstat, which counts nanoseconds; /proc/PID/stat counts ticks of 10 ms.
 */
#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t thread_cpu_ns(int pid, const char *tid)
{
    char path[96];
    unsigned long long ns = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, tid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 0; /* it ended meanwhile */
    if (fscanf(f, "%llu", &ns) != 1)
        ns = 0;
    fclose(f);
    return ns;
}

static int sum_threads(int pid, uint64_t *cpu_ns)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -1;
    *cpu_ns = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            *cpu_ns += thread_cpu_ns(pid, e->d_name);
    closedir(dir);
    return 0;
}

static uint64_t status_bytes(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

/* Reads a file of /proc whole, as text. */
static int read_file(int pid, const char *name, char *out, size_t cap)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return -1;
    size_t n = fread(out, 1, cap - 1, f);
    out[n] = '\0';
    fclose(f);
    return n != 0 ? 0 : -1;
}

int process_sample(int pid, struct process_sample *sample)
{
    char text[8192];
    *sample = (struct process_sample){0};
    if (sum_threads(pid, &sample->cpu_ns) != 0 || read_file(pid, "status", text, sizeof text) != 0)
        return -1;
    sample->rss_peak_bytes = status_bytes(text, "VmHWM:");
    sample->rss_bytes = status_bytes(text, "VmRSS:");
    if (read_file(pid, "stat", text, sizeof text) != 0)
        return -1;
    const char *after_name = strrchr(text, ')'); /* the name may hold anything */
    if (after_name == NULL || sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %lu", &sample->minor_faults) != 1)
        return -1;
    return 0;
}
