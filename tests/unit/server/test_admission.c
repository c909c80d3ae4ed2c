/* SPDX-License-Identifier: MIT
 *
 * Admission: how many begin, in which order those who wait go on, what time changes, and that all is given back.
 */
#include "admission.h"

#include "net/clock.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define START_NS (100 * NS_PER_S)
#define CONNS 32u
#define WAITING_BYTES_MAX (8u << 20)

struct world {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *pool;
    struct admission admission;
    struct conn *conn; /* CONNS of them, of which admission uses its own members alone */
};

static void world_init(struct world *w, uint64_t young_max)
{
    w->manager = hp_pool_manager_new(0);
    w->pool = hp_byte_pool_new(w->manager, "data", 64, 256u << 10, 0);
    w->conn = calloc(CONNS, sizeof *w->conn);
    CHECK(w->manager != NULL && w->pool != NULL && w->conn != NULL);
    admission_init(&w->admission, w->pool, young_max, WAITING_BYTES_MAX);
    admission_turn(&w->admission, START_NS);
}

static void world_fini(struct world *w)
{
    admission_fini(&w->admission);
    CHECK_U64(w->admission.count, 0);
    CHECK_U64(w->admission.bytes, 0);
    CHECK_U64(hp_pool_manager_live(w->manager), 0);
    hp_byte_pool_free(w->pool);
    hp_pool_manager_free(w->manager);
    free(w->conn);
}

static void begin(struct world *w, unsigned first, unsigned count, uint64_t now_ns)
{
    for (unsigned i = first; i < first + count; i++) {
        CHECK(admission_next(&w->admission));
        admission_begin(&w->admission, &w->conn[i], now_ns);
    }
}

static struct datagram datagram_from(unsigned port, const void *bytes, size_t len)
{
    struct datagram d = {.data = bytes, .len = len};
    d.path.remote.len = sizeof d.path.remote.in;
    d.path.remote.in.sin_family = AF_INET;
    d.path.remote.in.sin_port = htons((uint16_t)port);
    return d;
}

static void wait_from(struct world *w, unsigned port, const char *text)
{
    struct datagram d = datagram_from(port, text, strlen(text) + 1);
    CHECK(admission_wait(&w->admission, &d, START_NS + port));
}

static void check_next(struct world *w, struct admission_datagram *taken, unsigned port, const char *text)
{
    CHECK(taken != NULL);
    CHECK_U64(addr_port(&taken->datagram.path.remote), port);
    CHECK_U64(taken->at_ns, START_NS + port);
    CHECK_STR((const char *)taken->datagram.data, text);
    admission_put(&w->admission, taken);
}

static void test_who_waits_goes_on_in_order(void)
{
    struct world w;
    char text[] = "a1";
    world_init(&w, 4);
    CHECK(admission_open(&w.admission));
    wait_from(&w, 1, text);
    memset(text, 'x', 2);                 /* it is a copy that waits */
    CHECK(!admission_open(&w.admission)); /* somebody came first */
    CHECK(admission_next(&w.admission));
    wait_from(&w, 2, "b1");
    wait_from(&w, 3, "c1");
    CHECK_U64(w.admission.count, 3);
    check_next(&w, admission_take(&w.admission), 1, "a1");
    check_next(&w, admission_take(&w.admission), 2, "b1");
    check_next(&w, admission_take(&w.admission), 3, "c1");
    CHECK(admission_take(&w.admission) == NULL);
    CHECK(admission_open(&w.admission));
    wait_from(&w, 4, "after it was empty");
    check_next(&w, admission_take(&w.admission), 4, "after it was empty");
    world_fini(&w);
}

/* All that a client has sent is taken, in order, wherever it stands; the list holds together. */
static void test_more_of_the_same_client(void)
{
    struct world w;
    world_init(&w, 4);
    wait_from(&w, 1, "a1");
    wait_from(&w, 2, "b1");
    wait_from(&w, 1, "a2");
    wait_from(&w, 3, "c1");
    wait_from(&w, 1, "a3");
    struct datagram a = datagram_from(1, "", 0), d = datagram_from(4, "", 0);
    CHECK(admission_take_more(&w.admission, &d) == NULL);
    check_next(&w, admission_take_more(&w.admission, &a), 1, "a1"); /* first in the list */
    check_next(&w, admission_take_more(&w.admission, &a), 1, "a2"); /* in the middle */
    check_next(&w, admission_take_more(&w.admission, &a), 1, "a3"); /* the last one */
    CHECK(admission_take_more(&w.admission, &a) == NULL);
    wait_from(&w, 5, "e1"); /* stands behind c */
    CHECK_U64(w.admission.count, 3);
    check_next(&w, admission_take(&w.admission), 2, "b1");
    check_next(&w, admission_take(&w.admission), 3, "c1");
    check_next(&w, admission_take(&w.admission), 5, "e1");
    CHECK(admission_take_more(&w.admission, &a) == NULL);
    world_fini(&w);
}

static void test_young_ones_are_limited(void)
{
    struct world w;
    world_init(&w, 3);
    begin(&w, 0, 3, START_NS);
    CHECK(!admission_next(&w.admission));
    CHECK(!admission_open(&w.admission));
    admission_complete(&w.admission, &w.conn[1], START_NS + 1); /* neither the oldest nor the youngest */
    admission_complete(&w.admission, &w.conn[1], START_NS + 1); /* told again: counts once */
    admission_end(&w.admission, &w.conn[1]);
    CHECK_U64(w.admission.young, 2);
    begin(&w, 3, 1, START_NS + 1);
    CHECK(!admission_next(&w.admission));
    admission_end(&w.admission, &w.conn[3]); /* the youngest */
    admission_end(&w.admission, &w.conn[0]); /* the oldest */
    admission_end(&w.admission, &w.conn[2]); /* the only one */
    CHECK_U64(w.admission.young, 0);
    CHECK(w.admission.young_first == NULL && w.admission.young_last == NULL);
    begin(&w, 4, 3, START_NS + 2);
    CHECK(!admission_next(&w.admission));
    world_fini(&w);
}

static void test_a_turn_is_limited(void)
{
    struct world w;
    world_init(&w, CONNS);
    begin(&w, 0, ADMISSION_PER_TURN, START_NS);
    CHECK(!admission_next(&w.admission));
    for (unsigned i = 0; i < ADMISSION_PER_TURN; i++) /* whoever is gone by then has had his place in the turn */
        admission_complete(&w.admission, &w.conn[i], START_NS);
    CHECK(!admission_next(&w.admission));
    wait_from(&w, 1, "a1");
    CHECK_U64(admission_deadline(&w.admission), 0); /* the next turn is now */
    admission_turn(&w.admission, START_NS);
    CHECK(admission_next(&w.admission));
    begin(&w, ADMISSION_PER_TURN, ADMISSION_PER_TURN, START_NS);
    CHECK(!admission_next(&w.admission));
    world_fini(&w);
}

/* Handshakes get old when none completes; each that completes is a sign that they go on, and renews the wait. */
static void test_aging_when_nothing_completes(void)
{
    struct world w;
    world_init(&w, 3);
    CHECK_U64(admission_deadline(&w.admission), CLOCK_NEVER);
    begin(&w, 0, 2, START_NS);
    begin(&w, 2, 1, START_NS + 50 * NS_PER_MS);
    CHECK_U64(admission_deadline(&w.admission), CLOCK_NEVER); /* nobody waits */
    wait_from(&w, 1, "a1");
    CHECK_U64(admission_deadline(&w.admission), START_NS + ADMISSION_YOUNG_NS);
    admission_turn(&w.admission, START_NS + ADMISSION_YOUNG_NS - 1);
    CHECK_U64(w.admission.young, 3);
    admission_complete(&w.admission, &w.conn[0], START_NS + 100 * NS_PER_MS);
    begin(&w, 3, 1, START_NS + 100 * NS_PER_MS);
    CHECK_U64(admission_deadline(&w.admission), START_NS + 100 * NS_PER_MS + ADMISSION_YOUNG_NS);
    admission_turn(&w.admission, START_NS + ADMISSION_YOUNG_NS);
    CHECK_U64(w.admission.young, 3);         /* one of them has begun for so long, but others complete */
    admission_end(&w.admission, &w.conn[3]); /* without completing: no sign of anything */
    begin(&w, 4, 1, START_NS + 250 * NS_PER_MS);
    CHECK_U64(admission_deadline(&w.admission), START_NS + 100 * NS_PER_MS + ADMISSION_YOUNG_NS);
    admission_turn(&w.admission, START_NS + 100 * NS_PER_MS + ADMISSION_YOUNG_NS);
    CHECK_U64(w.admission.young, 1); /* the last one is young still */
    CHECK(!w.conn[1].young && !w.conn[2].young && w.conn[4].young);
    CHECK_U64(admission_deadline(&w.admission), 0);
    admission_complete(&w.admission, &w.conn[1], START_NS + NS_PER_S); /* an old one at last */
    CHECK_U64(w.admission.completed_ns, START_NS + NS_PER_S);
    CHECK_U64(w.admission.young, 1);
    world_fini(&w);
}

/* Old handshakes make room for young ones, but not without end. */
static void test_half_open_ones_are_limited(void)
{
    struct world w;
    world_init(&w, 1);
    for (unsigned i = 0; i < ADMISSION_HALF_OPEN_FACTOR; i++) {
        uint64_t now_ns = START_NS + i * ADMISSION_YOUNG_NS;
        admission_turn(&w.admission, now_ns);
        CHECK(admission_next(&w.admission));
        begin(&w, i, 1, now_ns);
    }
    wait_from(&w, 1, "a1");
    admission_turn(&w.admission, START_NS + 100 * ADMISSION_YOUNG_NS);
    CHECK_U64(w.admission.young, 0);
    CHECK(!admission_next(&w.admission));
    CHECK_U64(admission_deadline(&w.admission), CLOCK_NEVER); /* one must end first */
    admission_end(&w.admission, &w.conn[1]);
    admission_end(&w.admission, &w.conn[1]);
    CHECK(admission_next(&w.admission));
    CHECK_U64(admission_deadline(&w.admission), 0);
    world_fini(&w);
}

/* What waits is bounded in bytes, bookkeeping included; what is given back makes room again. */
static void test_bytes_are_limited(void)
{
    struct world w;
    static uint8_t bytes[1500];
    struct datagram d = datagram_from(1, bytes, sizeof bytes);
    uint64_t each = sizeof(struct admission_datagram) + sizeof bytes, count = 0;
    world_init(&w, 1);
    while (admission_wait(&w.admission, &d, START_NS))
        CHECK(++count <= WAITING_BYTES_MAX / each);
    CHECK_U64(count, WAITING_BYTES_MAX / each);
    CHECK_U64(w.admission.count, count);
    CHECK_U64(w.admission.bytes, count * each);
    CHECK(!admission_wait(&w.admission, &d, START_NS));
    admission_put(&w.admission, admission_take(&w.admission));
    CHECK(admission_wait(&w.admission, &d, START_NS));
    CHECK(!admission_wait(&w.admission, &d, START_NS));
    world_fini(&w); /* forgets them all */
}

static void test_no_memory(void)
{
    struct world w;
    struct datagram d = datagram_from(1, "x", 1);
    world_init(&w, 1);
    hp_pool_manager_set_limit(w.manager, NULL, 1);
    CHECK(!admission_wait(&w.admission, &d, START_NS));
    CHECK(admission_take(&w.admission) == NULL);
    hp_pool_manager_set_limit(w.manager, NULL, 0);
    wait_from(&w, 1, "a1");
    check_next(&w, admission_take(&w.admission), 1, "a1");
    world_fini(&w);
}

TEST_MAIN(TEST(test_who_waits_goes_on_in_order), TEST(test_more_of_the_same_client), TEST(test_young_ones_are_limited),
          TEST(test_a_turn_is_limited), TEST(test_aging_when_nothing_completes), TEST(test_half_open_ones_are_limited),
          TEST(test_bytes_are_limited), TEST(test_no_memory))
