/* Spinning before a sleep, where it has paid: for one waiter and one kind of wait.
 *
 * A sleep and a wake cost about 10 us more than a wait that ends while its thread spins, but only
 * if whoever makes the condition true runs meanwhile, on another CPU. So each waiter learns: a spin
 * that ended in vain, or during which somebody else had this CPU, counts as a failure, and from the
 * second failure on more and more waits go straight to sleep. Where several processes wait for each
 * other on few CPUs their roles sort themselves out: those whose spins succeed keep spinning.
 *
 * The spin pauses and never yields: beside a busy process on the same CPU a yield costs a whole
 * time slice of that process. Everything here is private to one thread.
 */
#ifndef SHM_ECHO_ADAPTIVE_WAIT_H
#define SHM_ECHO_ADAPTIVE_WAIT_H

#include "shm_echo/atomics.h"

/* About the cost of a sleep and a wake: a longer spin costs more than it can save. */
#ifndef SHE_ADAPTIVE_SPIN_NS
#define SHE_ADAPTIVE_SPIN_NS UINT64_C(50000)
#endif
/* Two looks that are further apart than this were not a spin: somebody else had the CPU. */
#define SHE_ADAPTIVE_GAP_NS UINT64_C(15000)
#define SHE_ADAPTIVE_FIRST_SKIP 16u
#define SHE_ADAPTIVE_MOST_FAILURES 9u /* 16 << 7: at most 2,048 waits are skipped */
/* Looks between two readings of the clock, and pauses between two looks. */
#define SHE_ADAPTIVE_LOOKS 4u
#define SHE_ADAPTIVE_PAUSES 8u

typedef struct {
    uint32_t failures; /* halved by a success */
    uint32_t skip;     /* waits that still go straight to sleep */
    uint64_t spins, hits;
} she_adaptive_wait;

/* Count the end of a spin; `hit`: the condition came true while this thread had its CPU. */
static inline void she_adaptive_learn(she_adaptive_wait *wait, bool hit) {
    wait->spins++;
    if (hit) {
        wait->hits++;
        wait->failures /= 2;
        return;
    }
    if (wait->failures < SHE_ADAPTIVE_MOST_FAILURES)
        wait->failures++;
    if (wait->failures >= 2)
        wait->skip = SHE_ADAPTIVE_FIRST_SKIP << (wait->failures - 2);
}

/* Spin until `look(what)` is true, for a while or not at all. True if it came true; the caller
 * sleeps otherwise. `look` reads shared memory with an acquire load of its own.
 *
 * Args: now, a monotonic clock in nanoseconds. */
static inline bool she_adaptive_spin(she_adaptive_wait *wait, bool (*look)(void *), void *what,
                                     uint64_t (*now)(void)) {
    if (wait->skip > 0) {
        wait->skip--;
        return false;
    }
    uint64_t begin = now(), last = begin;
    bool gap = false;
    for (uint32_t n = 1;; n++) {
        for (uint32_t i = 0; i < SHE_ADAPTIVE_PAUSES; i++)
            she_pause();
        bool came_true = look(what);
        uint64_t time = 0;
        if (came_true || n % SHE_ADAPTIVE_LOOKS == 0) {
            time = now();
            gap |= time - last > SHE_ADAPTIVE_GAP_NS;
            last = time;
        }
        if (came_true) {
            she_adaptive_learn(wait, !gap);
            return true;
        }
        if (time && time - begin > SHE_ADAPTIVE_SPIN_NS) {
            she_adaptive_learn(wait, false);
            return false;
        }
    }
}

#endif
