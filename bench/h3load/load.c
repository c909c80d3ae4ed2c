/* SPDX-License-Identifier: MIT
 *
 * The loop is the server worker's: read what the sockets have, then flush each client that has something to send once
 * before sleeping. Each client has a socket of its own, as real clients have.
 */
#include "load.h"

#include "http.h"
#include "mem_bridge.h"
#include "net/clock.h"
#include "net/udp.h"
#include "net/udp_out.h"
#include "timerq.h"

#include <errno.h>
#include <ev.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_BUFFER (1u << 20)
#define STREAM_WINDOW (1u << 20)
#define CONN_WINDOW (16u << 20)
#define BATCHES_PER_TURN 2u

/* A client, its socket, its requests. */
struct slot {
    struct client client;
    struct load_thread *thread;
    struct udp_socket socket;
    struct udp_out out;
    struct ev_io readable, writable;
    struct net_path path;
    struct timer timer;
    struct slot *next_dirty;
    bool dirty, alive, opened;
    unsigned in_flight;
    uint64_t left;                   /* with --hold: requests to start, of the thread's */
    struct client_request *requests; /* config->streams of them */
    unsigned *idle;                  /* stack of those that are not in flight */
    unsigned idle_count;
};

struct load_thread {
    const struct load_config *config;
    pthread_t thread;
    sem_t ready;
    bool serving; /* valid after |ready| */
    struct bridge_thread bridge;
    struct hp_byte_pool *data, *heap;
    struct client_env env;
    struct udp_buffers buffers;
    struct timerq timers;
    struct ev_loop *loop;
    struct ev_prepare prepare;
    struct ev_io timer;
    struct ev_async stop;
    int timer_fd;
    uint64_t timer_at_ns, now_ns, stop_at_ns;
    struct slot *slots;
    unsigned slot_count, alive;
    struct slot *dirty;
    uint64_t left;       /* requests to start */
    uint64_t connecting; /* clients in their handshake */
    size_t target;       /* next one */
    bool stopping, holding;
    uint64_t begin_ns;
    struct load_result result;
    _Atomic uint64_t done;
    _Atomic bool ended;
};

const char *load_error_str(enum load_error error)
{
    static const char *const text[] = {
        [LOAD_ERROR_STATUS] = "status",
        [LOAD_ERROR_RESET] = "reset",
        [LOAD_ERROR_CONTENT] = "content",
        [LOAD_ERROR_CONNECTION] = "connection",
    };
    return text[error];
}

int load_result_init(struct load_result *r)
{
    *r = (struct load_result){0};
    const int64_t hour = 3600 * (int64_t)NS_PER_S;
    return hdr_init(NS_PER_US, hour, 3, &r->latency) == 0 && hdr_init(NS_PER_US, hour, 3, &r->connect) == 0 ? 0 : -1;
}

void load_result_fini(struct load_result *r)
{
    hdr_close(r->latency);
    hdr_close(r->connect);
}

static void mark(struct slot *s)
{
    if (s->dirty)
        return;
    s->dirty = true;
    s->next_dirty = s->thread->dirty;
    s->thread->dirty = s;
}

/* --- requests -------------------------------------------------------------------------------------------------------
 */

static const struct load_target *target_of(const struct client_request *r)
{
    return r->ctx;
}

static void start_requests(struct slot *s)
{
    struct load_thread *t = s->thread;
    s->client.now_ns = t->now_ns; /* requests are sent with this turn's flush */
    unsigned most = t->config->churn ? 1 : (unsigned)t->config->streams;
    while (s->in_flight < most && t->left > 0 && s->left > 0 && !t->stopping) {
        struct client_request *r = &s->requests[s->idle[s->idle_count - 1]];
        const struct load_target *target = &t->config->target[t->target];
        *r = (struct client_request){
            .body = t->config->body, .body_len = t->config->body_len, .ctx = (void *)(uintptr_t)target};
        if (client_submit(&s->client, r, target->fields, target->field_count) != 0)
            break; /* on_streams says when to try again */
        t->target = (t->target + 1) % t->config->target_count;
        s->idle_count--;
        s->in_flight++;
        t->left--;
        s->left--;
        t->result.started++;
    }
}

static void on_open(struct client *client)
{
    struct slot *s = client->ctx;
    s->opened = true;
    s->thread->connecting--;
    s->thread->result.opened++;
    hdr_record_value(s->thread->result.connect, (int64_t)(client->opened_ns - client->started_ns));
    mark(s);
}

static void on_streams(struct client *client)
{
    mark(client->ctx);
}

/* A request whose content was wrong is marked by its status. */
#define WRONG_CONTENT 999u

static void on_data(struct client *client, struct client_request *r, const uint8_t *data, size_t len)
{
    const struct slot *s = client->ctx;
    const struct load_config *config = s->thread->config;
    uint64_t at = r->bytes - len;
    while (config->verify && len > 0) {
        size_t i = (size_t)(at % HTTP_PATTERN_PERIOD), n = HTTP_PATTERN_BYTES - i;
        if (n > len)
            n = len;
        if (memcmp(data, config->pattern + i, n) != 0)
            r->status = WRONG_CONTENT;
        data += n;
        at += n;
        len -= n;
    }
}

static void count_failure(struct load_result *result, enum load_error error)
{
    result->failed++;
    result->errors[error]++;
}

static void count_done(struct slot *s, const struct client_request *r)
{
    struct load_result *result = &s->thread->result;
    bool wrong = r->status == WRONG_CONTENT ||
                 (s->thread->config->verify && r->complete && r->bytes != target_of(r)->verify_bytes);
    unsigned hundreds = r->status / 100;
    result->done++;
    result->status[hundreds <= 5 ? hundreds : 0]++;
    result->bytes_headers += r->header_bytes;
    result->bytes_data += r->bytes;
    if (!r->complete)
        count_failure(result, s->client.state == CLIENT_OPEN ? LOAD_ERROR_RESET : LOAD_ERROR_CONNECTION);
    else if (hundreds == 4 || hundreds == 5)
        count_failure(result, LOAD_ERROR_STATUS);
    else if (wrong)
        count_failure(result, LOAD_ERROR_CONTENT);
    else
        result->ok++;
    if (r->complete)
        hdr_record_value(result->latency, (int64_t)(r->ended_ns - r->started_ns));
}

static void on_done(struct client *client, struct client_request *r)
{
    struct slot *s = client->ctx;
    struct load_thread *t = s->thread;
    s->in_flight--;
    s->idle[s->idle_count++] = (unsigned)(r - s->requests);
    if (t->stopping && !r->complete) {
        t->result.started--; /* cut short by the end of the measurement, not by the server */
        return;
    }
    count_done(s, r);
    HP_ADD(t->done, 1);
    if (t->config->churn)
        client_close(client);
    mark(s);
}

static const struct client_ops ops = {
    .on_open = on_open, .on_data = on_data, .on_done = on_done, .on_streams = on_streams};

/* --- clients --------------------------------------------------------------------------------------------------------
 */

static int connect_slot(struct slot *s)
{
    struct load_thread *t = s->thread;
    s->opened = false;
    t->connecting++;
    s->alive = client_init(&s->client, &t->env, s, t->config->host, &s->path, t->now_ns) == 0;
    if (!s->alive) {
        t->connecting--;
        return -1;
    }
    mark(s);
    return 0;
}

/* No more of it. With --hold nobody else makes its requests. */
static void give_up(struct slot *s)
{
    struct load_thread *t = s->thread;
    t->alive--;
    if (t->config->hold_ns != 0)
        t->left -= s->left;
}

/* After a client has died: counts why, and connects anew where that is the test. */
static void bury(struct slot *s)
{
    struct load_thread *t = s->thread;
    timerq_set(&t->timers, &s->timer, CLOCK_NEVER);
    client_fini(&s->client);
    s->alive = false;
    t->result.ends[s->client.end]++;
    if (!s->opened)
        t->connecting--;
    if (!s->opened && !t->stopping)
        t->result.connect_failed++;
    bool again = t->config->churn && s->client.end == CLIENT_END_DONE && t->left > t->connecting && !t->stopping;
    if (!again || connect_slot(s) != 0)
        give_up(s);
}

static int sink_send(void *ctx, const struct udp_train *train)
{
    struct slot *s = ctx;
    if (udp_out_send(&s->out, train) != UDP_BLOCKED)
        return 0;
    ev_io_start(s->thread->loop, &s->writable);
    return 1;
}

static void flush_slot(struct slot *s)
{
    struct sink sink = {.send = sink_send, .ctx = s};
    struct load_thread *t = s->thread;
    if (s->client.state == CLIENT_OPEN) {
        start_requests(s);
        if (s->in_flight == 0 && t->left == 0 && t->config->hold_ns == 0)
            client_close(&s->client);
    }
    if (client_flush(&s->client, &sink, t->now_ns) == QUIC_WRITE_MORE)
        mark(s);
    if (s->client.state == CLIENT_DEAD)
        bury(s);
    else
        timerq_set(&t->timers, &s->timer, client_deadline(&s->client));
}

/* With --hold: when the last request is done, the measurement ends and the connections stay for a while. */
static void begin_hold(struct load_thread *t)
{
    if (t->config->hold_ns == 0 || t->holding || t->left != 0 || t->result.started != t->result.done)
        return;
    t->holding = true;
    t->result.wall_ns = t->now_ns - t->begin_ns;
    t->stop_at_ns = t->now_ns + t->config->hold_ns;
}

static void stop_all(struct load_thread *t)
{
    if (t->stopping)
        return;
    t->stopping = true;
    for (unsigned i = 0; i < t->slot_count; i++)
        if (t->slots[i].alive) {
            client_close(&t->slots[i].client);
            mark(&t->slots[i]);
        }
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static void on_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)events;
    struct load_thread *t = ev_userdata(loop);
    struct slot *s = io->data;
    t->now_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < BATCHES_PER_TURN; i++) {
        int n = udp_recv(&s->socket, &t->buffers);
        for (int k = 0; k < n; k++) {
            const struct udp_datagram *d = &t->buffers.datagram[k];
            struct datagram one = {.path = s->path, .ecn = d->ecn};
            for (size_t at = 0; at < d->len && s->alive; at += one.len) {
                one.data = d->data + at;
                one.len = d->len - at < d->segment ? d->len - at : d->segment;
                client_feed(&s->client, &one, t->now_ns);
            }
        }
        if (n < (int)UDP_BATCH)
            break;
    }
    if (s->alive)
        mark(s);
}

static void on_writable(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)events;
    struct slot *s = io->data;
    if (udp_out_resume(&s->out) == UDP_BLOCKED)
        return;
    ev_io_stop(loop, io);
    if (s->alive)
        mark(s);
}

static void on_timer(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)io, (void)events;
    struct load_thread *t = ev_userdata(loop);
    struct timer *first;
    clock_timer_read(t->timer_fd);
    t->timer_at_ns = CLOCK_NEVER;
    t->now_ns = clock_monotonic_ns();
    if (t->now_ns >= t->stop_at_ns)
        stop_all(t);
    while ((first = timerq_first(&t->timers)) != NULL && first->at_ns <= t->now_ns) {
        struct slot *s = (struct slot *)((char *)first - offsetof(struct slot, timer));
        timerq_set(&t->timers, first, CLOCK_NEVER); /* set again when it is flushed */
        client_expire(&s->client, t->now_ns);
        mark(s);
    }
}

static void on_stop(struct ev_loop *loop, struct ev_async *async, int events)
{
    (void)async, (void)events;
    struct load_thread *t = ev_userdata(loop);
    t->now_ns = clock_monotonic_ns();
    stop_all(t);
}

static void on_prepare(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)prepare, (void)events;
    struct load_thread *t = ev_userdata(loop);
    struct slot *batch = t->dirty; /* what is marked meanwhile waits for the next turn */
    t->dirty = NULL;
    while (batch != NULL) {
        struct slot *s = batch;
        batch = s->next_dirty;
        s->dirty = false;
        if (s->alive && s->out.held == NULL)
            flush_slot(s);
    }
    begin_hold(t);
    if (t->alive == 0)
        ev_break(loop, EVBREAK_ALL);
    const struct timer *first = timerq_first(&t->timers);
    uint64_t at = first != NULL && first->at_ns < t->stop_at_ns ? first->at_ns : t->stop_at_ns;
    if (t->dirty != NULL)
        at = t->now_ns;
    if (at != t->timer_at_ns)
        clock_timer_set(t->timer_fd, t->timer_at_ns = at);
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static void random_bytes(void *ctx, void *bytes, size_t len)
{
    (void)ctx;
    tls_random(bytes, len);
}

static int open_slot(struct load_thread *t, struct slot *s)
{
    struct addr any = {.len = t->config->server.len};
    struct udp_options options = {.receive_buffer_bytes = RECEIVE_BUFFER, .send_buffer_bytes = RECEIVE_BUFFER};
    uint64_t streams = t->config->streams;
    any.sa.sa_family = t->config->server.sa.sa_family;
    *s = (struct slot){.thread = t, .timer.at_ns = CLOCK_NEVER, .socket.fd = -1};
    s->requests = calloc(streams, sizeof *s->requests);
    s->idle = calloc(streams, sizeof *s->idle);
    if (s->requests == NULL || s->idle == NULL || udp_open(&s->socket, &any, &options) != 0 ||
        udp_connect(&s->socket, &t->config->server) != 0)
        return -1;
    for (s->idle_count = 0; s->idle_count < streams; s->idle_count++)
        s->idle[s->idle_count] = s->idle_count;
    s->path = (struct net_path){.local = s->socket.local, .remote = t->config->server};
    s->out = (struct udp_out){.socket = &s->socket, .pool = t->data};
    ev_io_init(&s->readable, on_readable, s->socket.fd, EV_READ);
    ev_io_init(&s->writable, on_writable, s->socket.fd, EV_WRITE);
    s->readable.data = s->writable.data = s;
    ev_io_start(t->loop, &s->readable);
    return 0;
}

static int set_up(struct load_thread *t)
{
    const struct load_config *config = t->config;
    if (bridge_thread_enter() != 0)
        return -1;
    t->data = hp_byte_pool_new(config->manager, "data", 64, 256u << 10, 0);
    t->heap = hp_byte_pool_new(config->manager, "heap", 1024, 256u << 10, 0);
    t->timer_fd = clock_timer_open();
    t->loop = ev_loop_new(EVFLAG_NOENV);
    if (t->data == NULL || t->heap == NULL || t->timer_fd < 0 || t->loop == NULL)
        return -1;
    ev_set_userdata(t->loop, t);
    t->env = (struct client_env){
        .tls = config->tls,
        .heap = t->heap,
        .tx = hp_byte_pool_get(t->data, UDP_BUFFER_BYTES),
        .ops = &ops,
        .random = random_bytes,
        .idle_timeout_ns = config->idle_timeout_ns,
        .handshake_timeout_ns = config->handshake_timeout_ns,
        .stream_window = STREAM_WINDOW,
        .conn_window = CONN_WINDOW,
    };
    timerq_init(&t->timers, t->data);
    t->buffers.pool = t->data;
    t->slots = calloc(t->slot_count, sizeof *t->slots);
    if (t->env.tx == NULL || t->slots == NULL || timerq_reserve(&t->timers, t->slot_count) != 0 ||
        load_result_init(&t->result) != 0)
        return -1;
    for (; t->alive < t->slot_count; t->alive++)
        if (open_slot(t, &t->slots[t->alive]) != 0)
            return -1;
    return 0;
}

/* |whole| in |parts| parts that differ by one at most. */
static uint64_t share(uint64_t whole, uint64_t parts, unsigned index)
{
    return whole / parts + (index < whole % parts);
}

static void start_loop(struct load_thread *t)
{
    ev_io_init(&t->timer, on_timer, t->timer_fd, EV_READ);
    ev_io_start(t->loop, &t->timer);
    ev_prepare_init(&t->prepare, on_prepare);
    ev_prepare_start(t->loop, &t->prepare);
    ev_async_init(&t->stop, on_stop);
    ev_async_start(t->loop, &t->stop);
    t->now_ns = clock_monotonic_ns();
    t->timer_at_ns = CLOCK_NEVER;
    t->stop_at_ns = t->config->duration_ns != 0 ? t->now_ns + t->config->duration_ns : CLOCK_NEVER;
    uint64_t requests = t->left;
    for (unsigned i = 0; i < t->slot_count; i++) {
        t->slots[i].left = t->config->hold_ns != 0 ? share(requests, t->slot_count, i) : UINT64_MAX;
        if (connect_slot(&t->slots[i]) != 0)
            give_up(&t->slots[i]);
    }
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec;
}

static void tear_down(struct load_thread *t)
{
    for (unsigned i = 0; t->slots != NULL && i < t->slot_count && t->slots[i].thread != NULL; i++) {
        struct slot *s = &t->slots[i];
        if (s->alive)
            client_fini(&s->client);
        udp_out_fini(&s->out);
        udp_close(&s->socket);
        free(s->requests);
        free(s->idle);
    }
    timerq_fini(&t->timers);
    udp_buffers_fini(&t->buffers);
    if (t->data != NULL)
        hp_byte_pool_put(t->data, t->env.tx);
    if (t->timer_fd >= 0)
        close(t->timer_fd);
    t->bridge = bridge_thread_leave();
}

static void *run(void *ctx)
{
    struct load_thread *t = ctx;
    bool serving = t->serving = set_up(t) == 0;
    uint64_t cpu = thread_cpu_ns();
    if (serving)
        start_loop(t);
    t->begin_ns = t->now_ns;
    sem_post(&t->ready);
    if (serving) {
        ev_run(t->loop, 0);
        t->result.cpu_ns = thread_cpu_ns() - cpu;
        if (!t->holding)
            t->result.wall_ns = clock_monotonic_ns() - t->begin_ns;
    }
    tear_down(t);
    atomic_store(&t->ended, true);
    return NULL;
}

struct load_thread *load_thread_start(const struct load_config *config, unsigned index)
{
    struct load_thread *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->config = config;
    t->slot_count = (unsigned)share(config->clients, config->threads, index);
    t->left = config->requests != 0 ? share(config->requests, config->threads, index) : UINT64_MAX;
    t->timer_fd = -1;
    sem_init(&t->ready, 0, 0);
    if (pthread_create(&t->thread, NULL, run, t) != 0) {
        fprintf(stderr, "h3load: a thread can't start: %s\n", strerror(errno));
        free(t);
        return NULL;
    }
    while (sem_wait(&t->ready) != 0)
        ;
    if (t->serving)
        return t;
    fprintf(stderr, "h3load: a thread can't start: %s\n", strerror(errno));
    load_thread_join(t, NULL);
    return NULL;
}

uint64_t load_thread_done(const struct load_thread *t)
{
    return HP_READ(t->done);
}

bool load_thread_ended(const struct load_thread *t)
{
    return atomic_load(&t->ended);
}

void load_thread_stop(struct load_thread *t)
{
    ev_async_send(t->loop, &t->stop); /* the loop outlives the thread */
}

static void add(struct load_result *sum, const struct load_result *r)
{
    sum->started += r->started;
    sum->done += r->done;
    sum->ok += r->ok;
    sum->failed += r->failed;
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        sum->errors[i] += r->errors[i];
    for (unsigned i = 0; i < 6; i++)
        sum->status[i] += r->status[i];
    for (unsigned i = 0; i < LOAD_ENDS; i++)
        sum->ends[i] += r->ends[i];
    sum->bytes_headers += r->bytes_headers;
    sum->bytes_data += r->bytes_data;
    sum->opened += r->opened;
    sum->connect_failed += r->connect_failed;
    sum->cpu_ns += r->cpu_ns;
    if (r->wall_ns > sum->wall_ns)
        sum->wall_ns = r->wall_ns;
    hdr_add(sum->latency, r->latency);
    hdr_add(sum->connect, r->connect);
}

void load_thread_join(struct load_thread *t, struct load_result *sum)
{
    pthread_join(t->thread, NULL);
    if (sum != NULL)
        add(sum, &t->result);
    bridge_adopt(t->bridge);
    if (t->loop != NULL)
        ev_loop_destroy(t->loop); /* not by its thread: a stop may still have been on its way */
    load_result_fini(&t->result);
    hp_byte_pool_free(t->heap);
    hp_byte_pool_free(t->data);
    free(t->slots);
    free(t);
}
