/* Producers that are killed at random and replaced, hundreds of times: every sample that was
 * committed before a death arrives once, none arrives torn, and no process sleeps for ever.
 *
 * The parent kills, recovers and starts producers; one child consumes, the others produce, some of
 * them with two threads. Built with SHE_FAULTS, the producers kill themselves instead, at a random
 * step of the protocol. Waits have no time-out: a lost wake runs into the watchdog. Options:
 * deaths=, producers= (at most 6).
 */
#include "processes.h"

#include <pthread.h>

#include "sample.h"

#define FOREVER (INT64_C(3600) * 1000000000)
#define MAX_DEATHS 4000
#define MAX_BURST 5

/* The memory that all processes share, beside the ring. */
typedef struct {
    she_atomic32 stop;
    she_atomic64 taken;
    she_atomic64 died_at[SHE_STEP_COUNT];
    ledger ledgers[];
} shared;

typedef struct {
    rig r;
    shared *all;
    uint64_t streams, seed;
} stage;

typedef struct {
    stage *s;
    uint32_t owner;
    uint64_t stream, chance;
} worker;

/* ---- a producer ------------------------------------------------------------------------------ */

static bool stopping(const stage *s) { return she_load32_acquire(&s->all->stop); }

/* One call at a time in each process, as the interpreter lock of a Python process has it. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int claim(she_producer *producer, uint64_t *position) {
    pthread_mutex_lock(&turn);
    int rc = she_claim(producer, position);
    pthread_mutex_unlock(&turn);
    return rc;
}

/* End a claim by she_commit or she_abort. */
static int end_claim(int (*how)(she_producer *, uint64_t), she_producer *producer,
                     uint64_t position) {
    pthread_mutex_lock(&turn);
    int rc = how(producer, position);
    pthread_mutex_unlock(&turn);
    return rc;
}

/* Claim a slot, waiting for space. False if this producer is revoked. */
static bool claim_patiently(worker *w, uint64_t *position) {
    she_producer *producer = w->s->r.producer[w->owner];
    for (;;) {
        uint32_t ticket = she_claim_ticket(producer);
        int rc = claim(producer, position);
        if (rc == SHE_OK)
            return true;
        if (rc == SHE_REVOKED)
            return false;
        CHECK_EQ(rc, SHE_FULL);
        rc = she_claim_wait(producer, ticket, FOREVER);
        CHECK(rc == SHE_WOKEN || rc == SHE_REVOKED || rc == SHE_INTERRUPTED);
    }
}

static void *produce(void *argument) {
    worker *w = argument;
    stage *s = w->s;
    ledger *account = &s->all->ledgers[w->stream];
    she_producer *producer = s->r.producer[w->owner];
    uint64_t number = 0, position[MAX_BURST];
    while (!stopping(s) && number + MAX_BURST < LEDGER_SAMPLES) {
        uint64_t n = 1, want = 1;
        if (test_below(&w->chance, 3) == 0)
            want += test_below(&w->chance, MAX_BURST);
        if (!claim_patiently(w, &position[0]))
            break;
        while (n < want && claim(producer, &position[n]) == SHE_OK)
            n++;
        for (uint64_t i = 0; i < n; i++) {
            if (test_below(&w->chance, 10) == 0) {
                sample_write(s->r.ring, position[i], w->stream, LEDGER_SAMPLES - 1);
                CHECK_EQ(end_claim(she_abort, producer, position[i]), SHE_OK);
                continue;
            }
            sample_write(s->r.ring, position[i], w->stream, number);
            account->tried[number] = 1;
            CHECK_EQ(end_claim(she_commit, producer, position[i]), SHE_OK);
            account->sent[number++] = 1;
        }
    }
    return NULL;
}

#ifdef SHE_FAULTS
static she_atomic64 *died_at;
static she_atomic64 steps_to_live; /* how often it passes the step below until it dies there */
static int step_to_die_at;

static void perhaps_die(int step) {
    if (step != step_to_die_at || she_add_seq(&steps_to_live, (uint64_t)-1) != 1)
        return;
    she_add_relaxed(&died_at[step], 1);
    kill(getpid(), SIGKILL);
}
#endif

/* Send stream w->stream; in some producers a second thread sends the next stream. */
static void be_producer(void *argument) {
    worker first = *(worker *)argument, second = first;
    pthread_t thread;
    second.stream++;
    second.chance ^= 0x5555;
#ifdef SHE_FAULTS
    died_at = first.s->all->died_at;
    step_to_die_at = 1 + (int)test_below(&first.chance, SHE_STEP_COUNT - 1);
    she_store_relaxed(&steps_to_live, 1 + test_below(&first.chance, 25));
    she_fault_hook = perhaps_die;
#endif
    bool pair = test_below(&first.chance, 3) == 0;
    if (pair)
        CHECK_EQ(pthread_create(&thread, NULL, produce, &second), 0);
    (void)produce(&first);
    if (pair)
        pthread_join(thread, NULL);
}

/* ---- the consumer ---------------------------------------------------------------------------- */

static void be_consumer(void *argument) {
    stage *s = argument;
    she_consumer *c = s->r.consumer;
    uint64_t buffers = s->r.ring->num_buffers, held[8], batch, samples, chance = s->seed + 1;
    bool is_held[8] = {false};
    for (;;) {
        uint64_t next = c->next_batch % buffers;
        if (is_held[next] && test_below(&chance, 3) == 0) {
            held[next] = she_skip(c);
            continue;
        }
        for (uint64_t i = 0; i < buffers; i++)
            if (is_held[i] && (i == next || test_below(&chance, 3) == 0)) {
                she_release(s->r.ring, held[i]);
                is_held[i] = false;
            }
        bool seal = test_below(&chance, 4) == 0 && she_pending(c) > 0;
        if (seal)
            (void)she_seal(c);
        int rc = she_ready_wait(c, seal && test_below(&chance, 3) == 0 ? 100000 : FOREVER);
        if (rc == SHE_TIMEOUT) {
            CHECK(seal);
            she_unseal(c);
        }
        if (rc == SHE_CLOSED) { /* all producers have ended and are recovered */
            if (she_pending(c) == 0)
                break;
            (void)she_seal(c);
            rc = she_ready(c);
            CHECK_EQ(rc, SHE_OK);
        }
        if (rc != SHE_OK)
            continue;
        she_take(c, &batch, &samples);
        ledger_enter(s->all->ledgers, s->streams, s->r.ring, batch, samples);
        held[next] = batch;
        is_held[next] = true;
    }
    she_store_relaxed(&s->all->taken, c->taken_total);
}

/* ---- the parent ------------------------------------------------------------------------------ */

typedef struct {
    stage s;
    pid_t child[RIG_PRODUCERS + 1]; /* by owner id; 0: none */
    uint64_t producers, next_stream, chance;
} parent;

static void start_producer(parent *p, uint32_t owner) {
    worker w = {&p->s, owner, p->next_stream, test_random(&p->chance)};
    p->next_stream += 2;
    CHECK(p->next_stream <= p->s.streams);
    p->child[owner] = child_start(be_producer, &w);
}

static void check_ending(int status) {
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
}

/* Wait until some producer has ended by itself; returns its owner id. */
static uint32_t some_end(parent *p) {
    int status;
    pid_t ended = waitpid(-1, &status, 0);
    for (uint32_t owner = 1; owner <= p->producers; owner++)
        if (p->child[owner] == ended) {
            check_ending(status);
            p->child[owner] = 0;
            return owner;
        }
    FAIL("not a producer has ended: %d, status %#x", (int)ended, (unsigned)status);
}

/* End one producer, in one of several ways, and wait for that; returns its owner id. */
static uint32_t one_death(parent *p) {
#ifdef SHE_FAULTS
    return some_end(p);
#else
    uint32_t owner = 1 + (uint32_t)test_below(&p->chance, p->producers);
    pid_t victim = p->child[owner];
    struct timespec delay = {.tv_nsec = (long)test_below(&p->chance, 2000000)};
    nanosleep(&delay, NULL); /* a random moment */
    switch (test_below(&p->chance, 8)) {
    case 0: /* revoked: makes no new claims, and ends by itself */
        she_revoke(p->s.r.ring, owner);
        break;
    case 1: /* stopped for a while, then killed */
        kill(victim, SIGSTOP);
        nanosleep(&delay, NULL);
        kill(victim, SIGKILL);
        break;
    case 2: /* stopped for a while, continued, and killed at once */
        kill(victim, SIGSTOP);
        nanosleep(&delay, NULL);
        kill(victim, SIGCONT);
        kill(victim, SIGKILL);
        break;
    default:
        kill(victim, SIGKILL);
    }
    check_ending(child_wait(victim, 0));
    return owner;
#endif
}

static void run(uint64_t seed, uint64_t deaths, uint64_t batch_size, uint64_t num_buffers) {
    static parent p;
    memset(&p, 0, sizeof p);
    p.chance = p.s.seed = seed;
    p.producers = test_option("producers", 3);
    CHECK(p.producers <= RIG_PRODUCERS && deaths <= MAX_DEATHS && num_buffers <= 8);
    p.s.streams = 2 * (deaths + p.producers);
    rig_open(&p.s.r, batch_size, num_buffers, seed % 2);
    uint64_t bytes = sizeof(shared) + p.s.streams * sizeof(ledger), came = 0;
    p.s.all = rig_memory(bytes);
    pid_t consumer = child_start(be_consumer, &p.s);
    for (uint32_t owner = 1; owner <= p.producers; owner++)
        start_producer(&p, owner);
    for (uint64_t death = 0; death < deaths; death++) {
        uint32_t owner = one_death(&p);
        (void)she_recover(p.s.r.ring, owner);
        CHECK_EQ(she_held(p.s.r.ring, owner), 0);
        she_reinstate(p.s.r.ring, owner);
        start_producer(&p, owner);
    }
    she_store32_release(&p.s.all->stop, 1);
    /* Some may still die, and block the others until they are recovered. */
    for (uint64_t left = p.producers; left > 0; left--)
        (void)she_recover(p.s.r.ring, some_end(&p));
    she_ring_close(p.s.r.ring);
    child_finish(consumer);
    for (uint64_t stream = 0; stream < p.s.streams; stream++)
        came += ledger_check(&p.s.all->ledgers[stream], stream);
    CHECK_EQ(came, she_load_relaxed(&p.s.all->taken));
    CHECK(came > 0);
    munmap(p.s.all, bytes);
    rig_close(&p.s.r);
}

#define SHAPE(name, batch_size, num_buffers) \
    CASE(producers_die_and_nothing_is_lost_in_a_ring_of_##name) { \
        run(test_seed, test_option("deaths", 120), batch_size, num_buffers); \
    }

SHAPE(one_by_one, 1, 1)
SHAPE(two_by_one, 2, 1)
SHAPE(four_by_three, 4, 3)
SHAPE(nine_by_two, 9, 2)
SHAPE(sixty_four_by_two, 64, 2)
