/* SPDX-License-Identifier: MIT */
#include "budget.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDSHAKES_LEAST 16u
#define HANDSHAKES_MOST 1024u
#define GOAWAY_LEAVE_PERMILLE 880u
#define WAITING_BYTES_LEAST (8u << 20)

static const struct hp_pressure_stage stages[] = {
    {.enter_permille = 500, .leave_permille = 450},
    {.enter_permille = 650, .leave_permille = 600},
    {.enter_permille = 910, .leave_permille = GOAWAY_LEAVE_PERMILLE},
    {.enter_permille = BUDGET_REFUSE_PERMILLE, .leave_permille = 910},
    {.enter_permille = 980, .leave_permille = 965},
};
static_assert(sizeof stages / sizeof stages[0] == BUDGET_STAGES - 1, "each stage but the first has thresholds");

const char *budget_stage_str(enum budget_stage stage)
{
    static const char *const text[] = {"free", "trim", "credit", "goaway", "refuse", "shed"};
    return text[stage];
}

static void on_change(void *ctx, uint32_t was, uint32_t is)
{
    struct budget *b = ctx;
    while (was < is)
        atomic_fetch_add_explicit(&b->entered[++was], 1, memory_order_relaxed);
}

void budget_init(struct budget *b, struct hp_pool_manager *manager, uint64_t limit_bytes, unsigned workers)
{
    *b = (struct budget){.manager = manager, .limit_bytes = limit_bytes, .workers = workers};
    hp_pool_manager_set_limit(manager, NULL, limit_bytes);
    if (limit_bytes != 0)
        hp_pool_manager_set_pressure(manager, stages, BUDGET_STAGES - 1, on_change, b);
}

void budget_signal(struct budget *b)
{
    atomic_fetch_add_explicit(&b->signals, 1, memory_order_relaxed);
    if (atomic_exchange(&b->floor, BUDGET_TRIM) == BUDGET_FREE && hp_pool_manager_pressure(b->manager) == BUDGET_FREE)
        atomic_fetch_add_explicit(&b->entered[BUDGET_TRIM], 1, memory_order_relaxed);
}

void budget_relax(struct budget *b)
{
    HP_SET(b->floor, BUDGET_FREE);
}

uint64_t budget_sent_away(const struct budget *b)
{
    if (budget_stage(b) < BUDGET_GOAWAY)
        return 0;
    uint64_t held = hp_pool_manager_held(b->manager), left_at = b->limit_bytes / 1000 * GOAWAY_LEAVE_PERMILLE;
    return 1 + (held > left_at ? held - left_at : 0) / b->workers / BUDGET_CONN_BYTES;
}

/* Half of what a connection's share leaves when it is idle. */
static uint64_t half_of_share(const struct budget *b, uint64_t connections)
{
    uint64_t share = b->limit_bytes / 5 * 3 / b->workers / (connections != 0 ? connections : 1);
    return share > BUDGET_CONN_BYTES ? (share - BUDGET_CONN_BYTES) / 2 : 0;
}

uint64_t budget_streams(const struct budget *b, uint64_t connections, uint64_t most)
{
    if (b == NULL || b->limit_bytes == 0)
        return most;
    uint64_t least = most < BUDGET_STREAMS_MIN ? most : BUDGET_STREAMS_MIN;
    if (budget_stage(b) >= BUDGET_CREDIT)
        return least;
    uint64_t streams = half_of_share(b, connections) / BUDGET_STREAM_BYTES;
    return streams < least ? least : streams < most ? streams : most;
}

uint64_t budget_in_flight(const struct budget *b, uint64_t connections)
{
    if (b == NULL || b->limit_bytes == 0)
        return 0;
    uint64_t bytes = half_of_share(b, connections) / BUDGET_PACKET_BYTES * 1200;
    return bytes > BUDGET_IN_FLIGHT_MIN && budget_stage(b) < BUDGET_CREDIT ? bytes : BUDGET_IN_FLIGHT_MIN;
}

uint64_t budget_handshakes(const struct budget *b)
{
    if (b == NULL || b->limit_bytes == 0)
        return HANDSHAKES_MOST;
    uint64_t count = b->limit_bytes / 12 / b->workers / (BUDGET_CONN_BYTES + BUDGET_HANDSHAKE_BYTES);
    count = count < HANDSHAKES_LEAST ? HANDSHAKES_LEAST : count < HANDSHAKES_MOST ? count : HANDSHAKES_MOST;
    return budget_stage(b) < BUDGET_CREDIT ? count : count / 4;
}

uint64_t budget_waiting(const struct budget *b)
{
    uint64_t bytes = b != NULL && b->limit_bytes != 0 ? b->limit_bytes / 12 / b->workers : 0;
    return bytes > WAITING_BYTES_LEAST ? bytes : WAITING_BYTES_LEAST;
}

/* --- cgroups --------------------------------------------------------------------------------------------------------
 */

/* The number in a file; UINT64_MAX if it is "max" or can't be read. */
static uint64_t number_in(const char *path)
{
    char text[32];
    uint64_t n = UINT64_MAX;
    FILE *f = fopen(path, "re");
    if (f != NULL && fgets(text, sizeof text, f) != NULL && text[0] >= '0' && text[0] <= '9')
        n = strtoull(text, NULL, 10);
    if (f != NULL)
        fclose(f);
    return n;
}

/* The least limit of a group and those above it. |group| is cut down on the way. */
static uint64_t least_limit(const char *root, char *group, const char *file)
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        char path[PATH_MAX];
        if ((size_t)snprintf(path, sizeof path, "%s%s/%s", root, group, file) < sizeof path) {
            uint64_t n = number_in(path);
            least = n < least ? n : least;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return least;
        *slash = '\0';
    }
}

uint64_t budget_cgroup_limit(const char *root, uint64_t limit_bytes)
{
    char line[PATH_MAX], memory_root[PATH_MAX];
    FILE *f = fopen("/proc/self/cgroup", "re");
    snprintf(memory_root, sizeof memory_root, "%s/memory", root);
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        uint64_t n = UINT64_MAX;
        if (controllers[1] == '\0') /* version 2 */
            n = least_limit(root, group, "memory.max");
        else if (strstr(controllers + 1, "memory") != NULL)
            n = least_limit(memory_root, group, "memory.limit_in_bytes");
        if (n < limit_bytes || limit_bytes == 0)
            limit_bytes = n != UINT64_MAX ? n : limit_bytes;
    }
    if (f != NULL)
        fclose(f);
    return limit_bytes;
}
