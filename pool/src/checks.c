/* SPDX-License-Identifier: MIT
 *
 * The names of the checks, and the report of what is live: the same in both builds.
 */
#include <h3pool/checks.h>

#include "internal.h"
#include "site.h"

#include <stdlib.h>
#include <string.h>

struct name {
    const char *name;
    uint64_t preset; /* without "=N"; 0: the number must be given */
    uint64_t most;   /* 0: takes no number */
};

enum which { TAG, POISON, ZERO, COLD, QUARANTINE, GUARD, CALLERS, FAIL, FAIL_ONCE, FAIL_FROM, ALL, WHICH_COUNT };

static const struct name names[WHICH_COUNT] = {
    [TAG] = {"tag", 1, 0},
    [POISON] = {"poison", 1, 0},
    [ZERO] = {"zero", 1, 0},
    [COLD] = {"cold", 1, 0},
    [QUARANTINE] = {"quarantine", 64, 1u << 20},
    [GUARD] = {"guard", 1, UINT32_MAX},
    [CALLERS] = {"callers", 1, 0},
    [FAIL] = {"fail", 0, UINT64_MAX},
    [FAIL_ONCE] = {"fail-once", 0, UINT64_MAX},
    [FAIL_FROM] = {"fail-from", 0, UINT64_MAX},
    [ALL] = {"all", 1, 0},
};

static void set(struct hp_checks *c, enum which which, uint64_t n)
{
    switch (which) {
    case TAG:
        c->tag = true;
        break;
    case POISON:
        c->poison = true;
        break;
    case ZERO:
        c->zero = true;
        break;
    case COLD:
        c->cold = true;
        break;
    case QUARANTINE:
        c->quarantine = (uint32_t)n;
        break;
    case GUARD:
        c->guard = (uint32_t)n;
        break;
    case CALLERS:
        c->callers = true;
        break;
    case FAIL:
        c->fail_every = n;
        break;
    case FAIL_ONCE:
        c->fail_once = n;
        break;
    case FAIL_FROM:
        c->fail_from = n;
        break;
    case ALL:
        c->poison = c->callers = true;
        c->quarantine = c->quarantine != 0 ? c->quarantine : 64;
        break;
    case WHICH_COUNT:
        break;
    }
}

/* The number behind "=", within 1..most; 0 if it is none. */
static uint64_t number(const char *text, size_t len, uint64_t most)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || n > (UINT64_MAX - 9) / 10)
            return 0;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    return n <= most ? n : 0;
}

/* One word of the list; returns NULL, or what is wrong with it. */
static const char *parse_word(const char *word, size_t len, struct hp_checks *out)
{
    const char *equals = memchr(word, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - word) : len;
    for (unsigned i = 0; i < WHICH_COUNT; i++) {
        const struct name *n = &names[i];
        if (strlen(n->name) != name_len || memcmp(n->name, word, name_len) != 0)
            continue;
        if (equals != NULL && n->most == 0)
            return "takes no number";
        if (equals == NULL && n->preset == 0)
            return "needs a number";
        uint64_t value = equals == NULL ? n->preset : number(equals + 1, len - name_len - 1, n->most);
        if (value == 0)
            return "has a wrong number";
        set(out, (enum which)i, value);
        return NULL;
    }
    return "is unknown";
}

int hp_checks_parse(const char *list, struct hp_checks *out, char error[HP_CHECKS_ERROR_CAP])
{
    *out = (struct hp_checks){0};
    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ",");
        const char *wrong = parse_word(list, len, out);
        if (wrong != NULL) {
            snprintf(error, HP_CHECKS_ERROR_CAP, "check '%.*s' %s", len < 40 ? (int)len : 40, list, wrong);
            *out = (struct hp_checks){0};
            return -1;
        }
        list += len + (list[len] == ',');
    }
    return 0;
}

/* --- the report -----------------------------------------------------------------------------------------------------
 */

struct live {
    uint64_t blocks, bytes;
};

struct report {
    FILE *to;
    struct live of_site[HP_SITES_MAX];
    struct live all;
};

static void count_block(void *ctx, size_t bytes, uint32_t site)
{
    struct report *r = ctx;
    r->of_site[site].blocks++;
    r->of_site[site].bytes += bytes;
    r->all.blocks++;
}

static void print_live(FILE *to, const char *pool, const struct live *live, const char *where)
{
    fprintf(to, "h3pool: pool '%s': %llu blocks of %llu bytes are live%s%s\n", pool, (unsigned long long)live->blocks,
            (unsigned long long)live->bytes, where != NULL ? ", got by " : "", where != NULL ? where : "");
}

/* The site with the most bytes, or 0 for none but the unknown. */
static uint32_t largest(const struct report *r)
{
    uint32_t most = 0;
    for (uint32_t i = 1; i < HP_SITES_MAX; i++)
        if (r->of_site[i].blocks != 0 && (most == 0 || r->of_site[i].bytes > r->of_site[most].bytes))
            most = i;
    return most;
}

static void report_pool(void *ctx, struct hp_byte_pool *pool)
{
    struct report *r = ctx;
    struct hp_counters c;
    char text[HP_SITE_TEXT_CAP];
    uint64_t before = r->all.blocks;
    memset(r->of_site, 0, sizeof r->of_site);
    hp_source_walk(pool, count_block, r);
    for (uint32_t site; (site = largest(r)) != 0; r->of_site[site] = (struct live){0})
        print_live(r->to, pool->name, &r->of_site[site], hp_source_site_text(site, text));
    if (r->of_site[0].blocks != 0)
        print_live(r->to, pool->name, &r->of_site[0], NULL);
    hp_byte_pool_counters(pool, &c);
    /* The walk knows better where it can look: what other threads have put may not be counted yet. */
    if (pool->checks == NULL && r->all.blocks == before && (int64_t)c.live > 0) {
        print_live(r->to, pool->name, &(struct live){c.live, c.live_bytes}, NULL);
        r->all.blocks += c.live;
    }
}

uint64_t hp_pool_manager_report(struct hp_pool_manager *manager, FILE *to)
{
    static struct report report; /* large, and printed by one thread */
    report.to = to;
    report.all = (struct live){0};
    hp_pool_manager_each(manager, report_pool, &report);
    fflush(to);
    return report.all.blocks;
}
