/* Check and mend: one overwritten word at a time, in raw memory. */
#include "rig.h"

#define BATCH 4
#define BUFFERS 3

static rig r;
static she_damage damage;

/* Sample 0 of the batch that is awaited is committed, sample 1 is claimed by producer 2. */
static uint64_t open_half_done(uint64_t laps) {
    rig_open(&r, BATCH, BUFFERS, false);
    if (laps)
        start_at_lap(&r, laps);
    (void)send_one(&r, 1);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    return claim_one(&r, 2);
}

static void hit(uint64_t position, uint64_t value) {
    she_store_relaxed(she_state_word(r.ring, position), value);
}

static void check_sound(void) {
    CHECK_EQ(she_check(r.consumer, &damage), SHE_OK);
    CHECK_EQ(damage.what, 0);
}
static void check_mended(enum she_damaged what, uint64_t slot, uint64_t value) {
    CHECK_EQ(she_check(r.consumer, &damage), SHE_WOKEN);
    CHECK_EQ(damage.what, what);
    CHECK_EQ(damage.slot, slot);
    CHECK_EQ(damage.value, value);
    check_sound();
}
static void check_unsettled(uint64_t slot, uint32_t owner) {
    CHECK_EQ(she_check(r.consumer, &damage), SHE_CORRUPTED);
    CHECK_EQ(damage.slot, slot);
    CHECK_EQ(damage.suspects, 1);
    CHECK_EQ(damage.suspect[0], owner);
}

/* Every value of the kinds that no step leaves in an awaited word: other laps, another state, a
 * SKIP of somebody else, a claim of an owner without one, or of no producer. */
static uint64_t forged(uint64_t lap, uint32_t i) {
    const uint64_t values[] = {
        she_word(lap - 1, 0, SHE_FREE),
        she_word(lap - 1, 1, SHE_COMMITTED),
        she_word(lap + 1, 0, SHE_FREE),
        she_word(lap + 1, 0, SHE_HOLE),
        she_word(lap + 1, 1, SHE_COMMITTED),
        she_word(lap + 1000, 2, SHE_CLAIMED),
        she_word(lap + 1, 2, SHE_CLAIMED),
        she_word(lap, 0, SHE_SKIP),
        she_word(lap, 0, SHE_SKIP + 1),
        she_word(lap, 0, 255),
        she_word(lap, 3, SHE_CLAIMED),
        she_word(lap, 0, SHE_CLAIMED),
        she_word(lap, RIG_PRODUCERS + 1, SHE_CLAIMED),
        she_word(lap, 0xffff, SHE_CLAIMED),
        UINT64_MAX,
        UINT64_C(0xdeadbeefcafef00d),
    };
    return i < sizeof values / sizeof *values ? values[i] : 0;
}

CASE(a_ring_that_waits_for_a_claim_is_sound) {
    uint64_t p = open_half_done(5);
    check_sound();
    check_sound();
    commit_one(&r, 2, p);
    check_sound();
    for (uint32_t owner = 0; owner <= RIG_PRODUCERS; owner++)
        CHECK_EQ(open_claims(&r, owner), 0);
    rig_close(&r);
}

CASE(accounts_end_with_every_kind_of_end) {
    rig_open(&r, 1, 2, false);
    commit_one(&r, 1, claim_one(&r, 1));
    CHECK_EQ(open_claims(&r, 1), 0);
    uint64_t p = claim_one(&r, 1);
    CHECK_EQ(open_claims(&r, 1), 1);
    abort_one(&r, 1, p);
    CHECK_EQ(open_claims(&r, 1), 0);
    p = claim_one(&r, 1);
    check_full(&r, 1);
    CHECK_EQ(open_claims(&r, 1), 1);
    she_revoke(r.ring, 1);
    (void)she_recover(r.ring, 1);
    CHECK_EQ(open_claims(&r, 1), 0);
    CHECK_EQ(she_commit(r.producer[1], p), SHE_GIVEN_UP);
    CHECK_EQ(open_claims(&r, 1), 0);
    she_ring_close(r.ring);
    CHECK_EQ(she_claim(r.producer[2], &p), SHE_CLOSED);
    CHECK_EQ(open_claims(&r, 2), 0);
    rig_close(&r);
}

CASE(a_word_over_a_free_slot_becomes_a_hole_at_once) {
    uint64_t value;
    for (uint32_t i = 0; forged(5, i); i++) {
        uint64_t p = open_half_done(5);
        value = forged(5, i);
        hit(p + 1, value);
        uint32_t space = space_ticket(&r);
        check_mended(SHE_DAMAGED_WORD, 2, value);
        CHECK_WORD(&r, p + 1, 5, 0, SHE_HOLE);
        CHECK(space_ticket(&r) != space);
        commit_one(&r, 2, p);
        send_many(&r, 3, 2);
        CHECK_EQ(take_one(&r, BATCH), 5 * BUFFERS);
        rig_close(&r);
    }
}

/* The row may still be written: it is given away only after the commit has failed. */
CASE(a_word_over_a_claim_waits_for_its_owner) {
    for (uint32_t i = 0; forged(5, i); i++) {
        uint64_t p = open_half_done(5);
        hit(p, forged(5, i));
        check_unsettled(1, 2);
        check_unsettled(1, 2);
        CHECK_EQ(word_at(&r, p), forged(5, i));
        CHECK_EQ(she_commit(r.producer[2], p), SHE_CORRUPTED);
        check_mended(SHE_DAMAGED_WORD, 1, forged(5, i));
        send_many(&r, 3, 3);
        CHECK_EQ(take_one(&r, BATCH), 5 * BUFFERS);
        rig_close(&r);
    }
}

CASE(an_abort_of_a_lost_claim_ends_it_too) {
    uint64_t p = open_half_done(0);
    hit(p, UINT64_MAX);
    check_unsettled(1, 2);
    CHECK_EQ(she_abort(r.producer[2], p), SHE_CORRUPTED);
    check_mended(SHE_DAMAGED_WORD, 1, UINT64_MAX);
    rig_close(&r);
}

CASE(a_lost_claim_ends_with_the_death_of_its_owner) {
    uint64_t p = open_half_done(0);
    hit(p, she_word(0, 0, SHE_SKIP));
    check_unsettled(1, 2);
    she_revoke(r.ring, 2);
    CHECK_EQ(she_recover(r.ring, 2), 0);
    check_mended(SHE_DAMAGED_WORD, 1, she_word(0, 0, SHE_SKIP));
    rig_close(&r);
}

/* Producer 3 seems to hold the row that 2 writes. Its death must not give that row away. */
CASE(the_death_of_the_owner_that_a_forged_claim_names_gives_nothing_away) {
    uint64_t p = open_half_done(0);
    hit(p, she_word(0, 3, SHE_CLAIMED));
    she_revoke(r.ring, 3);
    CHECK_EQ(she_recover(r.ring, 3), 0);
    CHECK_WORD(&r, p, 0, 3, SHE_CLAIMED);
    check_unsettled(1, 2);
    CHECK_EQ(she_commit(r.producer[2], p), SHE_CORRUPTED);
    check_mended(SHE_DAMAGED_WORD, 1, she_word(0, 3, SHE_CLAIMED));
    rig_close(&r);
}

CASE(a_committed_sample_that_was_looked_at_is_delivered_all_the_same) {
    uint64_t p = open_half_done(0);
    hit(p - 1, UINT64_MAX);
    commit_one(&r, 2, p);
    send_many(&r, 3, 2);
    (void)take_one(&r, BATCH);
    rig_close(&r);
}

CASE(a_skip_of_somebody_else_does_not_shorten_a_batch) {
    uint64_t p = open_half_done(0);
    hit(p + 1, she_word(0, 0, SHE_SKIP));
    commit_one(&r, 2, p);
    send_many(&r, 3, 1);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    check_mended(SHE_DAMAGED_WORD, 2, she_word(0, 0, SHE_SKIP));
    (void)send_one(&r, 3);
    (void)take_one(&r, BATCH);
    rig_close(&r);
}

CASE(a_skip_of_the_consumer_that_was_overwritten_is_filled_and_counted) {
    uint64_t p = open_half_done(0);
    CHECK_EQ(she_seal(r.consumer), 2);
    hit(p + 1, UINT64_MAX);
    check_mended(SHE_DAMAGED_WORD, 2, UINT64_MAX);
    commit_one(&r, 2, p);
    CHECK_EQ(send_one(&r, 3), p + 1);
    (void)take_one(&r, 3);
    rig_close(&r);
}

CASE(a_hole_of_another_lap_is_not_claimed) {
    uint64_t p = open_half_done(5);
    she_store_seq(&r.ring->header->hole_gen, 7);
    hit(p, she_word(9, 0, SHE_HOLE));
    CHECK_EQ(claim_one(&r, 3), p + 1);
    CHECK_WORD(&r, p, 9, 0, SHE_HOLE);
    rig_close(&r);
}

/* Its sample has been looked at and will be handed out: no producer may write there before. */
CASE(a_slot_that_is_free_a_lap_too_early_is_not_claimed) {
    (void)open_half_done(5);
    for (uint64_t i = 2; i < BATCH * BUFFERS; i++)
        (void)claim_one(&r, 3);
    hit(5 * BATCH * BUFFERS, she_word(6, 0, SHE_FREE));
    check_full(&r, 4);
    rig_close(&r);
}

CASE(a_write_cursor_that_was_overwritten_goes_back) {
    const uint64_t values[] = {
        5 * BATCH * BUFFERS + 3, 6 * BATCH * BUFFERS,
        UINT64_C(1) << 60,       UINT64_MAX,
        UINT64_C(1) << 43 | 62,  UINT64_C(0xdeadbeefcafef00d),
        UINT64_C(1) << 50 | 62,  UINT64_C(0x8000000000000000) + 62,
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t p = open_half_done(5), got;
        she_store_relaxed(&r.ring->header->write_cursor, values[i]);
        commit_one(&r, 2, p);
        /* Claims meanwhile get a slot of their own, or none. */
        if (i && she_claim(r.producer[3], &got) == SHE_OK)
            FAIL("claimed %" PRIu64 " at cursor %" PRIx64, got, values[i]);
        CHECK_EQ(she_ready(r.consumer), SHE_FULL);
        check_mended(SHE_DAMAGED_CURSOR, 2, values[i]);
        CHECK_EQ(cursor_of(&r), p + 1);
        send_many(&r, 3, 2);
        (void)take_one(&r, BATCH);
        rig_close(&r);
    }
}

CASE(a_write_cursor_that_lies_behind_catches_up) {
    uint64_t p = open_half_done(5);
    commit_one(&r, 2, p);
    she_store_relaxed(&r.ring->header->write_cursor, 1);
    send_many(&r, 3, 2);
    (void)take_one(&r, BATCH);
    rig_close(&r);
}

CASE(a_free_word_below_the_cursor_waits_for_the_claim_that_it_may_hide) {
    uint64_t p = open_half_done(0);
    hit(p, she_word(0, 0, SHE_FREE));
    check_unsettled(1, 2);
    CHECK_EQ(she_commit(r.producer[2], p), SHE_CORRUPTED);
    check_mended(SHE_DAMAGED_CURSOR, 1, p + 1);
    CHECK_EQ(send_one(&r, 3), p);
    rig_close(&r);
}

CASE(a_taken_cursor_that_was_overwritten_is_put_right) {
    const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_C(1) << 60};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t p = open_half_done(5);
        commit_one(&r, 2, p);
        she_store_relaxed(&r.ring->header->taken_cursor, values[i]);
        CHECK_EQ(she_drained(r.producer[2]), SHE_FULL);
        check_mended(SHE_DAMAGED_TAKEN, 0, values[i]);
        send_many(&r, 3, 2);
        (void)take_one(&r, BATCH);
        CHECK_EQ(she_drained(r.producer[2]), SHE_OK);
        rig_close(&r);
    }
}

CASE(a_hole_is_found_even_if_its_generation_was_overwritten) {
    uint64_t p = open_half_done(0);
    uint64_t seen = hole_gen_of(&r);
    (void)claim_one(&r, 3); /* has looked for holes */
    abort_one(&r, 2, p);
    she_store_relaxed(&r.ring->header->hole_gen, seen);
    check_sound();
    CHECK_EQ(claim_one(&r, 3), p);
    rig_close(&r);
}

CASE(a_counter_that_was_overwritten_prevents_repairs_until_its_owner_has_left) {
    uint64_t p = open_half_done(0);
    she_store_relaxed(&r.ring->records[3].begun, 77);
    check_sound();
    hit(p + 1, UINT64_MAX);
    check_unsettled(2, 3);
    she_revoke(r.ring, 3);
    (void)she_recover(r.ring, 3);
    check_mended(SHE_DAMAGED_WORD, 2, UINT64_MAX);
    rig_close(&r);
}

CASE(memory_that_holds_an_earlier_batch_is_left_alone) {
    rig_open(&r, 1, 2, false);
    send_many(&r, 1, 2);
    uint64_t held = take_one(&r, 1);
    (void)take_one(&r, 1);
    check_sound();
    she_release(r.ring, held);
    check_sound();
    (void)send_one(&r, 1);
    (void)take_one(&r, 1);
    rig_close(&r);
}

CASE(what_the_server_has_decided_is_put_right) {
    uint64_t p;
    (void)open_half_done(0);
    CHECK_EQ(she_mend(r.ring, RIG_PRODUCERS, &damage), SHE_OK);
    she_store32_relaxed(&r.ring->header->closed, 1);
    CHECK_EQ(she_ready_wait(r.consumer, 0), SHE_TIMEOUT); /* the consumer knows better */
    CHECK_EQ(she_mend(r.ring, RIG_PRODUCERS, &damage), SHE_WOKEN);
    CHECK_EQ(damage.what, SHE_DAMAGED_CLOSED);
    CHECK_EQ(she_load32_relaxed(&r.ring->header->closed), 0);
    she_store32_relaxed(&r.ring->records[3].revoked, 1);
    CHECK_EQ(she_mend(r.ring, RIG_PRODUCERS, &damage), SHE_WOKEN);
    CHECK(damage.what == SHE_DAMAGED_REVOKED && damage.slot == 3);
    CHECK_EQ(she_load32_relaxed(&r.ring->records[3].revoked), 0);
    r.ring->header->batch_size = 77;
    CHECK_EQ(she_mend(r.ring, RIG_PRODUCERS, &damage), SHE_WOKEN);
    CHECK_EQ(damage.what, SHE_DAMAGED_IDENTITY);
    CHECK_EQ(r.ring->header->batch_size, BATCH);
    CHECK_EQ(she_mend(r.ring, RIG_PRODUCERS, &damage), SHE_OK);
    she_revoke(r.ring, 3);
    she_store32_relaxed(&r.ring->records[3].revoked, 0);
    CHECK_EQ(she_mend(r.ring, RIG_PRODUCERS, &damage), SHE_WOKEN);
    CHECK_EQ(she_load32_relaxed(&r.ring->records[3].revoked), 1);
    she_ring_close(r.ring);
    CHECK_EQ(she_mend(r.ring, RIG_PRODUCERS, &damage), SHE_OK);
    CHECK_EQ(she_claim(r.producer[1], &p), SHE_CLOSED);
    rig_close(&r);
}

CASE(a_batch_of_claims_of_which_one_was_lost_keeps_the_first_and_gives_back_the_rest) {
    uint64_t positions[3], committed;
    rig_open(&r, BATCH, BUFFERS, false);
    for (int i = 0; i < 3; i++)
        positions[i] = claim_one(&r, 1);
    hit(positions[1], UINT64_MAX);
    CHECK_EQ(she_commit_many(r.producer[1], positions, 3, &committed), SHE_CORRUPTED);
    CHECK_EQ(committed, 1);
    CHECK_WORD(&r, positions[2], 0, 0, SHE_HOLE);
    CHECK_EQ(open_claims(&r, 1), 0);
    rig_close(&r);
}
