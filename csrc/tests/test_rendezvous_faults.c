/* A worker of a rendezvous dies, or is stopped and continued, at every step of a round.
 *
 * Built with SHE_FAULTS. The parent is the learner, with a thread that watches its workers. Every
 * step of it needs the answers of all, is given again to a worker that was replaced, and finds rows
 * that are whole and of this step. No wait has a time-out, so that a lost wake runs into the
 * watchdog.
 */
#include "rendezvous_rig.h"

#ifndef SHE_FAULTS
#error "build this with SHE_FAULTS, as `make faults` does"
#endif

#define MAILBOXES 2
#define ROUNDS 6

static int disturbed_step, disturbed_by;
static uint64_t disturbed_nth;
static she_atomic64 *hits; /* of the disturbed step; shared */

static void at_step(int step) {
    if (step == disturbed_step && she_add_relaxed(hits, 1) + 1 == disturbed_nth)
        kill(getpid(), disturbed_by);
}

static void be_the_victim(void *argument) {
    she_fault_hook = at_step;
    rv_work_in_child(argument);
}

/* True if the step was reached. */
static bool scene(void) {
    rv_world w;
    uint32_t all[MAILBOXES] = {0, 1};
    *hits = 0;
    rv_begin(&w, 2, MAILBOXES, be_the_victim);
    for (uint64_t action = 1; action <= ROUNDS; action++) {
        int rc;
        do {
            (void)rv_replace_dead(&w);
            rv_give_all(&w.rig, action);
            rc = she_rv_await(w.rig.learner, all, MAILBOXES, MAILBOXES, RV_FOREVER);
            CHECK(rc == SHE_OK || rc == SHE_WOKEN);
        } while (rc != SHE_OK);
        for (uint32_t m = 0; m < MAILBOXES; m++)
            CHECK(rv_take(&w.rig, m));
    }
    rv_end(&w);
    return *hits >= disturbed_nth;
}

/* How often a worker passes a step depends on chance: whether the learner sleeps, for example. */
#define PASSAGES 3
#define TRIES 200

static void disturb(int by) {
    static const int steps[] = {SHE_STEP_RV_LOOKED,   SHE_STEP_RV_ACQUIRED,   SHE_STEP_COPIED_HALF,
                                SHE_STEP_RV_WRITTEN,  SHE_STEP_RV_ANSWERED,   SHE_STEP_RV_COUNTED,
                                SHE_STEP_RV_COMPLETE, SHE_STEP_SIGNAL_COUNTED};
    hits = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(hits != MAP_FAILED);
    disturbed_by = by;
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++)
        for (disturbed_nth = 1; disturbed_nth <= PASSAGES; disturbed_nth++) {
            disturbed_step = steps[i];
            int tries = 0;
            while (!scene())
                if (++tries == TRIES)
                    FAIL("step %d was never reached %" PRIu64 " times", steps[i], disturbed_nth);
        }
    munmap((void *)hits, 4096);
}

CASE(a_worker_may_be_killed_at_any_step) { disturb(SIGKILL); }
CASE(a_worker_may_be_stopped_at_any_step) { disturb(SIGSTOP); }

/* The learner's own steps: another process answers in the moment between two of them. */
static int learner_step;
static void let_others_run(int step) {
    struct timespec moment = {.tv_nsec = 300000};
    if (step == learner_step)
        nanosleep(&moment, NULL);
}

CASE(answers_may_come_between_any_two_steps_of_the_learner) {
    static const int steps[] = {SHE_STEP_RV_COMMANDED, SHE_STEP_RV_BASE, SHE_STEP_RV_AWAITED,
                                SHE_STEP_RV_SLEEP};
    uint32_t all[MAILBOXES] = {0, 1};
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        rv_world w;
        rv_begin(&w, 2, MAILBOXES, rv_work_in_child);
        learner_step = steps[i];
        she_fault_hook = let_others_run;
        for (uint64_t action = 1; action <= 50; action++) {
            for (uint32_t m = 0; m < MAILBOXES; m++) {
                w.rig.rows[m].action = w.rig.expect[m] = action;
                w.rig.given[m]++;
            }
            CHECK_EQ(she_rv_command_many(w.rig.learner, all, MAILBOXES, 1, 0), MAILBOXES);
            int rc;
            do
                rc = she_rv_await(w.rig.learner, all, MAILBOXES, MAILBOXES, RV_FOREVER);
            while (rc == SHE_WOKEN);
            CHECK_EQ(rc, SHE_OK);
            for (uint32_t m = 0; m < MAILBOXES; m++)
                CHECK(rv_take(&w.rig, m));
        }
        she_fault_hook = NULL;
        rv_end(&w);
    }
}
