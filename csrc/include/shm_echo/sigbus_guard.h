/* A guard against SIGBUS in memory that another process can truncate.
 *
 * Memory of shm_open cannot be sealed: each process that has the descriptor can shrink it, and the
 * next access of any other process beyond the new end is a SIGBUS. The guard's signal handler
 * replaces the whole mapping by private zeros and sets a flag, so that the access continues, and
 * whoever reads looks at the flag before it believes what it read. Every other SIGBUS goes to the
 * handler that was there before.
 *
 * The handler is installed with the first range, and stays. A handler that is installed later has
 * to call the one before it, as Python's faulthandler does. If the handler was removed, the next
 * range brings it back, as does she_guard_renew.
 *
 * The caller serialises these functions (the binding by the interpreter lock).
 * The handler may run at any moment in any thread.
 */
#ifndef SHM_ECHO_SIGBUS_GUARD_H
#define SHM_ECHO_SIGBUS_GUARD_H

#include "shm_echo/atomics.h"

/* One guarded range. `version` is odd while the range changes. */
typedef struct {
    she_atomic32 version;
    she_atomic32 broken;
    she_atomic64 base, bytes; /* both 0 in a free entry */
} she_guard;

/* Guard a mapping, which begins and ends at page boundaries. NULL without memory, or if no handler
 * can be installed. */
she_guard *she_guard_add(void *base, uint64_t bytes);
/* End the guard. Call it before the mapping is unmapped: its addresses may become another's. */
void she_guard_remove(she_guard *guard);
/* Install the handler again if it was removed. False if that fails. */
bool she_guard_renew(void);

/* True once the mapping was replaced. */
static inline bool she_guard_broken(const she_guard *guard) {
    /* SYNC guard-broken: pairs with the store in replace; acquires the order of the two: a thread
     * that has read a zero of the new mapping finds the flag. */
    return she_load32_acquire(&guard->broken) != 0;
}

#endif
