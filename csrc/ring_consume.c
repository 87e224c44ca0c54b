/* Taking complete batches and giving them back: PROTOCOL.md, with its steps in this order. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "shm_echo/fault.h"
#include "shm_echo/ring.h"

int she_consumer_open(she_ring *ring, she_consumer **out) {
    she_consumer *c = calloc(1, sizeof *c);
    if (!c)
        return SHE_E_MEMORY;
    c->ring = ring;
    c->taken_by = calloc(ring->max_producers + 1u, sizeof *c->taken_by);
    c->known = calloc(ring->num_buffers, sizeof *c->known);
    c->known_own = calloc(ring->num_buffers, sizeof *c->known_own);
    c->times = ring->stamps ? calloc(1, sizeof *c->times) : NULL;
    if (!c->taken_by || !c->known || !c->known_own || (ring->stamps && !c->times)) {
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
    free(c);
}

/* A finished word stays finished until this consumer releases it, so the look goes on where the last
 * one stopped. */
int she_ready(she_consumer *c) {
    she_ring *ring = c->ring;
    uint64_t lap = she_lap_of(ring, c->next_batch), first = c->next_batch * ring->batch_size;
    /* SYNC slot-commit: acquires the bytes of each sample that is found committed. */
    while (c->looked < ring->batch_size &&
           she_finished(she_load_seq(she_state_word(ring, first + c->looked)), lap))
        c->looked++;
    return c->looked == ring->batch_size ? SHE_OK : SHE_FULL;
}

/* Waking a process costs tens of microseconds, more than a small batch takes to fill. So where the
 * recent waits were short, look again for a moment before going to sleep: first without leaving the
 * processor, then giving it to whoever else wants to run, the producer that we wait for perhaps. A
 * consumer that looks has not said what it awaits, so a commit meanwhile costs no wake either. */
static int spin(she_consumer *c, uint64_t began) {
    const she_header *h = c->ring->header;
    if (c->recent_wait_ns > SHE_SPIN_NS)
        return SHE_FULL;
    for (unsigned round = 0;; round++) {
        for (int i = 0; i < 8; i++)
            she_pause();
        if (she_ready(c) == SHE_OK)
            return SHE_OK;
        if (she_load32_acquire(&h->closed)) /* SYNC closed */
            return SHE_CLOSED;
        if (round % 4 == 3) {
            if (she_now_ns() - began > SHE_SPIN_NS)
                return SHE_FULL;
            if (round > 32)
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
        if (she_exchange32_seq(&c->wake_requested, 0)) /* SYNC wake-request: after the ticket */
            return SHE_WOKEN;
        if (c->sealed)
            (void)she_seal(c); /* after the ticket: whatever is given up later signals data */
        if (she_ready(c) == SHE_OK)
            return SHE_OK;
        if (she_load32_acquire(&h->closed)) /* SYNC closed */
            return SHE_CLOSED;
        SHE_FAULT(SHE_STEP_WAIT_LOOKED);
        /* SYNC awaited: say what we wait for, then look once more; its committer writes the state
         * word, then reads this. In one total order at least one of us sees the other. */
        before = c->looked;
        she_store_seq(&h->awaited, c->next_batch * c->ring->batch_size + before + 1);
        SHE_FAULT(SHE_STEP_WAIT_AWAITED);
        (void)she_ready(c);
    } while (c->looked != before); /* it came meanwhile: now we wait for another one, or for none */
    SHE_FAULT(SHE_STEP_WAIT_SLEEP);
    int woken = she_ec_wait(&h->data, ticket, timeout_ns);
    /* Relaxed: a committer that reads the old value only looks, and signals, in vain. */
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

/* A sealed batch may have gaps where a claim was given up: close them, in order, row by row. Nobody
 * else touches these rows: a skipped slot is claimed by nobody, a committed one is ours. */
static uint64_t compact(she_ring *ring, uint64_t batch) {
    uint64_t lap = she_lap_of(ring, batch), first = batch * ring->batch_size, kept = 0;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        if (!she_is(she_load_relaxed(she_state_word(ring, first + i)), lap, SHE_COMMITTED))
            continue;
        if (kept != i)
            for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++)
                memcpy(she_row(ring, leaf, first + kept), she_row(ring, leaf, first + i),
                       ring->leaves[leaf].row_bytes);
        kept++;
    }
    return kept;
}

void she_take(she_consumer *c, uint64_t *batch, uint64_t *samples) {
    she_ring *ring = c->ring;
    uint64_t b = c->next_batch, first = b * ring->batch_size, lap = she_lap_of(ring, b);
    uint64_t now = ring->stamps ? she_now_ns() : 0;
    uint64_t committed = 0;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        /* Relaxed: she_ready acquired these words, and nobody else changes them now. */
        uint64_t word = she_load_relaxed(she_state_word(ring, first + i));
        if (!she_is(word, lap, SHE_COMMITTED))
            continue;
        uint32_t owner = she_word_owner(word);
        if (owner <= ring->max_producers) /* a word is never trusted as an index */
            c->taken_by[owner]++;
        if (c->times) {
            uint64_t then = she_load_relaxed(&ring->stamps[(first + i) % ring->capacity]);
            she_hist_record(&c->times->dwell, now > then ? now - then : 0);
        }
        committed++;
    }
    if (committed == ring->batch_size)
        c->full_batches++;
    else
        compact(ring, b);
    c->taken_total += committed;
    c->known[b % ring->num_buffers] = c->known_own[b % ring->num_buffers] = 0;
    c->next_batch++;
    c->looked = 0;
    c->sealed = false;
    /* SYNC taken: read by producers that wait until their samples were handed out. */
    she_store_seq(&ring->header->taken_cursor, first + ring->batch_size);
    she_ec_signal(&ring->header->taken);
    *batch = b;
    *samples = committed;
}

void she_release(she_ring *ring, uint64_t batch) {
    she_atomic64 *words = she_batch_words(ring, batch);
    uint64_t fresh = she_word(she_lap_of(ring, batch) + 1, 0, SHE_FREE);
    /* SYNC slot-free: releases the learner's last read of these rows to the next claimer. */
    for (uint64_t i = 0; i < ring->word_lines * SHE_WORDS_PER_CACHE_LINE; i++)
        she_store_release(&words[i], fresh);
    she_ec_signal(&ring->header->space);
}

uint64_t she_skip(she_consumer *c) {
    she_ring *ring = c->ring;
    uint64_t batch = c->next_batch, lap = she_lap_of(ring, batch);
    she_atomic64 *words = she_batch_words(ring, batch);
    /* Straight from the old lap's COMMITTED to this lap's SKIP: never free in between, so no producer
     * touches the rows. SYNC slot-free is not needed: nobody acquires anything by a skipped word. */
    for (uint64_t i = 0; i < ring->word_lines * SHE_WORDS_PER_CACHE_LINE; i++)
        she_store_release(&words[i], she_word(lap, 0, SHE_SKIP));
    c->next_batch++;
    c->looked = 0;
    c->sealed = false;
    she_store_seq(&ring->header->taken_cursor, c->next_batch * ring->batch_size); /* SYNC taken */
    she_ec_signal(&ring->header->taken);
    she_ec_signal(&ring->header->space);
    return batch;
}

void she_wake_consumer(she_consumer *c) {
    /* SYNC wake-request: set before the signal. A waiter that read its ticket before the signal does not
     * sleep on it; one that reads it later finds the flag. */
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
        /* A producer may claim, abort or (recovery) lose it while we look: look again. */
        while ((she_is(seen, lap, SHE_FREE) || she_is(seen, lap, SHE_HOLE)) &&
               !she_cas_seq(word, seen, she_word(lap, 0, SHE_SKIP)))
            seen = she_load_seq(word);
        if (she_is(seen, lap, SHE_CLAIMED) || she_is(seen, lap, SHE_COMMITTED))
            kept++;
    }
    return kept;
}

void she_unseal(she_consumer *c) {
    she_ring *ring = c->ring;
    uint64_t lap = she_lap_of(ring, c->next_batch), first = c->next_batch * ring->batch_size;
    for (uint64_t i = 0; i < ring->batch_size; i++)
        she_cas_seq(she_state_word(ring, first + i), she_word(lap, 0, SHE_SKIP),
                    she_word(lap, 0, SHE_HOLE));
    c->sealed = false;
    c->looked = 0; /* skipped words are not finished any more */
    c->unsealed = c->next_batch + 1;
    she_add_seq(&ring->header->hole_gen, 1); /* SYNC hole-gen */
    she_ec_signal(&ring->header->space);
}
