/* Event counts: tickets, the sleeper bit, and wakes that cross processes and are never lost. */
#include "processes.h"

#include <pthread.h>
#include <sys/mman.h>

#include "shm_echo/event_count.h"

#define SECOND INT64_C(1000000000)
#define FOREVER (3600 * SECOND) /* longer than the watchdog: sleeping that long is a lost wake */

static uint32_t raw(const she_event_count *ec) { return she_load32_relaxed(&ec->word); }

static she_event_count *shared_counts(void) {
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static void until_sleeper_bit(const she_event_count *ec) {
    while (!(raw(ec) & 1))
        breathe();
}

CASE(a_signal_after_the_ticket_is_not_slept_through) {
    she_event_count ec = {0};
    uint32_t ticket = she_ec_ticket(&ec);
    she_ec_signal(&ec);
    CHECK_EQ(she_ec_wait(&ec, ticket, FOREVER), SHE_WAIT_WOKEN);
    CHECK_EQ(raw(&ec), 2); /* and the sleeper bit stays clear */
}

CASE(a_wait_without_a_signal_times_out_and_leaves_the_sleeper_bit) {
    she_event_count ec = {0};
    CHECK_EQ(she_ec_wait(&ec, she_ec_ticket(&ec), 1), SHE_WAIT_TIMEOUT);
    CHECK_EQ(raw(&ec), 1);
    CHECK_EQ(she_ec_wait(&ec, she_ec_ticket(&ec), 0), SHE_WAIT_TIMEOUT);
    CHECK_EQ(raw(&ec), 1);
}

CASE(a_signal_counts_up_and_clears_the_sleeper_bit) {
    she_event_count ec = {0};
    she_ec_signal(&ec);
    CHECK_EQ(raw(&ec), 2);
    (void)she_ec_wait(&ec, she_ec_ticket(&ec), 0);
    CHECK_EQ(raw(&ec), 3);
    she_ec_signal(&ec);
    CHECK_EQ(raw(&ec), 4);
}

CASE(a_ticket_with_the_sleeper_bit_is_as_good_as_one_without) {
    she_event_count ec = {0};
    (void)she_ec_wait(&ec, she_ec_ticket(&ec), 0);
    uint32_t ticket = she_ec_ticket(&ec);
    CHECK_EQ(ticket, 1);
    she_ec_signal(&ec);
    CHECK_EQ(she_ec_wait(&ec, ticket, FOREVER), SHE_WAIT_WOKEN);
}

CASE(a_ticket_that_another_sleeper_has_marked_meanwhile_still_sleeps) {
    she_event_count ec = {0};
    uint32_t ticket = she_ec_ticket(&ec);
    (void)she_ec_wait(&ec, she_ec_ticket(&ec), 0); /* another sleeper sets the bit */
    CHECK_EQ(she_ec_wait(&ec, ticket, 1), SHE_WAIT_TIMEOUT);
}

CASE(the_count_wraps_without_touching_the_sleeper_bit) {
    she_event_count ec = {0};
    she_store32_relaxed(&ec.word, UINT32_MAX - 1);
    uint32_t ticket = she_ec_ticket(&ec);
    she_ec_signal(&ec);
    CHECK_EQ(raw(&ec), 0);
    CHECK_EQ(she_ec_wait(&ec, ticket, FOREVER), SHE_WAIT_WOKEN);
    she_store32_relaxed(&ec.word, UINT32_MAX);
    she_ec_signal(&ec);
    CHECK_EQ(raw(&ec), 0);
}

static void sleep_once(void *argument) {
    she_event_count *ec = argument;
    CHECK_EQ(she_ec_wait(ec, she_ec_ticket(ec), FOREVER), SHE_WAIT_WOKEN);
}

CASE(one_signal_wakes_every_sleeper_in_every_process) {
    she_event_count *ec = shared_counts();
    pid_t child[3];
    for (int i = 0; i < 3; i++)
        child[i] = child_start(sleep_once, ec);
    until_sleeper_bit(ec);
    for (int i = 0; i < 3; i++)
        until_asleep(child[i]);
    she_ec_signal(ec);
    for (int i = 0; i < 3; i++)
        child_finish(child[i]);
    munmap(ec, 4096);
}

CASE(a_killed_sleeper_leaves_a_harmless_bit) {
    she_event_count *ec = shared_counts();
    pid_t child = child_start(sleep_once, ec);
    until_sleeper_bit(ec);
    child_kill(child);
    CHECK_EQ(raw(ec), 1);
    pid_t next = child_start(sleep_once, ec);
    until_asleep(next);
    she_ec_signal(ec);
    child_finish(next);
    CHECK_EQ(raw(ec), 2);
    munmap(ec, 4096);
}

static void nothing(int signal) { (void)signal; }

static void poke_parent(void *argument) {
    until_sleeper_bit(argument);
    until_asleep(getppid());
    kill(getppid(), SIGUSR1);
}

CASE(a_signal_handler_interrupts_a_wait) {
    she_event_count *ec = shared_counts();
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pid_t child = child_start(poke_parent, ec);
    CHECK_EQ(she_ec_wait(ec, she_ec_ticket(ec), FOREVER), SHE_WAIT_INTERRUPTED);
    child_finish(child);
    munmap(ec, 4096);
}

/* Each side waits for the other's number. A lost wake leaves both asleep. */
typedef struct {
    she_event_count ec[2];
    she_atomic64 number[2];
    uint64_t rounds;
} court;

static void play(court *c, int me) {
    for (uint64_t round = 1; round <= c->rounds; round++) {
        if (me == 0) {
            she_store_release(&c->number[0], round);
            she_ec_signal(&c->ec[0]);
        }
        for (;;) {
            uint32_t ticket = she_ec_ticket(&c->ec[!me]);
            if (she_load_acquire(&c->number[!me]) >= round)
                break;
            CHECK(she_ec_wait(&c->ec[!me], ticket, FOREVER) != SHE_WAIT_TIMEOUT);
        }
        if (me == 1) {
            she_store_release(&c->number[1], round);
            she_ec_signal(&c->ec[1]);
        }
    }
}

static void *play_second(void *argument) {
    play(argument, 1);
    return NULL;
}
static void play_second_in_child(void *argument) { play(argument, 1); }

CASE(two_threads_that_wait_for_each_other_lose_no_wake) {
    court c = {.rounds = test_option("pings", 5000)};
    pthread_t second;
    CHECK_EQ(pthread_create(&second, NULL, play_second, &c), 0);
    play(&c, 0);
    pthread_join(second, NULL);
    CHECK_EQ(she_load_relaxed(&c.number[1]), c.rounds);
}

CASE(two_processes_that_wait_for_each_other_lose_no_wake) {
    court *c = (void *)shared_counts();
    c->rounds = test_option("pings", 5000);
    pid_t child = child_start(play_second_in_child, c);
    play(c, 0);
    child_finish(child);
    munmap(c, 4096);
}
