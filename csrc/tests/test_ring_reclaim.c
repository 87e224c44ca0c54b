/* Recover, revoke, reinstate, and an owner id that passes from one producer to the next. */
#include "processes.h"

#include "rig.h"

#define SECOND INT64_C(1000000000)
#define FOREVER (3600 * SECOND)

CASE(recovery_turns_the_claims_of_one_owner_into_holes) {
    rig r;
    rig_open(&r, 4, 2, false);
    for (uint32_t i = 0; i < 8; i++)
        (void)claim_one(&r, 1 + i % 2);
    commit_one(&r, 1, 0);
    uint64_t gen = hole_gen_of(&r);
    CHECK_EQ(she_recover(r.ring, 1), 3);
    CHECK_EQ(hole_gen_of(&r), gen + 1);
    CHECK_WORD(&r, 0, 0, 1, SHE_COMMITTED); /* a committed sample stays */
    for (uint64_t p = 2; p < 8; p += 2)
        CHECK_WORD(&r, p, 0, 0, SHE_HOLE);
    for (uint64_t p = 1; p < 8; p += 2)
        CHECK_WORD(&r, p, 0, 2, SHE_CLAIMED);
    CHECK_EQ(she_recover(r.ring, 1), 0); /* nothing is left to recover */
    rig_close(&r);
}

CASE(recovery_finds_claims_in_every_lap) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 2, 2);
    she_release(r.ring, take_one(&r, 2));
    for (int i = 0; i < 4; i++)
        (void)claim_one(&r, 1); /* positions 2 and 3 of lap 0, 4 and 5 of lap 1 */
    CHECK_EQ(she_recover(r.ring, 1), 4);
    CHECK_WORD(&r, 3, 0, 0, SHE_HOLE);
    CHECK_WORD(&r, 4, 1, 0, SHE_HOLE);
    rig_close(&r);
}

CASE(recovery_signals_even_when_there_was_nothing_to_take_back) {
    rig r;
    rig_open(&r, 2, 2, false);
    uint64_t gen = hole_gen_of(&r);
    uint32_t space = space_ticket(&r), data = data_ticket(&r);
    CHECK_EQ(she_recover(r.ring, 3), 0);
    CHECK(hole_gen_of(&r) != gen && space_ticket(&r) != space && data_ticket(&r) != data);
    rig_close(&r);
}

CASE(slots_that_the_dead_had_claimed_are_filled_by_others) {
    rig r;
    rig_open(&r, 4, 2, false);
    for (uint32_t i = 0; i < 8; i++)
        (void)claim_one(&r, 1 + i % 2);
    for (uint64_t p = 1; p < 8; p += 2)
        commit_one(&r, 2, p);
    check_full(&r, 2);
    CHECK_EQ(she_recover(r.ring, 1), 4);
    for (uint64_t p = 0; p < 8; p += 2)
        CHECK_EQ(send_one(&r, 2), p);
    CHECK_EQ(take_one(&r, 4), 0);
    CHECK_EQ(take_one(&r, 4), 1);
    CHECK(r.consumer->taken_by[1] == 0 && r.consumer->taken_by[2] == 8);
    rig_close(&r);
}

/* In a ring of batches of one, a whole lap may pass before the next look at the cursor. */
CASE(a_claimer_that_died_before_moving_the_cursor_stops_no_other) {
    for (uint64_t num_buffers = 1; num_buffers <= 3; num_buffers++) {
        rig r;
        rig_open(&r, 1, num_buffers, false);
        send_many(&r, 2, num_buffers);
        for (uint64_t i = 0; i < num_buffers; i++)
            she_release(r.ring, take_one(&r, 1));
        she_add_relaxed(&r.ring->records[1].begun, 1);
        set_word(&r, num_buffers, 1, 1, SHE_CLAIMED); /* and the cursor is not moved */
        CHECK_EQ(she_recover(r.ring, 1), 1);
        CHECK_EQ(send_one(&r, 2), num_buffers);
        CHECK_EQ(cursor_of(&r), num_buffers);
        she_release(r.ring, take_one(&r, 1));
        for (uint64_t i = 1; i <= 3 * num_buffers; i++) {
            CHECK_EQ(send_one(&r, 2), num_buffers + i);
            she_release(r.ring, take_one(&r, 1));
        }
        rig_close(&r);
    }
}

CASE(a_revoked_owner_claims_no_more_until_the_id_is_given_again) {
    rig r;
    uint64_t p;
    rig_open(&r, 4, 2, false);
    uint32_t space = space_ticket(&r), taken = taken_ticket(&r);
    she_revoke(r.ring, 1);
    CHECK(space_ticket(&r) != space && taken_ticket(&r) != taken);
    CHECK_EQ(she_claim(r.producer[1], &p), SHE_REVOKED);
    CHECK_EQ(claim_one(&r, 2), 0);
    (void)she_wait_begin(r.producer[1]); /* it died in a wait */
    she_reinstate(r.ring, 1);
    CHECK_EQ(she_load_relaxed(&r.ring->records[1].blocked_since_ns), 0);
    CHECK_EQ(claim_one(&r, 1), 1);
    rig_close(&r);
}

CASE(a_reused_owner_id_keeps_the_samples_of_its_last_owner) {
    rig r;
    she_producer *next;
    rig_open(&r, 4, 2, false);
    (void)send_one(&r, 1);
    (void)claim_one(&r, 1);
    she_revoke(r.ring, 1);
    CHECK_EQ(she_recover(r.ring, 1), 1);
    she_reinstate(r.ring, 1);
    CHECK_EQ(she_producer_open(r.ring, 1, &next), SHE_OK);
    CHECK_EQ(she_drained(next), SHE_OK); /* it has sent nothing itself */
    uint64_t p;
    for (uint64_t want = 1; want < 4; want++) { /* the hole first: a new producer scans */
        CHECK_EQ(she_claim(next, &p), SHE_OK);
        CHECK_EQ(p, want);
        CHECK_EQ(she_commit(next, p), SHE_OK);
    }
    (void)take_one(&r, 4);
    CHECK_EQ(r.consumer->taken_by[1], 4);
    she_producer_free(next);
    rig_close(&r);
}

/* ---- sleepers -------------------------------------------------------------------------------- */

static void wait_for_batch(void *argument) {
    rig *r = argument;
    while (she_ready(r->consumer) != SHE_OK)
        CHECK(she_ready_wait(r->consumer, FOREVER) != SHE_TIMEOUT);
}
static void wait_for_slot(void *argument) {
    rig *r = argument;
    uint64_t p;
    for (;;) {
        uint32_t ticket = she_claim_ticket(r->producer[2]);
        if (she_claim(r->producer[2], &p) == SHE_OK)
            break;
        CHECK(she_claim_wait(r->producer[2], ticket, FOREVER) != SHE_TIMEOUT);
    }
    commit_one(r, 2, p);
}

static void wait_until_drained(void *argument) {
    rig *r = argument;
    int rc;
    while ((rc = she_drain_wait(r->producer[3], FOREVER)) != SHE_OK)
        CHECK(rc != SHE_TIMEOUT);
}

static void until_marked(const she_event_count *ec, pid_t sleeper) {
    while (!(she_ec_ticket(ec) & 1u))
        breathe();
    until_asleep(sleeper);
}

CASE(recovery_wakes_a_producer_that_sleeps_on_a_full_ring) {
    rig r;
    rig_open(&r, 2, 1, false);
    (void)claim_one(&r, 1);
    (void)claim_one(&r, 1);
    pid_t child = child_start(wait_for_slot, &r);
    until_marked(&r.ring->header->space, child);
    CHECK_EQ(she_recover(r.ring, 1), 2);
    child_finish(child);
    rig_close(&r);
}

/* It committed the last sample and died before its signal, which no other producer makes up for. */
CASE(recovery_wakes_a_consumer_whose_batch_the_dead_had_completed) {
    rig r;
    rig_open(&r, 2, 1, false);
    (void)claim_one(&r, 1);
    (void)claim_one(&r, 1);
    pid_t child = child_start(wait_for_batch, &r);
    until_marked(&r.ring->header->data, child);
    set_word(&r, 0, 0, 1, SHE_COMMITTED);
    set_word(&r, 1, 0, 1, SHE_COMMITTED);
    CHECK_EQ(she_recover(r.ring, 1), 0);
    child_finish(child);
    rig_close(&r);
}

/* The first half of she_ec_signal, as if its caller were killed before the system call. */
static void half_a_signal(she_event_count *ec) {
    uint32_t seen = she_ec_ticket(ec);
    CHECK(she_cas32_seq(&ec->word, &seen, (seen & ~1u) + 2u));
}

CASE(recovery_wakes_the_sleepers_that_the_dead_was_about_to_wake) {
    rig r;
    rig_open(&r, 2, 2, false);
    for (uint32_t i = 0; i < 4; i++)
        (void)claim_one(&r, 1);
    pid_t producer = child_start(wait_for_slot, &r), consumer = child_start(wait_for_batch, &r);
    until_marked(&r.ring->header->space, producer);
    until_marked(&r.ring->header->data, consumer);
    commit_one(&r, 1, 0);
    set_word(&r, 1, 0, 1, SHE_COMMITTED);
    half_a_signal(&r.ring->header->data);
    half_a_signal(&r.ring->header->space);
    CHECK_EQ(she_recover(r.ring, 1), 2);
    child_finish(producer);
    child_finish(consumer);
    rig_close(&r);
}

/* A producer that is stopped signals `taken` too: dying in that must not leave a sleeper without
 * its bit. */
CASE(recovery_leaves_no_producer_asleep_that_waits_for_the_hand_out) {
    rig r;
    rig_open(&r, 2, 2, false);
    (void)send_one(&r, 3);
    (void)claim_one(&r, 1);
    pid_t child = child_start(wait_until_drained, &r);
    until_marked(&r.ring->header->taken, child);
    half_a_signal(&r.ring->header->taken);
    CHECK_EQ(she_recover(r.ring, 1), 1);
    (void)send_one(&r, 2);
    (void)take_one(&r, 2);
    child_finish(child);
    rig_close(&r);
}
