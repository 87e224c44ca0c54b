/* Workers of a loader's ring die, or are stopped and continued, at every step.
 *
 * Built with SHE_FAULTS. The parent is the trainer: it announces batches of several epochs, each
 * with a short last one, keeps one batch for the whole run, and takes the rest. One child, the
 * victim, works alone until it is killed or stopped, at a step for the nth time; then two others
 * begin. The trainer recovers the dead one and starts another with its id, or continues the stopped
 * one.
 * Every item of the sampler comes once, whole and in order, and no wait has a time-out, so that a
 * lost wake runs into the watchdog.
 */
#include "processes.h"

#include "loader_rig.h"

#ifndef SHE_FAULTS
#error "build this with SHE_FAULTS, as `make faults` does"
#endif

#define FOREVER (INT64_C(3600) * 1000000000)
#define VICTIM 1 /* its owner id; those of the others follow */
#define OTHERS 2
#define SLOTS 2
#define BUFFERS 3
#define RUN 2
#define EPOCH_ROWS 11 /* batches of 4, 4 and 3 rows */
#define EPOCHS 6
#define ALONE 4 /* epochs after which the others begin in any case */

enum action { NOTHING, KILL, STOP };

typedef struct {
    loader_rig l;
    enum action action;
    int step;
    uint64_t nth;
    bool breaks; /* the loop is left in each epoch, and its batches are cancelled */
    uint32_t owner;
    she_atomic64 *hits; /* by step; shared */
} stage;

/* ---- workers --------------------------------------------------------------------------------- */

static stage *victim;

static void at_step(int step) {
    uint64_t hits = she_add_relaxed(&victim->hits[step], 1) + 1;
    if (victim->step != step || victim->nth != hits)
        return;
    if (victim->action == KILL)
        kill(getpid(), SIGKILL);
    if (victim->action == STOP)
        kill(getpid(), SIGSTOP);
}

static void work(void *argument) {
    stage *s = argument;
    she_producer *p = s->l.r.producer[s->owner];
    for (uint64_t n = 1;; n++) {
        uint64_t position;
        uint32_t ticket = she_claim_ticket(p);
        int rc = she_loader_claim(p, &position);
        if (rc == SHE_OK) {
            if (n % 5 == 4) {
                CHECK_EQ(she_abort(p, position), SHE_OK);
                continue;
            }
            loader_make(p, position);
            CHECK_EQ(she_commit(p, position), SHE_OK);
            continue;
        }
        if (rc == SHE_FULL)
            rc = she_claim_wait(p, ticket, FOREVER);
        if (rc == SHE_CLOSED)
            return;
        CHECK(rc == SHE_WOKEN);
    }
}

static void be_the_victim(void *argument) {
    victim = argument;
    she_fault_hook = at_step;
    work(argument);
}

static pid_t start(const stage *s, uint32_t owner, void (*body)(void *)) {
    stage mine = *s;
    mine.owner = owner;
    return child_start(body, &mine);
}

/* ---- the trainer ----------------------------------------------------------------------------- */

static pid_t target;

/* If the victim was killed or stopped meanwhile: recover its id, or continue it. */
static bool look_after_the_victim(stage *s) {
    int status;
    if (!target || waitpid(target, &status, WUNTRACED | WNOHANG) != target)
        return false;
    if (WIFSTOPPED(status)) {
        CHECK_EQ(kill(target, SIGCONT), 0);
        return true;
    }
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)she_recover(s->l.r.ring, VICTIM);
    CHECK_EQ(she_held(s->l.r.ring, VICTIM), 0);
    she_reinstate(s->l.r.ring, VICTIM);
    target = 0;
    return true;
}

/* The rows of the next batch; announced rows are numbered through all epochs. */
static uint64_t due(uint64_t drawn) {
    uint64_t rest = EPOCH_ROWS - drawn % EPOCH_ROWS;
    return rest < SLOTS * RUN ? rest : SLOTS * RUN;
}

static void announce_all(loader_rig *l) {
    uint64_t batch;
    while (l->drawn < EPOCHS * EPOCH_ROWS &&
           loader_try_announce(l, due(l->drawn), &batch) == SHE_OK)
        continue;
}

static void scene(stage *s, pid_t *successor) {
    loader_rig *l = &s->l;
    pid_t other[OTHERS];
    uint64_t kept = UINT64_MAX;
    loader_open(l, SLOTS, BUFFERS, RUN);
    s->hits = rig_memory((SHE_STEP_LOADER_OPENED + 1) * sizeof *s->hits);
    *successor = 0;
    bool begun = false;
    target = start(s, VICTIM, be_the_victim);
    while (l->seen < EPOCHS * EPOCH_ROWS) {
        bool disturbed = look_after_the_victim(s);
        if (!begun && (disturbed || l->seen >= ALONE * EPOCH_ROWS)) {
            begun = true;
            for (uint32_t i = 0; i < OTHERS; i++)
                other[i] = start(s, VICTIM + 1 + i, work);
        }
        if (disturbed && !target)
            *successor = start(s, VICTIM, work);
        if (s->breaks && l->seen % EPOCH_ROWS == SLOTS * RUN) { /* after its first batch */
            she_loader_cancel(l->r.consumer);
            l->drawn = l->seen = (l->seen / EPOCH_ROWS + 1) * EPOCH_ROWS;
            if (l->seen == EPOCHS * EPOCH_ROWS)
                break;
        }
        announce_all(l);
        int rc = she_loader_ready_wait(l->r.consumer, 1000000); /* to look after the victim */
        CHECK(rc == SHE_OK || rc == SHE_WOKEN || rc == SHE_TIMEOUT);
        if (rc != SHE_OK)
            continue;
        uint64_t batch = loader_take(l, due(l->seen));
        if (kept == UINT64_MAX)
            kept = batch;
        else
            she_release(l->r.ring, batch);
    }
    loader_check_rows(l, kept, 0, SLOTS * RUN); /* nobody has written into it */
    she_ring_close(l->r.ring);
    for (int i = 0; i < OTHERS && begun; i++)
        child_finish(other[i]);
    if (*successor)
        child_finish(*successor);
    while (target) { /* its step may come only now */
        int status = child_wait(target, WUNTRACED);
        if (WIFSTOPPED(status)) {
            CHECK_EQ(kill(target, SIGCONT), 0);
            continue;
        }
        CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
              (s->action == KILL && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        target = 0;
    }
}

static void clear(stage *s) {
    munmap(s->hits, (SHE_STEP_LOADER_OPENED + 1) * sizeof *s->hits);
    loader_close(&s->l);
}

/* How often the victim passes a step depends on chance: whether the trainer sleeps, for example. */
#define PASSAGES 2
#define TRIES 100

static void disturb(enum action action, bool breaks) {
    static const int steps[] = {
        SHE_STEP_CLAIM_START,   SHE_STEP_CLAIM_SCAN,    SHE_STEP_CLAIM_HOLE,
        SHE_STEP_LOADER_GATE,   SHE_STEP_CLAIM_LOOKED,  SHE_STEP_CLAIM_TAKEN,
        SHE_STEP_CLAIM_MOVED,   SHE_STEP_COPIED_HALF,   SHE_STEP_COMMIT_START,
        SHE_STEP_COMMITTED,     SHE_STEP_COMMIT_BATON,  SHE_STEP_COMMIT_CHOSEN,
        SHE_STEP_COMMIT_PASSED, SHE_STEP_COMMIT_SIGNAL, SHE_STEP_SIGNAL_COUNTED,
        SHE_STEP_ABORT_START,   SHE_STEP_ABORT_HOLE,    SHE_STEP_ABORT_BUMPED};
    pid_t successor;
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++)
        for (uint64_t nth = 1; nth <= PASSAGES; nth++) {
            bool reached = false;
            for (int tries = 0; !reached && tries < TRIES; tries++) {
                stage s = {.action = action, .step = steps[i], .nth = nth, .breaks = breaks};
                scene(&s, &successor);
                reached = she_load_relaxed(&s.hits[steps[i]]) >= nth;
                clear(&s);
            }
            if (!reached)
                FAIL("step %d was not reached %" PRIu64 " times", steps[i], nth);
        }
}

CASE(a_worker_killed_at_any_step_loses_no_row) { disturb(KILL, false); }
CASE(a_worker_killed_at_any_step_does_not_hold_up_a_break) { disturb(KILL, true); }
CASE(a_worker_stopped_at_any_step_only_delays) { disturb(STOP, false); }
CASE(undisturbed_epochs_and_breaks_are_whole) {
    pid_t successor;
    for (int round = 0; round < 20; round++) {
        stage s = {.action = NOTHING, .breaks = round % 2};
        scene(&s, &successor);
        clear(&s);
    }
}

/* ---- the trainer's steps, with workers in between -------------------------------------------- */

static loader_rig *between;
static int wanted_step;
static uint64_t claimed[8], claims;

/* A worker with an old cursor tries to claim in the middle of an announcement. */
static void claim_with_an_old_cursor(int step) {
    if (step != wanted_step)
        return;
    she_fault_hook = NULL;
    uint64_t position;
    if (she_loader_claim(between->r.producer[2], &position) == SHE_OK)
        claimed[claims++] = position;
    she_fault_hook = claim_with_an_old_cursor;
}

CASE(claims_in_the_middle_of_an_announcement_find_whole_orders) {
    static const int steps[] = {SHE_STEP_LOADER_ORDER, SHE_STEP_LOADER_QUEUED,
                                SHE_STEP_LOADER_OPENED};
    for (int i = 0; i < 3; i++)
        for (uint64_t rows = 1; rows <= 4; rows++) {
            loader_rig l;
            loader_open(&l, 2, 2, 2);
            between = &l;
            claims = 0;
            (void)loader_announce(&l, 4);
            loader_work(&l, 1, 2);
            loader_take_and_release(&l, 4);
            wanted_step = steps[i];
            she_fault_hook = claim_with_an_old_cursor;
            (void)loader_announce(&l, rows);
            she_fault_hook = NULL;
            CHECK_EQ(claims, steps[i] == SHE_STEP_LOADER_OPENED);
            for (uint64_t n = 0; n < claims; n++)
                loader_finish(&l, 2, claimed[n]);
            loader_work(&l, 1, (rows + 1) / 2 - claims);
            loader_check_full(&l, 1);
            loader_take_and_release(&l, rows);
            loader_close(&l);
        }
}

/* The worker's claim stands after its look at cursor and gate, while the trainer takes that batch
 * and announces another into the same buffer. */
static void replace_the_batch(int step) {
    if (step != SHE_STEP_LOADER_GATE || claims)
        return;
    claims = 1;
    loader_work(between, 1, 2);
    loader_take_and_release(between, 4);
    (void)loader_announce(between, 2);
}

CASE(a_claim_with_an_old_gate_gets_the_later_batch_whole) {
    loader_rig l;
    loader_open(&l, 2, 1, 2);
    between = &l;
    claims = 0;
    (void)loader_announce(&l, 4);
    she_fault_hook = replace_the_batch;
    uint64_t position = loader_claim(&l, 2);
    she_fault_hook = NULL;
    CHECK_EQ(she_loader_run(l.r.ring, position)->first_row, 4);
    loader_finish(&l, 2, position);
    loader_check_full(&l, 1);
    loader_take_and_release(&l, 2);
    loader_close(&l);
}
