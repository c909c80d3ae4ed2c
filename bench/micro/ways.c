/* SPDX-License-Identifier: MIT */
#include "ways.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define OBJECTS_KEPT 64u

struct home ways_home;
volatile size_t ways_runtime_bytes = FIXED_BYTES;
uint32_t ways_sizes[WAYS_SIZES];

void ways_require(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench-pools: %s\n", what);
    exit(1);
}

void ways_init(void)
{
    uint64_t x = 0x9e3779b97f4a7c15ull; /* xorshift64; the same sizes in each run */
    for (unsigned i = 0; i < WAYS_SIZES; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        unsigned doubling = i % 8;
        ways_sizes[i] = (16u << doubling) + (uint32_t)(x >> 32) % (16u << doubling) + 1;
    }
    for (unsigned i = WAYS_SIZES; i-- > 1;) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        unsigned j = (unsigned)((x >> 32) % (i + 1));
        uint32_t kept = ways_sizes[i];
        ways_sizes[i] = ways_sizes[j];
        ways_sizes[j] = kept;
    }
}

/* What a program does to an object that it gives back. */
static void reset(void *object)
{
    *(uint64_t *)object = 0;
}

static struct hp_object_pool *object_pool(struct hp_pool_manager *manager, const struct hp_object_ops *ops)
{
    struct hp_object_pool *pool = malloc(sizeof *pool);
    ways_require(pool != NULL && hp_object_pool_init(pool, manager, "objects", FIXED_BYTES, OBJECTS_KEPT, ops) == 0,
                 "no memory");
    return pool;
}

struct hp_pool_kind *ways_kind(struct hp_pool_manager *manager)
{
    static const struct hp_pool_options options = {.min = 16, .max = HP_CLASS_BYTES_MAX};
    struct hp_pool_kind *kind = hp_pool_kind_new(manager, "kind", &options);
    ways_require(kind != NULL, "no kind of pools");
    return kind;
}

struct home ways_home_make(struct hp_pool_manager *manager)
{
    static const struct hp_object_ops resetting = {.reset = reset};
    struct home h = {.manager = manager, .bytes = hp_byte_pool_new(manager, "bytes", 16, HP_CLASS_BYTES_MAX, 0)};
    ways_require(h.bytes != NULL, "no memory");
    h.bin = hp_byte_pool_bin(h.bytes, FIXED_BYTES);
    h.kind = ways_kind(manager);
    h.plain = object_pool(manager, NULL);
    h.resetting = object_pool(manager, &resetting);
    return h;
}

void ways_home_end(struct home *h)
{
    hp_byte_pool_collect(h->bytes);
    hp_object_pool_fini(h->plain);
    hp_object_pool_fini(h->resetting);
    ways_require(hp_pool_manager_live(h->manager) == 0, "blocks are live at the end");
    hp_pool_kind_free(h->kind);
    hp_byte_pool_free(h->bytes);
    free(h->plain);
    free(h->resetting);
}

const char *ways_heap_name(void)
{
    static const struct {
        const char *file, *name;
    } known[] = {
        {"libjemalloc", "jemalloc"}, {"libmimalloc", "mimalloc"},   {"libtcmalloc", "tcmalloc"},
        {"libc.so", "glibc"},        {"liballoc_counter", "glibc"}, /* which hands on to it */
    };
    Dl_info info;
    void *where = dlsym(RTLD_DEFAULT, "malloc");
    if (where == NULL || dladdr(where, &info) == 0 || info.dli_fname == NULL)
        return "unknown";
    const char *slash = strrchr(info.dli_fname, '/'), *file = slash != NULL ? slash + 1 : info.dli_fname;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(file, known[i].file, strlen(known[i].file)) == 0)
            return known[i].name;
    return file;
}

void ways_add(struct ways_cases *cases, const char *name, const char *way, void (*run)(struct bench *, uint64_t))
{
    static char names[sizeof cases->list / sizeof cases->list[0]][128];
    ways_require(cases->count < sizeof cases->list / sizeof cases->list[0], "too many cases");
    snprintf(names[cases->count], sizeof names[0], "%s/alloc=%s", name, way);
    cases->list[cases->count] = (struct bench_case){names[cases->count], run};
    cases->count++;
}
