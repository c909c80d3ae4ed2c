/* SPDX-License-Identifier: MIT
 *
 * The budget: what connections and handshakes get of it, its stages over a real manager, and cgroups' limits.
 */
#include "budget.h"

#include "test.h"

#include <errno.h>
#include <h3pool/byte_pool.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define LIMIT (64 * MIB)
#define BLOCK (32u << 10)

/* --- shares ---------------------------------------------------------------------------------------------------------
 */

static void test_streams(void)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    struct budget b;
    CHECK(manager != NULL);
    CHECK_U64(budget_streams(NULL, 1000000, 100), 100);
    budget_init(&b, manager, 0, 2);
    CHECK_U64(budget_streams(&b, 1000000, 100), 100); /* no limit */
    CHECK_U64(budget_stage(&b), BUDGET_FREE);
    budget_init(&b, manager, 100 * MIB, 1);
    CHECK_U64(budget_streams(&b, 0, 100), 100); /* the first one */
    CHECK_U64(budget_streams(&b, 1, 100), 100); /* the ceiling is what was configured */
    CHECK_U64(budget_streams(&b, 1, 1000000), (60 * MIB - BUDGET_CONN_BYTES) / 2 / BUDGET_STREAM_BYTES);
    CHECK_U64(budget_streams(&b, 300, 100), (60 * MIB / 300 - BUDGET_CONN_BYTES) / 2 / BUDGET_STREAM_BYTES);
    CHECK_U64(budget_streams(&b, 400, 100), (60 * MIB / 400 - BUDGET_CONN_BYTES) / 2 / BUDGET_STREAM_BYTES);
    CHECK_U64(budget_streams(&b, 1000, 100), BUDGET_STREAMS_MIN); /* the floor */
    CHECK_U64(budget_streams(&b, 100000, 100), BUDGET_STREAMS_MIN);
    CHECK_U64(budget_streams(&b, 100000, 3), 3); /* never more than what was configured */
    b.workers = 3;
    CHECK_U64(budget_streams(&b, 130, 100), (60 * MIB / 3 / 130 - BUDGET_CONN_BYTES) / 2 / BUDGET_STREAM_BYTES);
    hp_pool_manager_free(manager);
}

static void test_in_flight(void)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    struct budget b;
    CHECK(manager != NULL);
    CHECK_U64(budget_in_flight(NULL, 1), 0);
    budget_init(&b, manager, 0, 1);
    CHECK_U64(budget_in_flight(&b, 1), 0); /* no limit */
    budget_init(&b, manager, 100 * MIB, 1);
    CHECK_U64(budget_in_flight(&b, 10), (6 * MIB - BUDGET_CONN_BYTES) / 2 / BUDGET_PACKET_BYTES * 1200);
    CHECK_U64(budget_in_flight(&b, 100000), BUDGET_IN_FLIGHT_MIN); /* the floor */
    hp_pool_manager_free(manager);
}

static void test_handshakes(void)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    uint64_t each = BUDGET_CONN_BYTES + BUDGET_HANDSHAKE_BYTES;
    struct budget b;
    CHECK(manager != NULL);
    CHECK_U64(budget_handshakes(NULL), 1024);
    CHECK_U64(budget_waiting(NULL), 8 * MIB);
    budget_init(&b, manager, 0, 1);
    CHECK_U64(budget_handshakes(&b), 1024);
    budget_init(&b, manager, 16 * MIB, 1);
    CHECK_U64(budget_handshakes(&b), 16); /* the floor */
    budget_init(&b, manager, 120 * MIB, 1);
    CHECK_U64(budget_handshakes(&b), 10 * MIB / each);
    CHECK_U64(budget_waiting(&b), 10 * MIB);
    budget_init(&b, manager, 120 * MIB, 2);
    CHECK_U64(budget_handshakes(&b), 5 * MIB / each);
    CHECK_U64(budget_waiting(&b), 8 * MIB); /* the floor */
    budget_init(&b, manager, 1024 * 1024 * MIB, 4);
    CHECK_U64(budget_handshakes(&b), 1024); /* the ceiling */
    hp_pool_manager_free(manager);
}

/* --- stages ---------------------------------------------------------------------------------------------------------
 */

struct filled {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *pool;
    struct budget budget;
    void *block[LIMIT / BLOCK];
    unsigned count;
};

/* Brings what is held to |permille| of the limit, up or down. */
static void fill(struct filled *f, unsigned permille)
{
    uint64_t wanted = LIMIT / 1000 * permille;
    while (hp_pool_manager_held(f->manager) < wanted) {
        CHECK(f->count < LIMIT / BLOCK);
        f->block[f->count] = hp_byte_pool_get(f->pool, BLOCK);
        CHECK(f->block[f->count] != NULL);
        f->count++;
    }
    while (hp_pool_manager_held(f->manager) > wanted && f->count > 0) {
        hp_byte_pool_put(f->pool, f->block[--f->count]);
        hp_byte_pool_trim(f->pool);
    }
}

static void check_entered(const struct budget *b, const unsigned times[BUDGET_STAGES - 1])
{
    for (unsigned i = BUDGET_TRIM; i < BUDGET_STAGES; i++)
        CHECK_U64(HP_READ(b->entered[i]), times[i - 1]);
}

static void test_stages(void)
{
    /* Each at a distance of three per mille and more from the thresholds: memory is held in whole spans. */
    static const struct {
        unsigned permille;
        enum budget_stage stage;
    } steps[] = {
        {490, BUDGET_FREE},   {505, BUDGET_TRIM},   {460, BUDGET_TRIM},   {640, BUDGET_TRIM},   {655, BUDGET_CREDIT},
        {610, BUDGET_CREDIT}, {905, BUDGET_CREDIT}, {914, BUDGET_GOAWAY}, {885, BUDGET_GOAWAY}, {951, BUDGET_GOAWAY},
        {960, BUDGET_REFUSE}, {915, BUDGET_REFUSE}, {975, BUDGET_REFUSE}, {985, BUDGET_SHED},   {969, BUDGET_SHED},
        {992, BUDGET_SHED},   {960, BUDGET_REFUSE}, {895, BUDGET_GOAWAY}, {875, BUDGET_CREDIT}, {590, BUDGET_TRIM},
        {440, BUDGET_FREE},
    };
    struct filled f = {.manager = hp_pool_manager_new(0)};
    CHECK(f.manager != NULL);
    budget_init(&f.budget, f.manager, LIMIT, 1);
    f.pool = hp_byte_pool_new(f.manager, "data", 1024, 256u << 10, 0);
    CHECK(f.pool != NULL);
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        fill(&f, steps[i].permille);
        if (budget_stage(&f.budget) != steps[i].stage)
            test_fail(__FILE__, __LINE__, "at %u permille: %s, should be %s", steps[i].permille,
                      budget_stage_str(budget_stage(&f.budget)), budget_stage_str(steps[i].stage));
    }
    check_entered(&f.budget, (const unsigned[]){1, 1, 1, 1, 1});
    fill(&f, 870);
    CHECK_U64(budget_streams(&f.budget, 1, 100), BUDGET_STREAMS_MIN); /* from the credit stage on */
    fill(&f, 590);
    CHECK_U64(budget_streams(&f.budget, 1, 100), 100);
    fill(&f, 660);
    CHECK_U64(budget_streams(&f.budget, 1, 100), BUDGET_STREAMS_MIN);
    check_entered(&f.budget, (const unsigned[]){2, 3, 1, 1, 1});
    fill(&f, 300);
    hp_pool_manager_set_limit(f.manager, NULL, LIMIT / 1000 * 304); /* through all stages at once: each is counted */
    CHECK_U64(budget_stage(&f.budget), BUDGET_SHED);
    check_entered(&f.budget, (const unsigned[]){3, 4, 2, 2, 2});
    fill(&f, 0);
    CHECK_U64(f.count, 0);
    CHECK_U64(hp_pool_manager_live(f.manager), 0);
    CHECK_U64(budget_stage(&f.budget), BUDGET_FREE);
    hp_byte_pool_free(f.pool);
    hp_pool_manager_free(f.manager);
}

/* In time of need: so many idle connections leave as bring what is held back below the stage, and few handshakes run.
 */
static void test_what_gives_way(void)
{
    struct filled f = {.manager = hp_pool_manager_new(0)};
    CHECK(f.manager != NULL);
    CHECK_U64(budget_sent_away(NULL), 0);
    budget_init(&f.budget, f.manager, LIMIT, 2);
    f.pool = hp_byte_pool_new(f.manager, "data", 1024, 256u << 10, 0);
    CHECK(f.pool != NULL);
    uint64_t handshakes = budget_handshakes(&f.budget);
    CHECK_U64(handshakes, LIMIT / 12 / 2 / (BUDGET_CONN_BYTES + BUDGET_HANDSHAKE_BYTES));
    fill(&f, 640);
    CHECK_U64(budget_handshakes(&f.budget), handshakes);
    fill(&f, 660);
    CHECK_U64(budget_handshakes(&f.budget), handshakes / 4);
    fill(&f, 900);
    CHECK_U64(budget_sent_away(&f.budget), 0);
    fill(&f, 930);
    CHECK_U64(budget_sent_away(&f.budget),
              1 + (hp_pool_manager_held(f.manager) - LIMIT / 1000 * 880) / 2 / BUDGET_CONN_BYTES);
    fill(&f, 885); /* almost there, in the same stage still */
    CHECK(budget_sent_away(&f.budget) < 5);
    CHECK(budget_sent_away(&f.budget) > 0);
    fill(&f, 870);
    CHECK_U64(budget_sent_away(&f.budget), 0);
    fill(&f, 0);
    hp_byte_pool_free(f.pool);
    hp_pool_manager_free(f.manager);
}

/* As the workers' timer does it: what was put is not held for ever, in either build, or a stage would never be left. */
static void test_idle_memory_leaves_a_stage(void)
{
    struct filled f = {.manager = hp_pool_manager_new(0)};
    CHECK(f.manager != NULL);
    budget_init(&f.budget, f.manager, LIMIT, 1);
    f.pool = hp_byte_pool_new(f.manager, "data", 1024, 256u << 10, 0);
    CHECK(f.pool != NULL);
    fill(&f, 965);
    CHECK_U64(budget_stage(&f.budget), BUDGET_REFUSE);
    while (f.count > 0)
        hp_byte_pool_put(f.pool, f.block[--f.count]);
    CHECK_U64(budget_stage(&f.budget), BUDGET_REFUSE);
    for (unsigned i = 0; i < 4 * LIMIT / (8 * MIB); i++)
        hp_byte_pool_trim_idle(f.pool, 8 * MIB);
    CHECK_U64(budget_stage(&f.budget), BUDGET_FREE);
    hp_byte_pool_free(f.pool);
    hp_pool_manager_free(f.manager);
}

static void test_no_limit_has_no_stages(void)
{
    struct filled f = {.manager = hp_pool_manager_new(0)};
    CHECK(f.manager != NULL);
    budget_init(&f.budget, f.manager, 0, 1);
    f.pool = hp_byte_pool_new(f.manager, "data", 1024, 256u << 10, 0);
    fill(&f, 950);
    CHECK_U64(budget_stage(&f.budget), BUDGET_FREE);
    CHECK_U64(budget_stage(NULL), BUDGET_FREE);
    check_entered(&f.budget, (const unsigned[BUDGET_STAGES - 1]){0});
    fill(&f, 0);
    hp_byte_pool_free(f.pool);
    hp_pool_manager_free(f.manager);
}

/* --- cgroups --------------------------------------------------------------------------------------------------------
 */

struct tree {
    char root[64];
    char group[PATH_MAX / 2]; /* of this process, "/a/b" */
    const char *file;
};

/* Makes the folders of a path. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

/* An empty tree for the group that /proc/self/cgroup names: version 2's, or that of version 1's memory controller. */
static void tree_init(struct tree *t, bool version_1)
{
    char line[PATH_MAX];
    *t = (struct tree){.root = "/tmp/h3pool-cgroup-XXXXXX"};
    t->file = version_1 ? "memory.limit_in_bytes" : "memory.max";
    CHECK(mkdtemp(t->root) != NULL);
    FILE *f = fopen("/proc/self/cgroup", "re");
    CHECK(f != NULL);
    bool found = false;
    while (!found && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':') + 1, *group = strchr(controllers, ':');
        *group++ = '\0';
        found = version_1 ? strcmp(controllers, "memory") == 0 : controllers[0] == '\0';
        if (found)
            snprintf(t->group, sizeof t->group, "%s%s", version_1 ? "/memory" : "", group);
    }
    fclose(f);
    if (!found)
        t->file = NULL;
}

/* Writes the limit of the group |above| levels above the process's own. False if there is none. */
static bool tree_limit(const struct tree *t, unsigned above, const char *text)
{
    char path[PATH_MAX], group[sizeof t->group];
    size_t top = strncmp(t->group, "/memory", 7) == 0 ? 7 : 0;
    memcpy(group, t->group, sizeof group);
    for (; above > 0; above--) {
        char *slash = strrchr(group + top, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    snprintf(path, sizeof path, "%s%s/%s", t->root, group, t->file);
    make_folders(path);
    FILE *f = fopen(path, "we");
    CHECK(f != NULL && fputs(text, f) >= 0);
    fclose(f);
    return true;
}

static void tree_fini(const struct tree *t)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", t->root);
    CHECK_U64(system(command), 0);
}

static void test_cgroup(bool version_1)
{
    struct tree t;
    tree_init(&t, version_1);
    if (t.file == NULL) { /* this system has no such hierarchy */
        tree_fini(&t);
        return;
    }
    CHECK_U64(budget_cgroup_limit(t.root, 1000), 1000); /* nothing can be read */
    CHECK_U64(budget_cgroup_limit(t.root, 0), 0);
    tree_limit(&t, 0, "max\n");
    CHECK_U64(budget_cgroup_limit(t.root, 1000), 1000);
    CHECK_U64(budget_cgroup_limit(t.root, 0), 0);
    tree_limit(&t, 0, "700\n");
    CHECK_U64(budget_cgroup_limit(t.root, 1000), 700);
    CHECK_U64(budget_cgroup_limit(t.root, 500), 500); /* the lower one */
    CHECK_U64(budget_cgroup_limit(t.root, 0), 700);   /* no limit of ours */
    if (tree_limit(&t, 1, "600\n"))
        CHECK_U64(budget_cgroup_limit(t.root, 1000), 600); /* that of the group above binds too */
    tree_limit(&t, 0, "400\n");
    CHECK_U64(budget_cgroup_limit(t.root, 1000), 400);
    tree_limit(&t, 0, "");
    if (tree_limit(&t, 1, "max\n") && tree_limit(&t, 2, "300\n"))
        CHECK_U64(budget_cgroup_limit(t.root, 1000), 300);
    tree_limit(&t, 0, "9223372036854771712\n"); /* what version 1 says for none */
    CHECK_U64(budget_cgroup_limit(t.root, 200), 200);
    tree_fini(&t);
}

static void test_cgroup_version_2(void)
{
    test_cgroup(false);
}

static void test_cgroup_version_1(void)
{
    test_cgroup(true);
}

TEST_MAIN(TEST(test_streams), TEST(test_in_flight), TEST(test_handshakes), TEST(test_stages), TEST(test_what_gives_way),
          TEST(test_idle_memory_leaves_a_stage), TEST(test_no_limit_has_no_stages), TEST(test_cgroup_version_2),
          TEST(test_cgroup_version_1))
