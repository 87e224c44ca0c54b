/* The consumer takes batches and releases them: PROTOCOL.md has these steps in this order. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "shm_echo/fault.h"
#include "shm_echo/loader_ring.h"

int she_consumer_open(she_ring *ring, she_consumer **out) {
    if (ring->run_rows && !ring->own)
        return SHE_E_CONFIG; /* the server announces, by marks in its private memory */
    she_consumer *c = calloc(1, sizeof *c);
    if (!c)
        return SHE_E_MEMORY;
    c->ring = ring;
    c->pushed_gen = UINT64_MAX; /* none yet */
    c->taken_by = calloc(ring->max_producers + 1u, sizeof *c->taken_by);
    c->known = calloc(ring->num_buffers, sizeof *c->known);
    c->known_own = calloc(ring->num_buffers, sizeof *c->known_own);
    c->skips = calloc(ring->batch_size, sizeof *c->skips);
    c->accounts = calloc(ring->max_producers + 1u, sizeof *c->accounts);
    c->times = ring->stamps ? calloc(1, sizeof *c->times) : NULL;
    c->loader = ring->run_rows ? she_loader_state_new(ring) : NULL;
    if (!c->taken_by || !c->known || !c->known_own || !c->skips || !c->accounts ||
        (ring->stamps && !c->times) || (ring->run_rows && !c->loader)) {
        she_consumer_free(c);
        return SHE_E_MEMORY;
    }
    *out = c;
    return SHE_OK;
}

void she_consumer_free(she_consumer *c) {
    if (!c)
        return;
    free(c->taken_by);
    free(c->known);
    free(c->known_own);
    free(c->times);
    free(c->skips);
    free(c->accounts);
    she_loader_state_free(c->loader);
    free(c);
}

/* True if the word of sample i of the next batch does not change any more. A SKIP counts only where
 * she_seal wrote it: any other one is an overwritten word. */
static bool finished(const she_consumer *c, uint64_t i, uint64_t word, uint64_t lap) {
    return she_is(word, lap, SHE_COMMITTED) || (c->skips[i] && she_is(word, lap, SHE_SKIP));
}

/* A finished word stays finished until this consumer releases it, so each call goes on at the
 * sample at which the last call stopped. */
int she_ready(she_consumer *c) {
    she_ring *ring = c->ring;
    uint64_t lap = she_lap_of(ring, c->next_batch), first = c->next_batch * ring->batch_size;
    /* SYNC slot-commit: pairs with the CAS in commit (ring_produce.c); acquires the bytes of each
     * sample that is found committed. Sequentially consistent for SYNC awaited. */
    while (c->looked < ring->batch_size &&
           finished(c, c->looked, she_load_seq(she_state_word(ring, first + c->looked)), lap))
        c->looked++;
    return c->looked == ring->batch_size ? SHE_OK : SHE_FULL;
}

/* Waking a process costs tens of microseconds, more than a small batch takes to fill. So if recent
 * waits were short, check the batch repeatedly for a moment before going to sleep: first without
 * leaving the processor, then yielding it, because the awaited producer may need it. A spinning
 * consumer has not written `awaited`, so a commit meanwhile makes no system call either. */
static int spin(she_consumer *c, uint64_t began) {
    if (c->recent_wait_ns > SHE_SPIN_NS)
        return SHE_FULL;
    for (unsigned round = 0;; round++) {
        for (int i = 0; i < 8; i++) /* leaves the words' cache lines to the producers meanwhile */
            she_pause();
        if (she_ready(c) == SHE_OK)
            return SHE_OK;
        if (she_ring_closed(c->ring))
            return SHE_CLOSED;
        if (round % 4 == 3) { /* reading the clock costs more than a check */
            if (she_now_ns() - began > SHE_SPIN_NS)
                return SHE_FULL;
            if (round > 32) /* the short spin did not pay: let other processes run */
                sched_yield();
        }
    }
}

static int sleep_until_ready(she_consumer *c, int64_t timeout_ns) {
    she_header *h = c->ring->header;
    uint32_t ticket;
    uint64_t before;
    do {
        ticket = she_ec_ticket(&h->data);
        /* SYNC wake-request: pairs with the exchange in she_wake_consumer; after the ticket. */
        if (she_exchange32_seq(&c->wake_requested, 0))
            return SHE_WOKEN;
        if (c->sealed)
            (void)she_seal(c); /* after the ticket: a later abort or recovery signals data */
        if (she_ready(c) == SHE_OK)
            return SHE_OK;
        if (she_ring_closed(c->ring))
            return SHE_CLOSED;
        SHE_FAULT(SHE_STEP_WAIT_LOOKED);
        /* SYNC awaited: pairs with the load in commit (ring_produce.c). This side writes the
         * awaited position, then reads the state word; the committer writes the state word, then
         * reads the position. In one total order at least one side sees the other. */
        before = c->looked;
        she_store_seq(&h->awaited, c->next_batch * c->ring->batch_size + before + 1);
        SHE_FAULT(SHE_STEP_WAIT_AWAITED);
        (void)she_ready(c);
    } while (c->looked != before); /* the awaited sample came meanwhile: await the next one */
    SHE_FAULT(SHE_STEP_WAIT_SLEEP);
    int woken = she_ec_wait(&h->data, ticket, timeout_ns);
    /* Relaxed: a committer that still reads the old value makes a needless check, perhaps a
     * needless signal, and nothing worse. */
    she_store_relaxed(&h->awaited, 0);
    if (she_ready(c) == SHE_OK)
        return SHE_OK;
    if (woken == SHE_WAIT_TIMEOUT)
        return SHE_TIMEOUT;
    return woken == SHE_WAIT_INTERRUPTED ? SHE_INTERRUPTED : SHE_WOKEN;
}

int she_ready_wait(she_consumer *c, int64_t timeout_ns) {
    if (she_ready(c) == SHE_OK)
        return SHE_OK;
    uint64_t began = she_now_ns();
    int rc = timeout_ns > (int64_t)SHE_SPIN_NS ? spin(c, began) : SHE_FULL;
    if (rc == SHE_FULL)
        rc = sleep_until_ready(c, timeout_ns);
    /* A moving average over about four waits; a wait in several slices counts as several. */
    c->recent_wait_ns = (3 * c->recent_wait_ns + (she_now_ns() - began)) / 4;
    return rc;
}

/* A sealed batch may have gaps where a claim was aborted or recovered: close them, in order, row by
 * row. No producer touches these rows: a skipped slot is not claimed, a committed one is the
 * consumer's. */
static void compact(const she_consumer *c) {
    const she_ring *ring = c->ring;
    uint64_t first = c->next_batch * ring->batch_size, kept = 0;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        if (c->skips[i])
            continue;
        if (kept != i)
            for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++)
                memcpy(she_row(ring, leaf, first + kept), she_row(ring, leaf, first + i),
                       ring->leaves[leaf].row_bytes);
        kept++;
    }
}

/* Note whether the memory of a batch is out: handed out or skipped, and not released. Stored after
 * the words: the thread that checks finds them released if it does not find the mark. */
static void set_out(she_ring *ring, uint64_t batch, uint32_t out) {
    if (ring->own)
        she_store32_release(she_out_mark(ring, batch), out);
}

static void next_batch(she_consumer *c) {
    c->next_batch++;
    c->looked = 0;
    if (c->sealed)
        memset(c->skips, 0, c->ring->batch_size);
    c->sealed = false;
}

void she_take(she_consumer *c, uint64_t *batch, uint64_t *samples) {
    she_ring *ring = c->ring;
    uint64_t b = c->next_batch, first = b * ring->batch_size, lap = she_lap_of(ring, b);
    uint64_t now = ring->stamps ? she_now_ns() : 0;
    uint64_t committed = 0;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        if (c->skips[i])
            continue;
        /* Relaxed: she_ready acquired this word, and only a stray write changes it now. */
        uint64_t word = she_load_relaxed(she_state_word(ring, first + i));
        uint32_t owner = she_word_owner(word);
        /* Shared memory: never trusted as an index. */
        if (she_is(word, lap, SHE_COMMITTED) && owner <= ring->max_producers)
            c->taken_by[owner]++;
        if (c->times) {
            /* Relaxed: the committer stored it before the CAS that she_ready acquired. */
            uint64_t then = she_load_relaxed(&ring->stamps[(first + i) % ring->capacity]);
            she_hist_record(&c->times->dwell, now > then ? now - then : 0);
        }
        committed++;
    }
    if (committed == ring->batch_size)
        c->full_batches++;
    else
        compact(c);
    c->taken_total += committed;
    c->known[b % ring->num_buffers] = c->known_own[b % ring->num_buffers] = 0;
    set_out(ring, b, 1);
    next_batch(c);
    /* SYNC taken: pairs with the load in she_drained, by which producers wait for the hand-out of
     * their samples, and with those in she_claim. */
    she_store_seq(&ring->header->taken_cursor, first + ring->batch_size);
    she_ec_signal(&ring->header->taken);
    *batch = b;
    *samples = committed;
}

void she_release(she_ring *ring, uint64_t batch) {
    she_atomic64 *words = she_batch_words(ring, batch);
    uint64_t fresh = she_word(she_lap_of(ring, batch) + 1, 0, SHE_FREE);
    /* SYNC slot-free: pairs with the load and the CAS in she_claim; releases the learner's last
     * read of these rows to the next claimer. */
    for (uint64_t i = 0; i < ring->word_lines * SHE_WORDS_PER_CACHE_LINE; i++)
        she_store_release(&words[i], fresh);
    set_out(ring, batch, 0);
    if (!ring->run_rows) /* in a loader's ring only an announcement makes room */
        she_ec_signal(&ring->header->space);
}

uint64_t she_skip(she_consumer *c) {
    she_ring *ring = c->ring;
    uint64_t batch = c->next_batch, lap = she_lap_of(ring, batch);
    she_atomic64 *words = she_batch_words(ring, batch);
    /* Directly from the old lap's COMMITTED to this lap's SKIP: the words are never free in
     * between, so no producer touches the rows. The release pairs with nothing (SYNC slot-free does
     * not apply): a skipped word publishes no data. */
    for (uint64_t i = 0; i < ring->word_lines * SHE_WORDS_PER_CACHE_LINE; i++)
        she_store_release(&words[i], she_word(lap, 0, SHE_SKIP));
    set_out(ring, batch, 1);
    next_batch(c);
    /* SYNC taken: pairs with the load in she_drained. */
    she_store_seq(&ring->header->taken_cursor, c->next_batch * ring->batch_size);
    she_ec_signal(&ring->header->taken);
    she_ec_signal(&ring->header->space);
    return batch;
}

void she_wake_consumer(she_consumer *c) {
    /* SYNC wake-request: pairs with the exchange in sleep_until_ready; set before the signal. A
     * wait that read its ticket before the signal does not sleep; one that reads it later finds the
     * flag. */
    (void)she_exchange32_seq(&c->wake_requested, 1);
    she_ec_signal(&c->ring->header->data);
}

void she_poison(she_ring *ring, uint64_t batch) {
    for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++)
        memset(she_row(ring, leaf, batch * ring->batch_size), 0xff,
               ring->leaves[leaf].row_bytes * ring->batch_size);
}

uint64_t she_seal(she_consumer *c) {
    she_ring *ring = c->ring;
    uint64_t lap = she_lap_of(ring, c->next_batch), first = c->next_batch * ring->batch_size;
    uint64_t kept = 0;
    c->sealed = true;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        she_atomic64 *word = she_state_word(ring, first + i);
        uint64_t seen = she_load_seq(word);
        /* SYNC slot-free: the load and the CAS pair with the CAS to HOLE in she_abort and
         * she_recover: compact may write into this row. A producer may change the word between the
         * two, by a claim or an abort, and so may a recovery: then read it again. */
        while (she_is(seen, lap, SHE_FREE) || she_is(seen, lap, SHE_HOLE)) {
            if (she_cas_seq(word, seen, she_word(lap, 0, SHE_SKIP))) {
                c->skips[i] = 1;
                break;
            }
            seen = she_load_seq(word);
        }
        if (she_is(seen, lap, SHE_CLAIMED) || she_is(seen, lap, SHE_COMMITTED))
            kept++;
    }
    return kept;
}

void she_unseal(she_consumer *c) {
    she_ring *ring = c->ring;
    uint64_t lap = she_lap_of(ring, c->next_batch), first = c->next_batch * ring->batch_size;
    /* SYNC slot-free: pairs with the load and the CAS in she_claim and claim_hole. */
    for (uint64_t i = 0; i < ring->batch_size; i++)
        she_cas_seq(she_state_word(ring, first + i), she_word(lap, 0, SHE_SKIP),
                    she_word(lap, 0, SHE_HOLE));
    memset(c->skips, 0, ring->batch_size);
    c->sealed = false;
    c->looked = 0; /* the words that were skipped are no longer finished */
    c->unsealed = c->next_batch + 1;
    /* SYNC hole-gen: pairs with the load in she_claim; after the holes were made. */
    she_add_seq(&ring->header->hole_gen, 1);
    she_ec_signal(&ring->header->space);
}
