/* A producer dies, or is stopped and continued, at every step of claim, commit, abort and signal.
 *
 * Built with SHE_FAULTS. One child, the victim, executes a script that passes every step of enum
 * she_fault_step while the consumer, another child, sleeps on the sample that the victim is about
 * to commit. The victim is killed or stopped when it is at a step for the nth time: for every step,
 * for every n. Then others send for several laps, until they have ended or all sleep; then the dead
 * victim is recovered and its owner id assigned to a successor, or the stopped victim goes on. In
 * the end every sample has arrived once and no process sleeps for ever: no wait has a time-out, so
 * a lost wake runs into the watchdog.
 */
#include "processes.h"

#include "sample.h"

#ifndef SHE_FAULTS
#error "build this with SHE_FAULTS, as `make faults` does"
#endif

#define FOREVER (INT64_C(3600) * 1000000000)
#define BATCH 4
#define BUFFERS 2
#define OTHERS 2
#define VICTIM 1 /* its owner id; those of the others follow */
#define LAPS 5   /* the number that each of the others sends */

enum { VICTIM_STREAM, SUCCESSOR_STREAM, OTHER_STREAM, STREAMS = OTHER_STREAM + OTHERS };
enum action { NOTHING, KILL, STOP };

typedef struct {
    she_atomic64 hits[SHE_STEP_COUNT]; /* by the victim */
    she_atomic32 go;                   /* the others may begin */
    she_event_count gone;
    she_atomic64 taken;
    she_event_count took;
    ledger ledgers[STREAMS];
} shared;

typedef struct {
    rig r;
    shared *all;
    enum action action;
    int step;     /* at which the victim takes the action, */
    uint64_t nth; /* when it is there for the nth time */
    bool flush;   /* the consumer ends its batches early */
    pid_t consumer;
    uint32_t owner; /* of a sender */
    uint64_t stream;
} stage;

/* ---- the victim ------------------------------------------------------------------------------ */

static stage *victim;
static bool on_its_own = true; /* the others have not begun: the script may wait for the consumer */

static void at_step(int step) {
    uint64_t hits = she_add_relaxed(&victim->all->hits[step], 1) + 1;
    if (step != victim->step || hits != victim->nth)
        return;
    if (victim->action == KILL)
        kill(getpid(), SIGKILL);
    if (victim->action == STOP) {
        kill(getpid(), SIGSTOP);
        on_its_own = false;
    }
}

/* Wait until the consumer sleeps on a position, so that the next step finds it asleep. */
static void until_the_consumer_sleeps_on(const stage *s, uint64_t position) {
    while (on_its_own && awaited_of(&s->r) != position + 1)
        breathe();
    if (on_its_own)
        until_asleep(s->consumer);
}

static void send_held(stage *s, uint64_t position, uint64_t number) {
    ledger *account = &s->all->ledgers[s->stream];
    sample_write(s->r.ring, position, s->stream, number);
    account->tried[number] = 1;
    CHECK_EQ(she_commit(s->r.producer[s->owner], position), SHE_OK);
    account->sent[number] = 1;
}

/* The script. Of the claims of a batch of four, one is sent and one is aborted; then the aborted
 * one is claimed again, and all are sent. */
static void walk_through_all_steps(void *argument) {
    stage *s = victim = argument;
    she_producer *producer = s->r.producer[s->owner];
    uint64_t held[4], n = 0, number = 0;
    she_fault_hook = at_step;
    until_the_consumer_sleeps_on(s, 0);
    while (n < 3 && she_claim(producer, &held[n]) == SHE_OK)
        n++;
    if (n < 3 && !on_its_own) { /* stopped before this, and the ring is full now */
        while (n > 0)
            CHECK_EQ(she_abort(producer, held[--n]), SHE_OK);
        return;
    }
    CHECK_EQ(n, 3);
    send_held(s, held[0], number++); /* the consumer sleeps on it: passes the baton */
    until_the_consumer_sleeps_on(s, held[1]);
    CHECK_EQ(she_abort(producer, held[1]), SHE_OK);
    held[0] = held[2]; /* the claim that is left */
    n = 1;
    until_the_consumer_sleeps_on(s, s->flush ? held[0] : held[1]);
    while (n < 3 && she_claim(producer, &held[n]) == SHE_OK) /* never waits: it holds a claim */
        n++;
    for (; n > 0; n--) { /* in the order of their positions, as the consumer waits for them */
        uint64_t first = 0;
        for (uint64_t i = 1; i < n; i++)
            if (held[i] < held[first])
                first = i;
        uint64_t position = held[first];
        held[first] = held[n - 1];
        until_the_consumer_sleeps_on(s, position);
        send_held(s, position, number++);
    }
}

/* ---- the others, and the consumer ------------------------------------------------------------ */

static void send_several_laps(void *argument) {
    stage *s = argument;
    she_producer *producer = s->r.producer[s->owner];
    for (;;) {
        uint32_t ticket = she_ec_ticket(&s->all->gone);
        if (she_load32_acquire(&s->all->go))
            break;
        (void)she_ec_wait(&s->all->gone, ticket, FOREVER);
    }
    for (uint64_t number = 0; number < LAPS * BATCH * BUFFERS; number++) {
        uint64_t position;
        for (;;) {
            uint32_t ticket = she_claim_ticket(producer);
            if (she_claim(producer, &position) == SHE_OK)
                break;
            CHECK_EQ(she_claim_wait(producer, ticket, FOREVER), SHE_WOKEN);
        }
        if (number % 7 == 3)
            CHECK_EQ(she_abort(producer, position), SHE_OK);
        else
            send_held(s, position, number);
    }
}

static void consume(void *argument) {
    stage *s = argument;
    she_consumer *c = s->r.consumer;
    uint64_t batch, samples;
    for (;;) {
        if (s->flush && she_pending(c) > 0)
            (void)she_seal(c);
        int rc = she_ready_wait(c, FOREVER);
        if (rc == SHE_CLOSED && she_pending(c) == 0)
            return;
        if (rc == SHE_CLOSED) { /* no producer writes any more */
            (void)she_seal(c);
            rc = she_ready(c);
            CHECK_EQ(rc, SHE_OK);
        }
        CHECK(rc == SHE_OK || rc == SHE_WOKEN);
        if (rc != SHE_OK)
            continue;
        she_take(c, &batch, &samples);
        ledger_enter(s->all->ledgers, STREAMS, s->r.ring, batch, samples);
        she_release(s->r.ring, batch);
        she_store_release(&s->all->taken, c->taken_total);
        she_ec_signal(&s->all->took);
    }
}

/* ---- the parent ------------------------------------------------------------------------------ */

static pid_t start_sender(const stage *s, uint32_t owner, uint64_t stream, void (*body)(void *)) {
    stage mine = *s;
    mine.owner = owner;
    mine.stream = stream;
    return child_start(body, &mine);
}

static uint64_t sum_sent(const stage *s) {
    uint64_t sent = 0;
    for (int stream = 0; stream < STREAMS; stream++)
        for (uint64_t n = 0; n < LEDGER_SAMPLES; n++)
            sent += s->all->ledgers[stream].sent[n];
    return sent;
}

/* All senders have ended: the consumer must find every complete batch by itself, and then sleep. */
static void check_that_no_batch_is_slept_through(const stage *s) {
    uint64_t complete = sum_sent(s) / BATCH * BATCH;
    for (;;) {
        uint32_t ticket = she_ec_ticket(&s->all->took);
        if (she_load_acquire(&s->all->taken) >= complete)
            break;
        (void)she_ec_wait(&s->all->took, ticket, FOREVER);
    }
    until_asleep(s->consumer);
    she_consumer *look;
    CHECK_EQ(she_consumer_open(s->r.ring, &look), SHE_OK);
    look->next_batch = she_load_acquire(&s->all->taken) / BATCH;
    CHECK_EQ(she_ready(look), SHE_FULL);
    she_consumer_free(look);
}

/* One run of the script. If `quiet`, the recovery or continuation comes only when all others have
 * ended or sleep. */
static void scene(stage *s, bool quiet) {
    pid_t other[OTHERS], target, successor = 0;
    rig_open(&s->r, BATCH, BUFFERS, false);
    s->all = rig_memory(sizeof *s->all);
    s->consumer = child_start(consume, s);
    target = start_sender(s, VICTIM, VICTIM_STREAM, walk_through_all_steps);
    for (uint32_t i = 0; i < OTHERS; i++)
        other[i] = start_sender(s, VICTIM + 1 + i, OTHER_STREAM + i, send_several_laps);
    int status = child_wait(target, WUNTRACED);
    if (s->action == KILL && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        FAIL("step %d was not reached %" PRIu64 " times: status %#x", s->step, s->nth, status);
    if (s->action == STOP && !WIFSTOPPED(status))
        FAIL("step %d was not reached %" PRIu64 " times: status %#x", s->step, s->nth, status);
    if (s->action == NOTHING)
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    she_store32_release(&s->all->go, 1);
    she_ec_signal(&s->all->gone);
    if (quiet) {
        for (int i = 0; i < OTHERS; i++)
            until_asleep(other[i]);
        until_asleep(s->consumer);
    }
    if (s->action == KILL) {
        (void)she_recover(s->r.ring, VICTIM);
        CHECK_EQ(she_held(s->r.ring, VICTIM), 0);
        she_reinstate(s->r.ring, VICTIM);
        successor = start_sender(s, VICTIM, SUCCESSOR_STREAM, send_several_laps);
    }
    if (s->action == STOP) {
        CHECK_EQ(kill(target, SIGCONT), 0);
        child_finish(target);
    }
    for (int i = 0; i < OTHERS; i++)
        child_finish(other[i]);
    if (successor)
        child_finish(successor);
    if (!s->flush)
        check_that_no_batch_is_slept_through(s);
    she_ring_close(s->r.ring);
    child_finish(s->consumer);
    uint64_t came = 0;
    for (uint64_t stream = 0; stream < STREAMS; stream++)
        came += ledger_check(&s->all->ledgers[stream], stream);
    CHECK_EQ(came, she_load_relaxed(&s->all->taken));
    for (uint64_t p = 0; p < BATCH * BUFFERS; p++)
        CHECK_EQ(she_word_state(word_at(&s->r, p)), SHE_FREE);
}

static void clear(stage *s) {
    munmap(s->all, sizeof *s->all);
    rig_close(&s->r);
}

/* Count how often the undisturbed script passes each step. */
static void count_steps(bool flush, uint64_t hits[SHE_STEP_COUNT]) {
    stage s = {.action = NOTHING, .flush = flush};
    scene(&s, false);
    for (int step = 1; step < SHE_STEP_COUNT; step++)
        hits[step] = she_load_relaxed(&s.all->hits[step]);
    clear(&s);
}

static void disturb_at_every_step(enum action action, bool flush) {
    uint64_t hits[SHE_STEP_COUNT];
    count_steps(flush, hits);
    for (int step = 1; step < SHE_STEP_COUNT; step++)
        for (uint64_t nth = 1; nth <= hits[step]; nth++)
            for (int quiet = 0; quiet < 2; quiet++) {
                stage s = {.action = action, .step = step, .nth = nth, .flush = flush};
                scene(&s, quiet);
                CHECK(she_load_relaxed(&s.all->hits[step]) >= nth); /* the victim reached it */
                clear(&s);
            }
}

CASE(the_script_passes_every_step) {
    uint64_t hits[SHE_STEP_COUNT];
    count_steps(false, hits);
    for (int step = 1; step < SHE_STEP_COUNT; step++)
        if (hits[step] == 0)
            FAIL("step %d is never reached", step);
}

CASE(a_producer_killed_at_any_step_harms_no_other) { disturb_at_every_step(KILL, false); }
CASE(a_producer_killed_at_any_step_does_not_hold_up_an_early_end) {
    disturb_at_every_step(KILL, true);
}
CASE(a_producer_stopped_at_any_step_loses_nothing_when_continued) {
    disturb_at_every_step(STOP, false);
}
CASE(a_producer_stopped_at_any_step_holds_an_early_end_up_and_no_more) {
    disturb_at_every_step(STOP, true);
}
