/* The signals of commits and aborts: the baton that passes from sample to sample until the batch is
 * complete. One thread; a value in `awaited` stands for the sleeping consumer. */
#include "rig.h"

static void await(rig *r, uint64_t position) {
    she_store_seq(&r->ring->header->awaited, position + 1);
}

CASE(a_commit_that_is_not_awaited_does_not_signal) {
    rig r;
    rig_open(&r, 2, 2, false);
    uint32_t data = data_ticket(&r);
    send_many(&r, 1, 2);
    await(&r, 7);
    send_many(&r, 1, 2);
    CHECK_EQ(data_ticket(&r), data);
    rig_close(&r);
}

CASE(the_baton_goes_to_the_next_sample_that_is_not_there) {
    rig r;
    rig_open(&r, 5, 2, false);
    for (int i = 0; i < 5; i++)
        (void)claim_one(&r, 1 + (uint32_t)i % 2);
    uint32_t data = data_ticket(&r);
    await(&r, 0);
    commit_one(&r, 2, 1);
    CHECK_EQ(awaited_of(&r), 1);
    commit_one(&r, 1, 0); /* 1 is committed: passes the baton to 2 */
    CHECK_EQ(awaited_of(&r), 3);
    commit_one(&r, 2, 3);
    commit_one(&r, 1, 4);
    CHECK_EQ(data_ticket(&r), data);
    commit_one(&r, 1, 2); /* the last one */
    CHECK(data_ticket(&r) != data);
    rig_close(&r);
}

CASE(the_last_commit_of_a_batch_wakes_the_consumer_whichever_slot_it_is) {
    for (uint64_t last = 0; last < 4; last++) {
        rig r;
        rig_open(&r, 4, 2, false);
        send_many(&r, 2, 4); /* lap 0 */
        she_release(r.ring, take_one(&r, 4));
        send_many(&r, 2, 4);
        she_release(r.ring, take_one(&r, 4));
        for (int i = 0; i < 4; i++)
            (void)claim_one(&r, 1);
        uint32_t data = data_ticket(&r);
        await(&r, 8);
        for (uint64_t i = 0; i < 4; i++)
            if (i != last)
                commit_one(&r, 1, 8 + i);
        CHECK_EQ(data_ticket(&r), data);
        commit_one(&r, 1, 8 + last);
        CHECK(data_ticket(&r) != data);
        rig_close(&r);
    }
}

CASE(the_baton_stays_within_its_batch_and_its_lap) {
    rig r;
    rig_open(&r, 2, 2, false);
    send_many(&r, 1, 4);
    she_release(r.ring, take_one(&r, 2));
    CHECK_EQ(claim_one(&r, 1), 4); /* slot 1 is FREE of lap 1, slots 2 and 3 committed in lap 0 */
    uint32_t data = data_ticket(&r);
    await(&r, 4);
    commit_one(&r, 1, 4);
    CHECK_EQ(awaited_of(&r), 6);
    CHECK_EQ(data_ticket(&r), data);
    rig_close(&r);
}

CASE(skipped_slots_are_not_waited_for) {
    rig r;
    rig_open(&r, 4, 2, false);
    (void)claim_one(&r, 1);
    CHECK_EQ(she_seal(r.consumer), 1);
    uint32_t data = data_ticket(&r);
    await(&r, 0);
    commit_one(&r, 1, 0);
    CHECK(data_ticket(&r) != data);
    rig_close(&r);
}

/* A consumer that ends its batch early has to skip the hole: perhaps no producer ever fills it. */
CASE(a_hole_next_in_line_wakes_the_consumer) {
    rig r;
    rig_open(&r, 4, 2, false);
    (void)claim_one(&r, 1);
    (void)claim_one(&r, 1);
    abort_one(&r, 1, 1);
    uint32_t data = data_ticket(&r);
    await(&r, 0);
    commit_one(&r, 1, 0);
    CHECK(data_ticket(&r) != data);
    rig_close(&r);
}

/* Awaited or not: a consumer that ends its batch early may not have written `awaited` yet. */
CASE(an_abort_always_tells_the_consumer) {
    rig r;
    rig_open(&r, 4, 2, false);
    for (uint64_t awaited = 0; awaited <= 2; awaited++) { /* nothing, this one, another one */
        uint64_t p = claim_one(&r, 1);
        CHECK_EQ(p, 0);
        she_store_seq(&r.ring->header->awaited, awaited);
        uint32_t data = data_ticket(&r);
        abort_one(&r, 1, p);
        CHECK(data_ticket(&r) != data);
    }
    rig_close(&r);
}
