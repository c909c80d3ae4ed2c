/* SPDX-License-Identifier: MIT
 *
 * The tree of names is an array of nodes, each with its parent; a node is never removed, so its path and place are good
 * for as long as the manager is. The list of pools is guarded by a mutex that only registration and reports take.
 *
 * What is held is an atomic sum in each node, taken in units of a run (64 KiB and up) from the pool's node to the root,
 * so that the data path hardly meets it. Held sums are exact; a refusal takes back what the levels below have granted.
 *
 * Pressure: whoever changes the sum looks at the stage after it, and whoever changes the stage looks at the sum again.
 * Both are sequentially consistent, so one of two threads that do so at once sees what the other did.
 */
#include <h3pool/manager.h>

#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct hp_pool_node {
    _Atomic uint64_t held, limit;
    struct hp_pool_manager *manager;
    struct hp_pool_node *parent; /* NULL: the root */
    char path[HP_POOL_NAME_CAP];
};

struct hp_pool_manager {
    pthread_mutex_t lock;
    struct hp_byte_pool *pools;
    struct hp_pool_manager *next; /* of those that report at exit */
    struct hp_checks checks;
    _Atomic uint64_t fail_every, fail_once, fail_from, gets_counted;
    uint32_t stage_count;
    struct hp_pressure_stage stage[HP_PRESSURE_STAGES_MAX];
    void (*on_pressure)(void *ctx, uint32_t was, uint32_t is);
    void *on_pressure_ctx;
    _Atomic uint32_t pressure;
    _Atomic uint32_t node_count;
    struct hp_pool_node node[HP_POOL_NAMES_MAX]; /* 0: the root, which has no name */
};

#define MANAGER_BYTES ((sizeof(struct hp_pool_manager) + 4095) & ~(size_t)4095)

/* Managers with checks, for the report at exit. */
static pthread_mutex_t reporting_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hp_pool_manager *reporting;

static void report_at_exit(void)
{
    for (struct hp_pool_manager *m = reporting; m != NULL; m = m->next)
        hp_pool_manager_report(m, stderr);
}

static void add_reporting(struct hp_pool_manager *m)
{
    static bool registered;
    pthread_mutex_lock(&reporting_lock);
    if (!registered)
        registered = atexit(report_at_exit) == 0;
    m->next = reporting;
    reporting = m;
    pthread_mutex_unlock(&reporting_lock);
}

static void remove_reporting(struct hp_pool_manager *m)
{
    pthread_mutex_lock(&reporting_lock);
    for (struct hp_pool_manager **at = &reporting; *at != NULL; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    pthread_mutex_unlock(&reporting_lock);
}

struct hp_pool_manager *hp_pool_manager_new(uint64_t limit)
{
    struct hp_checks checks;
    char error[HP_CHECKS_ERROR_CAP];
    const char *list = getenv(HP_CHECKS_ENVIRONMENT);
    if (hp_checks_parse(list, &checks, error) != 0) {
        fprintf(stderr, "h3pool: %s: %s\n", HP_CHECKS_ENVIRONMENT, error);
        errno = EINVAL;
        return NULL;
    }
    struct hp_pool_manager *m = hp_system_map(MANAGER_BYTES, 4096);
    if (m == NULL)
        return NULL;
    pthread_mutex_init(&m->lock, NULL);
    m->node[0] = (struct hp_pool_node){.limit = limit, .manager = m};
    HP_SET(m->node_count, 1);
    if (list != NULL && *list != '\0')
        hp_pool_manager_set_checks(m, &checks);
    return m;
}

void hp_pool_manager_free(struct hp_pool_manager *m)
{
    if (m == NULL)
        return;
    if (m->pools != NULL)
        hp_die("manager freed before its pool '%s'", m->pools->name);
    remove_reporting(m);
    pthread_mutex_destroy(&m->lock);
    hp_system_unmap(m, MANAGER_BYTES);
}

/* --- the tree -------------------------------------------------------------------------------------------------------
 */

static struct hp_pool_node *find(struct hp_pool_manager *m, const char *path, size_t len)
{
    for (uint32_t i = 0; i < HP_READ(m->node_count); i++)
        if (strlen(m->node[i].path) == len && memcmp(m->node[i].path, path, len) == 0)
            return &m->node[i];
    return NULL;
}

/* The node of a path, made with all above it if it is new. The lock is held. */
static struct hp_pool_node *node_of(struct hp_pool_manager *m, const char *path)
{
    struct hp_pool_node *node = &m->node[0];
    size_t len = strlen(path);
    if (len >= HP_POOL_NAME_CAP || len == 0 || path[0] == '/' || path[len - 1] == '/' || strstr(path, "//") != NULL)
        hp_die("pool '%s': not a name", path);
    for (size_t at = 0; at < len; at++) {
        at += strcspn(path + at, "/");
        struct hp_pool_node *parent = node;
        node = find(m, path, at);
        if (node != NULL)
            continue;
        uint32_t n = HP_READ(m->node_count);
        if (n == HP_POOL_NAMES_MAX)
            hp_die("pool '%s': a manager has at most %u names", path, HP_POOL_NAMES_MAX);
        node = &m->node[n];
        *node = (struct hp_pool_node){.manager = m, .parent = parent};
        memcpy(node->path, path, at);
        atomic_store_explicit(&m->node_count, n + 1, memory_order_release);
    }
    return node;
}

void hp_pool_manager_add(struct hp_pool_manager *m, const char *name, struct hp_byte_pool *pool)
{
    pthread_mutex_lock(&m->lock);
    pool->node = node_of(m, name);
    pool->name = pool->node->path;
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

void hp_pool_manager_each(struct hp_pool_manager *m, void (*visit)(void *ctx, struct hp_byte_pool *pool), void *ctx)
{
    pthread_mutex_lock(&m->lock);
    for (struct hp_byte_pool *p = m->pools; p != NULL; p = p->next)
        visit(ctx, p);
    pthread_mutex_unlock(&m->lock);
}

/* --- limits and pressure --------------------------------------------------------------------------------------------
 */

/* The stage that suits what is held, coming from |stage|. */
static uint32_t stage_for(const struct hp_pool_manager *m, uint32_t stage, uint64_t held, uint64_t limit)
{
    while (stage < m->stage_count && held >= limit / 1000 * m->stage[stage].enter_permille)
        stage++;
    while (stage > 0 && held < limit / 1000 * m->stage[stage - 1].leave_permille)
        stage--;
    return stage;
}

static void note_pressure(struct hp_pool_manager *m)
{
    uint64_t limit = HP_READ(m->node[0].limit);
    uint32_t was = atomic_load(&m->pressure);
    for (;;) {
        uint32_t is = limit != 0 ? stage_for(m, was, atomic_load(&m->node[0].held), limit) : 0;
        if (is == was)
            return;
        if (atomic_compare_exchange_strong(&m->pressure, &was, is)) {
            m->on_pressure(m->on_pressure_ctx, was, is);
            was = is;
        }
    }
}

/* Takes |bytes| into one node's sum, if they fit: what is refused never shows in it, or it would look like pressure. */
static bool node_take(struct hp_pool_node *node, uint64_t bytes)
{
    uint64_t limit = HP_READ(node->limit), held = HP_READ(node->held);
    do
        if (HP_UNLIKELY(limit != 0 && held + bytes > limit))
            return false;
    while (!atomic_compare_exchange_weak(&node->held, &held, held + bytes));
    return true;
}

bool hp_node_grant(struct hp_pool_node *from, uint64_t bytes)
{
    for (struct hp_pool_node *node = from; node != NULL; node = node->parent) {
        if (HP_LIKELY(node_take(node, bytes)))
            continue;
        for (struct hp_pool_node *back = from; back != node; back = back->parent)
            atomic_fetch_sub(&back->held, bytes);
        return false;
    }
    if (from->manager->stage_count != 0)
        note_pressure(from->manager);
    return true;
}

void hp_node_return(struct hp_pool_node *from, uint64_t bytes)
{
    for (struct hp_pool_node *node = from; node != NULL; node = node->parent)
        atomic_fetch_sub(&node->held, bytes);
    if (from->manager->stage_count != 0)
        note_pressure(from->manager);
}

void hp_pool_manager_set_limit(struct hp_pool_manager *m, const char *name, uint64_t limit)
{
    pthread_mutex_lock(&m->lock);
    HP_SET((name != NULL ? node_of(m, name) : &m->node[0])->limit, limit);
    pthread_mutex_unlock(&m->lock);
    if (m->stage_count != 0)
        note_pressure(m);
}

uint64_t hp_pool_manager_held_below(struct hp_pool_manager *m, const char *name)
{
    pthread_mutex_lock(&m->lock);
    const struct hp_pool_node *node = name != NULL ? find(m, name, strlen(name)) : &m->node[0];
    pthread_mutex_unlock(&m->lock);
    return node != NULL ? HP_READ(node->held) : 0;
}

uint64_t hp_pool_manager_held(const struct hp_pool_manager *m)
{
    return HP_READ(m->node[0].held);
}

void hp_pool_manager_set_pressure(struct hp_pool_manager *m, const struct hp_pressure_stage *stages, uint32_t count,
                                  void (*on_change)(void *ctx, uint32_t was, uint32_t is), void *ctx)
{
    if (count > HP_PRESSURE_STAGES_MAX)
        hp_die("%u stages of pressure, but at most %u are possible", count, HP_PRESSURE_STAGES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (stages[i].leave_permille > stages[i].enter_permille ||
            (i > 0 && stages[i].enter_permille <= stages[i - 1].enter_permille))
            hp_die("stage %u of pressure: entered at %u permille, left at %u", i + 1, stages[i].enter_permille,
                   stages[i].leave_permille);
        m->stage[i] = stages[i];
    }
    m->on_pressure = on_change;
    m->on_pressure_ctx = ctx;
    m->stage_count = count;
    HP_SET(m->pressure, 0);
    if (count != 0)
        note_pressure(m);
}

uint32_t hp_pool_manager_pressure(const struct hp_pool_manager *m)
{
    return HP_READ(m->pressure);
}

/* --- trimming -------------------------------------------------------------------------------------------------------
 */

struct trim {
    size_t fell, left;
    bool idle;
};

static void trim_mine(void *ctx, struct hp_byte_pool *pool)
{
    struct trim *t = ctx;
    if (!hp_byte_pool_mine(pool))
        return;
    size_t fell = t->idle ? hp_byte_pool_trim_idle(pool, t->left) : hp_byte_pool_trim(pool);
    t->fell += fell;
    t->left -= fell < t->left ? fell : t->left;
}

size_t hp_pool_manager_trim(struct hp_pool_manager *m)
{
    struct trim t = {.left = SIZE_MAX};
    hp_pool_manager_each(m, trim_mine, &t);
    return t.fell;
}

size_t hp_pool_manager_trim_idle(struct hp_pool_manager *m, size_t bytes_max)
{
    struct trim t = {.left = bytes_max, .idle = true};
    hp_pool_manager_each(m, trim_mine, &t);
    return t.fell;
}

/* --- checks ---------------------------------------------------------------------------------------------------------
 */

void hp_pool_manager_set_checks(struct hp_pool_manager *m, const struct hp_checks *checks)
{
    m->checks = *checks;
    HP_SET(m->fail_every, checks->fail_every);
    HP_SET(m->fail_once, checks->fail_once);
    HP_SET(m->fail_from, checks->fail_from);
    HP_SET(m->gets_counted, 0);
    remove_reporting(m);
    add_reporting(m);
}

const struct hp_checks *hp_pool_manager_checks(const struct hp_pool_manager *m)
{
    return &m->checks;
}

bool hp_pool_manager_inject(struct hp_pool_manager *m)
{
    uint64_t n = atomic_fetch_add_explicit(&m->gets_counted, 1, memory_order_relaxed) + 1;
    uint64_t every = HP_READ(m->fail_every), once = HP_READ(m->fail_once), from = HP_READ(m->fail_from);
    return (every != 0 && n % every == 0) || n == once || (from != 0 && n >= from);
}

uint64_t hp_pool_manager_gets_counted(const struct hp_pool_manager *m)
{
    return HP_READ(m->gets_counted);
}

/* --- walking --------------------------------------------------------------------------------------------------------
 */

static void add_counters(struct hp_counters *sum, const struct hp_counters *c)
{
#define X(name, column, text) sum->name += c->name;
    HP_COUNTERS(X)
#undef X
}

static bool is_below(const struct hp_pool_node *node, const struct hp_pool_node *group)
{
    while (node != NULL && node != group)
        node = node->parent;
    return node != NULL;
}

/* The sum over the pools of |node|, or of it and all below. */
static struct hp_pool_row row_of(const struct hp_pool_manager *m, const struct hp_pool_node *node, bool group)
{
    struct hp_pool_row row = {.name = node->path, .group = group, .limit_bytes = HP_READ(node->limit)};
    for (const struct hp_byte_pool *p = m->pools; p != NULL; p = p->next) {
        struct hp_counters one;
        if (group ? !is_below(p->node, node) : p->node != node)
            continue;
        hp_byte_pool_counters(p, &one);
        add_counters(&row.sum, &one);
        row.pools++;
    }
    if ((int64_t)row.sum.live < 0) /* as with the counters of one pool: different moments */
        row.sum.live = 0;
    if ((int64_t)row.sum.live_bytes < 0)
        row.sum.live_bytes = 0;
    return row;
}

static void walk_below(struct hp_pool_manager *m, const struct hp_pool_node *parent,
                       void (*visit)(void *ctx, const struct hp_pool_row *row), void *ctx)
{
    uint32_t count = HP_READ(m->node_count);
    for (const struct hp_pool_node *node = &m->node[1]; node < &m->node[count]; node++) {
        if (node->parent != parent)
            continue;
        bool group = false;
        for (const struct hp_pool_node *n = node + 1; n < &m->node[count] && !group; n++)
            group = n->parent == node;
        struct hp_pool_row row = row_of(m, node, group);
        char name[HP_POOL_NAME_CAP + 1];
        if (group) {
            snprintf(name, sizeof name, "%s/", node->path);
            row.name = name;
            visit(ctx, &row);
            row = row_of(m, node, false);
        }
        if (row.pools != 0)
            visit(ctx, &row);
        walk_below(m, node, visit, ctx);
    }
}

void hp_pool_manager_walk(struct hp_pool_manager *m, void (*visit)(void *ctx, const struct hp_pool_row *row), void *ctx)
{
    pthread_mutex_lock(&m->lock);
    walk_below(m, &m->node[0], visit, ctx);
    pthread_mutex_unlock(&m->lock);
}
