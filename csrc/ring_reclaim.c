/* Reclaims the slots of producers that do not write any more. Only the server calls these
 * functions, and it calls she_recover only when the producer's process is known to have ended or
 * has said goodbye: a process that is merely stopped may still write into the slots that it has
 * claimed. */
#include "shm_echo/ring.h"

uint64_t she_recover(she_ring *ring, uint32_t owner) {
    uint64_t holes = 0, words = she_held(ring, owner);
    she_record *record = &ring->records[owner];
    /* SYNC account: pairs with the stores in she_account_begin and she_account_end. More words than
     * open claims: one of them is forged, over a row into which a live producer may be writing.
     * Then the learner decides (she_check). */
    uint64_t open = she_load_acquire(&record->begun) - she_load_acquire(&record->ended);
    for (uint64_t slot = 0; slot < ring->capacity && words <= open; slot++) {
        she_atomic64 *word = &ring->words[she_word_index(ring, slot)];
        uint64_t seen = she_load_seq(word); /* SYNC slot-free: as the CAS below */
        if (she_word_state(seen) != SHE_CLAIMED || she_word_owner(seen) != owner)
            continue;
        /* The owner has ended, so no other thread changes a word that it has claimed.
         * SYNC slot-free: pairs with the load and the CAS in she_claim, claim_hole and she_seal. */
        holes += she_cas_seq(word, seen, she_word(she_word_lap(seen), 0, SHE_HOLE));
    }
    /* The dead has no open claims. SYNC account: pairs with the loads in she_check; after the
     * holes, so that a check meanwhile finds a claim without its word and mends nothing. */
    she_store_release(&record->ended, she_load_relaxed(&record->begun));
    /* Unconditionally: the dead producer may have made a hole, or committed the last sample of a
     * batch, without signalling it. SYNC hole-gen: pairs with the load in she_claim. */
    she_add_seq(&ring->header->hole_gen, 1);
    she_ec_signal_for_dead(&ring->header->space);
    she_ec_signal_for_dead(&ring->header->data);
    she_ec_signal_for_dead(&ring->header->taken); /* the dead may have been in she_producer_stop */
    if (ring->own)
        she_store32_release(she_standing_of(ring, owner), SHE_ABSENT); /* see she_revoke */
    return holes;
}

void she_revoke(she_ring *ring, uint32_t owner) {
    /* The private word first: she_mend loads this one last. */
    if (ring->own)
        she_store32_release(she_standing_of(ring, owner), SHE_BARRED);
    /* For the relaxed load in she_producer_status; stored before the signals, so that a producer
     * that a signal wakes sees it. */
    she_store32_release(&ring->records[owner].revoked, 1);
    she_ec_signal(&ring->header->space);
    she_ec_signal(&ring->header->taken);
}

void she_reinstate(she_ring *ring, uint32_t owner) {
    she_record *record = &ring->records[owner];
    /* Relaxed: the last owner may have died in a wait, and the new one gets its id after this. */
    she_store_relaxed(&record->blocked_since_ns, 0);
    she_store_relaxed(&record->drainers, 0);
    she_store_relaxed(&record->at_row, 0);
    /* The new owner starts without open claims. SYNC account: pairs with the loads in she_check. */
    she_store_release(&record->ended, she_load_relaxed(&record->begun));
    /* For the relaxed load in she_producer_status. The new owner gets its id after this. */
    she_store32_release(&record->revoked, 0);
    if (ring->own)
        she_store32_release(she_standing_of(ring, owner), SHE_ATTACHED); /* see she_revoke */
}
