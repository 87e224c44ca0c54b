/* Fault injection, in test builds only.
 *
 * With SHE_FAULTS defined, the steps of claim, commit, abort, signal and wait call a hook. The hook
 * may stop or kill its process, or do in that moment what another process would do. Without
 * SHE_FAULTS, SHE_FAULT compiles to nothing. This header includes no other, so that every file of
 * the core can use it.
 */
#ifndef SHM_ECHO_FAULT_H
#define SHM_ECHO_FAULT_H

#ifdef SHE_FAULTS
extern void (*she_fault_hook)(int step);
#define SHE_FAULT(step) \
    do { \
        if (she_fault_hook) \
            she_fault_hook(step); \
    } while (0)
#else
#define SHE_FAULT(step) ((void)0)
#endif

enum she_fault_step {
    SHE_STEP_CLAIM_START = 1,
    SHE_STEP_CLAIM_SCAN,   /* a hole is about to be taken */
    SHE_STEP_CLAIM_HOLE,   /* a hole was taken */
    SHE_STEP_CLAIM_LOOKED, /* write cursor and state word read */
    SHE_STEP_CLAIM_TAKEN,  /* the slot is ours, the cursor not yet moved */
    SHE_STEP_CLAIM_MOVED,  /* the cursor was moved */
    SHE_STEP_COPIED_HALF,  /* for callers that copy: half the bytes are there */
    SHE_STEP_COMMIT_START,
    SHE_STEP_COMMITTED,      /* committed, nobody told */
    SHE_STEP_COMMIT_BATON,   /* it is ours to wake the consumer or to pass that on */
    SHE_STEP_COMMIT_CHOSEN,  /* the next one to be awaited is found, not passed on yet */
    SHE_STEP_COMMIT_PASSED,  /* passed on, not looked at again */
    SHE_STEP_COMMIT_SIGNAL,  /* the batch is complete, no signal yet */
    SHE_STEP_SIGNAL_COUNTED, /* an event count counted on, its sleepers not yet woken */
    SHE_STEP_ABORT_START,
    SHE_STEP_ABORT_HOLE,   /* the hole is there, its generation not bumped */
    SHE_STEP_ABORT_BUMPED, /* bumped, nobody woken */
    SHE_STEP_COUNT,        /* the consumer's follow: if that dies, all is over */
    SHE_STEP_WAIT_LOOKED,  /* not ready, and nobody knows yet what is awaited */
    SHE_STEP_WAIT_AWAITED, /* said what is awaited, not looked again */
    SHE_STEP_WAIT_SLEEP,   /* looked again: goes to sleep */
};

#endif
