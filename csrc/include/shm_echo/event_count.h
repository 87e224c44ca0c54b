/* Event counts: how processes sleep on the ring without missing a wake.
 *
 * A word of the shared mapping, `count << 1 | somebody_sleeps`. Whoever waits for a condition
 *
 *     ticket = she_ec_ticket(&ec);          1. before looking
 *     if (condition) ...                    2. look
 *     she_ec_wait(&ec, ticket, timeout);    3. sleep; look again afterwards, whatever it returned
 *
 * and whoever makes the condition true does so first and calls she_ec_signal afterwards. A signal
 * that comes after step 1 changes the word, so step 3 does not sleep (the CAS that sets the sleeper
 * bit fails, or the futex call finds another value), or it finds the bit and wakes. A signal that
 * nobody sleeps through costs one compare-and-swap and no system call.
 *
 * A sleeper that is killed leaves the bit behind: the next signal makes one needless system call.
 * The count wraps after 2^31 signals between two steps of one waiter; waits are sliced anyway.
 */
#ifndef SHM_ECHO_EVENT_COUNT_H
#define SHM_ECHO_EVENT_COUNT_H

#include "shm_echo/atomics.h"

typedef struct {
    she_atomic32 word;
} she_event_count;

enum she_wait_result {
    SHE_WAIT_WOKEN = 0,       /* signalled, or the word had changed already */
    SHE_WAIT_TIMEOUT = 1,     /* no signal came */
    SHE_WAIT_INTERRUPTED = 2, /* a POSIX signal handler ran in this thread */
};

static inline uint32_t she_ec_ticket(const she_event_count *ec) {
    /* SYNC ec-signal: pairs with the CAS of she_ec_signal; acquires what the signaller wrote before
     * it. */
    return she_load32_acquire(&ec->word);
}

int she_ec_wait(she_event_count *ec, uint32_t ticket, int64_t timeout_ns);
void she_ec_signal(she_event_count *ec);
/* Signal on behalf of a dead process: wakes all sleepers even if the sleeper bit is clear. A
 * signaller that died between clearing the bit and its system call left sleepers that no later
 * signal finds. */
void she_ec_signal_for_dead(she_event_count *ec);

#endif
