/* SPDX-License-Identifier: MIT
 *
 * What the checks must find, always: each misuse a thousand times, each time in a process of its own with random sizes,
 * neighbours and places. The pass-through build checks nothing; what it gives out is malloc's.
 */
#include "yard.h"

#define TRIALS fewer_if_slowed(1000, 50)

/* --- puts -----------------------------------------------------------------------------------------------------------
 */

static void put_again(struct yard *y, struct yard_slot victim)
{
    yard_put(y->pool, &victim);
}

static void twice(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    put_again(y, victim);
    put_again(y, victim);
}

/* Less use than the quarantine is long. */
static void twice_with_others_between(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    put_again(y, victim);
    yard_use(y, 1 + test_random(60));
    put_again(y, victim);
}

/* So many gets and puts of the same size that without a quarantine the block would have been given out again. */
static void twice_after_reuse(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    put_again(y, victim);
    for (uint64_t i = 1 + test_random(60); i > 0; i--) {
        struct yard_slot same = {.block = hp_byte_pool_get(y->pool, victim.bytes), .bytes = victim.bytes};
        CHECK(same.block != NULL);
        yard_put(y->pool, &same);
    }
    CHECK(hp_byte_pool_get(y->pool, victim.bytes) != NULL);
    put_again(y, victim);
}

static void to_the_wrong_pool(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    if (test_random(2) == 0)
        hp_byte_pool_put(y->other, victim.block);
    else
        hp_byte_pool_put_sized(y->other, victim.block, victim.bytes);
}

static void interior(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    victim.block += 1 + test_random(victim.bytes);
    put_again(y, victim);
}

static void foreign(struct yard *y)
{
    static unsigned char in_data[4096];
    unsigned char on_stack[64], *from_malloc = malloc(4096);
    unsigned char *pointer[] = {in_data + test_random(4096), from_malloc, from_malloc + test_random(4096),
                                on_stack + test_random(64), (unsigned char *)(uintptr_t)(1 + test_random(65535))};
    put_again(y, (struct yard_slot){.block = pointer[test_random(5)], .bytes = 1 + test_random(64)});
    free(from_malloc);
}

static void as_another_size(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    size_t wrong = yard_size();
    hp_byte_pool_put_sized(y->pool, victim.block, wrong != victim.bytes ? wrong : wrong + 1);
}

static const struct misuse wrong_puts[] = {
    {.name = "put twice in a row", .run = twice, .says = "put twice"},
    {.name = "put twice, others between", .run = twice_with_others_between, .says = "put twice"},
    {.name = "put twice, reused but for the quarantine", .run = twice_after_reuse, .says = "put twice"},
    {.name = "put to the wrong pool", .run = to_the_wrong_pool, .says = "is from pool 'mine'"},
    {.name = "interior pointer put", .run = interior},
    {.name = "foreign or stack pointer put", .run = foreign},
    {.name = "put as another size", .run = as_another_size, .says = "was put as"},
};

/* --- writes and reads -----------------------------------------------------------------------------------------------
 */

static void overflow_by_1(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    victim.block[victim.bytes] ^= other_than_zero();
    put_again(y, victim);
}

static void overflow_by_8(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    for (unsigned i = 0; i < 8; i++)
        victim.block[victim.bytes + i] ^= other_than_zero();
    put_again(y, victim);
}

static void underflow_by_1(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    victim.block[-1] ^= other_than_zero();
    put_again(y, victim);
}

static void write_after_put(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    put_again(y, victim);
    yard_use(y, test_random(20));
    victim.block[test_random(victim.bytes)] ^= other_than_zero();
}

static void read_after_put(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    put_again(y, victim);
    yard_use(y, test_random(20));
    (void)*(volatile unsigned char *)&victim.block[test_random(victim.bytes)];
}

static void leak(struct yard *y)
{
    struct yard_slot victim = yard_victim(y);
    CHECK(victim.block != NULL);
}

/* With 8 bytes, or where a block has its own pages, the write may hit the unreadable page. */
static const struct misuse accesses[] = {
    {.name = "overflow by 1 byte", .run = overflow_by_1, .may_fault = true, .says = "beyond its"},
    {.name = "overflow by 8 bytes", .run = overflow_by_8, .may_fault = true, .says = "beyond its"},
    {.name = "underflow by 1 byte", .run = underflow_by_1, .says = "bytes before block"},
    {.name = "write after put", .run = write_after_put, .may_fault = true, .later = true, .says = "after it was put"},
    {.name = "leak", .run = leak, .at_end = true},
};

static const struct misuse reads[] = {
    {.name = "read after put", .run = read_after_put, .may_fault = true},
};

/* --- threads --------------------------------------------------------------------------------------------------------
 */

struct foreign_put {
    struct yard *yard;
    struct yard_slot slot;
};

static void *put_in_thread(void *ctx)
{
    struct foreign_put *p = ctx;
    put_again(p->yard, p->slot);
    return NULL;
}

static void second_put_by_a_thread(struct yard *y)
{
    struct foreign_put p = {.yard = y, .slot = yard_victim(y)};
    put_again(y, p.slot);
    yard_use(y, test_random(30));
    yard_in_thread(put_in_thread, &p);
}

static void first_put_by_a_thread(struct yard *y)
{
    struct foreign_put p = {.yard = y, .slot = yard_victim(y)};
    yard_in_thread(put_in_thread, &p);
    yard_use(y, test_random(30));
    put_again(y, p.slot);
}

static void both_puts_by_threads(struct yard *y)
{
    struct foreign_put p = {.yard = y, .slot = yard_victim(y)};
    yard_in_thread(put_in_thread, &p);
    yard_use(y, test_random(30));
    yard_in_thread(put_in_thread, &p);
}

static void write_after_put_by_a_thread(struct yard *y)
{
    struct foreign_put p = {.yard = y, .slot = yard_victim(y)};
    yard_in_thread(put_in_thread, &p);
    p.slot.block[test_random(p.slot.bytes)] ^= other_than_zero();
}

static const struct misuse threads[] = {
    {.name = "put, and put by another thread", .run = second_put_by_a_thread},
    {.name = "put by another thread, and put", .run = first_put_by_a_thread},
    {.name = "put by two other threads", .run = both_puts_by_threads},
    {.name = "write after put by another thread", .run = write_after_put_by_a_thread, .may_fault = true, .later = true},
};

/* --- the modes ------------------------------------------------------------------------------------------------------
 */

#define MUST_FIND(checks, list) must_find(checks, list, sizeof(list) / sizeof((list)[0]))

static void must_find(const char *checks, const struct misuse *list, size_t count)
{
    for (size_t i = 0; i < count && pooled(); i++)
        yard_must_find(checks, &list[i], TRIALS);
}

static void test_all_finds_wrong_puts(void)
{
    MUST_FIND("all", wrong_puts);
}

static void test_all_finds_wrong_accesses(void)
{
    MUST_FIND("all", accesses);
}

static void test_all_finds_wrong_puts_by_threads(void)
{
    MUST_FIND("all", threads);
}

static void test_guard_finds_wrong_puts(void)
{
    MUST_FIND("guard", wrong_puts);
}

static void test_guard_finds_wrong_accesses(void)
{
    MUST_FIND("guard", accesses);
    MUST_FIND("guard", reads);
}

static void test_lawful_use_passes(void)
{
    static const char *const modes[] = {
        "", "all", "guard", "tag", "zero", "poison,zero", "cold,poison", "quarantine=3", "all,guard=5,cold",
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        yard_must_pass(modes[i], fewer_if_slowed(200, 50));
}

TEST_MAIN(TEST(test_all_finds_wrong_puts), TEST(test_all_finds_wrong_accesses),
          TEST(test_all_finds_wrong_puts_by_threads), TEST(test_guard_finds_wrong_puts),
          TEST(test_guard_finds_wrong_accesses), TEST(test_lawful_use_passes))
