/* SPDX-License-Identifier: MIT
 *
 * Handles a batch of requests on a fixed number of threads. The number of responses in work is the number of threads,
 * so memory is bounded however long the batch is:
 *
 *   results    one array, taken at once for the whole batch                    main thread's pool
 *   responses  large, kept constructed, one in use by each worker              object pool of each worker
 *   bodies     what of a response is to stay, as long as it is and no longer   byte pool of each worker
 *
 * A body outlives its worker: workers leave their pools of bodies to the main thread, which gives the bodies back.
 */
#include <h3pool/manager.h>
#include <h3pool/object_pool.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define REQUESTS 5000u
#define WORKERS 4u
#define MEMORY_MAX (16u << 20)

struct request {
    unsigned id;
};

struct response {
    int status;
    size_t len;
    char text[16384];
};

struct result {
    int status; /* 0: there was no memory for it */
    uint32_t len;
    char *body; /* |len| bytes of |pool|; NULL if there are none */
    struct hp_byte_pool *pool;
};

struct batch {
    struct hp_pool_manager *manager;
    const struct request *requests;
    struct result *results;
    size_t count;
    _Atomic size_t next; /* the first request that no worker has taken */
};

struct worker {
    pthread_t thread;
    struct batch *batch;
    struct hp_byte_pool *bodies; /* NULL: the worker could not begin */
};

HP_OBJECT_POOL(response, struct response)

static void response_reset(void *object)
{
    struct response *response = object;
    response->status = 0;
    response->len = 0;
}

static void process(const struct request *request, struct response *response)
{
    int len = snprintf(response->text, sizeof response->text, "{\"id\":%u,\"digits\":\"%0*u\"}", request->id,
                       (int)(request->id % 50 + 1), request->id);
    response->status = 200;
    response->len = (size_t)len;
}

/* Copies what is to stay, so that the large response can be used again. */
static struct result result_of(const struct response *response, struct hp_byte_pool *bodies)
{
    char *body = hp_byte_pool_get(bodies, response->len);
    if (body == NULL)
        return (struct result){.status = 0};
    memcpy(body, response->text, response->len);
    return (struct result){response->status, (uint32_t)response->len, body, bodies};
}

static void *work(void *arg)
{
    static const struct hp_object_ops ops = {.construct = response_reset, .reset = response_reset};
    struct worker *worker = arg;
    struct batch *batch = worker->batch;
    struct hp_object_pool responses;
    /* A pool belongs to the thread that makes it. */
    if (hp_object_pool_init(&responses, batch->manager, "responses", sizeof(struct response), 1, &ops) != 0)
        return NULL;
    worker->bodies = hp_byte_pool_new(batch->manager, "bodies", 16, 4096, 0);
    while (worker->bodies != NULL) {
        size_t i = atomic_fetch_add(&batch->next, 1);
        struct response *response = i < batch->count ? response_get(&responses) : NULL;
        if (response == NULL)
            break;
        process(&batch->requests[i], response);
        batch->results[i] = result_of(response, worker->bodies);
        response_put(&responses, response);
    }
    hp_object_pool_fini(&responses);
    if (worker->bodies != NULL)
        hp_byte_pool_abandon(worker->bodies);
    return NULL;
}

/* Fills batch->results. Bodies are in the workers' pools, which belong to the caller from then on. */
static void handle_requests(struct batch *batch, struct worker workers[WORKERS])
{
    unsigned started = 0;
    for (; started < WORKERS; started++) {
        workers[started] = (struct worker){.batch = batch};
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0)
            break;
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].bodies != NULL)
            hp_byte_pool_adopt(workers[i].bodies);
    }
}

/* Gives the bodies back; returns how many requests were answered. */
static size_t use_results(const struct batch *batch)
{
    size_t answered = 0, bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct result *result = &batch->results[i];
        answered += result->status == 200;
        bytes += result->len;
        if (result->body != NULL)
            hp_byte_pool_put(result->pool, result->body);
    }
    printf("%zu requests, %zu answered with %zu bytes, %u threads\n", batch->count, answered, bytes, WORKERS);
    return answered;
}

int main(void)
{
    static struct request requests[REQUESTS];
    for (unsigned i = 0; i < REQUESTS; i++)
        requests[i].id = i;
    struct batch batch = {.manager = hp_pool_manager_new(MEMORY_MAX), .requests = requests, .count = REQUESTS};
    struct hp_byte_pool *pool = batch.manager != NULL ? hp_byte_pool_new(batch.manager, "results", 64, 65536, 0) : NULL;
    batch.results = pool != NULL ? hp_byte_pool_get(pool, REQUESTS * sizeof(struct result)) : NULL;
    if (batch.results == NULL)
        return 1;
    memset(batch.results, 0, REQUESTS * sizeof(struct result));
    struct worker workers[WORKERS] = {{0}};
    handle_requests(&batch, workers);
    size_t answered = use_results(&batch);
    hp_byte_pool_put(pool, batch.results);

    hp_pool_manager_print(batch.manager, stdout);
    uint64_t live = hp_pool_manager_live(batch.manager);
    printf("live %llu\n", (unsigned long long)live);
    for (unsigned i = 0; i < WORKERS; i++)
        hp_byte_pool_free(workers[i].bodies);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(batch.manager);
    return live != 0 || answered != REQUESTS;
}
