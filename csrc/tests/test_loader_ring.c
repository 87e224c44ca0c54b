/* A loader's ring step by step: announcements, claims, takes, kept buffers, short batches,
 * holes. */
#include "loader_rig.h"

/* ---- layout and opening ---------------------------------------------------------------------- */

CASE(the_order_table_lies_behind_the_words_and_only_in_a_loaders_ring) {
    const uint64_t rows[] = {24, 8000};
    static const uint8_t digest[32] = {1};
    for (uint32_t detailed = 0; detailed <= 1; detailed++)
        for (uint32_t k = 0; k <= 40; k += 5) {
            she_config c = {.batch_size = 7,
                            .num_buffers = 3,
                            .num_leaves = 2,
                            .max_producers = 4,
                            .detailed = detailed,
                            .run_rows = k,
                            .row_bytes = rows,
                            .digest = digest};
            she_layout l;
            uint64_t offsets[2];
            CHECK_EQ(she_layout_compute(&c, &l, offsets), SHE_OK);
            if (k == 0) {
                CHECK(l.gate == 0 && l.queue == 0 && l.runs == 0 && l.run_bytes == 0);
                continue;
            }
            CHECK(l.run_bytes >= sizeof(she_run) + 8 * k && l.run_bytes % 64 == 0);
            CHECK(l.gate >= l.words + 3 * 64 && l.gate >= l.histograms && l.gate % SHE_LINE == 0);
            CHECK(l.queue >= l.gate + SHE_LINE && l.queue % SHE_LINE == 0);
            CHECK(l.runs >= l.queue + 3 * 8 && l.runs % SHE_LINE == 0);
            CHECK(offsets[0] >= l.runs + 21 * l.run_bytes);
        }
}

CASE(an_order_table_that_overflows_is_refused) {
    const uint64_t rows[] = {8};
    static const uint8_t digest[32] = {1};
    she_layout l;
    uint64_t offset;
    she_config c = {.batch_size = UINT64_C(1) << 30,
                    .num_buffers = 2,
                    .num_leaves = 1,
                    .max_producers = 1,
                    .run_rows = UINT32_MAX,
                    .row_bytes = rows,
                    .digest = digest};
    CHECK_EQ(she_layout_compute(&c, &l, &offset), SHE_E_CONFIG);
}

CASE(a_ring_with_other_runs_is_refused) {
    loader_rig l;
    she_ring *other = NULL;
    loader_open(&l, 4, 3, 2);
    CHECK_EQ(she_ring_attach(l.r.memory, l.r.bytes, &l.r.config, &other), SHE_OK);
    CHECK(other->gate == l.r.ring->gate && other->queue == l.r.ring->queue);
    CHECK(other->runs == l.r.ring->runs && other->run_rows == 2);
    she_consumer *consumer;
    CHECK_EQ(she_consumer_open(other, &consumer), SHE_E_CONFIG); /* only its server announces */
    she_ring_free(other);
    l.r.config.run_rows = 0;
    CHECK_EQ(she_ring_attach(l.r.memory, l.r.bytes, &l.r.config, &other), SHE_E_MISMATCH);
    loader_close(&l);
}

/* ---- announcing and claiming ----------------------------------------------------------------- */

CASE(nothing_is_claimed_before_it_is_announced) {
    loader_rig l;
    loader_open(&l, 2, 3, 4);
    loader_check_full(&l, 1);
    CHECK_EQ(open_claims(&l.r, 1), 0);
    CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL);
    (void)loader_announce(&l, 8);
    uint64_t first = loader_claim(&l, 1), second = loader_claim(&l, 2);
    CHECK_EQ(second, first + 1);
    loader_check_full(&l, 1);
    CHECK_EQ(open_claims(&l.r, 1), 1);
    loader_close(&l);
}

CASE(a_claimed_slot_says_what_belongs_into_it) {
    loader_rig l;
    loader_open(&l, 3, 2, 4);
    l.drawn = 100;
    uint64_t batch = loader_announce(&l, 10);
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t position = loader_claim(&l, 1);
        CHECK_EQ(position, batch * 3 + i);
        const she_run *run = she_loader_run(l.r.ring, position);
        CHECK_EQ(run->first_row, 100 + 4 * i);
        CHECK_EQ(run->count, i < 2 ? 4 : 2);
        CHECK_EQ(run->epoch, 7);
        CHECK_EQ(run->status, 0);
        for (uint32_t j = 0; j < run->count; j++)
            CHECK_EQ(run->index[j], LOADER_INDEX(100 + 4 * i + j));
    }
    loader_close(&l);
}

CASE(a_batch_has_between_one_row_and_all) {
    loader_rig l;
    uint64_t batch;
    loader_open(&l, 2, 2, 4);
    CHECK_EQ(loader_try_announce(&l, 0, &batch), SHE_E_CONFIG);
    CHECK_EQ(loader_try_announce(&l, 9, &batch), SHE_E_CONFIG);
    CHECK_EQ(loader_try_announce(&l, 8, &batch), SHE_OK);
    CHECK_EQ(loader_try_announce(&l, 1, &batch), SHE_OK);
    CHECK_EQ(loader_try_announce(&l, 1, &batch), SHE_FULL);
    loader_close(&l);
}

CASE(an_announcement_signals_space_and_a_release_does_not) {
    loader_rig l;
    loader_open(&l, 1, 2, 4);
    uint32_t ticket = space_ticket(&l.r);
    (void)loader_announce(&l, 4);
    CHECK(space_ticket(&l.r) != ticket);
    loader_work(&l, 1, 1);
    uint64_t batch = loader_take(&l, 4);
    ticket = space_ticket(&l.r);
    she_release(l.r.ring, batch);
    CHECK_EQ(space_ticket(&l.r), ticket);
    loader_check_full(&l, 1); /* nothing is announced */
    loader_close(&l);
}

CASE(batches_come_in_the_order_of_their_announcements) {
    loader_rig l;
    loader_open(&l, 2, 3, 4);
    (void)loader_announce(&l, 8);
    (void)loader_announce(&l, 8);
    uint64_t held[4];
    for (int i = 0; i < 4; i++)
        held[i] = loader_claim(&l, 1 + i % 2);
    for (int i = 3; i >= 0; i--) { /* the later batch is complete first */
        CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL);
        loader_finish(&l, 1 + i % 2, held[i]);
    }
    loader_take_and_release(&l, 8);
    loader_take_and_release(&l, 8);
    CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL);
    loader_close(&l);
}

CASE(short_batches_skip_their_tail_and_the_next_batch_follows) {
    loader_rig l;
    loader_open(&l, 3, 2, 4);
    for (uint64_t round = 0; round < 30; round++) {
        uint64_t rows = 1 + round % 12;
        uint64_t batch = loader_announce(&l, rows);
        for (uint64_t i = (rows + 3) / 4; i < 3; i++)
            CHECK_WORD(&l.r, batch * 3 + i, batch / 2, 0, SHE_SKIP);
        loader_work(&l, 1, (rows + 3) / 4);
        loader_check_full(&l, 1);
        loader_take_and_release(&l, rows);
    }
    CHECK_EQ(l.r.consumer->taken_total, l.seen);
    CHECK_EQ(l.r.consumer->taken_by[1], l.seen);
    loader_close(&l);
}

CASE(a_kept_batch_shrinks_the_prefetch_and_nothing_else) {
    loader_rig l;
    loader_open(&l, 2, 3, 2);
    (void)loader_announce(&l, 4);
    loader_work(&l, 1, 2);
    uint64_t kept = loader_take(&l, 4);
    for (int round = 0; round < 50; round++) {
        uint64_t one = loader_announce(&l, 4), two = loader_announce(&l, 3), none;
        CHECK(one % 3 != kept % 3 && two % 3 != kept % 3 && one % 3 != two % 3);
        CHECK_EQ(loader_try_announce(&l, 4, &none), SHE_FULL);
        loader_work(&l, 1 + round % 2, 4);
        loader_check_rows(&l, kept, 0, 4);
        loader_take_and_release(&l, 4);
        loader_take_and_release(&l, 3);
    }
    she_release(l.r.ring, kept);
    for (int i = 0; i < 3; i++)
        (void)loader_announce(&l, 4);
    loader_work(&l, 2, 6);
    for (int i = 0; i < 3; i++)
        loader_take_and_release(&l, 4);
    loader_close(&l);
}

CASE(batches_are_released_in_any_order) {
    loader_rig l;
    loader_open(&l, 2, 4, 2);
    uint64_t state = test_seed, held[3];
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 3; i++)
            (void)loader_announce(&l, 1 + test_below(&state, 4));
        uint64_t position;
        while (she_loader_claim(l.r.producer[1], &position) == SHE_OK)
            loader_finish(&l, 1, position);
        for (int i = 0; i < 3; i++) {
            uint64_t rows, first;
            uint32_t errors;
            CHECK_EQ(she_loader_take(l.r.consumer, &held[i], &rows, &first, &errors), SHE_OK);
            CHECK_EQ(first, l.seen);
            loader_check_rows(&l, held[i], first, rows);
            l.seen += rows;
        }
        for (int left = 3; left > 0; left--) {
            int i = (int)test_below(&state, (uint64_t)left);
            she_release(l.r.ring, held[i]);
            held[i] = held[left - 1];
        }
    }
    CHECK_EQ(l.seen, l.drawn);
    loader_close(&l);
}

CASE(a_claim_with_an_old_cursor_gets_a_slot_that_is_announced) {
    loader_rig l;
    loader_open(&l, 1, 1, 1);
    for (int i = 0; i < 3; i++) { /* three laps, in which the cursor is set back */
        (void)loader_announce(&l, 1);
        loader_work(&l, 1, 1);
        loader_take_and_release(&l, 1);
    }
    (void)loader_announce(&l, 1);
    she_store_relaxed(&l.r.ring->header->write_cursor, 0);
    loader_work(&l, 2, 1);
    loader_check_full(&l, 2);
    CHECK_EQ(cursor_of(&l.r), 4);
    loader_take_and_release(&l, 1);
    loader_close(&l);
}

/* ---- status, rows at work, messages ---------------------------------------------------------- */

CASE(a_status_is_counted_and_a_new_claim_clears_it) {
    loader_rig l;
    loader_open(&l, 2, 2, 2);
    (void)loader_announce(&l, 4);
    uint64_t one = loader_claim(&l, 1), two = loader_claim(&l, 2);
    she_loader_set_status(l.r.producer[1], one, 5);
    CHECK_EQ(she_recover(l.r.ring, 1), 1); /* it dies before its commit */
    she_reinstate(l.r.ring, 1);
    CHECK_EQ(loader_claim(&l, 2), one);
    loader_finish(&l, 2, one);
    she_loader_set_status(l.r.producer[2], two, 9);
    loader_finish(&l, 2, two);
    uint64_t batch, rows, first;
    uint32_t errors;
    CHECK_EQ(she_loader_take(l.r.consumer, &batch, &rows, &first, &errors), SHE_OK);
    CHECK_EQ(errors, 1);
    CHECK_EQ(she_loader_run(l.r.ring, one)->status, 0);
    CHECK_EQ(she_loader_run(l.r.ring, two)->status, 9);
    she_release(l.r.ring, batch);
    loader_close(&l);
}

CASE(the_late_row_names_its_worker_and_item) {
    loader_rig l;
    she_late_row late;
    loader_open(&l, 2, 2, 4);
    CHECK(!she_loader_straggler(l.r.consumer, &late));
    (void)loader_announce(&l, 8);
    CHECK(she_loader_straggler(l.r.consumer, &late));
    CHECK(late.owner == SHE_NOBODY && late.row == 0 && late.index == LOADER_INDEX(0));
    uint64_t one = loader_claim(&l, 1), two = loader_claim(&l, 2);
    CHECK(she_loader_straggler(l.r.consumer, &late));
    CHECK(late.owner == 1 && late.row == 0 && late.slot == one % 4);
    she_loader_at_row(l.r.producer[1], 3);
    CHECK(she_loader_straggler(l.r.consumer, &late));
    CHECK(late.owner == 1 && late.row == 3 && late.index == LOADER_INDEX(3));
    loader_finish(&l, 1, one);
    she_loader_at_row(l.r.producer[2], 3); /* not of its run: a stray value */
    CHECK(she_loader_straggler(l.r.consumer, &late));
    CHECK(late.owner == 2 && late.row == 4 && late.index == LOADER_INDEX(4));
    set_word(&l.r, two, 9, 77, SHE_CLAIMED); /* a stray write */
    CHECK(she_loader_straggler(l.r.consumer, &late));
    CHECK(late.owner == SHE_NOBODY && late.slot == two % 4 && late.word == word_at(&l.r, two));
    set_word(&l.r, two, 0, 2, SHE_CLAIMED);
    loader_finish(&l, 2, two);
    CHECK(!she_loader_straggler(l.r.consumer, &late));
    loader_take_and_release(&l, 8);
    loader_close(&l);
}

CASE(a_dead_workers_row_is_known_until_its_id_is_given_out_again) {
    loader_rig l;
    uint64_t row;
    int64_t index;
    loader_open(&l, 2, 2, 4);
    (void)loader_announce(&l, 8);
    CHECK(!she_loader_row_of(l.r.ring, 1, &row));
    (void)loader_claim(&l, 1);
    CHECK(!she_loader_row_of(l.r.ring, 1, &row)); /* claimed, and not begun */
    she_loader_at_row(l.r.producer[1], 2);
    CHECK_EQ(she_recover(l.r.ring, 1), 1);
    CHECK(she_loader_row_of(l.r.ring, 1, &row) && row == 2);
    CHECK(she_loader_index(l.r.consumer, row, &index) && index == LOADER_INDEX(2));
    CHECK(!she_loader_index(l.r.consumer, 8, &index));
    she_reinstate(l.r.ring, 1);
    CHECK(!she_loader_row_of(l.r.ring, 1, &row));
    loader_close(&l);
}

CASE(an_overwritten_order_entry_fails_the_claim) {
    loader_rig l;
    uint64_t position;
    loader_open(&l, 1, 2, 4);
    uint64_t batch = loader_announce(&l, 4);
    she_loader_run(l.r.ring, batch)->count = 5;
    CHECK_EQ(she_loader_claim(l.r.producer[1], &position), SHE_CORRUPTED);
    CHECK_EQ(l.r.producer[1]->lost_slot, 0);
    CHECK_EQ(she_recover(l.r.ring, 1), 1); /* the claim is open until the worker ends */
    loader_close(&l);
}

CASE(stats_count_batches_and_buffers) {
    loader_rig l;
    she_loader_view view;
    loader_open(&l, 1, 3, 2);
    (void)loader_announce(&l, 2);
    (void)loader_announce(&l, 1);
    loader_work(&l, 1, 2);
    she_loader_stats(l.r.consumer, &view);
    CHECK(view.announced == 2 && view.taken == 0 && view.ready == 2 && view.free_buffers == 1);
    uint64_t batch = loader_take(&l, 2);
    she_loader_stats(l.r.consumer, &view);
    CHECK(view.announced == 2 && view.taken == 1 && view.ready == 1 && view.free_buffers == 1);
    she_release(l.r.ring, batch);
    she_loader_stats(l.r.consumer, &view);
    CHECK_EQ(view.free_buffers, 2);
    loader_close(&l);
}

/* ---- holes ----------------------------------------------------------------------------------- */

CASE(holes_are_claimed_first_and_past_a_closed_gate) {
    loader_rig l;
    loader_open(&l, 2, 2, 2);
    (void)loader_announce(&l, 4);
    uint64_t one = loader_claim(&l, 1), two = loader_claim(&l, 2);
    CHECK_EQ(she_recover(l.r.ring, 1), 1);
    she_reinstate(l.r.ring, 1);
    CHECK_EQ(loader_claim(&l, 2), one); /* the gate is closed */
    loader_finish(&l, 2, one);
    (void)loader_announce(&l, 4);
    abort_one(&l.r, 2, two);
    CHECK_EQ(loader_claim(&l, 1), two); /* before the new batch */
    loader_finish(&l, 1, two);
    loader_work(&l, 1, 2);
    loader_take_and_release(&l, 4);
    loader_take_and_release(&l, 4);
    loader_close(&l);
}

CASE(a_hole_of_any_use_of_its_buffer_gets_its_position) {
    loader_rig l;
    loader_open(&l, 3, 5, 2);
    for (int round = 0; round < 60; round++) {
        uint64_t batch = loader_announce(&l, 6), held[3];
        for (int i = 0; i < 3; i++)
            held[i] = loader_claim(&l, 1);
        CHECK_EQ(she_recover(l.r.ring, 1), 3);
        she_reinstate(l.r.ring, 1);
        for (int i = 0; i < 3; i++) {
            uint64_t position = loader_claim(&l, 2);
            CHECK_EQ(position, held[i]);
            CHECK_EQ(position / 3, batch);
            loader_finish(&l, 2, position);
        }
        loader_take_and_release(&l, 6);
    }
    loader_close(&l);
}

CASE(an_overwritten_hole_of_a_later_use_is_left_alone) {
    loader_rig l;
    loader_open(&l, 2, 2, 2);
    uint64_t batch = loader_announce(&l, 4);
    set_word(&l.r, batch * 2, SHE_LAP_MASK, 0, SHE_HOLE);
    she_add_seq(&l.r.ring->header->hole_gen, 1);
    CHECK_EQ(loader_claim(&l, 1), batch * 2 + 1);
    loader_check_full(&l, 1);
    loader_close(&l);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

CASE(a_cancelled_batch_is_never_taken_and_its_buffer_comes_back) {
    loader_rig l;
    uint64_t none;
    loader_open(&l, 2, 3, 2);
    for (int i = 0; i < 3; i++)
        (void)loader_announce(&l, 4);
    loader_work(&l, 1, 1); /* half of the first */
    she_loader_cancel(l.r.consumer);
    loader_check_full(&l, 1); /* nothing is left to claim */
    CHECK_EQ(loader_try_announce(&l, 4, &none), SHE_FULL);
    CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL); /* discards all three */
    l.seen = l.drawn;
    for (int i = 0; i < 3; i++)
        (void)loader_announce(&l, 4);
    loader_work(&l, 2, 6);
    for (int i = 0; i < 3; i++)
        loader_take_and_release(&l, 4);
    loader_close(&l);
}

CASE(a_cancelled_batch_waits_for_its_claims) {
    loader_rig l;
    she_late_row late;
    loader_open(&l, 2, 2, 2);
    uint64_t batch = loader_announce(&l, 4);
    uint64_t one = loader_claim(&l, 1), two = loader_claim(&l, 2);
    she_loader_cancel(l.r.consumer);
    CHECK(!she_loader_straggler(l.r.consumer, &late));
    l.seen = l.drawn;
    uint64_t behind = loader_announce(&l, 3); /* at once, in the other buffer */
    CHECK(behind % 2 != batch % 2);
    loader_work(&l, 3, 2);
    CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL);
    loader_finish(&l, 1, one);
    CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL);
    abort_one(&l.r, 2, two); /* a hole in a cancelled batch is nobody's work */
    CHECK_EQ(she_loader_ready(l.r.consumer), SHE_OK);
    loader_check_full(&l, 3);
    loader_take_and_release(&l, 3);
    she_loader_view view;
    she_loader_stats(l.r.consumer, &view);
    CHECK_EQ(view.free_buffers, 2);
    loader_close(&l);
}

CASE(a_cancel_without_batches_or_twice_does_nothing) {
    loader_rig l;
    loader_open(&l, 2, 2, 2);
    she_loader_cancel(l.r.consumer);
    (void)loader_announce(&l, 4);
    loader_work(&l, 1, 2);
    loader_take_and_release(&l, 4);
    (void)loader_announce(&l, 1);
    she_loader_cancel(l.r.consumer);
    she_loader_cancel(l.r.consumer);
    l.seen = l.drawn;
    CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL);
    (void)loader_announce(&l, 4);
    loader_work(&l, 1, 2);
    loader_take_and_release(&l, 4);
    loader_close(&l);
}

CASE(the_cursor_catches_up_after_many_cancelled_batches) {
    loader_rig l;
    loader_open(&l, 4, 2, 1);
    for (int round = 0; round < 100; round++) {
        (void)loader_announce(&l, 4);
        (void)loader_announce(&l, 2);
        she_loader_cancel(l.r.consumer);
        CHECK_EQ(she_loader_ready(l.r.consumer), SHE_FULL);
    }
    CHECK_EQ(cursor_of(&l.r), 0);
    l.seen = l.drawn;
    (void)loader_announce(&l, 3);
    loader_work(&l, 1, 3);
    CHECK(cursor_of(&l.r) > 790);
    loader_take_and_release(&l, 3);
    loader_close(&l);
}

/* ---- waiting --------------------------------------------------------------------------------- */

#define MOMENT INT64_C(2000000)

CASE(a_wait_with_nothing_announced_ends_by_a_nudge_or_the_close) {
    loader_rig l;
    loader_open(&l, 1, 1, 1);
    CHECK_EQ(she_loader_ready_wait(l.r.consumer, MOMENT), SHE_TIMEOUT);
    she_wake_consumer(l.r.consumer);
    CHECK_EQ(she_loader_ready_wait(l.r.consumer, INT64_MAX), SHE_WOKEN);
    CHECK_EQ(she_loader_ready_wait(l.r.consumer, MOMENT), SHE_TIMEOUT);
    she_ring_close(l.r.ring);
    CHECK_EQ(she_loader_ready_wait(l.r.consumer, INT64_MAX), SHE_CLOSED);
    loader_close(&l);
}

CASE(a_wait_says_when_a_cancelled_batch_has_freed_its_buffer) {
    loader_rig l;
    loader_open(&l, 1, 1, 1);
    (void)loader_announce(&l, 1);
    uint64_t position = loader_claim(&l, 1);
    she_loader_cancel(l.r.consumer);
    CHECK_EQ(she_loader_ready_wait(l.r.consumer, MOMENT), SHE_TIMEOUT);
    loader_finish(&l, 1, position);
    CHECK_EQ(she_loader_ready_wait(l.r.consumer, INT64_MAX), SHE_WOKEN);
    l.seen = l.drawn;
    (void)loader_announce(&l, 1);
    loader_work(&l, 1, 1);
    CHECK_EQ(she_loader_ready_wait(l.r.consumer, INT64_MAX), SHE_OK);
    loader_take_and_release(&l, 1);
    loader_close(&l);
}
