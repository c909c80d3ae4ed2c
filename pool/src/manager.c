/* SPDX-License-Identifier: MIT
 *
 * The list of pools is guarded by a mutex that only registration and reports take. The budget is one atomic sum, taken
 * in units of a run (64 KiB and up), so that the data path never meets it.
 */
#include <h3pool/builder.h>
#include <h3pool/manager.h>

#include "internal.h"

#include <pthread.h>

struct hp_pool_manager {
    pthread_mutex_t lock;
    struct hp_byte_pool *pools;
    uint64_t limit;
    alignas(64) _Atomic uint64_t held;
};

/* Bytes that a manager takes, in whole pages. */
#define MANAGER_BYTES 4096u

struct hp_pool_manager *hp_pool_manager_new(uint64_t limit)
{
    static_assert(sizeof(struct hp_pool_manager) <= MANAGER_BYTES, "a manager fits its page");
    struct hp_pool_manager *m = hp_system_map(MANAGER_BYTES, 4096);
    if (m == NULL)
        return NULL;
    pthread_mutex_init(&m->lock, NULL);
    m->limit = limit;
    return m;
}

void hp_pool_manager_free(struct hp_pool_manager *m)
{
    if (m == NULL)
        return;
    if (m->pools != NULL)
        hp_die("manager freed before its pool '%s'", m->pools->name);
    pthread_mutex_destroy(&m->lock);
    hp_system_unmap(m, MANAGER_BYTES);
}

void hp_pool_manager_add(struct hp_pool_manager *m, struct hp_byte_pool *pool)
{
    pthread_mutex_lock(&m->lock);
    struct hp_byte_pool **at = &m->pools; /* at the end, so that reports are in order of registration */
    while (*at != NULL)
        at = &(*at)->next;
    *at = pool;
    pthread_mutex_unlock(&m->lock);
}

void hp_pool_manager_remove(struct hp_pool_manager *m, struct hp_byte_pool *pool)
{
    pthread_mutex_lock(&m->lock);
    struct hp_byte_pool **at = &m->pools;
    while (*at != pool)
        at = &(*at)->next;
    *at = pool->next;
    pthread_mutex_unlock(&m->lock);
}

bool hp_pool_manager_grant(struct hp_pool_manager *m, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add_explicit(&m->held, bytes, memory_order_relaxed);
    if (m->limit == 0 || before + bytes <= m->limit)
        return true;
    hp_pool_manager_return(m, bytes);
    return false;
}

void hp_pool_manager_return(struct hp_pool_manager *m, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&m->held, bytes, memory_order_relaxed);
}

uint64_t hp_pool_manager_held(const struct hp_pool_manager *m)
{
    return HP_READ(m->held);
}

static void add_counters(struct hp_counters *sum, const struct hp_counters *c)
{
#define X(name, column, text) sum->name += c->name;
    HP_COUNTERS(X)
#undef X
}

static bool first_of_its_name(const struct hp_pool_manager *m, const struct hp_byte_pool *pool)
{
    for (const struct hp_byte_pool *p = m->pools; p != pool; p = p->next)
        if (strcmp(p->name, pool->name) == 0)
            return false;
    return true;
}

void hp_pool_manager_walk(struct hp_pool_manager *m,
                          void (*visit)(void *ctx, const char *name, const struct hp_counters *sum), void *ctx)
{
    pthread_mutex_lock(&m->lock);
    for (struct hp_byte_pool *p = m->pools; p != NULL; p = p->next) {
        if (!first_of_its_name(m, p))
            continue;
        struct hp_counters sum = {0};
        for (struct hp_byte_pool *q = p; q != NULL; q = q->next) {
            struct hp_counters one;
            if (strcmp(q->name, p->name) != 0)
                continue;
            hp_byte_pool_counters(q, &one);
            add_counters(&sum, &one);
        }
        if ((int64_t)sum.live < 0) /* as with the counters of one pool: different moments */
            sum.live = 0;
        if ((int64_t)sum.live_bytes < 0)
            sum.live_bytes = 0;
        visit(ctx, p->name, &sum);
    }
    pthread_mutex_unlock(&m->lock);
}

static void add_live(void *ctx, const char *name, const struct hp_counters *sum)
{
    (void)name;
    *(uint64_t *)ctx += sum->live;
}

uint64_t hp_pool_manager_live(struct hp_pool_manager *m)
{
    uint64_t live = 0;
    hp_pool_manager_walk(m, add_live, &live);
    return live;
}

static void print_row(void *ctx, const char *name, const struct hp_counters *sum)
{
    FILE *to = ctx;
    fprintf(to, "%-12s", name);
#define X(name, column, text) fprintf(to, " %12llu", (unsigned long long)sum->name);
    HP_COUNTERS(X)
#undef X
    fputc('\n', to);
}

void hp_pool_manager_print(struct hp_pool_manager *m, FILE *to)
{
    fprintf(to, "%-12s", "name");
#define X(name, column, text) fprintf(to, " %12s", column);
    HP_COUNTERS(X)
#undef X
    fputc('\n', to);
    hp_pool_manager_walk(m, print_row, to);
    fflush(to);
}

struct json_state {
    struct hp_builder *out;
    bool more;
};

static void json_counter(struct hp_builder *out, const char *separator, const char *name, uint64_t value)
{
    hp_builder_append_str(out, separator);
    hp_builder_append_json(out, name, strlen(name));
    hp_builder_append_str(out, ":");
    hp_builder_append_u64(out, value);
}

static void json_row(void *ctx, const char *name, const struct hp_counters *sum)
{
    struct json_state *s = ctx;
    if (s->more)
        hp_builder_append_str(s->out, ",");
    s->more = true;
    hp_builder_append_json(s->out, name, strlen(name));
    const char *separator = ":{";
#define X(name, column, text)                                                                                          \
    json_counter(s->out, separator, #name, sum->name);                                                                 \
    separator = ",";
    HP_COUNTERS(X)
#undef X
    hp_builder_append_str(s->out, "}");
}

void hp_pool_manager_json(struct hp_pool_manager *m, struct hp_builder *out)
{
    struct json_state s = {.out = out};
    hp_builder_append_str(out, "{");
    hp_pool_manager_walk(m, json_row, &s);
    hp_builder_append_str(out, "}");
}
