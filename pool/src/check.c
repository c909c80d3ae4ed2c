/* SPDX-License-Identifier: MIT
 *
 * Checks. A block of a checked pool lies inside a larger block of its run:
 *
 *   |link|bytes|got by|put by|tag|canary| the caller's bytes ............ |canary bytes, 8 or more|
 *    \ 32 bytes: the header                                               ^ exactly as many as asked for
 *
 * The tag says live or free, mixed with the address, so that stale bytes are neither. A freed block is wiped and waits
 * in a queue of its class, if cold or quarantine ask for that, or goes back to its run.
 *
 * One get in |guard| has a mapping of its own, and so have those for which there is no class. Its header lies apart:
 *
 *   |span's header|header|..... canary, the caller's bytes, canary to 16|unreadable page|
 *    4 KiB         4 KiB                                                ^ page boundary
 *
 * Once put, all from the third page on is unreadable, until 64 more such blocks (or as many as the quarantine has) have
 * been put.
 */
#include "check.h"

#include "annotate.h"
#include "site.h"
#include "span.h"

#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096u
#define CANARY_BYTES 8u
#define CANARY 0xc7u
#define POISON 0xdbu
#define LIVE 0x6c697665u /* "live" */
#define FREE 0x66726565u /* "free" */
#define GUARDED_KEPT 64u

struct header {
    uint64_t link;
    uint64_t bytes;
    uint32_t got, put; /* sites */
    _Atomic uint32_t tag;
    uint32_t canary;
};

#define HEADER sizeof(struct header)
static_assert(sizeof(struct header) == 32, "what follows the header is aligned to 16");

struct queue {
    struct header *head, *tail;
    uint32_t count;
};

struct hp_check_state {
    struct hp_checks options;
    uint32_t until_guard;
    struct queue guarded;
    struct queue queue[]; /* by bin */
};

/* --- headers --------------------------------------------------------------------------------------------------------
 */

static uint32_t mixed(const struct hp_byte_pool *pool, const struct header *h, uint32_t value)
{
    uint64_t bits = ((uintptr_t)h ^ pool->key) * 0x9e3779b97f4a7c15u;
    return value ^ (uint32_t)(bits >> 32);
}

static bool has_tag(const struct hp_byte_pool *pool, struct header *h, uint32_t value)
{
    return HP_READ(h->tag) == mixed(pool, h, value);
}

static bool is_filled(const unsigned char *bytes, size_t len, unsigned char with)
{
    return len == 0 || (bytes[0] == with && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* A part of a message: who got or put a block. */
struct who {
    char text[HP_SITE_TEXT_CAP + 16];
};

static struct who who(const char *did, uint32_t site)
{
    struct who w = {{0}};
    char text[HP_SITE_TEXT_CAP];
    if (site != 0)
        snprintf(w.text, sizeof w.text, ", %s by %s", did, hp_site_text(site, text));
    return w;
}

static char *guarded_end(const struct hp_span *span)
{
    return (char *)span + span->huge_bytes - PAGE_BYTES;
}

static struct header *guarded_header(struct hp_span *span)
{
    return (struct header *)((char *)span + PAGE_BYTES);
}

static char *guarded_block(struct hp_span *span)
{
    return guarded_end(span) - ((guarded_header(span)->bytes + 15) & ~(uint64_t)15);
}

/* The header of what should be the start of a block in one of the pool's spans. */
static struct header *header_of(const struct hp_byte_pool *pool, const void *block)
{
    struct hp_span *span = hp_span_of(block);
    if (span->guarded) {
        if (HP_UNLIKELY((const char *)block != guarded_block(span)))
            hp_die("pool '%s': %p points into a block, not at its start", pool->name, block);
        return guarded_header(span);
    }
    const struct hp_run *run = hp_run_of(span, block);
    size_t offset = (size_t)((const char *)block - run->base) - HEADER;
    if (HP_UNLIKELY(run->bin == &hp_no_bin || offset / run->bin->block_bytes >= run->carved))
        hp_die("pool '%s': %p was put, but is not a live block", pool->name, block);
    if (HP_UNLIKELY(offset % run->bin->block_bytes != 0))
        hp_die("pool '%s': %p points into a block, not at its start", pool->name, block);
    return (struct header *)(run->base + offset);
}

/* Where the canary behind a block ends. */
static char *end_of(struct header *h)
{
    struct hp_span *span = hp_span_of(h);
    return span->guarded ? guarded_end(span) : (char *)h + hp_bin_of(h)->block_bytes;
}

static char *block_of(struct header *h)
{
    struct hp_span *span = hp_span_of(h);
    return span->guarded ? guarded_block(span) : (char *)(h + 1);
}

static HP_NO_FRAME void set_live(struct hp_byte_pool *pool, struct header *h, uint64_t bytes)
{
    h->bytes = bytes;
    h->got = pool->checks->options.callers ? hp_site_here() : 0;
    h->put = 0;
    h->canary = mixed(pool, h, CANARY);
    HP_SET(h->tag, mixed(pool, h, LIVE));
    char *block = block_of(h);
    memset(block + bytes, CANARY, (size_t)(end_of(h) - block) - bytes);
    HP_UNDEFINED(block, bytes);
}

/* Dies unless the block is live and its surroundings are whole. */
static struct header *check(const struct hp_byte_pool *pool, const void *block)
{
    struct header *h = header_of(pool, block);
    if (HP_UNLIKELY(has_tag(pool, h, FREE)))
        hp_die("pool '%s': block %p was put twice%s", pool->name, block, who("the first time", h->put).text);
    const char *before = (const char *)block - HEADER;
    bool whole = h->canary == mixed(pool, h, CANARY) &&
                 (!hp_span_of(block)->guarded || is_filled((const unsigned char *)before, HEADER, CANARY));
    if (HP_UNLIKELY(!has_tag(pool, h, LIVE) || !whole))
        hp_die("pool '%s': bytes before block %p were written to, or it never was a block", pool->name, block);
    const unsigned char *behind = (const unsigned char *)block + h->bytes;
    if (HP_UNLIKELY(!is_filled(behind, (size_t)(end_of(h) - (const char *)behind), CANARY)))
        hp_die("pool '%s': block %p was written to beyond its %llu bytes%s", pool->name, block,
               (unsigned long long)h->bytes, who("got", h->got).text);
    return h;
}

/* --- free blocks ----------------------------------------------------------------------------------------------------
 */

static void wipe(const struct hp_byte_pool *pool, struct header *h)
{
    const struct hp_checks *c = &pool->checks->options;
    char *block = block_of(h);
    if (c->poison || c->zero)
        memset(block, c->zero ? 0 : POISON, (size_t)(end_of(h) - block));
}

/* Dies of a free block that has been written to. */
static void check_free(const struct hp_byte_pool *pool, struct header *h)
{
    const struct hp_checks *c = &pool->checks->options;
    unsigned char *block = (unsigned char *)block_of(h);
    size_t len = (size_t)(end_of(h) - (char *)block);
    bool intact = has_tag(pool, h, FREE) && h->canary == mixed(pool, h, CANARY);
    if (c->poison)
        intact = intact && is_filled(block, len, c->zero ? 0 : POISON);
    if (HP_UNLIKELY(!intact))
        hp_die("pool '%s': block %p was written to after it was put%s", pool->name, (void *)block,
               who("put", h->put).text);
}

static void queue_add(struct hp_byte_pool *pool, struct queue *q, struct header *h)
{
    hp_link_set(pool, h, NULL);
    if (q->tail != NULL)
        hp_link_set(pool, q->tail, h);
    else
        q->head = h;
    q->tail = h;
    q->count++;
}

static struct header *queue_take(struct hp_byte_pool *pool, struct queue *q)
{
    struct header *h = q->head;
    check_free(pool, h);
    q->head = hp_link_get(pool, h);
    if (q->head == NULL)
        q->tail = NULL;
    q->count--;
    return h;
}

static struct queue *queue_of(struct hp_byte_pool *pool, const struct hp_bin *bin)
{
    return &pool->checks->queue[bin - pool->bin];
}

/* --- blocks with pages of their own ---------------------------------------------------------------------------------
 */

static void guarded_flush(struct hp_byte_pool *pool, uint32_t kept)
{
    struct queue *q = &pool->checks->guarded;
    while (q->count > kept) {
        struct header *h = q->head;
        q->head = hp_link_get(pool, h);
        if (q->head == NULL)
            q->tail = NULL;
        q->count--;
        hp_span_unmap_alone(hp_span_of(h));
    }
}

static HP_NO_FRAME void *guarded_get(struct hp_byte_pool *pool, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t inner = (HEADER + bytes + 15 + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
    size_t mapped = HP_HUGE_HEADER_BYTES + inner + PAGE_BYTES;
    struct hp_span *span = hp_span_map_alone(pool, mapped);
    if (span == NULL && pool->checks->guarded.count != 0) {
        guarded_flush(pool, 0);
        span = hp_span_map_alone(pool, mapped);
    }
    if (span == NULL)
        return NULL;
    span->guarded = 1;
    if (mprotect(guarded_end(span), PAGE_BYTES, PROT_NONE) != 0) { /* too many mappings: better none than no guard */
        hp_span_unmap_alone(span);
        return NULL;
    }
    struct header *h = guarded_header(span);
    h->bytes = bytes;
    memset(guarded_block(span) - HEADER, CANARY, HEADER);
    set_live(pool, h, bytes);
    return guarded_block(span);
}

/* Takes a put block's pages away. By whoever puts it: a use after put does not wait for the owner. */
static void guarded_shut(struct hp_span *span)
{
    size_t inner = span->huge_bytes - HP_HUGE_HEADER_BYTES;
    madvise((char *)span + HP_HUGE_HEADER_BYTES, inner, MADV_DONTNEED);
    mprotect((char *)span + HP_HUGE_HEADER_BYTES, inner, PROT_NONE);
}

static void guarded_keep(struct hp_byte_pool *pool, struct header *h)
{
    uint32_t kept = pool->checks->options.quarantine;
    queue_add(pool, &pool->checks->guarded, h);
    guarded_flush(pool, kept > GUARDED_KEPT ? kept : GUARDED_KEPT);
}

/* --- get and put ----------------------------------------------------------------------------------------------------
 */

static HP_NO_FRAME void *tagged_get(struct hp_byte_pool *pool, size_t bytes)
{
    size_t total = HEADER + bytes + CANARY_BYTES;
    struct hp_bin *bin = hp_byte_pool_bin(pool, total);
    struct queue *q = queue_of(pool, bin);
    struct header *h = NULL;
    bool fresh = false;
    if (q->count > pool->checks->options.quarantine)
        h = queue_take(pool, q);
    if (h == NULL && (h = hp_run_take(pool, bin, &fresh)) != NULL) {
        HP_USABLE(h, bin->block_bytes);
        if (!fresh)
            check_free(pool, h);
    }
    if (h == NULL && q->count != 0)
        h = queue_take(pool, q);
    if (h == NULL)
        return NULL;
    set_live(pool, h, bytes);
    return h + 1;
}

static bool guard_is_due(struct hp_check_state *c)
{
    if (c->options.guard == 0 || --c->until_guard != 0)
        return false;
    c->until_guard = c->options.guard;
    return true;
}

__attribute__((noinline)) void *hp_check_get(struct hp_byte_pool *pool, size_t bytes)
{
    void *block = NULL;
    bool fits = bytes <= pool->bytes_max - HEADER - CANARY_BYTES, fails = hp_pool_manager_inject(pool->manager);
    if (!fails && (!fits || guard_is_due(pool->checks)))
        block = guarded_get(pool, bytes);
    if (!fails && block == NULL && fits)
        block = tagged_get(pool, bytes);
    if (block == NULL) {
        HP_ADD(pool->refused, 1);
        return NULL;
    }
    HP_ADD(pool->other_gets, 1);
    HP_ADD(pool->other_bytes, bytes);
    return block;
}

/* The half of a put that any thread may do. */
static HP_NO_FRAME struct header *close_block(struct hp_byte_pool *pool, void *block)
{
    struct header *h = check(pool, block);
    uint32_t live = mixed(pool, h, LIVE);
    if (!atomic_compare_exchange_strong(&h->tag, &live, mixed(pool, h, FREE)))
        hp_die("pool '%s': block %p was put twice, by two threads at once", pool->name, block);
    h->put = pool->checks->options.callers ? hp_site_here() : 0;
    if (hp_span_of(h)->guarded)
        guarded_shut(hp_span_of(h));
    else
        wipe(pool, h);
    return h;
}

/* The owner's half. */
static void keep_block(struct hp_byte_pool *pool, struct header *h)
{
    HP_ADD(pool->other_puts, 1);
    HP_SUB(pool->other_bytes, h->bytes);
    if (hp_span_of(h)->guarded)
        guarded_keep(pool, h);
    else if (pool->checks->options.cold || pool->checks->options.quarantine != 0)
        queue_add(pool, queue_of(pool, hp_bin_of(h)), h);
    else
        hp_run_give(pool, h);
}

__attribute__((noinline)) void hp_check_put(struct hp_byte_pool *pool, void *block)
{
    keep_block(pool, close_block(pool, block));
}

__attribute__((noinline)) void *hp_check_put_remote(struct hp_byte_pool *pool, void *block)
{
    return close_block(pool, block);
}

void hp_check_collect(struct hp_byte_pool *pool, void *link)
{
    keep_block(pool, link);
}

void hp_check_live(const struct hp_byte_pool *pool, void *block)
{
    check(pool, block);
}

void hp_check_size(const struct hp_byte_pool *pool, void *block, size_t bytes)
{
    const struct header *h = check(pool, block);
    if (HP_UNLIKELY(h->bytes != bytes))
        hp_die("pool '%s': %p was put as %zu bytes, but was got as %llu%s", pool->name, block, bytes,
               (unsigned long long)h->bytes, who("got", h->got).text);
}

size_t hp_check_usable(const struct hp_byte_pool *pool, const void *block)
{
    return check(pool, block)->bytes;
}

/* --- the pool as a whole --------------------------------------------------------------------------------------------
 */

void hp_check_flush(struct hp_byte_pool *pool)
{
    for (unsigned i = 0; i < pool->class_count; i++)
        while (pool->checks->queue[i].count != 0)
            hp_run_give(pool, queue_take(pool, &pool->checks->queue[i]));
    guarded_flush(pool, 0);
}

void hp_check_run(const struct hp_byte_pool *pool, const struct hp_run *run)
{
    for (uint32_t i = 0; i < run->carved; i++) {
        struct header *h = (struct header *)(run->base + (size_t)i * run->bin->block_bytes);
        HP_USABLE(h, run->bin->block_bytes);
        check_free(pool, h);
    }
}

static void walk_run(const struct hp_byte_pool *pool, const struct hp_run *run,
                     void (*visit)(void *ctx, size_t bytes, uint32_t site), void *ctx)
{
    for (uint32_t i = 0; i < run->carved; i++) {
        struct header *h = (struct header *)(run->base + (size_t)i * run->bin->block_bytes);
        HP_USABLE(h, HEADER);
        if (has_tag(pool, h, LIVE))
            visit(ctx, h->bytes, h->got);
    }
}

void hp_source_walk(const struct hp_byte_pool *pool, void (*visit)(void *ctx, size_t bytes, uint32_t site), void *ctx)
{
    for (struct hp_span *span = pool->checks != NULL ? pool->spans : NULL; span != NULL; span = span->next) {
        if (span->guarded && has_tag(pool, guarded_header(span), LIVE))
            visit(ctx, guarded_header(span)->bytes, guarded_header(span)->got);
        for (unsigned s = 1; s < HP_SPAN_SLICES && !span->guarded; s++)
            if (span->run[s].bin != &hp_no_bin && span->run[s].bin != NULL)
                walk_run(pool, &span->run[s], visit, ctx);
    }
}

const char *hp_source_site_text(uint32_t site, char *out)
{
    return hp_site_text(site, out);
}

/* --- set-up ---------------------------------------------------------------------------------------------------------
 */

static bool wanted(const struct hp_checks *c)
{
    return c->tag || c->poison || c->zero || c->cold || c->callers || c->quarantine != 0 || c->guard != 0 ||
           c->fail_every != 0 || c->fail_once != 0 || c->fail_from != 0;
}

size_t hp_source_checks_overhead(const struct hp_checks *checks)
{
    return wanted(checks) ? HEADER + CANARY_BYTES : 0;
}

size_t hp_source_checks_bytes(const struct hp_checks *checks, unsigned class_count)
{
    return wanted(checks) ? sizeof(struct hp_check_state) + class_count * sizeof(struct queue) : 0;
}

void hp_source_checks_init(struct hp_byte_pool *pool, void *memory)
{
    const struct hp_checks *checks = hp_pool_manager_checks(pool->manager);
    if (!wanted(checks))
        return;
    pool->checks = memory;
    pool->checks->options = *checks;
    pool->checks->until_guard = checks->guard;
}
