/* Learner and workers in processes: thousands of steps, and workers that are killed. No wait has a
 * time-out, so that a lost wake runs into the watchdog. */
#include "rendezvous_rig.h"

#define WORKERS RV_WORKERS
#define MAILBOXES 6

static void *work_in_thread(void *argument) {
    rv_job *j = argument;
    rv_work(j->rig, j->number);
    return NULL;
}

/* Give a command to every idle mailbox, wait for `needed` answers, take what is there. */
static void step(rv_rig *rig, uint64_t action, uint32_t needed) {
    uint32_t all[MAILBOXES];
    for (uint32_t m = 0; m < MAILBOXES; m++) {
        all[m] = m;
        /* Answers of the last step that it did not wait for are taken by now, or still pending. */
        if (!she_rv_pending(rig->learner, m)) {
            (void)rv_take(rig, m);
            rv_give(rig, m, action);
        }
    }
    for (uint32_t w = 0; w < WORKERS; w++)
        she_rv_notify(rig->learner, w);
    int rc;
    while ((rc = she_rv_await(rig->learner, all, MAILBOXES, needed, RV_FOREVER)) != SHE_OK)
        CHECK(rc == SHE_WOKEN);
    uint32_t taken = 0;
    for (uint32_t m = 0; m < MAILBOXES; m++)
        taken += rv_take(rig, m);
    CHECK(taken >= needed);
}

CASE(processes_step_together_for_all_and_for_the_first) {
    rv_rig rig;
    pid_t child[WORKERS];
    uint64_t chance = test_seed, rounds = test_option("samples", 4000);
    rv_open(&rig, WORKERS, MAILBOXES);
    for (uint32_t w = 0; w < WORKERS; w++)
        child[w] = rv_start(&rig, w, rv_work_in_child);
    for (uint64_t action = 1; action <= rounds; action++)
        step(&rig, action, action % 3 ? MAILBOXES : 1 + (uint32_t)test_below(&chance, MAILBOXES));
    she_rv_close(rig.learner);
    for (uint32_t w = 0; w < WORKERS; w++)
        child_finish(child[w]);
    rv_close(&rig);
}

CASE(threads_step_together) {
    rv_rig rig;
    pthread_t thread[WORKERS];
    rv_job jobs[WORKERS];
    uint64_t rounds = test_option("samples", 4000);
    rv_open(&rig, WORKERS, MAILBOXES);
    for (uint32_t w = 0; w < WORKERS; w++) {
        jobs[w] = (rv_job){&rig, w};
        CHECK_EQ(pthread_create(&thread[w], NULL, work_in_thread, &jobs[w]), 0);
    }
    for (uint64_t action = 1; action <= rounds; action++)
        step(&rig, action, action % 2 ? MAILBOXES : 2);
    she_rv_close(rig.learner);
    for (uint32_t w = 0; w < WORKERS; w++)
        pthread_join(thread[w], NULL);
    rv_close(&rig);
}

/* ---- deaths ---- */

CASE(killed_workers_are_replaced_and_nothing_late_or_torn_is_taken) {
    rv_world w;
    uint64_t chance = test_seed, kills = test_option("kills", 60), killed = 0, replaced = 0;
    uint32_t all[MAILBOXES];
    for (uint32_t m = 0; m < MAILBOXES; m++)
        all[m] = m;
    rv_begin(&w, WORKERS, MAILBOXES, rv_work_in_child);
    for (uint64_t action = 1; killed < kills || replaced < killed; action++) {
        uint32_t victim = (uint32_t)test_below(&chance, WORKERS);
        bool alive = !she_load32_acquire(&w.dead[victim]) && replaced == killed;
        bool kills_now = killed < kills && alive && test_below(&chance, 3) == 0;
        bool before = test_below(&chance, 2);
        if (kills_now && before)
            CHECK_EQ(kill(w.child[victim], SIGKILL), 0);
        for (;;) {
            replaced += rv_replace_dead(&w);
            rv_give_all(&w.rig, action);
            if (kills_now && !before) {
                CHECK_EQ(kill(w.child[victim], SIGKILL), 0);
                before = true;
            }
            int rc = she_rv_await(w.rig.learner, all, MAILBOXES, MAILBOXES, RV_FOREVER);
            if (rc == SHE_OK)
                break;
            CHECK(rc == SHE_WOKEN);
        }
        killed += kills_now;
        for (uint32_t m = 0; m < MAILBOXES; m++)
            CHECK(rv_take(&w.rig, m));
    }
    CHECK_EQ(replaced, kills);
    rv_end(&w);
}
