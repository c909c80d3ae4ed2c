/* SPDX-License-Identifier: MIT
 *
 * Those who wait are a list in the order of arrival. Once a client's first datagram is taken, his others must be taken
 * too, or the handshake would wait for bytes that wait for it: a walk over the list, which a full list makes some ten
 * microseconds long, a fiftieth of what the handshake costs.
 */
#include "admission.h"

#include "net/clock.h"

#include <string.h>

void admission_init(struct admission *a, struct hp_byte_pool *pool, uint64_t young_max, uint64_t waiting_bytes_max)
{
    *a = (struct admission){
        .pool = pool,
        .young_max = young_max,
        .half_open_max = young_max * ADMISSION_HALF_OPEN_FACTOR,
        .waiting_bytes_max = waiting_bytes_max,
    };
}

void admission_fini(struct admission *a)
{
    struct admission_datagram *waiting;
    while ((waiting = admission_take(a)) != NULL)
        admission_put(a, waiting);
}

/* --- handshakes in flight -------------------------------------------------------------------------------------------
 */

void admission_begin(struct admission *a, struct conn *c, uint64_t now_ns)
{
    c->young = c->half_open = true;
    c->begun_ns = now_ns;
    c->younger = NULL;
    c->older = a->young_last;
    if (a->young_last != NULL)
        a->young_last->younger = c;
    else
        a->young_first = c;
    a->young_last = c;
    a->young++;
    a->half_open++;
    a->begun++;
}

static void age(struct admission *a, struct conn *c)
{
    if (!c->young)
        return;
    c->young = false;
    if (c->younger != NULL)
        c->younger->older = c->older;
    else
        a->young_last = c->older;
    if (c->older != NULL)
        c->older->younger = c->younger;
    else
        a->young_first = c->younger;
    a->young--;
}

void admission_end(struct admission *a, struct conn *c)
{
    age(a, c);
    if (c->half_open)
        a->half_open--;
    c->half_open = false;
}

void admission_complete(struct admission *a, struct conn *c, uint64_t now_ns)
{
    if (c->half_open)
        a->completed_ns = now_ns;
    admission_end(a, c);
}

/* When the oldest one stops counting. */
static uint64_t ages_ns(const struct admission *a)
{
    uint64_t begun_ns = a->young_first->begun_ns;
    return (begun_ns > a->completed_ns ? begun_ns : a->completed_ns) + ADMISSION_YOUNG_NS;
}

void admission_turn(struct admission *a, uint64_t now_ns)
{
    a->begun = 0;
    while (a->young_first != NULL && now_ns >= ages_ns(a))
        age(a, a->young_first);
}

static bool room_for_half_open(const struct admission *a)
{
    return a->half_open < a->half_open_max;
}

bool admission_next(const struct admission *a)
{
    return a->young < a->young_max && room_for_half_open(a) && a->begun < ADMISSION_PER_TURN;
}

bool admission_open(const struct admission *a)
{
    return a->first == NULL && admission_next(a);
}

uint64_t admission_deadline(const struct admission *a)
{
    if (a->first == NULL || !room_for_half_open(a)) /* then one must complete or end */
        return CLOCK_NEVER;
    return a->young < a->young_max ? 0 : ages_ns(a);
}

/* --- who waits ------------------------------------------------------------------------------------------------------
 */

bool admission_wait(struct admission *a, const struct datagram *d, uint64_t now_ns)
{
    size_t bytes = sizeof(struct admission_datagram) + d->len;
    if (a->bytes + bytes > a->waiting_bytes_max)
        return false;
    struct admission_datagram *w = hp_byte_pool_get(a->pool, bytes);
    if (w == NULL)
        return false;
    *w = (struct admission_datagram){.datagram = *d, .at_ns = now_ns, .block_bytes = bytes};
    w->datagram.data = memcpy(w + 1, d->data, d->len);
    if (a->last != NULL)
        a->last->next = w;
    else
        a->first = w;
    a->last = w;
    a->count++;
    a->bytes += bytes;
    return true;
}

uint64_t admission_account(const struct admission *a)
{
    uint64_t bytes = 0;
    for (const struct admission_datagram *w = a->first; w != NULL; w = w->next)
        bytes += hp_byte_pool_usable(w);
    return bytes;
}

/* Takes the one that |*at| points to; |before| is the one before it. */
static struct admission_datagram *unlink_at(struct admission *a, struct admission_datagram **at,
                                            struct admission_datagram *before)
{
    struct admission_datagram *w = *at;
    *at = w->next;
    if (a->last == w)
        a->last = before;
    a->count--;
    a->bytes -= w->block_bytes;
    return w;
}

struct admission_datagram *admission_take(struct admission *a)
{
    return a->first != NULL ? unlink_at(a, &a->first, NULL) : NULL;
}

struct admission_datagram *admission_take_more(struct admission *a, const struct datagram *d)
{
    struct admission_datagram *before = NULL;
    for (struct admission_datagram **at = &a->first; *at != NULL; before = *at, at = &(*at)->next)
        if (addr_equal(&(*at)->datagram.path.remote, &d->path.remote))
            return unlink_at(a, at, before);
    return NULL;
}

void admission_put(struct admission *a, struct admission_datagram *waiting)
{
    hp_byte_pool_put(a->pool, waiting);
}
