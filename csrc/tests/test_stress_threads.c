/* Threads on one mapping, at full speed, for ThreadSanitizer.
 *
 * Senders (two of them share one producer) claim singly and in batches, some abort; the main thread
 * takes batches, ends some early, skips leased buffers; another thread releases leased batches in
 * random order. Waits have no time-out: a lost wake runs into the watchdog.
 * Options: rounds=, samples= (per stream, at most 8000). */
#include "sample.h"

#include <pthread.h>

#define FOREVER (INT64_C(3600) * 1000000000)
#define STREAMS 4
#define MAX_BURST 6

typedef struct {
    rig r;
    uint64_t samples;        /* of each stream */
    bool disturbed;          /* with aborts and seals; else in order */
    she_atomic64 streams_on; /* the number of streams that still send */
    ledger *ledgers;
    uint64_t chance;
    /* Leased batches, guarded by the lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        uint64_t batch, samples;
    } leased[8];
    uint64_t num_leased;
    bool over;
    /* One call at a time, for each producer: the interpreter lock of its process. */
    pthread_mutex_t turn[RIG_PRODUCERS + 1];
} stage;

typedef struct {
    stage *stage;
    she_producer *producer;
    uint64_t stream, chance;
} sender;

typedef int act(she_producer *, uint64_t);

static int claim(const sender *me, uint64_t *position) {
    pthread_mutex_t *turn = &me->stage->turn[me->producer->owner];
    pthread_mutex_lock(turn);
    int rc = she_claim(me->producer, position);
    pthread_mutex_unlock(turn);
    return rc;
}

static int end(const sender *me, act *commit_or_abort, uint64_t position) {
    pthread_mutex_t *turn = &me->stage->turn[me->producer->owner];
    pthread_mutex_lock(turn);
    int rc = commit_or_abort(me->producer, position);
    pthread_mutex_unlock(turn);
    return rc;
}

static void claim_patiently(const sender *me, uint64_t *position) {
    she_producer *producer = me->producer;
    for (;;) {
        uint32_t ticket = she_claim_ticket(producer);
        int rc = claim(me, position);
        if (rc == SHE_OK)
            return;
        CHECK_EQ(rc, SHE_FULL);
        uint64_t since = she_wait_begin(producer);
        CHECK_EQ(she_claim_wait(producer, ticket, FOREVER), SHE_WOKEN);
        she_wait_end(producer, since);
    }
}

static void *send(void *argument) {
    sender *me = argument;
    stage *s = me->stage;
    ledger *account = &s->ledgers[me->stream];
    for (uint64_t number = 0; number < s->samples;) {
        uint64_t position[MAX_BURST], n = 1;
        uint64_t want = 1 + (me->stream % 2 ? test_below(&me->chance, MAX_BURST) : 0);
        claim_patiently(me, &position[0]);
        while (n < want && number + n < s->samples && claim(me, &position[n]) == SHE_OK)
            n++;
        for (uint64_t i = 0; i < n; i++) {
            if (s->disturbed && test_below(&me->chance, 8) == 0) {
                sample_write(s->r.ring, position[i], me->stream, LEDGER_SAMPLES - 1);
                CHECK_EQ(end(me, she_abort, position[i]), SHE_OK);
                continue;
            }
            sample_write(s->r.ring, position[i], me->stream, number);
            account->tried[number] = 1;
            CHECK_EQ(end(me, she_commit, position[i]), SHE_OK);
            account->sent[number++] = 1;
        }
    }
    /* The last sender closes the ring: the rest of a batch is not waited for. */
    if (she_add_seq(&s->streams_on, (uint64_t)-1) == 1)
        she_ring_close(s->r.ring);
    return NULL;
}

/* ---- releasing ------------------------------------------------------------------------------- */

static void *give_back(void *argument) {
    stage *s = argument;
    uint64_t chance = test_seed;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->num_leased == 0 && !s->over)
            pthread_cond_wait(&s->changed, &s->lock);
        if (s->num_leased == 0)
            break;
        uint64_t which = test_below(&chance, s->num_leased);
        uint64_t batch = s->leased[which].batch, samples = s->leased[which].samples;
        s->leased[which] = s->leased[--s->num_leased];
        pthread_mutex_unlock(&s->lock);
        for (uint64_t i = 0; i < samples; i++) { /* still whole */
            uint64_t stream, number;
            sample_read(s->r.ring, batch * s->r.ring->batch_size + i, &stream, &number);
        }
        she_producer_view view;
        she_producer_stats(s->r.ring, 1, &view);
        she_release(s->r.ring, batch);
        /* The consumer may be sealing the batch that now gets this memory. */
        she_wake_consumer(s->r.consumer);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void lease(stage *s, uint64_t batch, uint64_t samples) {
    pthread_mutex_lock(&s->lock);
    s->leased[s->num_leased].batch = batch;
    s->leased[s->num_leased++].samples = samples;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* If the memory of the next batch is still leased, skip it this time. */
static void skip_perhaps(stage *s) {
    pthread_mutex_lock(&s->lock);
    for (uint64_t i = 0; i < s->num_leased; i++)
        if (s->leased[i].batch % s->r.ring->num_buffers ==
            s->r.consumer->next_batch % s->r.ring->num_buffers)
            s->leased[i].batch = she_skip(s->r.consumer);
    pthread_mutex_unlock(&s->lock);
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* Wait for the next batch, and end it early now and then. False if the ring is closed and empty. */
static bool next_batch(stage *s) {
    she_consumer *c = s->r.consumer;
    for (;;) {
        if (test_below(&s->chance, 4) == 0)
            skip_perhaps(s);
        bool seal = s->disturbed && test_below(&s->chance, 3) == 0 && she_pending(c) > 0;
        if (seal)
            (void)she_seal(c);
        int rc = she_ready_wait(c, seal && test_below(&s->chance, 4) == 0 ? 1000 : FOREVER);
        if (rc == SHE_OK)
            return true;
        if (rc == SHE_TIMEOUT) {
            CHECK(seal);
            she_unseal(c);
        } else if (rc == SHE_CLOSED) {
            if (she_pending(c) == 0)
                return false;
            (void)she_seal(c);
            CHECK_EQ(she_ready(c), SHE_OK); /* no sender writes any more */
            return true;
        }
    }
}

static void check_order(const stage *s, uint64_t batch, uint64_t samples, uint64_t *expected) {
    for (uint64_t i = 0; i < samples; i++) {
        uint64_t stream, number;
        sample_read(s->r.ring, batch * s->r.ring->batch_size + i, &stream, &number);
        CHECK_EQ(number, expected[stream]++);
    }
}

static void run(uint64_t seed, bool disturbed) {
    stage s = {.disturbed = disturbed, .chance = seed, .samples = test_option("samples", 6000)};
    uint64_t batch, samples, expected[STREAMS] = {0}, came = 0;
    pthread_t threads[STREAMS], releaser;
    sender senders[STREAMS];
    CHECK(s.samples < LEDGER_SAMPLES);
    rig_open(&s.r, 1 + test_below(&s.chance, 10), 1 + test_below(&s.chance, 5), seed % 2);
    s.ledgers = calloc(STREAMS, sizeof *s.ledgers);
    CHECK(s.ledgers != NULL);
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.changed, NULL);
    for (uint32_t owner = 0; owner <= RIG_PRODUCERS; owner++)
        pthread_mutex_init(&s.turn[owner], NULL);
    she_store_relaxed(&s.streams_on, STREAMS);
    CHECK_EQ(pthread_create(&releaser, NULL, give_back, &s), 0);
    for (uint64_t i = 0; i < STREAMS; i++) { /* 1 and 2 are threads of one producer */
        senders[i] = (sender){&s, s.r.producer[i == 2 ? 1 : i], i, seed * 100 + i};
        CHECK_EQ(pthread_create(&threads[i], NULL, send, &senders[i]), 0);
    }
    while (next_batch(&s)) {
        she_take(s.r.consumer, &batch, &samples);
        ledger_enter(s.ledgers, STREAMS, s.r.ring, batch, samples);
        if (!disturbed)
            check_order(&s, batch, samples, expected);
        lease(&s, batch, samples);
    }
    for (uint64_t i = 0; i < STREAMS; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_lock(&s.lock);
    s.over = true;
    pthread_cond_signal(&s.changed);
    pthread_mutex_unlock(&s.lock);
    pthread_join(releaser, NULL);
    for (uint64_t i = 0; i < STREAMS; i++)
        came += ledger_check(&s.ledgers[i], i);
    CHECK_EQ(came, STREAMS * s.samples);
    CHECK_EQ(s.r.consumer->taken_total, came);
    for (uint32_t owner = 0; owner <= RIG_PRODUCERS; owner++)
        CHECK_EQ(open_claims(&s.r, owner), 0);
    free(s.ledgers);
    rig_close(&s.r);
}

CASE(samples_of_threads_arrive_whole_and_once_and_in_each_threads_order) {
    for (uint64_t round = 0; round < test_option("rounds", 12); round++)
        run(test_seed + round, false);
}

CASE(aborts_and_early_ends_tear_and_lose_nothing) {
    for (uint64_t round = 0; round < test_option("rounds", 12); round++)
        run(test_seed + round, true);
}
