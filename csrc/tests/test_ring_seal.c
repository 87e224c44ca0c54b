/* Ending a batch early: the samples that stay, the gaps that close, the next batch, and the
 * undoing. */
#include "sample.h"

#define SECOND INT64_C(1000000000)

static void write_one(rig *r, uint32_t owner, uint64_t position) {
    sample_write(r->ring, position, owner, position);
}
static uint64_t send_written(rig *r, uint32_t owner) {
    uint64_t position = claim_one(r, owner);
    write_one(r, owner, position);
    commit_one(r, owner, position);
    return position;
}
/* Row `row` holds the sample that was written at `position`. */
static void check_row(const rig *r, uint64_t row, uint64_t position) {
    uint64_t owner, number;
    sample_read(r->ring, row, &owner, &number);
    CHECK_EQ(number, position);
}

CASE(a_sealed_batch_ends_after_its_committed_samples) {
    rig r;
    rig_open(&r, 5, 2, false);
    for (int i = 0; i < 3; i++)
        (void)send_written(&r, 1);
    CHECK_EQ(she_seal(r.consumer), 3);
    CHECK_WORD(&r, 3, 0, 0, SHE_SKIP);
    CHECK_WORD(&r, 4, 0, 0, SHE_SKIP);
    (void)take_one(&r, 3);
    for (uint64_t p = 0; p < 3; p++)
        check_row(&r, p, p);
    CHECK(r.consumer->taken_total == 3 && r.consumer->full_batches == 0);
    CHECK_EQ(she_load_relaxed(&r.ring->header->taken_cursor), 5);
    rig_close(&r);
}

CASE(sealing_a_full_batch_changes_nothing) {
    rig r;
    rig_open(&r, 3, 2, false);
    send_many(&r, 1, 3);
    CHECK_EQ(she_seal(r.consumer), 3);
    CHECK_EQ(take_one(&r, 3), 0);
    CHECK_EQ(r.consumer->full_batches, 1);
    rig_close(&r);
}

CASE(an_empty_batch_can_be_sealed_and_taken) {
    rig r;
    rig_open(&r, 3, 2, false);
    CHECK_EQ(she_seal(r.consumer), 0);
    she_release(r.ring, take_one(&r, 0));
    CHECK_EQ(claim_one(&r, 1), 3);
    rig_close(&r);
}

CASE(claims_pass_over_a_sealed_batch_before_and_after_its_release) {
    for (int released = 0; released <= 1; released++) {
        rig r;
        rig_open(&r, 4, 2, false);
        send_many(&r, 1, 2);
        (void)she_seal(r.consumer);
        uint64_t batch = take_one(&r, 2);
        if (released)
            she_release(r.ring, batch);
        CHECK_EQ(cursor_of(&r), 2); /* no producer has moved it over the rest */
        CHECK_EQ(claim_one(&r, 1), 4);
        CHECK_EQ(cursor_of(&r), 5);
        rig_close(&r);
    }
}

CASE(in_a_ring_of_one_batch_the_next_lap_follows_a_sealed_one) {
    rig r;
    rig_open(&r, 4, 1, false);
    for (uint64_t lap = 0; lap < 5; lap++) {
        CHECK_EQ(send_one(&r, 1), lap * 4);
        (void)she_seal(r.consumer);
        uint64_t p;
        CHECK_EQ(she_claim(r.producer[1], &p), SHE_FULL);
        she_release(r.ring, take_one(&r, 1));
    }
    rig_close(&r);
}

CASE(many_empty_batches_in_a_row_leave_the_cursor_laps_behind) {
    rig r;
    rig_open(&r, 2, 2, false);
    for (int i = 0; i < 7; i++) {
        (void)she_seal(r.consumer);
        she_release(r.ring, take_one(&r, 0));
    }
    CHECK_EQ(cursor_of(&r), 0);
    CHECK_EQ(claim_one(&r, 1), 14);
    CHECK_WORD(&r, 14, 3, 1, SHE_CLAIMED);
    rig_close(&r);
}

CASE(a_sealed_batch_waits_for_samples_that_are_being_written) {
    rig r;
    rig_open(&r, 4, 2, false);
    (void)send_written(&r, 1);
    uint64_t p = claim_one(&r, 2);
    CHECK_EQ(she_seal(r.consumer), 2);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    write_one(&r, 2, p);
    commit_one(&r, 2, p);
    (void)take_one(&r, 2);
    check_row(&r, 1, 1);
    rig_close(&r);
}

CASE(a_claim_that_is_aborted_after_the_seal_closes_up_when_sealed_again) {
    rig r;
    rig_open(&r, 4, 2, false);
    uint64_t p = claim_one(&r, 2);
    (void)send_written(&r, 1);
    (void)send_written(&r, 1);
    CHECK_EQ(she_seal(r.consumer), 3);
    abort_one(&r, 2, p);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL); /* a hole: a producer may still fill it */
    CHECK_EQ(she_seal(r.consumer), 2);
    (void)take_one(&r, 2);
    check_row(&r, 0, 1);
    check_row(&r, 1, 2);
    rig_close(&r);
}

/* The signal came before the wait begins: the wait has to check by itself. */
CASE(a_claim_that_is_given_up_between_the_seal_and_the_wait_is_not_waited_for) {
    for (int how = 0; how < 2; how++) {
        rig r;
        rig_open(&r, 4, 2, false);
        uint64_t p = claim_one(&r, 2);
        (void)send_written(&r, 1);
        CHECK_EQ(she_seal(r.consumer), 2);
        if (how == 0)
            abort_one(&r, 2, p);
        else
            CHECK_EQ(she_recover(r.ring, 2), 1);
        CHECK_EQ(she_ready_wait(r.consumer, 3600 * SECOND), SHE_OK);
        (void)take_one(&r, 1);
        check_row(&r, 0, 1);
        rig_close(&r);
    }
}

CASE(the_batch_after_a_sealed_one_is_not_sealed) {
    rig r;
    rig_open(&r, 2, 3, false);
    (void)send_one(&r, 1);
    (void)she_seal(r.consumer);
    (void)take_one(&r, 1);
    CHECK_EQ(send_one(&r, 1), 2);
    CHECK_EQ(she_ready_wait(r.consumer, SECOND / 1000), SHE_TIMEOUT);
    CHECK_WORD(&r, 3, 0, 0, SHE_FREE);
    (void)she_seal(r.consumer);
    she_unseal(r.consumer);
    CHECK_EQ(she_ready_wait(r.consumer, SECOND / 1000), SHE_TIMEOUT);
    CHECK_WORD(&r, 3, 0, 0, SHE_HOLE);
    rig_close(&r);
}

CASE(a_hole_in_a_sealed_batch_may_still_be_filled_before_it_is_sealed_again) {
    rig r;
    rig_open(&r, 4, 2, false);
    uint64_t p = claim_one(&r, 2);
    (void)send_written(&r, 1);
    CHECK_EQ(she_seal(r.consumer), 2);
    abort_one(&r, 2, p);
    CHECK_EQ(send_written(&r, 3), 0);
    (void)take_one(&r, 2);
    check_row(&r, 0, 0);
    check_row(&r, 1, 1);
    rig_close(&r);
}

CASE(gaps_are_closed_in_order_wherever_they_are) {
    for (uint32_t gaps = 0; gaps < 1u << 6; gaps++) {
        rig r;
        rig_open(&r, 6, 2, gaps % 2);
        for (uint64_t p = 0; p < 6; p++) {
            CHECK_EQ(claim_one(&r, 1), p);
            write_one(&r, 1, p);
        }
        for (uint64_t p = 0; p < 6; p++) {
            if (gaps >> p & 1)
                abort_one(&r, 1, p);
            else
                commit_one(&r, 1, p);
        }
        uint64_t kept = 6 - (uint64_t)__builtin_popcount(gaps);
        CHECK_EQ(she_seal(r.consumer), kept);
        (void)take_one(&r, kept);
        for (uint64_t p = 0, row = 0; p < 6; p++)
            if (!(gaps >> p & 1))
                check_row(&r, row++, p);
        CHECK_EQ(r.consumer->taken_by[1], kept);
        she_release(r.ring, 0);
        for (uint64_t p = 12; p < 18; p++)
            CHECK_WORD(&r, p, 1, 0, SHE_FREE);
        rig_close(&r);
    }
}

CASE(undoing_a_seal_opens_the_rest_again) {
    rig r;
    rig_open(&r, 4, 2, false);
    uint64_t p = claim_one(&r, 2);
    CHECK_EQ(she_seal(r.consumer), 1);
    CHECK_EQ(claim_one(&r, 1), 4); /* sealed: the next batch is being filled */
    uint64_t gen = hole_gen_of(&r);
    uint32_t space = space_ticket(&r);
    she_unseal(r.consumer);
    CHECK(hole_gen_of(&r) != gen && space_ticket(&r) != space);
    for (uint64_t i = 1; i < 4; i++)
        CHECK_EQ(send_written(&r, 1), i);
    CHECK_EQ(send_one(&r, 1), 5);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    write_one(&r, 2, p);
    commit_one(&r, 2, p);
    (void)take_one(&r, 4);
    CHECK_EQ(r.consumer->full_batches, 1);
    rig_close(&r);
}

CASE(words_that_were_skipped_are_read_again_after_the_seal_is_undone) {
    rig r;
    rig_open(&r, 3, 2, false);
    (void)send_written(&r, 1);
    CHECK_EQ(claim_one(&r, 2), 1);
    abort_one(&r, 2, 1);
    CHECK_EQ(she_seal(r.consumer), 1);
    CHECK_EQ(she_ready(r.consumer), SHE_OK); /* it has read all words */
    she_unseal(r.consumer);
    CHECK_EQ(she_ready(r.consumer), SHE_FULL);
    CHECK_EQ(send_written(&r, 1), 1);
    CHECK_EQ(send_written(&r, 1), 2);
    (void)take_one(&r, 3);
    rig_close(&r);
}

CASE(undoing_leaves_commits_and_claims_alone) {
    rig r;
    rig_open(&r, 3, 2, false);
    (void)send_one(&r, 1);
    (void)claim_one(&r, 2);
    (void)she_seal(r.consumer);
    she_unseal(r.consumer);
    CHECK_WORD(&r, 0, 0, 1, SHE_COMMITTED);
    CHECK_WORD(&r, 1, 0, 2, SHE_CLAIMED);
    CHECK_WORD(&r, 2, 0, 0, SHE_HOLE);
    CHECK_WORD(&r, 3, 0, 0, SHE_FREE); /* the next batch */
    rig_close(&r);
}
