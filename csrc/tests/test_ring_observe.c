/* The observations: stored samples, stragglers, the claims of each owner, times and counters. */
#include "rig.h"

static she_ring_stats stats_of(const rig *r) {
    she_ring_stats got;
    memset(&got, 0xff, sizeof got);
    she_stats(r->consumer, &got);
    return got;
}

CASE(an_idle_ring_shows_zeros) {
    rig r;
    uint32_t owner;
    uint64_t position;
    rig_open(&r, 3, 2, true);
    she_ring_stats got = stats_of(&r);
    CHECK(got.stored == 0 && got.full_batches == 0 && got.blocked_count == 0);
    CHECK(got.cas_success == 0 && got.cas_failure == 0 && got.retries == 0);
    CHECK_EQ(she_lent(r.ring), 0);
    CHECK_EQ(she_pending(r.consumer), 0);
    CHECK_EQ(she_held(r.ring, 0), 0); /* free words have owner 0 too */
    CHECK_EQ(she_stored_by(r.consumer, 0), 0);
    CHECK(!she_straggler(r.consumer, &owner, &position));
    rig_close(&r);
}

CASE(the_number_of_lent_buffers_is_what_the_server_said_last) {
    rig r;
    rig_open(&r, 1, 3, false);
    she_store32_relaxed(&r.ring->header->lent, 2); /* as receiver.c does */
    CHECK_EQ(she_lent(r.ring), 2);
    she_store32_relaxed(&r.ring->header->lent, 0);
    CHECK_EQ(she_lent(r.ring), 0);
    rig_close(&r);
}

CASE(stored_counts_samples_that_are_committed_and_not_handed_out) {
    for (uint64_t batch_size = 1; batch_size <= 9; batch_size += 4) { /* with and without padding */
        rig r;
        rig_open(&r, batch_size, 3, false);
        uint64_t stored = 0, batches = 0;
        for (uint64_t lap = 0; lap < 3; lap++) {
            for (uint64_t i = 0; i < 3 * batch_size; i++) {
                (void)send_one(&r, 1 + (uint32_t)i % 2);
                CHECK_EQ(stats_of(&r).stored, ++stored);
                CHECK_EQ(stats_of(&r).full_batches, batches + (i + 1) / batch_size);
            }
            for (int i = 0; i < 3; i++) {
                uint64_t batch = take_one(&r, batch_size);
                /* The same before its release and after it. */
                CHECK_EQ(stats_of(&r).stored, stored -= batch_size);
                CHECK_EQ(stats_of(&r).full_batches, batches + 3);
                she_release(r.ring, batch);
                CHECK_EQ(stats_of(&r).stored, stored);
            }
            batches += 3;
        }
        rig_close(&r);
    }
}

CASE(a_sample_beyond_an_unmoved_cursor_is_counted) {
    rig r;
    rig_open(&r, 2, 2, false);
    set_word(&r, 0, 0, 1, SHE_COMMITTED); /* its claimer died before moving the cursor */
    CHECK_EQ(stats_of(&r).stored, 1);
    rig_close(&r);
}

/* Undoing a seal leaves holes beyond the cursor, and producers fill them. */
CASE(samples_in_holes_beyond_the_cursor_after_an_undone_seal_are_counted) {
    rig r;
    rig_open(&r, 4, 2, false);
    (void)claim_one(&r, 2);
    (void)she_seal(r.consumer);
    she_unseal(r.consumer);
    for (uint64_t stored = 1; stored < 4; stored++) {
        CHECK_EQ(send_one(&r, 1), stored);
        CHECK_EQ(stats_of(&r).stored, stored);
    }
    rig_close(&r);
}

CASE(stored_samples_are_counted_by_owner) {
    rig r;
    rig_open(&r, 3, 2, false);
    send_many(&r, 1, 2);
    send_many(&r, 2, 3);
    (void)claim_one(&r, 1);
    CHECK_EQ(she_stored_by(r.consumer, 1), 2);
    CHECK_EQ(she_stored_by(r.consumer, 2), 3);
    CHECK_EQ(she_stored_by(r.consumer, 3), 0);
    (void)take_one(&r, 3); /* two of 1, one of 2; held, not released */
    CHECK_EQ(she_stored_by(r.consumer, 1), 0);
    CHECK_EQ(she_stored_by(r.consumer, 2), 2);
    rig_close(&r);
}

CASE(pending_counts_commits_and_claims_of_the_next_batch) {
    rig r;
    rig_open(&r, 3, 2, false);
    (void)send_one(&r, 1);
    uint64_t p = claim_one(&r, 2);
    CHECK_EQ(she_pending(r.consumer), 2);
    send_many(&r, 1, 2); /* one of them in the batch after it */
    CHECK_EQ(she_pending(r.consumer), 3);
    abort_one(&r, 2, p);
    CHECK_EQ(she_pending(r.consumer), 2);
    (void)she_seal(r.consumer);
    (void)take_one(&r, 2);
    CHECK_EQ(she_pending(r.consumer), 1);
    rig_close(&r);
}

CASE(committed_counts_the_next_batch_alone_and_both_sides_agree) {
    rig r;
    rig_open(&r, 3, 2, false);
    for (uint64_t lap = 0; lap < 5; lap++) {
        uint64_t p = claim_one(&r, 2);
        CHECK_EQ(she_committed(r.consumer), 0);
        send_many(&r, 1, 3); /* the last one in the batch after it */
        CHECK(she_committed(r.consumer) == 2 && she_untaken(r.ring) == 2);
        commit_one(&r, 2, p);
        CHECK(she_committed(r.consumer) == 3 && she_untaken(r.ring) == 3);
        she_release(r.ring, take_one(&r, 3));
        CHECK(she_committed(r.consumer) == 1 && she_untaken(r.ring) == 1);
        (void)she_seal(r.consumer);
        she_release(r.ring, take_one(&r, 1));
        CHECK(she_committed(r.consumer) == 0 && she_untaken(r.ring) == 0);
    }
    rig_close(&r);
}

CASE(the_straggler_is_the_first_claim_that_holds_the_next_batch_up) {
    rig r;
    uint32_t owner = 99;
    uint64_t position = 99;
    rig_open(&r, 10, 2, false);
    for (uint32_t i = 0; i < 12; i++)
        (void)claim_one(&r, 1 + i % 3);
    for (uint64_t p = 0; p < 10; p++) {
        CHECK(she_straggler(r.consumer, &owner, &position));
        CHECK(position == p && owner == 1 + p % 3);
        commit_one(&r, owner, p);
    }
    CHECK(!she_straggler(r.consumer, &owner, &position));
    (void)take_one(&r, 10);
    CHECK(she_straggler(r.consumer, &owner, &position) && position == 10);
    rig_close(&r);
}

CASE(held_counts_the_claims_of_an_owner_wherever_they_are) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 2);
    she_release(r.ring, take_one(&r, 2));
    for (int i = 0; i < 3; i++)
        (void)claim_one(&r, 1);
    (void)claim_one(&r, 2);
    CHECK(she_held(r.ring, 1) == 3 && she_held(r.ring, 2) == 1 && she_held(r.ring, 0) == 0);
    commit_one(&r, 1, 2);
    abort_one(&r, 1, 3);
    CHECK_EQ(she_held(r.ring, 1), 1);
    rig_close(&r);
}

CASE(a_look_at_a_blocked_producer_includes_the_wait_that_lasts) {
    rig r;
    she_producer_view view;
    rig_open(&r, 2, 2, false);
    (void)claim_one(&r, 1);
    she_heartbeat(r.producer[1], 777);
    she_producer_stats(r.ring, 1, &view);
    CHECK(view.blocked_count == 0 && view.blocked_ns == 0 && view.last_seen_ns == 777);
    CHECK_EQ(view.held, 1);
    (void)she_wait_begin(r.producer[1]);
    const uint64_t long_ago = 5000000000u, before = she_now_ns() - long_ago;
    she_store_relaxed(&r.ring->records[1].blocked_since_ns, before);
    she_producer_stats(r.ring, 1, &view);
    CHECK_EQ(view.blocked_count, 1);
    CHECK_BETWEEN(long_ago, view.blocked_ns, she_now_ns() - before);
    she_wait_end(r.producer[1], before);
    she_producer_stats(r.ring, 1, &view);
    CHECK_EQ(view.blocked_ns, she_load_relaxed(&r.ring->records[1].blocked_ns));
    she_store_relaxed(&r.ring->records[1].blocked_since_ns, UINT64_MAX); /* nonsense from a peer */
    she_producer_stats(r.ring, 1, &view);
    CHECK_EQ(view.blocked_ns, she_load_relaxed(&r.ring->records[1].blocked_ns));
    rig_close(&r);
}

CASE(counters_are_summed_over_the_owners_that_there_have_been) {
    rig r;
    rig_open(&r, 4, 2, true);
    send_many(&r, 1, 2);
    send_many(&r, 4, 3);
    (void)she_wait_begin(r.producer[2]);
    CHECK(stats_of(&r).cas_success == 5 && stats_of(&r).blocked_count == 1);
    r.consumer->last_owner = 2; /* owner id 4 is not assigned yet */
    CHECK_EQ(stats_of(&r).cas_success, 2);
    rig_close(&r);
}

CASE(copy_times_are_summed_over_all_owners_when_details_are_on) {
    for (int detailed = 0; detailed <= 1; detailed++) {
        rig r;
        she_hist_summary got, dwell;
        rig_open(&r, 4, 2, detailed);
        she_reset_times(r.consumer);
        she_copied(r.producer[0], 10);
        she_copied(r.producer[2], 20);
        she_copied(r.producer[3], 30);
        she_time_summaries(r.consumer, &got, &dwell);
        CHECK(got.count == (detailed ? 3 : 0) && dwell.count == 0);
        CHECK(got.min_ns == (detailed ? 10 : 0) && got.max_ns == (detailed ? 30 : 0));
        she_reset_times(r.consumer);
        she_copied(r.producer[3], 30);
        she_time_summaries(r.consumer, &got, &dwell);
        CHECK(got.count == (detailed ? 1 : 0) && got.min_ns == (detailed ? 30 : 0));
        rig_close(&r);
    }
}
