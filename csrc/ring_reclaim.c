/* Taking back what a producer held that writes no more. The server calls these, and only when the
 * producer's process is known to have gone or has said goodbye: a process that is merely stopped might
 * still write into the slots that it has claimed. */
#include "shm_echo/ring.h"

uint64_t she_recover(she_ring *ring, uint32_t owner) {
    uint64_t holes = 0;
    for (uint64_t slot = 0; slot < ring->capacity; slot++) {
        she_atomic64 *word = &ring->words[she_word_index(ring, slot)];
        uint64_t seen = she_load_seq(word);
        if (she_word_state(seen) != SHE_CLAIMED || she_word_owner(seen) != owner)
            continue;
        /* The owner is gone, so nobody else changes a word that it has claimed. */
        holes += she_cas_seq(word, seen, she_word(she_word_lap(seen), 0, SHE_HOLE));
    }
    /* Unconditionally: the dead may have made a hole, or committed the last sample of a batch, and
     * not lived to tell (SYNC hole-gen, SYNC ec-signal). */
    she_add_seq(&ring->header->hole_gen, 1);
    she_ec_signal_for_dead(&ring->header->space);
    she_ec_signal_for_dead(&ring->header->data);
    she_ec_signal_for_dead(&ring->header->taken); /* she_producer_stop signals it */
    return holes;
}

void she_revoke(she_ring *ring, uint32_t owner) {
    she_store32_release(&ring->records[owner].revoked, 1);
    she_ec_signal(&ring->header->space);
    she_ec_signal(&ring->header->taken);
}

void she_reinstate(she_ring *ring, uint32_t owner) {
    she_record *record = &ring->records[owner];
    she_store_relaxed(&record->blocked_since_ns, 0); /* the last owner may have died blocked */
    she_store32_release(&record->revoked, 0);
}
