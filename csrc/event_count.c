/* Event counts over futexes: see event_count.h for the contract and the argument. */
#define _GNU_SOURCE
#include "shm_echo/event_count.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm_echo/fault.h"

/* Without FUTEX_PRIVATE_FLAG, because the sleepers are in other processes. */
static long futex(she_atomic32 *word, int op, uint32_t value, const struct timespec *timeout) {
    return syscall(SYS_futex, (uint32_t *)word, op, value, timeout, NULL, 0);
}

int she_ec_wait(she_event_count *ec, uint32_t ticket, int64_t timeout_ns) {
    uint32_t asleep = ticket | 1u;
    if (!(ticket & 1u)) {
        uint32_t seen = ticket;
        /* SYNC ec-sleep: pairs with the CAS in increment, on the same word. In their one total
         * order either that CAS comes later and finds the bit, or this CAS fails and the caller
         * looks again. A failure that finds the ticket with the bit set is another sleeper's
         * CAS. */
        if (!she_cas32_seq(&ec->word, &seen, asleep) && seen != asleep)
            return SHE_WAIT_WOKEN;
    }
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};
    if (futex(&ec->word, FUTEX_WAIT, asleep, &timeout) == 0)
        return SHE_WAIT_WOKEN;
    switch (errno) {
    case ETIMEDOUT:
        return SHE_WAIT_TIMEOUT;
    case EINTR:
        return SHE_WAIT_INTERRUPTED;
    default: /* EAGAIN: the word changed before the kernel put this thread to sleep */
        return SHE_WAIT_WOKEN;
    }
}

/* Increment the count and clear the sleeper bit; true if the bit was set. */
static bool increment(she_event_count *ec) {
    uint32_t seen = she_load32_relaxed(&ec->word); /* relaxed: the CAS checks it */
    /* SYNC ec-signal: pairs with the load in she_ec_ticket; releases what made the condition true.
     * SYNC ec-sleep: pairs with the CAS in she_ec_wait; finds the bit of a sleeper whose CAS came
     * before it, and makes a later CAS from an older ticket fail. */
    while (!she_cas32_seq(&ec->word, &seen, (seen & ~1u) + 2u)) {
    }
    return seen & 1u;
}

void she_ec_signal(she_event_count *ec) {
    bool slept = increment(ec);
    SHE_FAULT(SHE_STEP_SIGNAL_COUNTED);
    if (slept)
        futex(&ec->word, FUTEX_WAKE, INT_MAX, NULL);
}

void she_ec_signal_for_dead(she_event_count *ec) {
    (void)increment(ec);
    futex(&ec->word, FUTEX_WAKE, INT_MAX, NULL);
}
