/* Ready, take and release; leases in any order; skipping leased buffers. One thread, raw memory. */
#include "sample.h"

#define SECOND INT64_C(1000000000)

static void write_and_commit(rig *r, uint32_t owner, uint64_t position, uint64_t number) {
    sample_write(r->ring, position, owner, number);
    commit_one(r, owner, position);
}
static void check_sample(const rig *r, uint64_t position, uint64_t owner, uint64_t number) {
    uint64_t got_owner, got_number;
    sample_read(r->ring, position, &got_owner, &got_number);
    CHECK_EQ(got_owner, owner);
    CHECK_EQ(got_number, number);
}

/* ---- taking ---------------------------------------------------------------------------------- */

CASE(a_batch_is_ready_when_its_last_sample_is_committed_in_any_order) {
    for (uint64_t last = 0; last < 9; last++) {
        rig r;
        rig_open(&r, 9, 2, false);
        for (int i = 0; i < 9; i++)
            (void)claim_one(&r, 1);
        for (uint64_t i = 0; i < 9; i++) {
            CHECK_EQ(she_ready(r.consumer), SHE_FULL);
            commit_one(&r, 1, (last + 1 + i) % 9);
        }
        CHECK_EQ(she_ready(r.consumer), SHE_OK);
        CHECK_EQ(she_ready(r.consumer), SHE_OK); /* a check changes nothing */
        CHECK_EQ(take_one(&r, 9), 0);
        CHECK_EQ(she_ready(r.consumer), SHE_FULL);
        rig_close(&r);
    }
}

CASE(batches_come_in_order_with_their_samples_in_the_order_of_the_claims) {
    rig r;
    rig_open(&r, 3, 2, false);
    for (uint64_t batch = 0, number = 0; batch < 7; batch++) {
        for (int i = 0; i < 3; i++, number++)
            write_and_commit(&r, 1 + number % 2, claim_one(&r, 1 + number % 2), number);
        CHECK_EQ(take_one(&r, 3), batch);
        for (uint64_t i = 0; i < 3; i++)
            check_sample(&r, batch * 3 + i, 1 + (number - 3 + i) % 2, number - 3 + i);
        she_release(r.ring, batch);
    }
    rig_close(&r);
}

CASE(taking_moves_the_taken_cursor_and_counts_by_owner) {
    rig r;
    rig_open(&r, 4, 2, false);
    send_many(&r, 1, 3);
    send_many(&r, 0, 1);
    uint32_t taken = taken_ticket(&r);
    (void)take_one(&r, 4);
    CHECK(taken_ticket(&r) != taken);
    CHECK_EQ(she_load_relaxed(&r.ring->header->taken_cursor), 4);
    CHECK(r.consumer->taken_by[1] == 3 && r.consumer->taken_by[0] == 1);
    CHECK(r.consumer->taken_by[2] == 0 && r.consumer->taken_total == 4);
    CHECK(r.consumer->full_batches == 1 && r.consumer->next_batch == 1);
    rig_close(&r);
}

CASE(rings_of_every_small_shape_go_round) {
    const uint64_t shapes[][2] = {{1, 1}, {1, 2}, {2, 1}, {1, 3}, {3, 1},
                                  {7, 2}, {8, 2}, {9, 3}, {17, 2}};
    for (uint64_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        rig r;
        rig_open(&r, shapes[s][0], shapes[s][1], s % 2);
        uint64_t bs = shapes[s][0], nb = shapes[s][1];
        for (uint64_t batch = 0; batch < 4 * nb; batch++) {
            for (uint64_t i = 0; i < bs; i++)
                write_and_commit(&r, 1, claim_one(&r, 1), batch * bs + i);
            if (nb == 1)
                check_full(&r, 1);
            CHECK_EQ(take_one(&r, bs), batch);
            for (uint64_t i = 0; i < bs; i++)
                check_sample(&r, batch * bs + i, 1, batch * bs + i);
            she_release(r.ring, batch);
        }
        rig_close(&r);
    }
}

CASE(a_word_is_never_trusted_as_an_index) {
    rig r;
    rig_open(&r, 2, 2, false);
    set_word(&r, 0, 0, 0xffff, SHE_COMMITTED);
    set_word(&r, 1, 0, RIG_PRODUCERS + 1, SHE_COMMITTED);
    (void)take_one(&r, 2); /* the sanitizers would see a write beyond taken_by */
    she_store_relaxed(she_state_word(r.ring, 2), UINT64_MAX);
    she_store_relaxed(she_state_word(r.ring, 3), she_word(0, 1, (enum she_state)200));
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    (void)she_seal(r.consumer);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    rig_close(&r);
}

CASE(dwell_is_measured_per_sample_when_details_are_on) {
    for (int detailed = 0; detailed <= 1; detailed++) {
        rig r;
        she_hist_summary copies, got;
        rig_open(&r, 4, 2, detailed);
        send_many(&r, 1, 4);
        (void)take_one(&r, 4);
        she_time_summaries(r.consumer, &copies, &got);
        CHECK_EQ(got.count, detailed ? 4 : 0);
        CHECK(got.max_ns < 60 * (uint64_t)SECOND);
        rig_close(&r);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

CASE(a_wait_for_a_batch_ends_with_it_or_with_the_time) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 1);
    CHECK_EQ(she_ready_wait(r.consumer, 0), SHE_TIMEOUT);
    CHECK_EQ(she_ready_wait(r.consumer, SECOND / 1000), SHE_TIMEOUT);
    CHECK_EQ(awaited_of(&r), 0); /* awake: nothing is awaited */
    send_many(&r, 1, 1);
    CHECK_EQ(she_ready_wait(r.consumer, 3600 * SECOND), SHE_OK);
    rig_close(&r);
}

CASE(a_closed_ring_still_hands_out_complete_batches) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 3);
    she_ring_close(r.ring);
    CHECK_EQ(she_ready_wait(r.consumer, 3600 * SECOND), SHE_OK);
    (void)take_one(&r, 2);
    CHECK_EQ(she_ready_wait(r.consumer, 3600 * SECOND), SHE_CLOSED);
    CHECK_EQ(she_seal(r.consumer), 1);
    CHECK_EQ(she_ready_wait(r.consumer, 3600 * SECOND), SHE_OK);
    (void)take_one(&r, 1);
    rig_close(&r);
}

/* ---- releasing ------------------------------------------------------------------------------- */

CASE(a_release_frees_its_batch_and_no_other) {
    rig r;
    rig_open(&r, 3, 3, false);
    send_many(&r, 1, 9);
    for (int i = 0; i < 3; i++)
        (void)take_one(&r, 3);
    uint32_t space = space_ticket(&r);
    she_release(r.ring, 1);
    CHECK(space_ticket(&r) != space);
    for (uint64_t p = 0; p < 9; p++) {
        if (p / 3 == 1)
            CHECK_WORD(&r, p, 1, 0, SHE_FREE);
        else
            CHECK_WORD(&r, p, 0, 1, SHE_COMMITTED);
    }
    rig_close(&r);
}

CASE(batches_may_be_given_back_in_any_order) {
    rig r;
    rig_open(&r, 2, 3, false);
    for (uint64_t lap = 0; lap < 4; lap++) {
        send_many(&r, 1, 6);
        for (uint64_t i = 0; i < 3; i++)
            CHECK_EQ(take_one(&r, 2), lap * 3 + i);
        check_full(&r, 1);
        she_release(r.ring, lap * 3 + 2);
        she_release(r.ring, lap * 3 + 1);
        check_full(&r, 1); /* claims go in order: the oldest is still held */
        she_release(r.ring, lap * 3);
    }
    CHECK_EQ(claim_one(&r, 1), 24);
    rig_close(&r);
}

CASE(a_held_batch_is_not_handed_out_again) {
    rig r;
    rig_open(&r, 2, 1, false);
    send_many(&r, 1, 2);
    (void)take_one(&r, 2);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    CHECK_EQ(she_pending(r.consumer), 0);
    CHECK_EQ(she_seal(r.consumer), 0); /* and sealing does not touch it */
    CHECK_WORD(&r, 0, 0, 1, SHE_COMMITTED);
    rig_close(&r);
}

CASE(a_leased_batch_can_be_skipped_lap_after_lap_and_stays_whole) {
    rig r;
    rig_open(&r, 2, 3, false);
    uint64_t number = 0, kept = 0;
    for (int i = 0; i < 2; i++)
        write_and_commit(&r, 1, claim_one(&r, 1), number++);
    CHECK_EQ(take_one(&r, 2), 0); /* held for several laps */
    for (uint64_t lap = 0; lap < 5; lap++) {
        if (lap > 0) {
            kept = she_skip(r.consumer);
            CHECK_EQ(kept, lap * 3);
            CHECK_WORD(&r, kept * 2, lap, 0, SHE_SKIP);
        }
        for (uint64_t batch = lap * 3 + 1; batch < lap * 3 + 3; batch++) {
            for (uint64_t i = 0; i < 2; i++) {
                uint64_t p = claim_one(&r, 1);
                CHECK_EQ(p, batch * 2 + i);
                write_and_commit(&r, 1, p, number++);
            }
            CHECK_EQ(take_one(&r, 2), batch);
            she_release(r.ring, batch);
        }
        check_sample(&r, 0, 1, 0);
        check_sample(&r, 1, 1, 1);
    }
    she_release(r.ring, kept); /* under the number it was last skipped as */
    CHECK_EQ(claim_one(&r, 1), 30);
    CHECK_EQ(r.consumer->taken_total, number);
    rig_close(&r);
}

CASE(skipping_wakes_the_waits_for_space_and_for_the_hand_out) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 4);
    (void)take_one(&r, 2);
    (void)take_one(&r, 2);
    she_release(r.ring, 1);
    check_full(&r, 1);
    uint32_t space = space_ticket(&r), taken = taken_ticket(&r);
    CHECK_EQ(she_skip(r.consumer), 2);
    CHECK(space_ticket(&r) != space && taken_ticket(&r) != taken);
    CHECK_EQ(she_load_relaxed(&r.ring->header->taken_cursor), 6);
    CHECK_EQ(claim_one(&r, 1), 6);
    rig_close(&r);
}

CASE(poison_fills_the_rows_of_one_batch) {
    rig r;
    rig_open(&r, 3, 3, false);
    for (uint64_t n = 0; n < 9; n++)
        write_and_commit(&r, 1, claim_one(&r, 1), n);
    she_poison(r.ring, 4); /* buffer 1 of the next lap: the same memory */
    for (uint64_t p = 0; p < 9; p++) {
        if (p / 3 != 1) {
            check_sample(&r, p, 1, p);
            continue;
        }
        for (uint32_t leaf = 0; leaf < RIG_LEAVES; leaf++)
            for (uint64_t i = 0; i < r.row_bytes[leaf]; i++)
                CHECK_EQ(((uint8_t *)she_row(r.ring, leaf, p))[i], 0xff);
    }
    rig_close(&r);
}
