/* Claim, commit and abort on raw memory, one step at a time and in one thread. */
#include "rig.h"

#define SECOND INT64_C(1000000000)

/* ---- claiming -------------------------------------------------------------------------------- */

CASE(claims_come_in_order_and_name_their_owner) {
    rig r;
    rig_open(&r, 4, 2, false);
    for (uint64_t p = 0; p < 8; p++) {
        uint32_t owner = (uint32_t)(p % 3);
        CHECK_EQ(claim_one(&r, owner), p);
        CHECK_WORD(&r, p, 0, owner, SHE_CLAIMED);
        CHECK_EQ(cursor_of(&r), p + 1);
    }
    rig_close(&r);
}

CASE(a_full_ring_claims_nothing_and_changes_nothing) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 3);
    (void)claim_one(&r, 2); /* claims fill the ring, committed or not */
    for (int i = 0; i < 3; i++)
        check_full(&r, 1);
    CHECK_EQ(cursor_of(&r), 4);
    CHECK_WORD(&r, 3, 0, 2, SHE_CLAIMED);
    CHECK_WORD(&r, 0, 0, 1, SHE_COMMITTED);
    rig_close(&r);
}

CASE(a_released_batch_is_claimed_again_one_lap_later) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 4);
    she_release(r.ring, take_one(&r, 2));
    CHECK_EQ(claim_one(&r, 3), 4);
    CHECK_WORD(&r, 4, 1, 3, SHE_CLAIMED);
    CHECK_EQ(claim_one(&r, 3), 5);
    check_full(&r, 3);
    rig_close(&r);
}

CASE(a_claimer_that_died_before_moving_the_cursor_is_helped) {
    rig r;
    rig_open(&r, 4, 2, false);
    set_word(&r, 0, 0, 2, SHE_CLAIMED);
    CHECK_EQ(cursor_of(&r), 0);
    CHECK_EQ(claim_one(&r, 1), 1);
    CHECK_EQ(cursor_of(&r), 2);
    CHECK_WORD(&r, 0, 0, 2, SHE_CLAIMED);
    rig_close(&r);
}

CASE(a_slot_that_is_not_free_at_the_cursor_is_passed_over) {
    rig r;
    rig_open(&r, 5, 2, false);
    set_word(&r, 0, 0, 2, SHE_COMMITTED);
    set_word(&r, 1, 0, 0, SHE_SKIP);
    set_word(&r, 2, 0, 3, SHE_CLAIMED);
    set_word(&r, 3, 1, 0, SHE_FREE); /* released already */
    CHECK_EQ(claim_one(&r, 1), 4);
    CHECK_EQ(cursor_of(&r), 5);
    rig_close(&r);
}

CASE(a_cursor_left_behind_in_a_released_batch_is_moved_out_of_it) {
    rig r;
    rig_open(&r, 4, 2, false);
    send_many(&r, 1, 2);
    for (uint64_t p = 0; p < 4; p++)
        set_word(&r, p, 1, 0, SHE_FREE);
    CHECK_EQ(cursor_of(&r), 2);
    CHECK_EQ(claim_one(&r, 1), 4); /* of lap 0: the other batch */
    CHECK_EQ(cursor_of(&r), 5);
    rig_close(&r);
}

CASE(a_cursor_several_laps_behind_catches_up) {
    rig r;
    rig_open(&r, 3, 2, false);
    start_at_lap(&r, 7);
    she_store_relaxed(&r.ring->header->write_cursor, 1);
    CHECK_EQ(claim_one(&r, 1), 7 * 6);
    CHECK_WORD(&r, 42, 7, 1, SHE_CLAIMED);
    rig_close(&r);
}

/* ---- committing ------------------------------------------------------------------------------ */

CASE(a_commit_keeps_the_owner) {
    rig r;
    rig_open(&r, 4, 2, false);
    commit_one(&r, 3, claim_one(&r, 3));
    CHECK_WORD(&r, 0, 0, 3, SHE_COMMITTED);
    rig_close(&r);
}

CASE(only_a_claim_of_ones_own_can_be_committed_or_aborted) {
    rig r;
    rig_open(&r, 2, 2, false);
    uint64_t p = claim_one(&r, 1);
    CHECK_EQ(she_commit(r.producer[2], p), SHE_CORRUPTED);
    CHECK_EQ(she_abort(r.producer[2], p), SHE_CORRUPTED);
    CHECK_WORD(&r, p, 0, 1, SHE_CLAIMED);
    CHECK_EQ(she_commit(r.producer[1], p + 4), SHE_CORRUPTED); /* the same slot, another lap */
    commit_one(&r, 1, p);
    CHECK_EQ(she_commit(r.producer[1], p), SHE_CORRUPTED); /* twice */
    CHECK_EQ(she_abort(r.producer[1], p), SHE_CORRUPTED);
    CHECK_EQ(she_commit(r.producer[1], p + 1), SHE_CORRUPTED); /* never claimed */
    CHECK_WORD(&r, p, 0, 1, SHE_COMMITTED);
    CHECK_WORD(&r, p + 1, 0, 0, SHE_FREE);
    rig_close(&r);
}

CASE(a_claim_that_was_given_up_is_not_sent) {
    rig r;
    rig_open(&r, 4, 2, false);
    uint64_t p = claim_one(&r, 1);
    she_revoke(r.ring, 1);
    CHECK_EQ(she_recover(r.ring, 1), 1);
    CHECK_EQ(she_commit(r.producer[1], p), SHE_GIVEN_UP);
    CHECK_EQ(claim_one(&r, 2), p);
    CHECK_EQ(she_commit(r.producer[1], p), SHE_GIVEN_UP); /* another producer claimed it since */
    CHECK_WORD(&r, p, 0, 2, SHE_CLAIMED);
    CHECK_EQ(she_drained(r.producer[1]), SHE_OK); /* a lost claim is not waited for */
    rig_close(&r);
}

/* ---- holes ----------------------------------------------------------------------------------- */

CASE(an_abort_leaves_a_hole_that_is_claimed_before_anything_else) {
    rig r;
    rig_open(&r, 4, 2, false);
    for (int i = 0; i < 4; i++)
        (void)claim_one(&r, 1);
    uint64_t gen = hole_gen_of(&r);
    uint32_t space = space_ticket(&r);
    abort_one(&r, 1, 2);
    CHECK_WORD(&r, 2, 0, 0, SHE_HOLE);
    CHECK_EQ(hole_gen_of(&r), gen + 1);
    CHECK(space_ticket(&r) != space);
    CHECK_EQ(claim_one(&r, 2), 2);
    CHECK_WORD(&r, 2, 0, 2, SHE_CLAIMED);
    CHECK_EQ(claim_one(&r, 2), 4);
    rig_close(&r);
}

CASE(a_hole_in_a_full_ring_is_found) {
    rig r;
    rig_open(&r, 2, 2, false);
    for (int i = 0; i < 4; i++)
        (void)claim_one(&r, 1);
    check_full(&r, 2);
    abort_one(&r, 1, 3);
    CHECK_EQ(claim_one(&r, 2), 3);
    check_full(&r, 2);
    rig_close(&r);
}

CASE(every_hole_is_found_by_any_producer) {
    rig r;
    rig_open(&r, 9, 2, false);
    for (int i = 0; i < 18; i++)
        (void)claim_one(&r, 1);
    for (uint64_t p = 1; p < 18; p += 4)
        abort_one(&r, 1, p);
    for (uint64_t p = 1; p < 18; p += 4)
        CHECK_EQ(claim_one(&r, 2 + (uint32_t)p % 3), p);
    check_full(&r, 5);
    rig_close(&r);
}

CASE(a_hole_keeps_the_lap_of_its_batch) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 2);
    she_release(r.ring, take_one(&r, 2));
    (void)claim_one(&r, 1); /* 2, lap 0 */
    (void)claim_one(&r, 1); /* 3, lap 0 */
    (void)claim_one(&r, 1); /* 4, lap 1, slot 0 */
    abort_one(&r, 1, 3);
    abort_one(&r, 1, 4);
    CHECK_WORD(&r, 4, 1, 0, SHE_HOLE);
    CHECK_EQ(claim_one(&r, 2), 4);
    CHECK_EQ(claim_one(&r, 2), 3);
    CHECK_EQ(claim_one(&r, 2), 5);
    rig_close(&r);
}

CASE(without_a_new_hole_gen_no_claim_scans_but_the_cursor_finds_holes_too) {
    rig r;
    rig_open(&r, 4, 2, false);
    set_word(&r, 0, 0, 0, SHE_HOLE);
    set_word(&r, 5, 0, 0, SHE_HOLE); /* hole_gen is unchanged: no scan */
    CHECK_EQ(claim_one(&r, 1), 0);
    CHECK_EQ(claim_one(&r, 1), 1);
    she_add_seq(&r.ring->header->hole_gen, 1);
    CHECK_EQ(claim_one(&r, 1), 5);
    CHECK_EQ(claim_one(&r, 1), 2);
    CHECK_EQ(she_load_relaxed(&r.producer[1]->seen_gen), hole_gen_of(&r));
    rig_close(&r);
}

/* ---- the right to claim, and waiting --------------------------------------------------------- */

CASE(a_producer_that_may_not_claim_gets_the_reason) {
    rig r;
    uint64_t p;
    rig_open(&r, 4, 2, false);
    uint64_t held = claim_one(&r, 1);
    she_revoke(r.ring, 1);
    CHECK_EQ(she_claim(r.producer[1], &p), SHE_REVOKED);
    CHECK_EQ(she_claim_wait(r.producer[1], she_claim_ticket(r.producer[1]), SECOND), SHE_REVOKED);
    commit_one(&r, 1, held); /* a claim from before may be committed */
    CHECK_EQ(she_drain_wait(r.producer[1], SECOND), SHE_REVOKED);
    (void)claim_one(&r, 2);
    she_ring_close(r.ring);
    CHECK_EQ(she_claim(r.producer[2], &p), SHE_CLOSED);
    CHECK_EQ(she_claim(r.producer[1], &p), SHE_CLOSED);
    CHECK_EQ(she_claim_wait(r.producer[2], she_claim_ticket(r.producer[2]), SECOND), SHE_CLOSED);
    she_producer_stop(r.producer[2]);
    CHECK_EQ(she_claim(r.producer[2], &p), SHE_STOPPED);
    CHECK_EQ(she_claim_wait(r.producer[2], she_claim_ticket(r.producer[2]), SECOND), SHE_STOPPED);
    commit_one(&r, 2, 1);
    CHECK_EQ(cursor_of(&r), 2);
    rig_close(&r);
}

CASE(stopping_one_producer_leaves_the_others_alone) {
    rig r;
    uint64_t p;
    rig_open(&r, 4, 2, false);
    she_producer_stop(r.producer[1]);
    CHECK_EQ(she_claim(r.producer[1], &p), SHE_STOPPED);
    CHECK_EQ(claim_one(&r, 2), 0);
    rig_close(&r);
}

CASE(a_wait_for_space_ends_with_news_or_with_the_time) {
    rig r;
    rig_open(&r, 2, 1, false);
    send_many(&r, 1, 2);
    uint32_t ticket = she_claim_ticket(r.producer[1]);
    check_full(&r, 1);
    CHECK_EQ(she_claim_wait(r.producer[1], ticket, 1000), SHE_TIMEOUT);
    CHECK_EQ(she_claim_wait(r.producer[1], ticket, SECOND / 1000), SHE_TIMEOUT);
    she_release(r.ring, take_one(&r, 2));
    CHECK_EQ(she_claim_wait(r.producer[1], ticket, 3600 * SECOND), SHE_WOKEN);
    (void)claim_one(&r, 1);
    rig_close(&r);
}

CASE(a_producer_is_drained_when_all_it_committed_was_handed_out) {
    rig r;
    rig_open(&r, 2, 2, false);
    CHECK_EQ(she_drained(r.producer[1]), SHE_OK);
    send_many(&r, 1, 1);
    CHECK_EQ(she_drained(r.producer[1]), SHE_FULL);
    CHECK_EQ(she_drain_wait(r.producer[1], 1000), SHE_TIMEOUT);
    CHECK_EQ(she_drained(r.producer[2]), SHE_OK); /* it has sent nothing */
    send_many(&r, 2, 2);
    (void)take_one(&r, 2);
    CHECK_EQ(she_drained(r.producer[1]), SHE_OK); /* handed out, not released */
    CHECK_EQ(she_drain_wait(r.producer[1], 1), SHE_OK);
    CHECK_EQ(she_drained(r.producer[2]), SHE_FULL);
    abort_one(&r, 3, claim_one(&r, 3));
    CHECK_EQ(she_drained(r.producer[3]), SHE_OK); /* an aborted sample is not waited for */
    rig_close(&r);
}

CASE(a_producer_shows_that_it_waits_and_makes_the_learner_look) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 1);
    uint32_t ticket = she_ec_ticket(&r.ring->header->data);
    CHECK(!she_draining(r.ring, 1));
    she_drain_begin(r.producer[1]);
    she_drain_begin(r.producer[1]); /* another thread */
    CHECK(she_draining(r.ring, 1) && !she_draining(r.ring, 2));
    CHECK(she_ec_ticket(&r.ring->header->data) != ticket);
    she_drain_end(r.producer[1]);
    CHECK(she_draining(r.ring, 1));
    she_drain_end(r.producer[1]);
    CHECK(!she_draining(r.ring, 1));
    rig_close(&r);
}

CASE(a_wait_that_a_producer_died_in_is_not_its_successors) {
    rig r;
    rig_open(&r, 2, 2, false);
    she_drain_begin(r.producer[1]);
    (void)she_recover(r.ring, 1);
    she_reinstate(r.ring, 1);
    CHECK(!she_draining(r.ring, 1));
    rig_close(&r);
}

CASE(owner_ids_go_from_the_server_itself_to_the_last_producer) {
    rig r;
    she_producer *p = NULL;
    rig_open(&r, 2, 2, false);
    CHECK_EQ(she_producer_open(r.ring, RIG_PRODUCERS + 1, &p), SHE_E_CONFIG);
    CHECK_EQ(she_producer_open(r.ring, UINT32_MAX, &p), SHE_E_CONFIG);
    CHECK(p == NULL);
    rig_close(&r);
}

/* ---- counters -------------------------------------------------------------------------------- */

CASE(claims_are_counted_when_details_are_on_and_only_then) {
    for (int detailed = 0; detailed <= 1; detailed++) {
        rig r;
        rig_open(&r, 4, 2, detailed);
        (void)claim_one(&r, 1);
        abort_one(&r, 1, claim_one(&r, 1));
        CHECK_EQ(claim_one(&r, 2), 1); /* a hole counts as any claim */
        set_word(&r, 2, 0, 3, SHE_CLAIMED);
        CHECK_EQ(claim_one(&r, 2), 3); /* after one iteration without a claim */
        CHECK_EQ(she_load_relaxed(&r.ring->records[1].cas_success), detailed ? 2 : 0);
        CHECK_EQ(she_load_relaxed(&r.ring->records[2].cas_success), detailed ? 2 : 0);
        CHECK_EQ(she_load_relaxed(&r.ring->records[2].retries), detailed ? 1 : 0);
        CHECK_EQ(she_load_relaxed(&r.ring->records[2].cas_failure), 0);
        rig_close(&r);
    }
}

CASE(blocked_time_and_last_seen_are_kept_per_owner) {
    rig r;
    rig_open(&r, 2, 2, false);
    const she_record *record = &r.ring->records[1];
    uint64_t since = she_wait_begin(r.producer[1]);
    CHECK_EQ(she_load_relaxed(&record->blocked_since_ns), since);
    while (she_now_ns() == since) {
    }
    she_wait_end(r.producer[1], since);
    CHECK(she_load_relaxed(&record->blocked_count) == 1);
    CHECK(she_load_relaxed(&record->blocked_since_ns) == 0);
    CHECK_BETWEEN(1, she_load_relaxed(&record->blocked_ns), she_now_ns() - since);
    she_heartbeat(r.producer[1], 12345);
    CHECK_EQ(she_load_relaxed(&record->last_seen_ns), 12345);
    CHECK_EQ(she_load_relaxed(&r.ring->records[2].blocked_count), 0);
    rig_close(&r);
}
