/* SPDX-License-Identifier: MIT */
#include "timerq.h"

#include <string.h>

void timerq_init(struct timerq *q, struct hp_byte_pool *pool)
{
    *q = (struct timerq){.pool = pool};
}

void timerq_fini(struct timerq *q)
{
    hp_byte_pool_put(q->pool, q->heap);
    *q = (struct timerq){0};
}

int timerq_reserve(struct timerq *q, uint32_t count)
{
    if (count <= q->cap)
        return 0;
    uint32_t cap = q->cap != 0 ? q->cap : 64;
    while (cap < count)
        cap *= 2;
    struct timer **heap = hp_byte_pool_resize(q->pool, q->heap, (cap + 1) * sizeof *heap);
    if (heap == NULL)
        return -1;
    q->heap = heap;
    q->cap = cap;
    return 0;
}

static void place(struct timerq *q, struct timer *t, uint32_t i)
{
    q->heap[i] = t;
    t->place = i;
}

static void sift_up(struct timerq *q, struct timer *t, uint32_t i)
{
    for (; i > 1 && q->heap[i / 2]->at_ns > t->at_ns; i /= 2)
        place(q, q->heap[i / 2], i);
    place(q, t, i);
}

static void sift_down(struct timerq *q, struct timer *t, uint32_t i)
{
    for (uint32_t child; (child = i * 2) <= q->count; i = child) {
        if (child < q->count && q->heap[child + 1]->at_ns < q->heap[child]->at_ns)
            child++;
        if (q->heap[child]->at_ns >= t->at_ns)
            break;
        place(q, q->heap[child], i);
    }
    place(q, t, i);
}

static void cancel(struct timerq *q, struct timer *t)
{
    uint32_t i = t->place;
    struct timer *last = q->heap[q->count--];
    t->place = 0;
    if (last == t)
        return;
    if (i > 1 && q->heap[i / 2]->at_ns > last->at_ns)
        sift_up(q, last, i);
    else
        sift_down(q, last, i);
}

void timerq_set(struct timerq *q, struct timer *t, uint64_t at_ns)
{
    uint64_t before = t->at_ns;
    t->at_ns = at_ns;
    if (at_ns == UINT64_MAX) {
        if (t->place != 0)
            cancel(q, t);
    } else if (t->place == 0) {
        assert(q->count < q->cap);
        q->count++;
        sift_up(q, t, q->count);
    } else if (at_ns < before) {
        sift_up(q, t, t->place);
    } else if (at_ns > before) {
        sift_down(q, t, t->place);
    }
}

struct timer *timerq_first(const struct timerq *q)
{
    return q->count != 0 ? q->heap[1] : NULL;
}
