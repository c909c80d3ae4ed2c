/* SPDX-License-Identifier: MIT
 *
 * A loop turn: read what the sockets have (bounded), feed the endpoint, and before the loop sleeps again flush the
 * endpoint once, so that acknowledgements ride on responses and each connection writes once. One timerfd holds the
 * endpoint's deadline. A send that blocks is kept, and nothing more is written until it has left.
 */
#include "worker.h"

#include "mem_bridge.h"
#include "net/clock.h"
#include "net/log.h"
#include "net/udp_out.h"
#include "pressure.h"

#include <errno.h>
#include <ev.h>
#include <h3pool/manager.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Batches that a socket may deliver before others get their turn. */
#define BATCHES_PER_TURN 4u
/* Memory that was free for a whole period is given back, so much at a time, which bounds the work of a turn. While
 * there is more, and in need, five times as often. */
#define TRIM_PERIOD_NS (250 * NS_PER_MS)
#define TRIM_BYTES_MAX (1u << 20)
/* Periods without a datagram and without anything to give back, after which the worker sleeps. */
#define TRIMS_IN_VAIN_MAX 4u

struct listener {
    struct ev_io readable, writable;
    struct udp_socket socket;
    struct udp_out out;
};

struct worker {
    struct worker_config config;
    pthread_t thread;
    sem_t started;
    bool serving; /* valid after |started| */
    struct ev_loop *loop;
    struct ev_prepare prepare;
    struct ev_async command;
    struct ev_io timer, pressure;
    uint64_t relax_at_ns; /* when the last signal of pressure is forgotten */
    uint64_t traced_ns;   /* the last line of --memtrace */
    int timer_fd;
    uint64_t timer_at_ns;
    uint64_t wall_due_ns; /* when to look at the wall clock again */
    uint64_t trim_due_ns; /* when to give idle memory back; CLOCK_NEVER: nothing has happened since all of it was */
    unsigned trims_in_vain;
    enum budget_stage stage; /* as told last */
    struct listener listener[LISTEN_MAX];
    struct udp_buffers buffers;
    struct endpoint_pools pools;
    struct endpoint *endpoint;
    struct bridge_thread bridge; /* handed over at the end */
    bool draining, stopping;
    bool blocked; /* a socket is full: nothing is written */

    _Atomic bool want_drain, want_stop, ended;
    _Atomic(struct tls_ctx *) want_tls;
};

/* --- sending --------------------------------------------------------------------------------------------------------
 */

static struct listener *listener_of(struct worker *w, const struct addr *local)
{
    for (unsigned i = 0; i < w->config.socket_count; i++)
        if (addr_equal(&w->listener[i].socket.local, local))
            return &w->listener[i];
    for (unsigned i = 0; i < w->config.socket_count; i++) { /* a wildcard address */
        const struct addr *a = &w->listener[i].socket.local;
        if (a->sa.sa_family == local->sa.sa_family && addr_port(a) == addr_port(local))
            return &w->listener[i];
    }
    return NULL;
}

static int sink_send(void *ctx, const struct udp_train *t)
{
    struct worker *w = ctx;
    struct listener *l = listener_of(w, &t->path.local);
    if (l == NULL || udp_out_send(&l->out, t) != UDP_BLOCKED)
        return 0;
    METRIC_ADD(w->config.endpoint.metrics, sends_blocked, 1);
    w->blocked = true;
    ev_io_start(w->loop, &l->writable);
    return 1;
}

static void on_writable(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)events;
    struct worker *w = ev_userdata(loop);
    struct listener *l = (struct listener *)((char *)io - offsetof(struct listener, writable));
    if (udp_out_resume(&l->out) == UDP_BLOCKED)
        return;
    ev_io_stop(loop, io);
    w->blocked = false;
}

/* --- receiving ------------------------------------------------------------------------------------------------------
 */

static void feed_train(struct worker *w, const struct udp_datagram *d, uint64_t now_ns)
{
    struct datagram one = {.path = d->path, .ecn = d->ecn};
    for (size_t at = 0; at < d->len; at += one.len) {
        one.data = d->data + at;
        one.len = d->len - at < d->segment ? d->len - at : d->segment;
        endpoint_feed(w->endpoint, &one, now_ns);
    }
}

static void on_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)events;
    struct worker *w = ev_userdata(loop);
    struct listener *l = (struct listener *)((char *)io - offsetof(struct listener, readable));
    uint64_t now_ns = clock_monotonic_ns();
    if (w->trim_due_ns == CLOCK_NEVER)
        w->trim_due_ns = now_ns + TRIM_PERIOD_NS;
    w->trims_in_vain = 0;
    for (unsigned i = 0; i < BATCHES_PER_TURN; i++) {
        int n = udp_recv(&l->socket, &w->buffers);
        for (int k = 0; k < n; k++)
            feed_train(w, &w->buffers.datagram[k], now_ns);
        if (n < 0) {
            log_error("socket: %s", udp_result_str(UDP_FATAL));
            ev_io_stop(loop, io);
        }
        if (n < (int)UDP_BATCH)
            break;
    }
}

/* --- time -----------------------------------------------------------------------------------------------------------
 */

static void on_timer(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)io, (void)events;
    struct worker *w = ev_userdata(loop);
    clock_timer_read(w->timer_fd);
    w->timer_at_ns = CLOCK_NEVER;
    endpoint_expire(w->endpoint, clock_monotonic_ns());
}

/* How long a signal of pressure counts. */
#define PRESSURE_NS (5 * NS_PER_S)

static void on_pressure(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)events;
    struct worker *w = ev_userdata(loop);
    uint64_t now_ns = clock_monotonic_ns();
    if (pressure_read(io->fd) != 0)
        ev_io_stop(loop, io);
    budget_signal(w->config.budget);
    w->relax_at_ns = now_ns + PRESSURE_NS;
    w->trims_in_vain = 0;
    w->trim_due_ns = now_ns;
}

/* One line of --memtrace: what a trim gave back, where the budget stands, and for whom this worker's blocks are. */
static void trace(struct worker *w, size_t fell, uint64_t now_ns)
{
    if (!w->config.memtrace || (fell == 0 && now_ns - w->traced_ns < NS_PER_S))
        return;
    const struct budget *b = w->config.budget;
    struct endpoint_accounts a;
    endpoint_accounts(w->endpoint, &a);
    w->traced_ns = now_ns;
    log_info("memtrace: worker %u, trimmed %zu, held %llu of %llu, stage %s; accounts: connections %llu, tls %llu, "
             "waiting %llu, tables %llu",
             w->config.endpoint.steering.worker, fell, (unsigned long long)hp_pool_manager_held(b->manager),
             (unsigned long long)b->limit_bytes, budget_stage_str(budget_stage(b)), (unsigned long long)a.connections,
             (unsigned long long)a.tls, (unsigned long long)a.waiting, (unsigned long long)a.tables);
}

/* The first worker tells what has become of the budget; short visits of a stage show in its counter alone. */
static void tell_stage(struct worker *w)
{
    const struct budget *b = w->config.budget;
    enum budget_stage is = budget_stage(b), was = w->stage;
    if (is == was || w->config.endpoint.steering.worker != 0)
        return;
    w->stage = is;
    log_warn("memory: stage %s %s, %llu of %llu bytes are held", budget_stage_str(is > was ? is : was),
             is > was ? "entered" : "left", (unsigned long long)hp_pool_manager_held(b->manager),
             (unsigned long long)b->limit_bytes);
}

/* Off the data path: after the turn's work. */
static void trim_idle(struct worker *w, uint64_t now_ns)
{
    size_t fell = hp_pool_manager_trim_idle(w->config.manager, TRIM_BYTES_MAX);
    bool soon = fell + HP_SLICE_BYTES > TRIM_BYTES_MAX || budget_stage(w->config.budget) >= BUDGET_TRIM;
    uint64_t period_ns = soon ? TRIM_PERIOD_NS / 5 : TRIM_PERIOD_NS;
    trace(w, fell, now_ns);
    if (w->relax_at_ns != 0 && now_ns >= w->relax_at_ns) {
        w->relax_at_ns = 0;
        budget_relax(w->config.budget);
    }
    w->trims_in_vain = fell != 0 || w->relax_at_ns != 0 ? 0 : w->trims_in_vain + 1;
    w->trim_due_ns = w->trims_in_vain < TRIMS_IN_VAIN_MAX ? now_ns + period_ns : CLOCK_NEVER;
}

static void on_prepare(struct ev_loop *loop, struct ev_prepare *prepare, int revents)
{
    (void)prepare, (void)revents;
    struct worker *w = ev_userdata(loop);
    struct sink sink = {.send = sink_send, .ctx = w};
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns >= w->wall_due_ns) {
        endpoint_set_wall(w->endpoint, clock_wall_ns(), now_ns);
        w->wall_due_ns = now_ns + NS_PER_S;
    }
    bool done = !w->blocked && endpoint_flush(w->endpoint, &sink, now_ns);
    if (now_ns >= w->trim_due_ns)
        trim_idle(w, now_ns);
    tell_stage(w);
    if (w->stopping || (w->draining && done && endpoint_idle(w->endpoint)))
        ev_break(loop, EVBREAK_ALL);
    uint64_t at_ns = endpoint_deadline(w->endpoint);
    if (w->trim_due_ns < at_ns)
        at_ns = w->trim_due_ns;
    if (at_ns != w->timer_at_ns)
        clock_timer_set(w->timer_fd, w->timer_at_ns = at_ns);
}

static void on_command(struct ev_loop *loop, struct ev_async *async, int events)
{
    (void)async, (void)events;
    struct worker *w = ev_userdata(loop);
    struct tls_ctx *tls = atomic_exchange(&w->want_tls, NULL);
    if (tls != NULL) {
        endpoint_set_tls(w->endpoint, tls);
        tls_ctx_unref(tls);
    }
    if (atomic_load(&w->want_drain) && !w->draining) {
        w->draining = true;
        endpoint_drain(w->endpoint, clock_monotonic_ns());
    }
    if (atomic_load(&w->want_stop)) {
        w->stopping = true; /* the next flush sends the last packets */
        endpoint_stop(w->endpoint, clock_monotonic_ns());
    }
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static void random_from_system(void *ctx, void *bytes, size_t len)
{
    (void)ctx;
    tls_random(bytes, len);
}

static void start_watchers(struct worker *w)
{
    ev_set_userdata(w->loop, w);
    for (unsigned i = 0; i < w->config.socket_count; i++) {
        struct listener *l = &w->listener[i];
        l->out = (struct udp_out){.socket = &l->socket, .pool = w->pools.data};
        ev_io_init(&l->readable, on_readable, l->socket.fd, EV_READ);
        ev_io_init(&l->writable, on_writable, l->socket.fd, EV_WRITE);
        ev_io_start(w->loop, &l->readable);
    }
    ev_io_init(&w->timer, on_timer, w->timer_fd, EV_READ);
    ev_io_start(w->loop, &w->timer);
    if (w->config.pressure_fd >= 0) {
        ev_io_init(&w->pressure, on_pressure, w->config.pressure_fd, EV_READ);
        ev_io_start(w->loop, &w->pressure);
    }
    ev_prepare_init(&w->prepare, on_prepare);
    ev_prepare_start(w->loop, &w->prepare);
    ev_async_init(&w->command, on_command);
    ev_async_start(w->loop, &w->command);
}

static int set_up(struct worker *w)
{
    if (bridge_thread_enter() != 0 || endpoint_pools_init(&w->pools, w->config.manager) != 0)
        return -1;
    w->buffers.pool = w->pools.data;
    w->timer_at_ns = w->trim_due_ns = CLOCK_NEVER;
    w->timer_fd = clock_timer_open();
    w->loop = ev_loop_new(EVFLAG_NOENV);
    struct endpoint_config config = w->config.endpoint;
    config.pools = &w->pools;
    config.random = random_from_system;
    config.now_ns = clock_monotonic_ns();
    config.wall_ns = clock_wall_ns();
    w->endpoint = endpoint_new(&config);
    return w->timer_fd >= 0 && w->loop != NULL && w->endpoint != NULL ? 0 : -1;
}

static void tear_down(struct worker *w)
{
    endpoint_free(w->endpoint);
    if (w->timer_fd >= 0)
        close(w->timer_fd);
    if (w->config.pressure_fd >= 0)
        close(w->config.pressure_fd);
    for (unsigned i = 0; i < w->config.socket_count; i++) {
        udp_out_fini(&w->listener[i].out);
        udp_close(&w->listener[i].socket);
    }
    udp_buffers_fini(&w->buffers);
    tls_ctx_unref(atomic_exchange(&w->want_tls, NULL));
    w->bridge = bridge_thread_leave();
}

static void *run(void *ctx)
{
    struct worker *w = ctx;
    w->timer_fd = -1;
    w->serving = set_up(w) == 0;
    if (w->serving)
        start_watchers(w);
    bool serving = w->serving;
    sem_post(&w->started);
    if (serving)
        ev_run(w->loop, 0);
    tear_down(w);
    atomic_store(&w->ended, true);
    return NULL;
}

struct worker *worker_start(const struct worker_config *config)
{
    struct worker *w = calloc(1, sizeof *w); /* once per thread, not on the data path */
    if (w == NULL)
        return NULL;
    w->config = *config;
    for (unsigned i = 0; i < config->socket_count; i++)
        w->listener[i].socket = config->sockets[i];
    sem_init(&w->started, 0, 0);
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        for (unsigned i = 0; i < config->socket_count; i++)
            udp_close(&w->listener[i].socket);
        free(w);
        return NULL;
    }
    while (sem_wait(&w->started) != 0)
        ;
    if (w->serving)
        return w;
    worker_join(w);
    worker_free(w);
    return NULL;
}

void worker_drain(struct worker *w)
{
    atomic_store(&w->want_drain, true);
    ev_async_send(w->loop, &w->command);
}

void worker_stop(struct worker *w)
{
    atomic_store(&w->want_stop, true);
    ev_async_send(w->loop, &w->command);
}

void worker_set_tls(struct worker *w, struct tls_ctx *tls)
{
    tls_ctx_unref(atomic_exchange(&w->want_tls, tls_ctx_ref(tls)));
    ev_async_send(w->loop, &w->command);
}

bool worker_ended(const struct worker *w)
{
    return atomic_load(&w->ended);
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
    bridge_adopt(w->bridge);
    if (w->loop != NULL)
        ev_loop_destroy(w->loop); /* not by its thread: a command may still have been on its way */
    w->loop = NULL;
}

void worker_free(struct worker *w)
{
    endpoint_pools_fini(&w->pools);
    sem_destroy(&w->started);
    free(w);
}
