/* Workers in threads fill a loader's ring, a trainer takes, keeps and drops batches, some from
 * another thread, and breaks out of loops: for ThreadSanitizer, and for chance. */
#include "loader_rig.h"

#include <pthread.h>

#define FOREVER (INT64_C(3600) * 1000000000)
#define SLOTS 4
#define BUFFERS 4
#define RUN 3
#define WORKERS 3

typedef struct {
    loader_rig *l;
    uint32_t owner;
} job;

static void *work(void *argument) {
    const job *j = argument;
    she_producer *p = j->l->r.producer[j->owner];
    uint64_t state = test_seed + j->owner, position;
    for (;;) {
        uint32_t ticket = she_claim_ticket(p);
        int rc = she_loader_claim(p, &position);
        if (rc == SHE_FULL)
            rc = she_claim_wait(p, ticket, FOREVER);
        if (rc == SHE_CLOSED)
            return NULL;
        if (rc == SHE_WOKEN)
            continue;
        CHECK_EQ(rc, SHE_OK);
        if (test_below(&state, 16) == 0) {
            CHECK_EQ(she_abort(p, position), SHE_OK);
            continue;
        }
        loader_make(p, position);
        CHECK_EQ(she_commit(p, position), SHE_OK);
    }
}

/* The thread that drops batches: it releases, then nudges the trainer. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t batches[BUFFERS], n;
    bool end;
    loader_rig *l;
} dropper;

static void *drop(void *argument) {
    dropper *d = argument;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (d->n == 0 && !d->end)
            pthread_cond_wait(&d->changed, &d->lock);
        if (d->n == 0)
            break;
        uint64_t batch = d->batches[--d->n];
        pthread_mutex_unlock(&d->lock);
        she_release(d->l->r.ring, batch);
        she_wake_consumer(d->l->r.consumer);
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

static void hand_over(dropper *d, uint64_t batch) {
    pthread_mutex_lock(&d->lock);
    d->batches[d->n++] = batch;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

CASE(rows_come_once_whole_and_in_order) {
    loader_rig l;
    loader_open(&l, SLOTS, BUFFERS, RUN);
    job jobs[WORKERS];
    pthread_t workers[WORKERS], dropping;
    dropper d = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .l = &l};
    uint64_t rounds = test_option("samples", 4000), state = test_seed;
    uint64_t sizes[BUFFERS], first = 0, last = 0; /* of the batches that are announced */
    for (uint32_t i = 0; i < WORKERS; i++) {
        jobs[i] = (job){&l, i + 1};
        CHECK_EQ(pthread_create(&workers[i], NULL, work, &jobs[i]), 0);
    }
    CHECK_EQ(pthread_create(&dropping, NULL, drop, &d), 0);
    for (uint64_t taken = 0; taken < rounds;) {
        uint64_t batch, rows = 1 + test_below(&state, SLOTS * RUN);
        while (loader_try_announce(&l, rows, &batch) == SHE_OK) {
            sizes[last++ % BUFFERS] = rows;
            rows = 1 + test_below(&state, SLOTS * RUN);
        }
        if (test_below(&state, 50) == 0) {
            she_loader_cancel(l.r.consumer);
            l.seen = l.drawn;
            first = last;
            taken++;
            continue;
        }
        int rc = she_loader_ready_wait(l.r.consumer, FOREVER);
        CHECK(rc == SHE_OK || rc == SHE_WOKEN);
        if (rc != SHE_OK)
            continue;
        batch = loader_take(&l, sizes[first++ % BUFFERS]);
        taken++;
        if (test_below(&state, 2))
            hand_over(&d, batch);
        else
            she_release(l.r.ring, batch);
    }
    she_ring_close(l.r.ring);
    for (uint32_t i = 0; i < WORKERS; i++)
        CHECK_EQ(pthread_join(workers[i], NULL), 0);
    pthread_mutex_lock(&d.lock);
    d.end = true;
    pthread_cond_signal(&d.changed);
    pthread_mutex_unlock(&d.lock);
    CHECK_EQ(pthread_join(dropping, NULL), 0);
    loader_close(&l);
}
