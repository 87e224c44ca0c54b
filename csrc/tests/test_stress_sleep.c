/* A producer and a consumer that fall asleep and wake each other all the time: each sample is
 * awaited, and is committed around the moment at which the consumer goes to sleep. A lost wake runs
 * into the watchdog. Built with SHE_SPIN_NS=0 (make faults), no wait ends by spinning. Options:
 * samples=.
 */
#include "processes.h"

#include "rig.h"

#define FOREVER (INT64_C(3600) * 1000000000)

typedef struct {
    rig r;
    uint64_t samples;
} stage;

static void dawdle(uint64_t *chance) {
    for (uint64_t n = test_below(chance, 400); n > 0; n--)
        she_pause();
}

static void produce(void *argument) {
    stage *s = argument;
    uint64_t chance = test_seed, position;
    for (uint64_t n = 0; n < s->samples; n++) {
        for (;;) {
            uint32_t ticket = she_claim_ticket(s->r.producer[1]);
            if (she_claim(s->r.producer[1], &position) == SHE_OK)
                break;
            CHECK_EQ(she_claim_wait(s->r.producer[1], ticket, FOREVER), SHE_WOKEN);
        }
        dawdle(&chance);
        commit_one(&s->r, 1, position);
    }
    int rc;
    while ((rc = she_drain_wait(s->r.producer[1], FOREVER)) != SHE_OK)
        CHECK_EQ(rc, SHE_WOKEN);
}

static void meet(uint64_t batch_size, uint64_t num_buffers) {
    stage s;
    uint64_t chance = test_seed + 1, batch, samples;
    s.samples = test_option("samples", 4000) / batch_size * batch_size;
    rig_open(&s.r, batch_size, num_buffers, false);
    pid_t child = child_start(produce, &s);
    while (s.r.consumer->taken_total < s.samples) {
        int rc = she_ready_wait(s.r.consumer, FOREVER);
        if (rc != SHE_OK) {
            CHECK_EQ(rc, SHE_WOKEN);
            continue;
        }
        she_take(s.r.consumer, &batch, &samples);
        dawdle(&chance);
        she_release(s.r.ring, batch);
    }
    child_finish(child);
    rig_close(&s.r);
}

CASE(no_wake_is_lost_in_a_ring_of_one_by_one) { meet(1, 1); }
CASE(no_wake_is_lost_in_a_ring_of_one_by_two) { meet(1, 2); }
CASE(no_wake_is_lost_in_a_ring_of_three_by_one) { meet(3, 1); }
CASE(no_wake_is_lost_in_a_ring_of_two_by_two) { meet(2, 2); }
CASE(no_wake_is_lost_in_a_ring_that_is_never_full) { meet(1, 256); }
