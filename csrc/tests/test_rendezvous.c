/* The rendezvous, step by step in one thread; test_stress_rendezvous.c has the processes. */
#include "rendezvous_rig.h"

static uint32_t both[] = {0, 1};

CASE(a_configuration_that_makes_no_sense_is_refused) {
    uint32_t worker_of[] = {0, 1, 2};
    uint8_t digest[32] = {0};
    she_rv_config c = {2, 2, 64, worker_of, digest};
    CHECK(she_rv_bytes(&c) > 0);
    CHECK_EQ(she_rv_rows_offset(&c) % 4096, 0);
    c.num_mailboxes = 3; /* the third belongs to worker 2, which is not there */
    CHECK_EQ(she_rv_bytes(&c), 0);
    c.num_mailboxes = 1;
    CHECK_EQ(she_rv_bytes(&c), 0);
    c.num_workers = 0;
    CHECK_EQ(she_rv_bytes(&c), 0);
    c = (she_rv_config){1, SHE_RV_MAX_MAILBOXES + 1, 64, NULL, digest};
    CHECK_EQ(she_rv_bytes(&c), 0);
    c = (she_rv_config){1, 1, UINT64_MAX - 8192, worker_of, digest};
    CHECK_EQ(she_rv_bytes(&c), 0);
    she_rv_learner *learner;
    CHECK_EQ(she_rv_create(NULL, 0, &c, &learner), SHE_E_CONFIG);
}

CASE(a_worker_attaches_to_what_it_expects_only) {
    rv_rig rig;
    rv_open(&rig, 2, 2);
    she_rv_worker *worker;
    she_rv_config c = rig.config;
    CHECK_EQ(she_rv_attach(rig.memory, rig.bytes - 1, &c, 0, 1, &worker), SHE_E_SIZE);
    CHECK_EQ(she_rv_attach(rig.memory, rig.bytes, &c, 2, 1, &worker), SHE_E_CONFIG);
    c.row_bytes -= 1;
    CHECK_EQ(she_rv_attach(rig.memory, rig.bytes, &c, 0, 1, &worker), SHE_E_MISMATCH);
    uint8_t digest[32] = {1};
    c = rig.config;
    c.digest = digest;
    CHECK_EQ(she_rv_attach(rig.memory, rig.bytes, &c, 0, 1, &worker), SHE_E_MISMATCH);
    she_rv_header *h = (void *)rig.memory;
    h->layout_version++;
    CHECK_EQ(she_rv_attach(rig.memory, rig.bytes, &rig.config, 0, 1, &worker), SHE_E_VERSION);
    she_store_relaxed(&h->magic, 0);
    CHECK_EQ(she_rv_attach(rig.memory, rig.bytes, &rig.config, 0, 1, &worker), SHE_E_MAGIC);
    rv_close(&rig);
}

/* The next command, which is there. */
static she_rv_word next(she_rv_worker *worker, uint32_t mailbox) {
    uint32_t found;
    she_rv_word command;
    CHECK_EQ(she_rv_next(worker, &found, &command, 0), SHE_OK);
    CHECK_EQ(found, mailbox);
    return command;
}

static void no_command(she_rv_worker *worker) {
    uint32_t mailbox;
    she_rv_word command;
    CHECK_EQ(she_rv_next(worker, &mailbox, &command, 0), SHE_TIMEOUT);
}

CASE(a_command_says_what_to_do_and_its_answer_what_came_of_it) {
    rv_rig rig;
    rv_open(&rig, 1, 1);
    she_rv_worker *worker = rv_attach(&rig, 0);
    she_rv_word answer;
    no_command(worker);
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_FULL);
    CHECK(!she_rv_pending(rig.learner, 0));
    CHECK_EQ(she_rv_command(rig.learner, 0, 3, 2, 99), SHE_OK);
    CHECK(she_rv_pending(rig.learner, 0));
    she_rv_word command = next(worker, 0);
    CHECK_EQ(command.code, 3);
    CHECK_EQ(command.set, 2);
    CHECK_EQ(command.text, 99);
    no_command(worker);
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_FULL);
    she_rv_answer(worker, 0, 5, 11);
    CHECK(!she_rv_pending(rig.learner, 0));
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_OK);
    CHECK_EQ(answer.code, 5);
    CHECK_EQ(answer.text, 11);
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_FULL); /* once */
    no_command(worker);
    she_rv_worker_free(worker);
    rv_close(&rig);
}

CASE(a_pending_command_is_not_overwritten) {
    rv_rig rig;
    rv_open(&rig, 1, 2);
    she_rv_worker *worker = rv_attach(&rig, 0);
    she_rv_word answer;
    CHECK_EQ(she_rv_command(rig.learner, 1, 1, 0, 0), SHE_OK);
    CHECK_EQ(she_rv_command(rig.learner, 1, 2, 0, 0), SHE_FULL);
    CHECK_EQ(she_rv_command_many(rig.learner, both, 2, 2, 0), 1); /* mailbox 0 */
    CHECK_EQ(next(worker, 0).code, 2);
    CHECK_EQ(next(worker, 1).code, 1);
    she_rv_answer(worker, 1, RV_OK, 0);
    CHECK_EQ(she_rv_command(rig.learner, 1, 2, 0, 0), SHE_FULL); /* answered, not taken */
    CHECK_EQ(she_rv_take(rig.learner, 1, &answer), SHE_OK);
    CHECK_EQ(she_rv_command(rig.learner, 1, 2, 0, 0), SHE_OK);
    CHECK_EQ(next(worker, 1).code, 2);
    she_rv_worker_free(worker);
    rv_close(&rig);
}

CASE(mailboxes_of_a_worker_take_turns) {
    rv_rig rig;
    rv_open(&rig, 1, 3);
    she_rv_worker *worker = rv_attach(&rig, 0);
    she_rv_word answer;
    uint32_t all[] = {0, 1, 2};
    CHECK_EQ(she_rv_command_many(rig.learner, all, 3, 1, 0), 3);
    for (uint32_t m = 0; m < 3; m++) {
        next(worker, m);
        she_rv_answer(worker, m, RV_OK, 0);
        CHECK_EQ(she_rv_take(rig.learner, m, &answer), SHE_OK);
        CHECK_EQ(she_rv_command(rig.learner, m, 1, 0, 0), SHE_OK); /* waits behind the others */
    }
    next(worker, 0);
    she_rv_worker_free(worker);
    rv_close(&rig);
}

CASE(a_wait_ends_with_the_answers_that_it_needs) {
    rv_rig rig;
    rv_open(&rig, 2, 2);
    she_rv_worker *worker[] = {rv_attach(&rig, 0), rv_attach(&rig, 1)};
    CHECK_EQ(she_rv_await(rig.learner, both, 2, 2, 0), SHE_OK); /* nothing is out */
    CHECK_EQ(she_rv_command_many(rig.learner, both, 2, 1, 0), 2);
    CHECK_EQ(she_rv_await(rig.learner, both, 2, 1, 1000), SHE_TIMEOUT);
    next(worker[1], 1);
    she_rv_answer(worker[1], 1, RV_OK, 0);
    CHECK_EQ(she_rv_await(rig.learner, both, 2, 1, RV_FOREVER), SHE_OK);
    CHECK_EQ(she_rv_await(rig.learner, both, 2, 2, 1000), SHE_TIMEOUT);
    CHECK_EQ(she_rv_await(rig.learner, both, 1, 1, 1000), SHE_TIMEOUT);
    next(worker[0], 0);
    she_rv_answer(worker[0], 0, RV_OK, 0);
    CHECK_EQ(she_rv_await(rig.learner, both, 2, 5, RV_FOREVER), SHE_OK); /* as many as are out */
    she_rv_worker_free(worker[0]);
    she_rv_worker_free(worker[1]);
    rv_close(&rig);
}

CASE(a_wake_from_another_thread_is_not_lost) {
    rv_rig rig;
    rv_open(&rig, 1, 1);
    CHECK_EQ(she_rv_command(rig.learner, 0, 1, 0, 0), SHE_OK);
    she_rv_wake_learner(rig.learner); /* before the wait */
    CHECK_EQ(she_rv_await(rig.learner, both, 1, 1, RV_FOREVER), SHE_WOKEN);
    CHECK_EQ(she_rv_await(rig.learner, both, 1, 1, 1000), SHE_TIMEOUT);
    rv_close(&rig);
}

CASE(what_a_dead_process_left_answers_no_later_command) {
    rv_rig rig;
    rv_open(&rig, 1, 1);
    she_rv_worker *old = rv_attach(&rig, 0);
    she_rv_word answer;
    CHECK_EQ(she_rv_command(rig.learner, 0, 1, 0, 0), SHE_OK);
    next(old, 0);
    uint16_t incarnation = she_rv_replace(rig.learner, 0);
    CHECK_EQ(incarnation, she_rv_incarnation(rig.learner, 0));
    CHECK(!she_rv_pending(rig.learner, 0));
    she_rv_worker *heir = rv_attach(&rig, 0);
    no_command(heir); /* the command of the dead one is void */
    she_rv_answer(old, 0, 66, 0);
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_FULL);
    CHECK_EQ(she_rv_command(rig.learner, 0, 2, 0, 0), SHE_OK);
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_FULL);
    no_command(old);
    CHECK_EQ(next(heir, 0).code, 2);
    she_rv_answer(heir, 0, RV_OK, 0);
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_OK);
    CHECK_EQ(answer.code, RV_OK);
    she_rv_worker_free(old);
    she_rv_worker_free(heir);
    rv_close(&rig);
}

CASE(an_answer_without_a_command_is_nothing) {
    rv_rig rig;
    rv_open(&rig, 1, 1);
    she_rv_worker *worker = rv_attach(&rig, 0);
    she_rv_word answer;
    she_rv_answer(worker, 0, RV_OK, 0);
    she_rv_answer(worker, 7, RV_OK, 0);
    CHECK_EQ(she_rv_command(rig.learner, 0, 1, 0, 0), SHE_OK);
    she_rv_answer(worker, 0, RV_OK, 0); /* not acquired yet */
    CHECK_EQ(she_rv_take(rig.learner, 0, &answer), SHE_FULL);
    CHECK_EQ(she_rv_command(rig.learner, 1, 1, 0, 0), SHE_E_CONFIG);
    uint32_t wrong = 1;
    CHECK_EQ(she_rv_await(rig.learner, &wrong, 1, 1, 0), SHE_E_CONFIG);
    she_rv_worker_free(worker);
    rv_close(&rig);
}

CASE(a_report_says_what_a_worker_is_at) {
    rv_rig rig;
    she_rv_report report;
    rv_open(&rig, 1, 1);
    she_rv_worker *worker = rv_attach(&rig, 0);
    CHECK_EQ(she_rv_command(rig.learner, 0, 1, 0, 0), SHE_OK);
    next(worker, 0);
    she_rv_at(worker, 12);
    she_rv_look_at(rig.learner, 0, &report);
    CHECK_EQ(report.at, 12);
    CHECK(report.since_ns > 0);
    CHECK_EQ(report.commands, 0);
    she_rv_answer(worker, 0, RV_OK, 0);
    she_rv_look_at(rig.learner, 0, &report);
    CHECK_EQ(report.since_ns, 0);
    CHECK_EQ(report.commands, 1);
    CHECK(report.busy_ns > 0);
    she_rv_worker_free(worker);
    rv_close(&rig);
}

CASE(the_end_reaches_every_worker) {
    rv_rig rig;
    uint32_t mailbox;
    she_rv_word command;
    rv_open(&rig, 2, 2);
    she_rv_worker *worker = rv_attach(&rig, 1);
    CHECK_EQ(she_rv_command(rig.learner, 1, 1, 0, 0), SHE_OK);
    she_rv_close(rig.learner);
    CHECK_EQ(she_rv_next(worker, &mailbox, &command, RV_FOREVER), SHE_CLOSED);
    she_rv_worker_free(worker);
    rv_close(&rig);
}

CASE(a_spin_that_fails_is_tried_more_and_more_rarely) {
    she_adaptive_wait wait = {0};
    she_adaptive_learn(&wait, false);
    CHECK_EQ(wait.skip, 0);
    uint32_t expected = SHE_ADAPTIVE_FIRST_SKIP;
    for (int i = 0; i < 12; i++) {
        she_adaptive_learn(&wait, false);
        CHECK_EQ(wait.skip, expected);
        if (expected < SHE_ADAPTIVE_FIRST_SKIP << 7)
            expected *= 2;
    }
    for (int i = 0; i < 4; i++)
        she_adaptive_learn(&wait, true);
    CHECK_EQ(wait.failures, 0);
    CHECK_EQ(wait.spins, 17);
    CHECK_EQ(wait.hits, 4);
}

static uint64_t clock_ns;
static uint32_t looks;
static uint64_t fake_clock(void) { return clock_ns; }
static bool soon(void *step) {
    clock_ns += *(uint64_t *)step;
    return ++looks >= 10;
}

CASE(a_spin_with_a_gap_is_a_failure_though_it_came_true) {
    she_adaptive_wait wait = {0};
    uint64_t step = 100;
    CHECK(she_adaptive_spin(&wait, soon, &step, fake_clock));
    CHECK_EQ(wait.hits, 1);
    looks = 5;
    step = SHE_ADAPTIVE_GAP_NS / 2; /* twice that lies between two readings of the clock */
    CHECK(she_adaptive_spin(&wait, soon, &step, fake_clock));
    CHECK_EQ(wait.hits, 1);
    CHECK_EQ(wait.failures, 1);
    wait.skip = 2;
    looks = 0;
    CHECK(!she_adaptive_spin(&wait, soon, &step, fake_clock));
    CHECK_EQ(looks, 0);
    CHECK_EQ(wait.skip, 1);
}
