/* Two parties, step by step: at a chosen step of the first, the hook does all that the second does.
 *
 * Built with SHE_FAULTS. A stress test hits these moments once in a million runs. Waits have no
 * time-out: a lost wake runs into the watchdog.
 */
#include "rig.h"
#include "shm_echo/fault.h"

#ifndef SHE_FAULTS
#error "build this with SHE_FAULTS, as `make faults` does"
#endif

#define FOREVER (INT64_C(3600) * 1000000000)

/* ---- an action at a step, once --------------------------------------------------------------- */

static rig r;
static int when;
static void (*then)(void);
static uint64_t happened, theirs;

static void at_step(int step) {
    if (step != when)
        return;
    when = 0; /* `then` passes the same steps */
    happened++;
    then();
}

static void at(int step, void (*what)(void)) {
    when = step;
    then = what;
    happened = 0;
    she_fault_hook = at_step;
}

static void check_happened(void) {
    she_fault_hook = NULL;
    CHECK_EQ(happened, 1);
}

/* The actions of producer 2, the second party. */
static void commits_theirs(void) { commit_one(&r, 2, theirs); }
static void aborts_theirs(void) { abort_one(&r, 2, theirs); }
static void is_recovered(void) { CHECK_EQ(she_recover(r.ring, 2), 1); }
static void claims(void) { theirs = claim_one(&r, 2); }
static void claims_and_commits(void) { theirs = send_one(&r, 2); }

static const int wait_steps[] = {SHE_STEP_WAIT_LOOKED, SHE_STEP_WAIT_AWAITED, SHE_STEP_WAIT_SLEEP};

/* ---- the consumer goes to sleep -------------------------------------------------------------- */

CASE(the_last_commit_comes_while_the_consumer_falls_asleep) {
    for (int i = 0; i < 3; i++)
        for (uint64_t last = 0; last < 3; last++) {
            rig_open(&r, 3, 2, false);
            for (uint64_t p = 0; p < 3; p++)
                CHECK_EQ(claim_one(&r, p == last ? 2 : 1), p);
            for (uint64_t p = 0; p < 3; p++)
                if (p != last)
                    commit_one(&r, 1, p);
            theirs = last;
            at(wait_steps[i], commits_theirs);
            while (she_ready(r.consumer) != SHE_OK)
                CHECK(she_ready_wait(r.consumer, FOREVER) != SHE_TIMEOUT);
            check_happened();
            (void)take_one(&r, 3);
            rig_close(&r);
        }
}

static void commits_two(void) {
    commit_one(&r, 2, 0);
    commit_one(&r, 2, 1);
}
CASE(several_commits_come_while_the_consumer_falls_asleep) {
    for (int i = 0; i < 3; i++) {
        rig_open(&r, 2, 2, false);
        (void)claim_one(&r, 2);
        (void)claim_one(&r, 2);
        at(wait_steps[i], commits_two);
        while (she_ready(r.consumer) != SHE_OK)
            CHECK(she_ready_wait(r.consumer, FOREVER) != SHE_TIMEOUT);
        check_happened();
        rig_close(&r);
    }
}

/* After the first commit the consumer awaits another sample: the second committer must see that. */
static void commits_the_first_and_later_the_second(void) {
    commit_one(&r, 2, 0);
    theirs = 1;
    when = SHE_STEP_WAIT_SLEEP;
    then = commits_theirs;
}
CASE(the_awaited_position_moves_while_the_consumer_falls_asleep) {
    for (int i = 0; i < 3; i++) {
        rig_open(&r, 2, 2, false);
        (void)claim_one(&r, 2);
        (void)claim_one(&r, 2);
        at(wait_steps[i], commits_the_first_and_later_the_second);
        if (wait_steps[i] == SHE_STEP_WAIT_SLEEP) { /* past its last check: it times out */
            CHECK_EQ(she_ready_wait(r.consumer, 1000), SHE_TIMEOUT);
            CHECK_EQ(happened, 1);
        }
        while (she_ready(r.consumer) != SHE_OK)
            CHECK(she_ready_wait(r.consumer, FOREVER) != SHE_TIMEOUT);
        she_fault_hook = NULL;
        CHECK_EQ(happened, 2);
        rig_close(&r);
    }
}

CASE(a_claim_is_given_up_while_the_consumer_of_a_sealed_batch_falls_asleep) {
    void (*const ways[])(void) = {aborts_theirs, is_recovered};
    for (int i = 0; i < 3; i++)
        for (int way = 0; way < 2; way++)
            for (uint64_t which = 0; which < 3; which++) {
                rig_open(&r, 4, 2, false);
                for (uint64_t p = 0; p < 3; p++)
                    CHECK_EQ(claim_one(&r, p == which ? 2 : 1), p);
                for (uint64_t p = 0; p < 3; p++)
                    if (p != which)
                        commit_one(&r, 1, p);
                CHECK_EQ(she_seal(r.consumer), 3);
                theirs = which;
                at(wait_steps[i], ways[way]);
                while (she_ready(r.consumer) != SHE_OK)
                    CHECK(she_ready_wait(r.consumer, FOREVER) != SHE_TIMEOUT);
                check_happened();
                (void)take_one(&r, 2);
                rig_close(&r);
            }
}

static void closes(void) { she_ring_close(r.ring); }
CASE(the_ring_is_closed_while_the_consumer_falls_asleep) {
    for (int i = 0; i < 3; i++) {
        rig_open(&r, 2, 2, false);
        at(wait_steps[i], closes);
        int rc;
        while ((rc = she_ready_wait(r.consumer, FOREVER)) != SHE_CLOSED)
            CHECK_EQ(rc, SHE_WOKEN);
        check_happened();
        rig_close(&r);
    }
}

/* ---- the baton ------------------------------------------------------------------------------- */

/* The consumer sleeps on position 0 of a batch of three; producer 1 commits it, 2 has the rest. */
static void sleeping_on_the_first(void) {
    rig_open(&r, 3, 2, false);
    (void)claim_one(&r, 1);
    (void)claim_one(&r, 2);
    (void)claim_one(&r, 2);
    she_store_seq(&r.ring->header->awaited, 1);
}
static void commits_the_rest(void) {
    commit_one(&r, 2, 1);
    commit_one(&r, 2, 2);
}
static void commits_the_second(void) { commit_one(&r, 2, 1); }

static const int baton_steps[] = {SHE_STEP_COMMIT_START, SHE_STEP_COMMITTED, SHE_STEP_COMMIT_BATON,
                                  SHE_STEP_COMMIT_CHOSEN, SHE_STEP_COMMIT_PASSED};

CASE(a_baton_is_not_lost_when_the_others_commit_at_the_same_time) {
    for (int i = 0; i < 5; i++) {
        sleeping_on_the_first();
        uint32_t data = data_ticket(&r);
        at(baton_steps[i], commits_the_rest);
        commit_one(&r, 1, 0);
        check_happened();
        CHECK(data_ticket(&r) != data); /* the batch is complete: one committer has signalled */
        rig_close(&r);
    }
}

CASE(a_baton_ends_with_the_one_that_is_still_missing) {
    for (int i = 0; i < 5; i++) {
        sleeping_on_the_first();
        uint32_t data = data_ticket(&r);
        at(baton_steps[i], commits_the_second);
        commit_one(&r, 1, 0);
        check_happened();
        CHECK_EQ(data_ticket(&r), data);
        CHECK_EQ(awaited_of(&r), 3);
        commit_one(&r, 2, 2);
        CHECK(data_ticket(&r) != data);
        rig_close(&r);
    }
}

static void consumer_wakes(void) { she_store_relaxed(&r.ring->header->awaited, 0); }
CASE(a_baton_is_dropped_when_the_consumer_is_awake_again) {
    for (int i = 0; i < 4; i++) {
        sleeping_on_the_first();
        at(baton_steps[i], consumer_wakes);
        commit_one(&r, 1, 0);
        check_happened();
        CHECK_EQ(awaited_of(&r), 0); /* the consumer checks the batch itself */
        rig_close(&r);
    }
}

/* ---- claims ---------------------------------------------------------------------------------- */

CASE(two_producers_that_see_the_same_free_slot_get_different_ones) {
    rig_open(&r, 4, 2, true);
    at(SHE_STEP_CLAIM_LOOKED, claims);
    CHECK_EQ(claim_one(&r, 1), 1);
    check_happened();
    CHECK_EQ(theirs, 0);
    CHECK_EQ(she_load_relaxed(&r.ring->records[1].cas_failure), 1);
    rig_close(&r);
}

CASE(two_producers_that_see_the_same_hole_get_different_slots) {
    rig_open(&r, 4, 2, false);
    (void)claim_one(&r, 3);
    abort_one(&r, 3, 0);
    at(SHE_STEP_CLAIM_SCAN, claims);
    CHECK_EQ(claim_one(&r, 1), 1);
    check_happened();
    CHECK_EQ(theirs, 0);
    rig_close(&r);
}

/* A hole behind the position of the scan: its hole_gen must not count as scanned. */
static void takes_the_hole_and_makes_an_earlier_one(void) {
    CHECK_EQ(claim_one(&r, 2), 5);
    abort_one(&r, 2, 2);
}
CASE(a_hole_that_is_made_during_a_scan_is_found_by_the_next_one) {
    rig_open(&r, 8, 1, false);
    for (int i = 0; i < 6; i++)
        (void)claim_one(&r, 2);
    abort_one(&r, 2, 5);
    at(SHE_STEP_CLAIM_SCAN, takes_the_hole_and_makes_an_earlier_one);
    CHECK_EQ(claim_one(&r, 1), 6);
    check_happened();
    CHECK_EQ(claim_one(&r, 1), 2);
    rig_close(&r);
}

CASE(a_producer_that_has_claimed_and_not_moved_the_cursor_is_helped_once) {
    rig_open(&r, 4, 2, false);
    at(SHE_STEP_CLAIM_TAKEN, claims);
    CHECK_EQ(claim_one(&r, 1), 0);
    check_happened();
    CHECK_EQ(theirs, 1);
    CHECK_EQ(cursor_of(&r), 2);
    rig_close(&r);
}

static void a_lap_passes(void) {
    for (int lap = 0; lap < 2; lap++)
        for (int i = 0; i < 2; i++) {
            send_many(&r, 2, 2);
            she_release(r.ring, take_one(&r, 2));
        }
}
CASE(a_claim_that_slept_through_whole_laps_takes_nothing_old) {
    rig_open(&r, 2, 2, false);
    at(SHE_STEP_CLAIM_LOOKED, a_lap_passes);
    CHECK_EQ(claim_one(&r, 1), 8);
    check_happened();
    CHECK_WORD(&r, 8, 2, 1, SHE_CLAIMED);
    rig_close(&r);
}

static void seals(void) { (void)she_seal(r.consumer); }
CASE(a_slot_that_is_sealed_under_a_claim_is_not_claimed) {
    rig_open(&r, 2, 2, false);
    (void)send_one(&r, 2);
    at(SHE_STEP_CLAIM_LOOKED, seals);
    CHECK_EQ(claim_one(&r, 1), 2);
    check_happened();
    (void)take_one(&r, 1);
    rig_close(&r);
}

CASE(a_hole_that_is_sealed_under_a_claim_is_not_claimed) {
    rig_open(&r, 2, 2, false);
    (void)claim_one(&r, 2);
    (void)send_one(&r, 2);
    abort_one(&r, 2, 0);
    at(SHE_STEP_CLAIM_SCAN, seals);
    CHECK_EQ(claim_one(&r, 1), 2);
    check_happened();
    (void)take_one(&r, 1);
    rig_close(&r);
}

/* The ticket is older than the signal, so the wait returns at once; the next claim finds the
 * hole. */
static void releases(void) { she_release(r.ring, take_one(&r, 2)); }
CASE(space_that_comes_while_a_ring_is_found_full_is_not_slept_through) {
    void (*const ways[])(void) = {aborts_theirs, is_recovered, releases};
    for (int way = 0; way < 3; way++) {
        rig_open(&r, 2, 2, false);
        send_many(&r, 1, 2);
        theirs = claim_one(&r, 2);
        (void)send_one(&r, 1);
        uint32_t ticket = she_claim_ticket(r.producer[1]);
        at(SHE_STEP_CLAIM_LOOKED, ways[way]);
        check_full(&r, 1);
        check_happened();
        CHECK_EQ(she_claim_wait(r.producer[1], ticket, FOREVER), SHE_WOKEN);
        CHECK_EQ(claim_one(&r, 1), way == 2 ? 4 : theirs);
        rig_close(&r);
    }
}

/* ---- ends of claims -------------------------------------------------------------------------- */

static void first_is_recovered(void) {
    she_revoke(r.ring, 1);
    CHECK_EQ(she_recover(r.ring, 1), 1);
}
CASE(a_commit_or_an_abort_fails_if_the_claim_is_recovered_at_that_moment) {
    for (int way = 0; way < 2; way++) {
        rig_open(&r, 2, 2, false);
        uint64_t p = claim_one(&r, 1);
        at(way ? SHE_STEP_ABORT_START : SHE_STEP_COMMIT_START, first_is_recovered);
        CHECK_EQ(way ? she_abort(r.producer[1], p) : she_commit(r.producer[1], p), SHE_GIVEN_UP);
        check_happened();
        CHECK_WORD(&r, p, 0, 0, SHE_HOLE);
        rig_close(&r);
    }
}

CASE(a_hole_may_be_filled_before_its_maker_signals_it) {
    for (int step = SHE_STEP_ABORT_HOLE; step <= SHE_STEP_ABORT_BUMPED; step++) {
        rig_open(&r, 2, 1, false);
        uint64_t p = claim_one(&r, 1);
        send_many(&r, 2, 1);
        /* Producer 2 sees a new hole_gen, of another producer. */
        she_store_seq(&r.ring->header->hole_gen, 7);
        at(step, claims_and_commits);
        abort_one(&r, 1, p);
        check_happened();
        CHECK_EQ(theirs, p);
        (void)take_one(&r, 2);
        rig_close(&r);
    }
}
