/* Workers claim the slots of a loader's ring: PROTOCOL.md has these steps in this order. Waiting,
 * commit and abort are those of ring_produce.c. */
#include "shm_echo/loader_ring.h"

#include "shm_echo/fault.h"

/* Claim the first hole, whatever the gate says: every hole was announced. Its lap says which use of
 * the buffer it belongs to, and so its position. */
static bool claim_hole(she_producer *p, uint64_t *position) {
    she_ring *ring = p->ring;
    for (uint64_t slot = 0; slot < ring->capacity; slot++) {
        she_atomic64 *word = &ring->words[she_word_index(ring, slot)];
        uint64_t seen = she_load_acquire(word), lap = she_word_lap(seen); /* SYNC slot-free */
        if (she_word_state(seen) != SHE_HOLE)
            continue;
        SHE_FAULT(SHE_STEP_CLAIM_SCAN);
        /* SYNC gate: a buffer has not been used more often than batches were announced. A hole of a
         * higher lap is an overwritten word, for which no position can be computed. */
        if (lap > she_load_acquire(ring->gate) / ring->batch_size)
            continue;
        /* SYNC slot-free: pairs with the CAS to HOLE in she_abort or she_recover. The order entry
         * comes with it: the former owner acquired that by its own claim. */
        if (she_cas_seq(word, seen, she_word(lap, p->owner, SHE_CLAIMED))) {
            SHE_FAULT(SHE_STEP_CLAIM_HOLE);
            *position = lap * ring->capacity + slot;
            return true;
        }
    }
    return false;
}

static void counted(she_producer *p, bool won) {
    if (!p->ring->stamps)
        return;
    she_add_relaxed(won ? &p->record->cas_success : &p->record->cas_failure, 1); /* metrics */
    if (!won)
        she_add_relaxed(&p->record->retries, 1);
}

static int claim(she_producer *p, uint64_t *position) {
    she_ring *ring = p->ring;
    she_header *h = ring->header;
    for (;;) {
        /* SYNC hole-gen: as in she_claim. */
        uint64_t gen = she_load_seq(&h->hole_gen);
        if (gen != she_load_relaxed(&p->seen_gen)) { /* relaxed: as in she_claim */
            if (claim_hole(p, position)) {
                counted(p, true);
                return SHE_OK;
            }
            she_store_relaxed(&p->seen_gen, gen);
        }
        /* SYNC write-cursor: pairs with the CASes below. A hint: the state word decides. */
        uint64_t w = she_load_acquire(&h->write_cursor);
        /* SYNC gate: pairs with the store in she_loader_announce. */
        uint64_t gate = she_load_acquire(ring->gate);
        if (w >= gate)
            return SHE_FULL;
        SHE_FAULT(SHE_STEP_LOADER_GATE);
        if (gate - w > ring->capacity) {
            /* At most num_buffers batches are announced and not taken, so those before are over:
             * they were cancelled before any worker came to them. */
            she_cas_seq(&h->write_cursor, w, gate - ring->capacity); /* SYNC write-cursor */
            continue;
        }
        /* SYNC announce-queue: pairs with the store in she_loader_announce. If this cursor or gate
         * is an old one, the entry may be that of a later batch, whose gate is not open yet. Its
         * order is written already, so claiming a slot of it does no harm. */
        uint64_t batch = she_load_acquire(&ring->queue[w / ring->batch_size % ring->num_buffers]);
        uint64_t at = batch * ring->batch_size + w % ring->batch_size;
        uint64_t lap = at / ring->capacity & SHE_LAP_MASK;
        she_atomic64 *word = she_state_word(ring, at);
        uint64_t seen = she_load_acquire(word); /* SYNC slot-free: as the CAS below */
        SHE_FAULT(SHE_STEP_CLAIM_LOOKED);
        if (she_is(seen, lap, SHE_FREE) || she_is(seen, lap, SHE_HOLE)) {
            /* SYNC slot-free: pairs with the store in she_release, or with the CAS to HOLE. */
            if (!she_cas_seq(word, seen, she_word(lap, p->owner, SHE_CLAIMED))) {
                counted(p, false);
                continue;
            }
            SHE_FAULT(SHE_STEP_CLAIM_TAKEN);
            she_cas_seq(&h->write_cursor, w, w + 1); /* SYNC write-cursor: as in she_claim */
            SHE_FAULT(SHE_STEP_CLAIM_MOVED);
            counted(p, true);
            *position = at;
            return SHE_OK;
        }
        /* Claimed, committed, skipped or released: nothing to claim at w. An earlier lap than the
         * entry's is an overwritten word; passing it leaves it to the consumer's time-out. */
        she_cas_seq(&h->write_cursor, w, w + 1); /* SYNC write-cursor */
        if (ring->stamps)
            she_add_relaxed(&p->record->retries, 1); /* relaxed: metrics */
    }
}

int she_loader_claim(she_producer *p, uint64_t *position) {
    int rc = she_producer_status(p);
    if (rc != SHE_OK)
        return rc;
    SHE_FAULT(SHE_STEP_CLAIM_START);
    she_loader_at_row(p, SHE_NO_ROW);
    she_account_begin(p);
    rc = claim(p, position);
    if (rc != SHE_OK) {
        she_account_end(p);
        return rc;
    }
    /* The entry is this worker's until its commit. Its status is what a former owner left. */
    she_run *run = she_loader_run(p->ring, *position);
    run->status = 0;
    if (run->count >= 1 && run->count <= p->ring->run_rows)
        return SHE_OK;
    p->lost_slot = *position % p->ring->capacity;
    return SHE_CORRUPTED;
}

void she_loader_set_status(she_producer *p, uint64_t position, uint32_t status) {
    she_loader_run(p->ring, position)->status = status; /* the commit releases it */
}

void she_loader_at_row(she_producer *p, uint64_t row) {
    /* Relaxed, and paired with nothing: read once the worker is dead, or for a message. */
    she_store_relaxed(&p->record->at_row, row + 1);
}
