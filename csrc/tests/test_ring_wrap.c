/* The wrap of the lap's 40 bits. A ring of two slots at ten million samples a second gets there in
 * some days; nothing may change there. */
#include "rig.h"

#define LAPS (SHE_LAP_MASK + 1)

CASE(claims_go_on_over_the_wrap_of_the_lap) {
    rig r;
    rig_open(&r, 2, 2, false);
    start_at_lap(&r, LAPS - 1);
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t want = (LAPS - 1) * 4 + i;
        CHECK_EQ(send_one(&r, 1), want);
        CHECK_WORD(&r, want, LAPS - 1 + i / 4, 1, SHE_COMMITTED);
        if (i % 2) {
            uint64_t batch = take_one(&r, 2);
            CHECK_EQ(batch, (LAPS - 1) * 2 + i / 2);
            she_release(r.ring, batch);
        }
    }
    CHECK_EQ(r.consumer->taken_total, 20);
    rig_close(&r);
}

CASE(a_full_ring_is_full_on_both_sides_of_the_wrap) {
    rig r;
    rig_open(&r, 2, 2, false);
    start_at_lap(&r, LAPS - 1);
    send_many(&r, 1, 4);
    check_full(&r, 1); /* the next position is of lap 0, the words of lap 2^40 - 1 */
    she_release(r.ring, take_one(&r, 2));
    send_many(&r, 1, 2);
    check_full(&r, 1);
    CHECK_EQ(she_ready(r.consumer), SHE_OK);
    rig_close(&r);
}

CASE(a_cursor_left_behind_before_the_wrap_catches_up) {
    rig r;
    rig_open(&r, 2, 2, false);
    start_at_lap(&r, LAPS + 1);
    she_store_relaxed(&r.ring->header->write_cursor, (LAPS - 1) * 4 + 1);
    CHECK_EQ(claim_one(&r, 1), (LAPS + 1) * 4);
    rig_close(&r);
}

CASE(a_hole_beyond_the_wrap_keeps_its_position) {
    rig r;
    rig_open(&r, 2, 2, false);
    start_at_lap(&r, LAPS - 1);
    send_many(&r, 1, 2);
    she_release(r.ring, take_one(&r, 2));
    for (int i = 0; i < 4; i++)
        (void)claim_one(&r, 1);
    const uint64_t before = (LAPS - 1) * 4 + 3, beyond = LAPS * 4;
    abort_one(&r, 1, before);
    abort_one(&r, 1, beyond);
    CHECK_EQ(claim_one(&r, 2), beyond);
    CHECK_EQ(claim_one(&r, 2), before);
    /* So its commit finds the awaited position, and the producer does not count as drained. */
    uint32_t data = data_ticket(&r);
    commit_one(&r, 1, before - 1);
    she_store_seq(&r.ring->header->awaited, before + 1);
    commit_one(&r, 2, before);
    CHECK(data_ticket(&r) != data);
    commit_one(&r, 2, beyond);
    CHECK_EQ(she_drained(r.producer[2]), SHE_FULL);
    rig_close(&r);
}

CASE(sealing_recovering_and_looking_work_beyond_the_wrap) {
    rig r;
    uint32_t owner;
    uint64_t position;
    rig_open(&r, 3, 2, false);
    start_at_lap(&r, LAPS);
    send_many(&r, 1, 1);
    (void)claim_one(&r, 2);
    CHECK_EQ(she_pending(r.consumer), 2);
    CHECK(she_straggler(r.consumer, &owner, &position) && owner == 2 && position == LAPS * 6 + 1);
    CHECK_EQ(she_stored_by(r.consumer, 1), 1);
    CHECK_EQ(she_seal(r.consumer), 2);
    CHECK_EQ(she_recover(r.ring, 2), 1);
    CHECK_EQ(she_seal(r.consumer), 1);
    she_release(r.ring, take_one(&r, 1));
    CHECK_EQ(claim_one(&r, 1), LAPS * 6 + 3);
    rig_close(&r);
}

/* The whole way: random batches over the wrap, one producer, no word set by hand. */
CASE(laps_around_the_wrap_lose_nothing) {
    uint64_t chance = test_seed;
    for (int round = 0; round < 20; round++) {
        rig r;
        rig_open(&r, 1 + test_below(&chance, 4), 1 + test_below(&chance, 3), false);
        start_at_lap(&r, LAPS - 3);
        uint64_t sent = 0, first = cursor_of(&r);
        while (cursor_of(&r) < first + 8 * r.ring->capacity) {
            uint64_t p;
            while (she_claim(r.producer[1], &p) == SHE_OK) {
                if (test_below(&chance, 4) == 0) {
                    abort_one(&r, 1, p);
                } else {
                    commit_one(&r, 1, p);
                    sent++;
                }
            }
            while (she_ready(r.consumer) == SHE_OK)
                she_release(r.ring, take_one(&r, r.ring->batch_size));
        }
        CHECK_EQ(r.consumer->taken_total + she_stored_by(r.consumer, 1), sent);
        rig_close(&r);
    }
}
